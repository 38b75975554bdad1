from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cxrs_bench.findings import FindingImage, FindingSet, findings_digest, read_findings
from cxrs_bench.labelled import in_split, read_labelled
from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.errors import ModelError, TrainingError
from cxrs_export.cli_train import pretrain as command
from cxrs_export.keras_file import load_model, load_network
from cxrs_export.pretraining import IMPOSSIBLE, Catalogue, _groups, judge_findings, pretrain
from cxrs_export.run_folder import read_history
from cxrs_export.train_config import TrainConfig
from cxrs_export.training import train

CONFIG = TrainConfig(size=32, batch=4, epochs=2, learning_rate=1e-3)
TABLE = (
    # image, source, patient, finding, split
    ("a", "north", "p0", "covid", "train"),
    ("b", "north", "p1", "normal", "train"),
    ("c", "north", "p2", "normal", "train"),
    ("d", "south", "p3", "normal", "train"),
    ("e", "south", "p4", "pneumonia", "train"),
    ("f", "south", "p5", "pneumonia", "val"),
    ("g", "north", "p6", "covid", "val"),
)


def image(finding: str, source: str, split: str = "train") -> FindingImage:
    return FindingImage("x", Path("x.jpg"), "p", finding, source, split)


@pytest.fixture(scope="module")
def finding_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    (folder / "images").mkdir()
    for seed, (name, _, _, finding, _) in enumerate(TABLE):
        zones = (0,) * 6 if finding == "normal" else (2, 3, 3, 2, 3, 3)
        drawn = draw_phantom(Phantom(zones, seed=seed, width=96, height=96))
        Image.fromarray(drawn).save(folder / "images" / f"{name}.jpg")
    lines = ["image_id,source,patient_id,label,split", *(",".join(row) for row in TABLE)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def rows(finding_set: Path) -> FindingSet:
    return read_findings(finding_set)


@pytest.fixture(scope="module")
def finished(finding_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("pretrained") / "run"
    options = ["--size", "32", "--batch", "4", "--epochs", "2", "--learning-rate", "0.001", "--border", "0.1"]
    result = CliRunner().invoke(command, [str(finding_set), "-o", str(run), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "held out: loss" in result.output
    assert "mean recall" in result.output
    assert "pretrained on 5 images" in result.output
    return run


def test_catalogue_knows_what_occurs_where(rows: FindingSet) -> None:
    catalogue = Catalogue.of(rows)
    assert catalogue.findings == ("covid", "normal", "pneumonia")
    assert catalogue.sources == ("north", "south")
    assert catalogue.occurs.tolist() == [[True, True, False], [False, True, True]]
    finding, source = catalogue.classes(rows)
    assert finding.tolist() == [0, 1, 1, 1, 2, 2, 0]
    assert source.tolist() == [0, 0, 0, 1, 1, 1, 0]


def test_shares_are_equal_within_a_source_and_grow_with_its_root() -> None:
    # Source 0 has 1 + 3 images, source 1 has 16 of one finding and 9 of another: roots 2 and 5, two findings each.
    finding = np.repeat([0, 1, 0, 2], [1, 3, 16, 9])
    source = np.repeat([0, 0, 1, 1], [1, 3, 16, 9])
    groups, shares = _groups(finding, source)
    assert groups.tolist() == np.repeat([0, 1, 2, 3], [1, 3, 16, 9]).tolist()
    np.testing.assert_allclose(shares, np.array([1, 1, 2.5, 2.5]) / 7)


def test_judgement_counts_every_pair_of_source_and_finding_equally() -> None:
    # Source 0: three images of finding 0 (two right), one of finding 1 (right); source 1: one, wrong.
    logits = np.log(
        np.array(
            [
                [0.5, 0.5 - 1e-9, 1e-9],
                [0.8, 0.2, 1e-9],
                [0.25, 0.75, 1e-9],
                [0.2, 0.8, 1e-9],
                [0.9, 1e-9, 0.1],
            ]
        )
    )
    finding, source = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 0, 0, 1])
    loss, recall = judge_findings(logits + 3, finding, source)
    assert recall == pytest.approx((2 / 3 + 1 + 0) / 3)
    pairs = [-(math.log(0.5) + math.log(0.8) + math.log(0.25)) / 3, -math.log(0.8), -math.log(0.1)]
    assert loss == pytest.approx(sum(pairs) / 3, rel=1e-6)


def test_a_finding_that_does_not_occur_in_the_source_gets_no_probability() -> None:
    loss, recall = judge_findings(np.array([[1.0, 1.0, 50 + IMPOSSIBLE]]), np.array([1]), np.array([0]))
    assert loss == pytest.approx(math.log(2))
    assert recall == 0


def test_a_run_leaves_a_network_that_knows_its_findings(finished: Path, rows: FindingSet) -> None:
    model, provenance = load_network(finished / "model.keras")
    assert model.output_shape == (None, 3)
    assert model.input_shape == (None, 32, 32, 3)
    assert provenance.training["findings"] == ["covid", "normal", "pneumonia"]
    assert provenance.training["images"] == 5
    training = tuple(row for row in rows if row.split == "train")
    assert provenance.training["data_sha256"] == findings_digest(training)
    assert provenance.training["recipe"]["disguise"]["border"] == 0.1
    history = read_history(finished)
    assert [result.epoch for result in history] == [1, 2]
    assert all(0 <= result.validation_accuracy <= 1 for result in history)
    assert all(math.isnan(result.validation_auc) for result in history)


def test_a_pretrained_network_grades_nothing(finished: Path) -> None:
    with pytest.raises(
        ModelError, match=r"outputs \{'finding_logits': \(None, 3\)\}; expected 'probabilities'"
    ):
        load_model(finished / "model.keras")


def test_training_for_levels_starts_from_the_pretrained_backbone(
    finished: Path, tiny_set: Path, tmp_path: Path
) -> None:
    labelled = in_split(read_labelled(tiny_set), "train", levels=(1, 2))
    # At a rate of 1e-9 Adam moves a weight by about that much in one step.
    config = TrainConfig(size=64, batch=8, epochs=1, learning_rate=1e-9)
    train(labelled, config, tmp_path / "run", init=finished / "model.keras")
    model, provenance = load_model(tmp_path / "run" / "model.keras")
    source, its_provenance = load_network(finished / "model.keras")
    for name in ("stem", "stage1_long_range", "stage4_block3_expand"):
        ours, theirs = (m.get_layer(name).get_weights()[0] for m in (model, source))
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    assert provenance.training["init_training"] == its_provenance.training


def test_a_finished_run_stays_so_that_what_started_from_it_can_go_on(
    finished: Path, rows: FindingSet
) -> None:
    """A run is bound to the bytes of the file that it starts from, and Keras writes the time into its files."""
    before = (finished / "model.keras").read_bytes()
    pretrain(rows, replace(CONFIG, disguise=replace(CONFIG.disguise, border=0.1)), finished)
    assert (finished / "model.keras").read_bytes() == before


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_weights(
    finished: Path, rows: FindingSet, tmp_path: Path
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(_: Any) -> None:
        raise Interrupted

    config = replace(CONFIG, disguise=replace(CONFIG.disguise, border=0.1))
    with pytest.raises(Interrupted):
        pretrain(rows, config, tmp_path / "run", on_epoch=interrupt)
    assert not (tmp_path / "run" / "model.keras").exists()
    pretrain(rows, config, tmp_path / "run")
    ours, theirs = (load_network(f / "model.keras")[0].get_weights() for f in (tmp_path / "run", finished))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((image("normal", "north", "val"),), "no images of split train"),
        ((image("normal", "north"),), "source north: holds one finding only"),
        (
            (image("normal", "north"), image("covid", "north"), image("other", "north", "val")),
            "split val: other of source north does not occur in split train",
        ),
    ],
)
def test_a_set_that_teaches_nothing_is_refused(tmp_path: Path, images: FindingSet, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        pretrain(images, CONFIG, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_patients_of_another_set_are_left_out(finding_set: Path, tmp_path: Path) -> None:
    judged = tmp_path / "labels.csv"
    judged.write_text("image_id,patient_id,level,split\nz,p0,2,test\ny,p9,1,test\n")
    with pytest.raises(TrainingError, match="source north: holds one finding only"):
        # Without p0, north has no covid left to train on.
        CliRunner().invoke(
            command,
            [str(finding_set), "-o", str(tmp_path / "run"), "--without", str(judged)],
            catch_exceptions=False,
        )
