from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxrs_bench.severity_predictions import read_severity_predictions
from cxrs_edge.errors import TrainingError
from cxrs_export.cli_crossval import crossval
from cxrs_export.keras_file import load_model
from cxrs_export.train_config import Tasks, TrainConfig, read_config, write_config

RECIPE = TrainConfig(
    size=64, batch=4, epochs=1, learning_rate=1e-3, tasks=Tasks(zones=1, extents=1, weak=0.5)
)


@pytest.fixture(scope="module")
def finished(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossval")
    write_config(RECIPE, folder / "recipe.toml")
    run(tiny_set, folder)
    return folder


def run(data: Path, folder: Path, *more: str) -> str:
    arguments = [
        str(data),
        "-o",
        str(folder / "run"),
        "--config",
        str(folder / "recipe.toml"),
        "--resamples",
        "100",
    ]
    result = CliRunner().invoke(crossval, [*arguments, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_image_is_judged_by_the_network_that_did_not_see_it(finished: Path) -> None:
    ids = [
        sorted(
            p.image_id for p in read_severity_predictions(finished / "run" / f"fold-{fold}" / "held-out.csv")
        )
        for fold in (0, 1)
    ]
    assert ids == [["t00", "t01", "t02"], ["t03", "t04", "t05", "t06", "t07"]]
    training = load_model(finished / "run" / "fold-1" / "model.keras")[1].training
    assert (training["images"], training["patients"]) == (3, 2)


def test_it_writes_what_a_card_needs(finished: Path) -> None:
    decision = json.loads((finished / "run" / "decision.json").read_text())
    assert set(decision) == {"temperature", "zones", "level0", "conformal"}
    assert (finished / "run" / "certainty.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((finished / "run" / "figures.json").read_text())
    assert "AUC, level 1 v 2, all" in {figure["name"] for figure in figures}


def test_a_finished_run_is_judged_again_without_training(finished: Path, tiny_set: Path) -> None:
    model = finished / "run" / "fold-0" / "model.keras"
    before = model.stat().st_mtime_ns
    output = run(tiny_set, finished)
    assert "epoch" not in output
    assert "| AUC, level 1 v 2, all | 7 |" in output
    assert model.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_second_stage_starts_each_fold_from_that_folds_network(finished: Path, tiny_set: Path) -> None:
    second = finished / "second"
    second.mkdir()
    write_config(read_config(finished / "recipe.toml"), second / "recipe.toml")
    run(tiny_set, second, "--init", str(finished / "run"))
    import hashlib

    for fold in (0, 1):
        training = load_model(second / "run" / f"fold-{fold}" / "model.keras")[1].training
        first = finished / "run" / f"fold-{fold}" / "model.keras"
        assert training["init_sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()


def test_a_recipe_for_the_level_alone_is_refused(tiny_set: Path, tmp_path: Path) -> None:
    write_config(TrainConfig(size=32), tmp_path / "recipe.toml")
    result = CliRunner().invoke(
        crossval, [str(tiny_set), "-o", str(tmp_path / "run"), "--config", str(tmp_path / "recipe.toml")]
    )
    assert isinstance(result.exception, TrainingError)
    assert "expected a recipe with [tasks]" in str(result.exception)
