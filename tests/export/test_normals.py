"""Films without a finding beside the labelled ones: which, how often, and that the level doesn't learn from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cxrs_bench.findings import read_findings
from cxrs_bench.labelled import LabelledImage, LabelledSet, in_split, read_labelled
from cxrs_bench.normals import normals
from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_bench.readings import Readings
from cxrs_edge.errors import DataError, TrainingError
from cxrs_export.cli_train import read_normals
from cxrs_export.cli_train import train as command
from cxrs_export.keras_file import load_model
from cxrs_export.severity_targets import severity_targets
from cxrs_export.severity_task import NORMAL_KIND, SeverityTask
from cxrs_export.train_config import Tasks, TrainConfig, write_config
from cxrs_export.training import train

HEADER = "image_id,source,patient_id,label,split,population\n"
ROWS = (
    "n0,north,q0,normal,train,adult\n"
    "n1,south,q1,normal,train,\n"
    "n2,north,p8,normal,train,adult\n"
    "n3,north,q3,normal,train,paediatric\n"
    "n4,north,q4,pneumonia,train,adult\n"
    "n5,north,q5,normal,val,adult\n"
)
SEVERAL = TrainConfig(size=64, batch=4, epochs=1, tasks=Tasks(zones=1, extents=1, normals=0.5))


@pytest.fixture(scope="module")
def finding_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    (folder / "images").mkdir()
    for seed in range(6):
        drawn = draw_phantom(Phantom((0,) * 6, seed=seed, width=96, height=96))
        Image.fromarray(drawn).save(folder / "images" / f"n{seed}.jpg")
    (folder / "labels.csv").write_text(HEADER + ROWS)
    return folder


def test_grown_ups_normal_films_of_a_split_are_clear_in_every_zone(finding_set: Path) -> None:
    found = normals(read_findings(finding_set), "train")
    assert [row.image_id for row in found] == ["n0", "n1", "n2"]
    assert {(row.level, row.fold, row.basis, row.readings) for row in found} == {
        (0, -1, "normal", Readings(senior=(0,) * 6, geographic=0.0, opacity=0.0))
    }


def test_patients_of_the_labelled_set_are_left_out(finding_set: Path, tiny_set: Path) -> None:
    # p8 has test images there.
    found = read_normals(finding_set, read_labelled(tiny_set))
    assert [row.image_id for row in found] == ["n0", "n1"]
    assert read_normals(None, read_labelled(tiny_set)) == ()


def test_a_set_of_which_none_remains_is_refused_with_the_counts(tiny_set: Path, tmp_path: Path) -> None:
    rows = ROWS.splitlines()
    (tmp_path / "labels.csv").write_text(HEADER + "\n".join(rows[2:]) + "\n")
    with pytest.raises(
        DataError, match="of 4 films, 1 are normal ones of grown-ups in split train, and none"
    ):
        read_normals(tmp_path, read_labelled(tiny_set))


def test_the_level_is_not_learned_from_them(finding_set: Path) -> None:
    normal = normals(read_findings(finding_set), "train")[0]
    graded = LabelledImage("g", Path("g"), "p", 1, "train", readings=Readings(senior=(0, 0, 1, 0, 0, 0)))
    found = severity_targets((normal, graded), weak=0.5)
    assert found.level_weights.tolist() == [0, 1]
    assert found.zone_weights.tolist() == [1, 1]
    assert found.extent_weights.tolist() == [1, 0]
    assert found.zones[0].tolist() == [0] * 6
    assert found.extents[0].tolist() == [0, 0]


def test_they_get_their_share_and_the_labelled_images_are_seen_as_often_as_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = np.repeat([0, 1, 2, NORMAL_KIND], [4, 8, 12, 100])
    shown: list[int] = []

    def keep(_: Any, order: Any, *__: Any) -> tuple[()]:
        shown.extend(order.ravel())
        return ()

    monkeypatch.setattr("cxrs_export.severity_task.changed_batches", keep)
    empty = np.empty((0, 64, 64), np.uint8)
    targets = severity_targets((LabelledImage("g", Path("g"), "p", 1, "train"),), weak=1.0)
    task = SeverityTask(SEVERAL, None, empty, targets, kinds, empty, kinds[:0])
    assert task.steps == 12
    list(task.batches(0))
    # Half normal; of the other 24, the levels' shares are 0.2, 0.3 and 0.5.
    assert Counter(kinds[shown].tolist()) == {0: 5, 1: 7, 2: 12, NORMAL_KIND: 24}
    assert max(Counter(i for i in shown if kinds[i] == NORMAL_KIND).values()) == 1


@pytest.fixture
def labelled(tiny_set: Path) -> LabelledSet:
    return in_split(read_labelled(tiny_set), "train")


def test_a_share_without_films_and_films_without_a_share_are_refused(
    labelled: LabelledSet, finding_set: Path, tmp_path: Path
) -> None:
    found = normals(read_findings(finding_set), "train")
    with pytest.raises(TrainingError, match=r"tasks\.normals: 0\.5 without normal images; .*--normals"):
        train(labelled, SEVERAL, tmp_path)
    without = replace(SEVERAL, tasks=Tasks(zones=1, extents=1))
    with pytest.raises(
        TrainingError, match=r"--normals: 3 normal images, but the recipe's tasks\.normals is 0"
    ):
        train(labelled, without, tmp_path, normals=found)
    shared = (replace(found[0], patient="p0"),)
    with pytest.raises(TrainingError, match="fold 0 shares patients with the rest: p0"):
        train(labelled, replace(SEVERAL, fold=0), tmp_path, normals=shared)
    with pytest.raises(TrainingError, match=r"tasks\.normals: got 0\.5; expected 0 without"):
        replace(SEVERAL, tasks=Tasks(normals=0.5))
    assert not any(tmp_path.iterdir())


def test_a_run_trains_on_both(tiny_set: Path, finding_set: Path, tmp_path: Path) -> None:
    write_config(SEVERAL, tmp_path / "recipe.toml")
    options = ["--config", tmp_path / "recipe.toml", "--normals", finding_set, "-o", tmp_path / "run"]
    result = CliRunner().invoke(command, [str(tiny_set), *map(str, options)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "trained on 8 images of split train, 0 held out, and 2 normal ones" in result.output
    training = load_model(tmp_path / "run" / "model.keras")[1].training
    assert (training["images"], training["normals"]) == (8, 2)
