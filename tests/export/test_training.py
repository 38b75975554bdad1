from __future__ import annotations

import csv
import math
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cxrs_bench.labelled import LabelledSet, in_split, read_labelled, set_digest
from cxrs_edge.errors import ModelError, TrainingError
from cxrs_edge.image import read_image
from cxrs_edge.prepare import InputSpec, pixels_needed, prepare
from cxrs_export.augment import Augmentation
from cxrs_export.cli_train import train as command
from cxrs_export.keras_file import Provenance, load_model, package_versions, save_model
from cxrs_export.loop import learning_rate
from cxrs_export.network import Widths, build_network
from cxrs_export.run_folder import CONFIG, DIGEST, claim_folder, read_history
from cxrs_export.train_config import TrainConfig, read_config, write_config
from cxrs_export.training import train

SETTINGS = "--size 32 --batch 2 --epochs 3 --fold 0 --schedule cosine --learning-rate 0.001"
CONFIGURED = TrainConfig(size=32, batch=2, epochs=3, fold=0, schedule="cosine", learning_rate=0.001)


def weights(run: Path) -> list[np.ndarray[Any, Any]]:
    return load_model(run / "model.keras")[0].get_weights()


def same(ours: list[np.ndarray[Any, Any]], theirs: list[np.ndarray[Any, Any]]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def predict(model: Any, spec: InputSpec, rows: LabelledSet) -> np.ndarray[Any, Any]:
    """Probabilities, N x 2, of images read as the device reads them."""
    read = (read_image(r.path.read_bytes(), name=r.image_id, at_least=pixels_needed(spec)) for r in rows)
    pixels = np.concatenate([prepare(image, spec) for image in read]).astype(np.float32)
    return np.asarray(model.predict_on_batch(pixels))


@pytest.fixture(scope="module")
def rows(tiny_set: Path) -> LabelledSet:
    return in_split(read_labelled(tiny_set), "train", levels=(1, 2))


@pytest.fixture(scope="module")
def finished(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that nothing interrupted, by the command, settings partly from a file."""
    folder = tmp_path_factory.mktemp("finished")
    write_config(
        replace(CONFIGURED, epochs=99, seed=5, augmentation=Augmentation(zoom=0.5)), folder / "base.toml"
    )
    options = [
        "--config",
        str(folder / "base.toml"),
        "--epochs",
        "3",
        "--seed",
        "0",
        "--zoom",
        "0.15",
        "--flip",
    ]
    arguments = [str(tiny_set), "-o", str(folder / "run"), *options]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for epoch, line in enumerate(result.output.splitlines()[:3], start=1):
        assert re.match(rf"epoch {epoch}/3  loss \d+\.\d+  accuracy [01]\.\d+  held out: loss \d", line)
    assert "trained on 4 images of split train, 3 held out" in result.output
    return folder / "run"


def test_a_run_leaves_its_settings_history_curves_and_model(finished: Path, rows: LabelledSet) -> None:
    assert read_config(finished / CONFIG) == CONFIGURED
    training = tuple(row for row in rows if row.fold != 0)
    assert (finished / DIGEST).read_text() == f"{set_digest(training)}\n"
    assert sorted(path.name for path in finished.iterdir()) == [
        "config.toml",
        "curves.png",
        "data.sha256",
        "epoch-0003.keras",
        "history.csv",
        "model.keras",
    ]
    with Image.open(finished / "curves.png") as picture:
        assert picture.format == "PNG"
    _, provenance = load_model(finished / "model.keras")
    assert provenance.input == InputSpec(size=32, channels=3, crop_top=0.08)
    assert provenance.training["data_sha256"] == set_digest(training)
    assert (provenance.training["images"], provenance.training["patients"]) == (4, 3)
    assert provenance.training["split"] == "train"
    assert provenance.training["recipe"]["learning_rate"] == 0.001
    assert provenance.training["recipe"]["augmentation"]["zoom"] == 0.15
    assert provenance.training["packages"] == package_versions()
    assert "init_sha256" not in provenance.training


def test_history_has_a_row_an_epoch(finished: Path) -> None:
    history = read_history(finished)
    assert [result.epoch for result in history] == [1, 2, 3]
    # 4 images outside of fold 0 in batches of 2 are 2 steps an epoch; each row has the rate of its last step.
    for result, step in zip(history, (1, 3, 5), strict=True):
        assert result.learning_rate == pytest.approx(0.001 * (1 + math.cos(math.pi * step / 6)) / 2)
        assert result.accuracy in (0, 0.25, 0.5, 0.75, 1)
        assert 0 < result.loss < 20
    with (finished / "history.csv").open(newline="") as file:
        assert next(csv.reader(file))[:4] == ["epoch", "learning_rate", "loss", "accuracy"]


def test_the_held_out_fold_is_what_is_validated(finished: Path, rows: LabelledSet) -> None:
    model, provenance = load_model(finished / "model.keras")
    held_out = in_split(tuple(row for row in rows if row.fold == 0), "train")
    probabilities = predict(model, provenance.input, held_out)
    truth = np.array([probabilities[i, row.level - 1] for i, row in enumerate(held_out)])
    last = read_history(finished)[-1]
    assert last.validation_loss == pytest.approx(-np.log(truth).mean(), rel=1e-4)
    assert last.validation_accuracy == pytest.approx(np.mean(truth > 0.5))
    # One image of level 1 against two of level 2.
    level2 = {row.image_id: probabilities[i, 1] for i, row in enumerate(held_out)}
    wins = [level2[two] > level2["t00"] for two in ("t01", "t02")]
    assert last.validation_auc == pytest.approx(np.mean(wins))


def start(tiny_set: Path, run: Path) -> subprocess.Popen[bytes]:
    code = "from cxrs_edge.cli import main; main()"
    arguments = [sys.executable, "-c", code, "train", str(tiny_set), "-o", str(run), *SETTINGS.split()]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights_as_an_uninterrupted_one(
    finished: Path, tiny_set: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    killed = start(tiny_set, run)
    wait_for(run / "epoch-0001.keras", killed)
    time.sleep(random.uniform(0, 0.3))
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (run / "epoch-0003.keras").exists()
    assert start(tiny_set, run).wait(300) == 0
    assert same(weights(run), weights(finished))
    assert (run / "history.csv").read_bytes() == (finished / "history.csv").read_bytes()


def test_a_finished_run_is_left_as_it_is(finished: Path, rows: LabelledSet) -> None:
    before, history = weights(finished), (finished / "history.csv").read_bytes()
    assert train(rows, CONFIGURED, finished) == finished / "model.keras"
    assert same(weights(finished), before)
    assert (finished / "history.csv").read_bytes() == history


def test_rows_beyond_the_last_checkpoint_are_dropped(
    finished: Path, rows: LabelledSet, tmp_path: Path
) -> None:
    # Killed between an epoch's row and its checkpoint, the row stands there for an epoch to be trained again.
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "model.keras").unlink()
    with (run / "history.csv").open("a") as file:
        file.write("4,0.001,0.5,0.5,nan,nan,nan\n")
    train(rows, CONFIGURED, run)
    assert (run / "history.csv").read_bytes() == (finished / "history.csv").read_bytes()


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epochs": 4}, {"fold": 1}, {"augmentation": Augmentation(flip=False)}]
)
def test_other_settings_in_the_folder_are_refused(
    finished: Path, rows: LabelledSet, change: dict[str, Any]
) -> None:
    with pytest.raises(TrainingError, match=r"holds a run with other settings \(its config\.toml\)"):
        train(rows, replace(CONFIGURED, **change), finished)


def test_other_data_or_other_initial_weights_in_the_folder_are_refused(
    finished: Path, rows: LabelledSet, tiny_model: Path
) -> None:
    relabelled = (*rows[:-1], replace(rows[-1], level=3 - rows[-1].level))
    for other in (rows[:-1], relabelled):
        with pytest.raises(TrainingError, match="holds a run on other images or from other weights"):
            train(other, CONFIGURED, finished)
    with pytest.raises(TrainingError, match="holds a run on other images or from other weights"):
        train(rows, CONFIGURED, finished, init=tiny_model)


def test_a_run_that_never_finished_an_epoch_binds_nobody(tmp_path: Path) -> None:
    claim_folder(tmp_path, CONFIGURED, "data\n")
    claim_folder(tmp_path, replace(CONFIGURED, seed=9), "other data\n")
    assert read_config(tmp_path / CONFIG).seed == 9
    (tmp_path / "model.keras").touch()
    with pytest.raises(TrainingError, match="other settings"):
        claim_folder(tmp_path, CONFIGURED, "other data\n")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, rows: LabelledSet) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/run: can't be written: Not a directory"):
        train(rows, CONFIGURED, tmp_path / "file" / "run")


def test_a_damaged_checkpoint_is_named(rows: LabelledSet, tmp_path: Path) -> None:
    training = tuple(row for row in rows if row.fold != 0)
    claim_folder(tmp_path, CONFIGURED, f"{set_digest(training)}\n")
    (tmp_path / "epoch-0002.keras").write_bytes(b"PK")
    (tmp_path / "epoch-0002 (copy).keras").touch()
    with pytest.raises(TrainingError, match=r"epoch-0002\.keras: damaged checkpoint; remove it"):
        train(rows, CONFIGURED, tmp_path)


def test_a_fold_that_shares_patients_or_is_not_there(rows: LabelledSet, tmp_path: Path) -> None:
    config = TrainConfig(size=32, fold=0)
    torn = (replace(rows[0], fold=1), *rows[1:])
    with pytest.raises(TrainingError, match="fold 0 shares patients with the rest: p0"):
        train(torn, config, tmp_path / "run")
    with pytest.raises(TrainingError, match="fold 7: no images"):
        train(rows, replace(config, fold=7), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("levels", [(1,), (2,), (0, 1, 2)])
def test_both_levels_and_no_other_are_needed(tiny_set: Path, tmp_path: Path, levels: tuple[int, ...]) -> None:
    rows = in_split(read_labelled(tiny_set), "train", levels=levels)
    with pytest.raises(TrainingError, match=r"got levels \[.*\]; expected level 1 and level 2, no others"):
        train(rows, CONFIGURED, tmp_path / "run")


@pytest.mark.slow
def test_init_starts_from_the_weights_of_another_size(
    rows: LabelledSet, tiny_model: Path, tmp_path: Path
) -> None:
    # At a rate of 1e-9 Adam moves a weight by about that much in one step.
    config = TrainConfig(size=32, batch=8, epochs=1, learning_rate=1e-9)
    train(rows, config, tmp_path / "run", init=tiny_model)
    model, provenance = load_model(tmp_path / "run" / "model.keras")
    source, its_provenance = load_model(tiny_model)
    assert model.input_shape == (None, 32, 32, 3)
    for ours, theirs in zip(model.trainable_weights, source.trainable_weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-7)
    assert provenance.training["init_training"] == its_provenance.training
    assert len(provenance.training["init_sha256"]) == 64
    assert (tmp_path / "run" / DIGEST).read_text().splitlines() == [
        set_digest(rows),
        f"{provenance.training['init_sha256']} init",
    ]


@pytest.mark.parametrize(
    "other", [{"channels": 1}, {"widths": Widths(projections=(32, 56, 256, 328), replication=1)}]
)
def test_init_with_another_backbone_is_refused(
    rows: LabelledSet, tmp_path: Path, other: dict[str, Any]
) -> None:
    model = build_network(size=64, **other)
    spec = InputSpec(size=64, channels=other.get("channels", 3))
    save_model(model, tmp_path / "other.keras", Provenance(spec))
    with pytest.raises(TrainingError, match=r"other\.keras: has other layers .* with 3 channels"):
        train(rows, CONFIGURED, tmp_path / "run", init=tmp_path / "other.keras")


def test_init_that_is_no_model_is_refused_before_anything_is_written(
    rows: LabelledSet, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"none\.keras: can't be read: No such file"):
        train(rows, CONFIGURED, tmp_path / "run", init=tmp_path / "none.keras")
    assert not (tmp_path / "run").exists()
    (tmp_path / "text.keras").write_text("weights")
    with pytest.raises(ModelError, match=r"text\.keras: not a readable Keras model"):
        train(rows, CONFIGURED, tmp_path / "run", init=tmp_path / "text.keras")


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run(rows: LabelledSet, tiny_model: Path, tmp_path: Path) -> None:
    model, provenance = load_model(tiny_model)
    model.get_layer("logits").set_weights([np.full((2048, 2), np.nan, np.float32)])
    save_model(model, tmp_path / "nan.keras", provenance)
    with pytest.raises(
        TrainingError, match="epoch 1: the loss is no longer a number; use a lower learning rate"
    ):
        train(rows, CONFIGURED, tmp_path / "run", init=tmp_path / "nan.keras")
    assert not list((tmp_path / "run").glob("*.keras"))


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 4e-4), (25, 4e-4 * (1 + math.sqrt(0.5)) / 2), (50, 2e-4), (100, 0.0)]
)
def test_cosine_falls_from_the_rate_to_zero(step: int, rate: float) -> None:
    config = TrainConfig(learning_rate=4e-4, schedule="cosine")
    assert learning_rate(config, step, 100) == pytest.approx(rate, abs=1e-18)
    assert learning_rate(replace(config, schedule="constant"), step, 100) == 4e-4


def write_toy_set(folder: Path) -> Path:
    """Dark images are level 1, bright ones level 2; 96 of each to train on, 8 of each to test."""
    (folder / "images").mkdir(parents=True)
    lines = ["image_id,patient_id,level,split,licence"]
    rng = np.random.default_rng(0)
    for number in range(208):
        level = 1 + number % 2
        gray = rng.normal(60 if level == 1 else 180, 15, (64, 64)).clip(0, 255).astype(np.uint8)
        Image.fromarray(gray).save(folder / "images" / f"{number}.png")
        lines.append(f"{number}.png,p{number},{level},{'train' if number < 192 else 'test'},CC0-1.0")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_training_learns_to_tell_bright_from_dark(tmp_path: Path) -> None:
    rows = read_labelled(write_toy_set(tmp_path / "toy"))
    # The running means of batch normalization, which grading uses, follow the weights after some tens of steps.
    config = TrainConfig(size=32, channels=1, batch=16, epochs=8, learning_rate=1e-3, schedule="cosine")
    train(in_split(rows, "train"), config, tmp_path / "run")
    history = read_history(tmp_path / "run")
    assert all(math.isnan(result.validation_loss) for result in history)
    assert max(result.accuracy for result in history) == 1.0
    assert history[-1].loss < 0.1
    assert history[-1].loss < history[0].loss / 2
    model, provenance = load_model(tmp_path / "run" / "model.keras")
    test = in_split(rows, "test")
    predicted = predict(model, provenance.input, test).argmax(axis=1) + 1
    assert predicted.tolist() == [row.level for row in test]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "100"), "size: got 100; expected a multiple of 32"),
        (("--batch", "7"), "batch: got 7; expected an even number"),
        (("--zoom", "1"), r"augmentation\.zoom: got 1\.0; expected 0 to 0\.9"),
        (("--seed", "-1"), "seed: got -1"),
        (("--config", "none.toml"), r"none\.toml: can't be read"),
    ],
)
def test_a_bad_value_on_the_command_line_is_named(
    tiny_set: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        invoke(tiny_set, tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--size", "32"), "--size"),
        (("--learning-rate", "1"), "--learning-rate"),
        (("--no-flip",), "--flip"),
        (("--border", "0.1"), "--border"),
        (("--config", "any.toml"), "--config"),
    ],
)
def test_the_papers_preset_takes_no_changes(
    tiny_set: Path, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    result = invoke(tiny_set, tmp_path / "run", "--preset", "paper", *options)
    assert result.exit_code == 2
    assert f"--preset paper with {named}: leave out the preset" in result.output
    assert not (tmp_path / "run").exists()


def test_the_papers_preset_is_the_published_protocol(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[TrainConfig] = []

    def record(_: Any, config: TrainConfig, run: Path, **__: Any) -> Path:
        configs.append(config)
        return run

    monkeypatch.setattr("cxrs_export.training.train", record)
    result = invoke(tiny_set, tmp_path / "run", "--preset", "paper", "--seed", "3", "--fold", "1")
    assert result.exit_code == 0, result.output
    # Paper, section 2: +-10 % translation and intensity, +-10 degrees, flip, +-15 % zoom.
    assert configs == [
        TrainConfig(
            size=480,
            channels=3,
            crop_top=0.08,
            epochs=137,
            batch=50,
            learning_rate=1e-4,
            schedule="constant",
            seed=3,
            fold=1,
            augmentation=Augmentation(translate=0.1, rotate=10, flip=True, zoom=0.15, intensity=0.1),
        )
    ]


@pytest.mark.parametrize("options", [("--schedule", "linear"), ("--epochs", "many"), ("--optimizer", "sgd")])
def test_wrong_usage_is_status_2(tiny_set: Path, tmp_path: Path, options: tuple[str, str]) -> None:
    result = invoke(tiny_set, tmp_path / "run", *options)
    assert result.exit_code == 2
    assert options[0] in result.output


def test_images_whose_licence_forbids_derivatives_are_left_out(tiny_set: Path, tmp_path: Path) -> None:
    labels = (tiny_set / "labels.csv").read_text().splitlines()
    marked = [line.replace("CC0-1.0", "CC BY-NC-ND") if ",2,train," in line else line for line in labels]
    (tmp_path / "labels.csv").write_text("\n".join(marked))
    with pytest.raises(TrainingError, match=r"got levels \[1\]"):
        invoke(tmp_path / "labels.csv", tmp_path / "run", "--images", str(tiny_set / "images"))


def invoke(data: Path, run: Path, *options: str) -> Any:
    return CliRunner().invoke(command, [str(data), "-o", str(run), *options], catch_exceptions=False)
