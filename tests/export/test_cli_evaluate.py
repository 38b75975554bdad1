"""`cxrs-edge evaluate`: models, files and CSVs in; tables, JSON and flips out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("tensorflow")

import keras

from cxrs_edge.cli import main
from cxrs_edge.prepare import InputSpec
from cxrs_export.keras_file import Provenance, save_model

RESAMPLES = ("--resamples", "100")
WriteCsv = Callable[..., Path]


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def succeed(*arguments: object) -> str:
    result = evaluate(*arguments, *RESAMPLES)
    assert result.exit_code == 0, result.output
    return result.stdout


def succeed_json(*arguments: object) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(succeed(*arguments, "--format", "json"))
    return values


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """Write predictions from rows of image, patient, level, probability of level 2."""

    def write(rows: list[tuple[str, str, int, float]], name: str = "predictions.csv") -> Path:
        path = tmp_path / name
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("image_id", "patient_id", "level", "probability_level2"))
            writer.writerows(rows)
        return path

    return write


ROWS = [("a", "p", 1, 0.2), ("b", "p", 1, 0.7), ("c", "q", 2, 0.5), ("d", "r", 2, 0.9), ("e", "r", 2, 0.1)]


def constant_model(folder: Path, margin: float) -> Path:
    """Gives every image the margin `margin` for level 2."""
    image = keras.Input((64, 64, 3), name="image")
    logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, keras.layers.Softmax(name="probabilities")(logits), name="constant")
    model.get_layer("logits").set_weights([np.zeros((3, 2)), np.array([0.0, margin])])
    path = folder / f"constant{margin:g}.keras"
    save_model(model, path, Provenance(input=InputSpec(size=64)))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One says level 1 of everything with odds 3, one level 2."""
    folder = tmp_path_factory.mktemp("models")
    return constant_model(folder, -np.log(3)), constant_model(folder, np.log(3))


def test_csv_by_hand(write_csv: WriteCsv) -> None:
    values = succeed_json(write_csv(ROWS))
    assert values["schema"] == "cxrs-edge/evaluation/1"
    assert values["images"] == {"total": 5, "level1": 2, "level2": 3}
    assert values["patients"] == {"total": 3, "level1": 1, "level2": 2}
    # 0.5 is level 2: of level 1 one is right, of level 2 two are.
    assert values["confusion"] == [[1, 1], [1, 2]]
    assert values["by_image"]["accuracy"]["value"] == pytest.approx(3 / 5)
    # Patients p, q and r count alike: half, all and half of their images are right.
    assert values["by_patient"]["accuracy"]["value"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert values["bootstrap"]["resamples"] == 100
    assert "paired_flips" not in values


def test_text(write_csv: WriteCsv) -> None:
    path = write_csv(ROWS)
    text = succeed(path)
    assert text.startswith(
        f"{path}\nImages: 5 (level 1: 2, level 2: 3). Patients: 3 (level 1: 1, level 2: 2)."
    )
    assert "Level flips" not in text


@pytest.mark.parametrize(
    ("split", "images", "patients"),
    [("test", (3, 1, 2), (2, 1, 1)), ("train", (7, 3, 4), (5, 2, 4)), ("all", (10, 4, 6), (7, 3, 5))],
)
def test_splits_of_the_tiny_set(
    split: str,
    images: tuple[int, int, int],
    patients: tuple[int, int, int],
    models: tuple[Path, Path],
    tiny_set: Path,
) -> None:
    """Images of level 0 are left out; p0 has images of both levels."""
    values = succeed_json(models[0], tiny_set, "--split", split)
    assert tuple(values["images"].values()) == images
    assert tuple(values["patients"].values()) == patients
    assert values["confusion"] == [[images[1], 0], [images[2], 0]]


def test_test_split_is_the_default(models: tuple[Path, Path], tiny_set: Path) -> None:
    assert succeed_json(models[0], tiny_set) == succeed_json(models[0], tiny_set, "--split", "test")


def test_unknown_split(models: tuple[Path, Path], tiny_set: Path) -> None:
    result = evaluate(models[0], tiny_set, "--split", "validation")
    assert result.exit_code == 1
    assert "Error: split 'validation': no images" in result.stderr


def test_compare_names_each_flip(models: tuple[Path, Path], tiny_set: Path) -> None:
    values = succeed_json(models[0], tiny_set, "--compare", models[1])
    assert values["paired_flips"] == {
        "images": 3,
        "to_level1": [],
        "to_level2": ["t09", "t10", "t11"],
        "largest_difference": pytest.approx(0.5, abs=1e-6),
        "mean_difference": pytest.approx(0.5, abs=1e-6),
    }
    difference = values["paired_difference"]
    # The first model says level 1 to all, the second level 2: one image of level 1, two of level 2.
    assert (difference["right_by_a_only"], difference["right_by_b_only"]) == (1, 2)
    assert difference["mcnemar_p"] == 1
    assert difference["auc_difference"]["value"] == 0
    text = succeed(models[1], tiny_set, "--compare", models[0])
    assert f"{models[1]} against {models[0]}" in text
    assert (
        "The quality gate would reject 3 of 3 images; every figure counts them all.\n  t09\n  t10\n" in text
    )
    assert "Level flips: 3 of 3 (3 are level 1 by the second, 0 level 2)" in text


def test_model_file_and_csv_agree(models: tuple[Path, Path], tiny_set: Path, tmp_path: Path) -> None:
    exported = CliRunner().invoke(
        main, ["export", str(models[1]), "-o", str(tmp_path), "--verification-images", "1", "--name", "c"]
    )
    assert exported.exit_code == 0, exported.output
    table = tmp_path / "table.csv"
    by_keras = succeed_json(models[1], tiny_set, "--predictions", table)
    # Of 96 x 112 pixels, the set's phantoms are too small for the quality gate; the figures count them all the same.
    assert by_keras.pop("gate") == {"images": 3, "rejected": ["t09", "t10", "t11"]}
    assert by_keras["images"]["total"] == 3
    assert succeed_json(table) == by_keras
    header, *rows = list(csv.reader(table.open()))
    assert header == ["image_id", "patient_id", "level", "probability_level2"]
    assert [row[:3] for row in rows] == [["t09", "p7", "1"], ["t10", "p8", "2"], ["t11", "p8", "2"]]
    assert [float(row[3]) for row in rows] == pytest.approx([0.75] * 3, abs=1e-6)
    for name, engine in (("c-float32.tflite", "tflite"), ("c-float32.onnx", "onnx")):
        options = ("--engine", engine, "--threads", "1", "--compare", table)
        values = succeed_json(tmp_path / name, tiny_set, *options)
        flips = values.pop("paired_flips")
        del values["paired_difference"]
        assert values.pop("gate")["images"] == 3
        assert values == by_keras
        assert (flips["images"], flips["to_level1"], flips["to_level2"]) == (3, [], [])
        assert flips["largest_difference"] < 1e-6


def test_basis_selects_images(models: tuple[Path, Path], tiny_set: Path, tmp_path: Path) -> None:
    text = (tiny_set / "labels.csv").read_text()
    lines = [
        line.replace(",phantom,", ",brixia,") if line.startswith(("t09", "t10")) else line
        for line in text.splitlines()
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines))
    images = ("--images", tiny_set / "images")
    assert succeed_json(models[0], labels, *images)["images"]["total"] == 3
    assert succeed_json(models[0], labels, *images, "--basis", "brixia")["images"]["total"] == 2
    result = evaluate(models[0], labels, *images, "--basis", "report")
    assert result.exit_code == 1
    assert "basis 'report': no images; the set has: ['brixia', 'phantom']" in result.stderr


def test_seed_decides_the_intervals_only(write_csv: WriteCsv) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"i{n}", f"p{n}", 1 + n % 2, float(rng.random())) for n in range(40)]
    path = write_csv(rows)
    first, again, other = (succeed_json(path, "--seed", seed) for seed in (1, 1, 2))
    assert first == again
    assert first["by_image"]["auc"]["value"] == other["by_image"]["auc"]["value"]
    assert first["by_image"]["auc"]["low"] != other["by_image"]["auc"]["low"]


def test_a_model_needs_data(models: tuple[Path, Path], write_csv: WriteCsv) -> None:
    for arguments in ((models[0],), (write_csv(ROWS), "--compare", models[0])):
        result = evaluate(*arguments)
        assert result.exit_code == 2
        assert f"{models[0]}: a model needs DATA, the labelled set to grade" in result.stderr


def test_csvs_of_other_images_can_not_be_compared(write_csv: WriteCsv) -> None:
    result = evaluate(write_csv(ROWS), "--compare", write_csv(ROWS[:-1], "fewer.csv"))
    assert result.exit_code == 1
    assert "1 images are in one prediction list only, the first 'e'" in result.stderr


@pytest.mark.parametrize("name", ["absent.csv", "absent.keras", "absent.onnx"])
def test_absent_source(name: str, tiny_set: Path, tmp_path: Path) -> None:
    result = evaluate(tmp_path / name, tiny_set)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path / name}: ")
    assert len(result.stderr.splitlines()) == 1


def test_the_papers_figures_stand_beside_ours(write_csv: WriteCsv) -> None:
    text = succeed(write_csv(ROWS), "--published")
    (line,) = [line for line in text.splitlines() if line.startswith("  PPV, level 1")]
    # Of a and e, both graded level 1, one is of level 1; the paper's 48 of 55 stand beside it.
    assert line.split()[3] == "0.500"
    assert line.split()[-2] == "0.873"
    values = succeed_json(write_csv(ROWS), "--published")
    assert values["published"]["accuracy"] == pytest.approx(139 / 150)
    assert "auc" not in values["published"]
    assert "published" not in succeed_json(write_csv(ROWS))
