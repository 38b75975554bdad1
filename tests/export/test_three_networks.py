"""The comparison's own rules by hand; the whole of it, on drawn X-rays, takes minutes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
from click.testing import CliRunner

from cxrs_bench.findings import FindingImage, FindingSet
from cxrs_bench.labelled import LabelledImage
from cxrs_bench.out_of_fold import Judged
from cxrs_bench.reporting.three_networks import read_three_networks
from cxrs_edge.errors import TrainingError
from cxrs_edge.prepare import InputSpec
from cxrs_export import three_networks
from cxrs_export.backbones import NETWORKS, build_backbone
from cxrs_export.cli_export_sources import load_source
from cxrs_export.keras_file import Provenance, load_network, save_model
from cxrs_export.loop import copy_weights
from cxrs_export.run_folder import EpochResult, write_history
from cxrs_export.severity_network import build_severity_network, full_model, logits_model
from cxrs_export.three_networks import (
    Protocol,
    Trained,
    comparison,
    graded,
    render_comparison,
    thinned,
    train_network,
)
from cxrs_export.train_config import Tasks, TrainConfig, read_config, write_config
from three_networks import main

SIZE = 32
LEVELS = (1, 1, 2, 2, 2, 0)


def finding(name: str, label: str, split: str = "train", source: str = "north") -> FindingImage:
    return FindingImage(name, Path(f"{name}.jpg"), f"patient {name}", label, source, split)


FINDINGS: FindingSet = (
    *(finding(f"c{number}", "covid") for number in range(5)),
    finding("n0", "normal"),
    *(finding(f"v{number}", "covid", "val") for number in range(3)),
)
ROWS = tuple(
    LabelledImage(f"x{n}", Path(f"x{n}.jpg"), f"p{n}", level, "train", n % 2)
    for n, level in enumerate(LEVELS)
)
PROTOCOL = Protocol(
    TrainConfig(size=SIZE, batch=2, epochs=1), TrainConfig(size=SIZE, epochs=3), FINDINGS, ROWS
)


def out_of_fold(*margins: float) -> Judged:
    return Judged(ROWS, np.array(margins), np.full((6, 6), 0.5), np.zeros((6, 2)))


def trained(*margins: float) -> Trained:
    recipes = {"pretraining": PROTOCOL.pretraining, "tuning": PROTOCOL.tuning}
    return Trained(
        out_of_fold(*margins), recipes, {0.0003: 1.5, 0.001: 1.25}, EpochResult(1, 0, 1, 1, 0.9, 0.5), 90
    )


def test_a_trial_sees_every_second_image_of_a_finding_and_at_least_one() -> None:
    kept = [row.image_id for row in thinned(FINDINGS, 2)]
    assert kept == ["c0", "c2", "c4", "n0", "v0", "v1", "v2"]
    assert thinned(FINDINGS, 1) == FINDINGS


def test_levels_are_graded_by_the_margin_as_it_is() -> None:
    """The image of level 0 is out; a margin of log 3 is a probability of 3 / 4."""
    predictions = graded(out_of_fold(0, -np.log(3), np.log(3), -1, 2, 9))
    assert predictions.names == ("x0", "x1", "x2", "x3", "x4")
    assert predictions.level2[:3] == pytest.approx([0.5, 0.25, 0.75])


def test_the_file_is_the_reports_and_its_figures_are_right(tmp_path: Path) -> None:
    found = comparison(
        {"cxrs": trained(-1, -1, 1, 1, -1, 5), "chexnet": trained(-1, 1, 1, 1, 1, 5)}, PROTOCOL, resamples=200
    )
    path = tmp_path / "three.json"
    path.write_text(json.dumps(found, allow_nan=False))
    read = read_three_networks(path)
    assert read.networks["cxrs"].confusion == ((2, 0), (1, 2))
    assert read.networks["chexnet"].confusion == ((1, 1), (0, 3))
    # (1 + 2 / 3) / 2 and (1 / 2 + 1) / 2
    assert read.networks["cxrs"].by_image["balanced_accuracy"].value == pytest.approx(5 / 6)
    (pair,) = read.pairs
    assert (pair.a, pair.b) == ("cxrs", "chexnet")
    assert pair.value == pytest.approx(5 / 6 - 3 / 4)
    assert pair.low <= pair.value <= pair.high
    assert "1 epoch(s) on 6 X-rays" in read.protocol
    assert "5 images of 5 patients" in read.protocol
    assert "3 CPU minutes" in read.protocol
    assert found["networks"]["cxrs"]["trials"] == {"0.0003": 1.5, "0.001": 1.25}
    assert found["pairs"][0]["right_by_a_only"] == 1
    table = render_comparison(found)
    assert "| COVID-Net CXR-S | 1.000 (1.00 to 1.00) | 0.667 " in table
    assert "| COVID-Net CXR-S less CheXNet | 0.083 " in table


@pytest.mark.parametrize(("losses", "better"), [((1.0, 0.9), 0.001), ((0.8, 0.9), 0.0003)])
def test_the_better_rate_is_taken_and_the_fine_tuning_follows_it(
    losses: tuple[float, float], better: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, tuple[TrainConfig, int]] = {}
    of_rate = dict(zip((0.0003, 0.001), losses, strict=True))

    def pretrain(rows: FindingSet, config: TrainConfig, run: Path, **_: Any) -> Path:
        seen[run.name] = config, len(rows)
        run.mkdir(parents=True)
        write_history(run, [EpochResult(1, 0, 1, 1, of_rate[config.learning_rate], 0.5)])
        return run / "model.keras"

    def cross_validate(rows: Any, config: TrainConfig, run: Path, *, init: Path, **_: Any) -> Judged:
        seen[run.name] = config, len(rows)
        assert init.parent.name == "pretrained"
        return out_of_fold(1, 1, 1, 1, 1, 1)

    monkeypatch.setattr(three_networks, "pretrain", pretrain)
    monkeypatch.setattr(three_networks, "cross_validate", cross_validate)
    found = train_network("resnet50", PROTOCOL, tmp_path)
    assert found.trials == of_rate
    assert seen["rate-0.001"] == (replace(PROTOCOL.pretraining, network="resnet50", learning_rate=0.001), 5)
    assert seen["pretrained"] == (replace(PROTOCOL.pretraining, network="resnet50", learning_rate=better), 9)
    assert seen["folds"][0] == replace(PROTOCOL.tuning, network="resnet50", learning_rate=0.4 * better)


def test_seconds_of_a_run_that_goes_on_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "cpu-seconds").write_text("100.0\n")
    seconds = three_networks._Clock(tmp_path / "cpu-seconds").tick()
    assert 100 <= seconds < 101
    assert float((tmp_path / "cpu-seconds").read_text()) == seconds


def test_the_recipes_are_the_same_for_all_and_name_none() -> None:
    folder = Path(__file__).parents[2] / "export" / "recipes" / "three-networks"
    for name in ("pretrain.toml", "tune.toml"):
        text = (folder / name).read_text()
        assert "network =" not in text
        assert "learning_rate =" not in text
        assert read_config(folder / name).frozen_stages == 0


def test_what_is_compared_has_no_stages_to_freeze(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="frozen_stages: got 2; expected 0: chexnet has no such stages"):
        TrainConfig(network="chexnet", frozen_stages=2)
    (tmp_path / "recipe.toml").write_text('network = "vgg16"\n')
    with pytest.raises(TrainingError, match="network: got 'vgg16'; expected cxrs or resnet50 or chexnet"):
        read_config(tmp_path / "recipe.toml")
    config = TrainConfig(network="resnet50")
    write_config(config, tmp_path / "recipe.toml")
    assert read_config(tmp_path / "recipe.toml") == config


@pytest.mark.parametrize("network", NETWORKS)
def test_statistics_of_batch_norms_move_equally_fast(network: Any) -> None:
    model = keras.Model(*build_backbone(network, SIZE, 3))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {norm.momentum for norm in norms} == {0.9}
    assert model.output_shape[1:3] == (1, 1)


def test_heads_and_backbone_keep_their_weights_between_the_stages(tmp_path: Path) -> None:
    """From a file to a network with the training's outputs, and from that to one with all outputs."""
    keras.utils.set_random_seed(5)
    first, second = (build_severity_network(size=SIZE, network="resnet50") for _ in range(2))
    path = tmp_path / "first.keras"
    save_model(first, path, Provenance(input=InputSpec(size=SIZE)))
    copy_weights(path, second)
    logits = logits_model(second)
    image = np.random.default_rng(0).uniform(0, 255, (1, SIZE, SIZE, 3)).astype(np.float32)
    before, after = first(image), full_model(logits, size=SIZE, channels=3, network="resnet50")(image)
    assert np.abs(before["zones"] - 0.5).max() > 1e-4
    for name in ("probabilities", "zones", "extents"):
        np.testing.assert_allclose(before[name], after[name], rtol=1e-6)
    loaded = load_source(path, "gap", {"checkpoint": None, "image": None, "output": None})
    assert loaded.name == "resnet50"
    assert loaded.network == f"ResNet-50, {first.count_params():,} parameters"
    with pytest.raises(
        TrainingError, match=r"has other layers than the network to train.*of the same network"
    ):
        copy_weights(path, build_severity_network(size=SIZE))


@pytest.mark.slow
def test_three_networks_from_nothing_to_figures(tiny_set: Path, tmp_path: Path) -> None:
    """The script on drawn X-rays; a second call trains nothing and finds the same."""
    findings = _finding_folder(tmp_path / "findings", tiny_set)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    write_config(TrainConfig(size=SIZE, batch=4, epochs=1), recipes / "pretrain.toml")
    write_config(
        TrainConfig(size=SIZE, batch=4, epochs=1, tasks=Tasks(zones=1, extents=1, weak=1)),
        recipes / "tune.toml",
    )
    target = tmp_path / "figures" / "three.json"
    arguments = [str(tiny_set), str(findings), "-o", str(tmp_path / "run"), "--recipes", str(recipes)]
    for network in NETWORKS:
        result = CliRunner().invoke(main, [*arguments, "--network", network], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert f"{network}  fold 1  epoch 1" in result.output
    result = CliRunner().invoke(main, [*arguments, "--json", str(target)], catch_exceptions=False)
    assert "epoch" not in result.output
    found: Mapping[str, Any] = json.loads(target.read_text())
    assert list(found["networks"]) == list(NETWORKS)
    assert all(sum(map(sum, one["confusion"])) == 7 for one in found["networks"].values())
    assert len(read_three_networks(target).pairs) == 3
    provenance = load_network(tmp_path / "run" / "chexnet" / "folds" / "fold-0" / "model.keras")[1]
    assert provenance.training["recipe"]["network"] == "chexnet"
    assert provenance.training["init_training"]["recipe"]["network"] == "chexnet"


def _finding_folder(folder: Path, tiny_set: Path) -> Path:
    """The labelled set's films again, as those of other patients."""
    folder.mkdir()
    (folder / "images").symlink_to(tiny_set / "images")
    rows = [(f"t{n:02}", "covid" if n % 2 else "normal", "train" if n < 6 else "val") for n in range(8)]
    lines = ["image_id,source,patient_id,label,split"]
    lines += [f"{name},north,q{name},{label},{split}" for name, label, split in rows]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder
