"""`cxrs-edge evaluate --evidence` and `--marks`, and the float network's maps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("tensorflow")

import keras

from cxrs_edge.cli import main
from cxrs_edge.errors import ModelError
from cxrs_edge.model_file import with_card
from cxrs_edge.prepare import InputSpec
from cxrs_export.evidence_maps import class_maps_of, evidence_of, randomised
from cxrs_export.keras_file import Provenance, infer, save_model
from cxrs_export.severity_network import build_severity_network

sys.path.insert(0, str(Path(__file__).parents[1] / "edge"))

from tiny_models import FULL, TinyCard, TinyGraph, tiny_onnx


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("float") / "float.keras"
    save_model(build_severity_network(size=64), path, Provenance(input=InputSpec(size=64)))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    base = tiny_onnx(TinyGraph(**FULL["graph"]))
    path.write_bytes(with_card(base, TinyCard(**FULL["card"]).card(), "onnx"))
    return path


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments), "--resamples", "100"])


def subject(level: int, channels: int = 3) -> SimpleNamespace:
    plane = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1), dtype=np.uint8)
    pixels = np.repeat(plane, channels, axis=3)
    return SimpleNamespace(level=level, examination=SimpleNamespace(pixels=pixels))


def test_the_classes_maps_differ_by_the_evidence(float_model: Path) -> None:
    """Grad-CAM's maps of both levels, of the mean of 2 x 2 cells: their difference over 4 is the evidence."""
    of_class, evidence = class_maps_of(float_model), evidence_of(float_model)
    difference = (of_class(subject(2)) - of_class(subject(1))) / 4
    np.testing.assert_allclose(difference, evidence(subject(2)), atol=1e-6)
    np.testing.assert_allclose(evidence(subject(1)), -evidence(subject(2)), atol=1e-6)
    network = keras.models.load_model(float_model)
    found = infer(network, subject(2).examination.pixels)["evidence"][0]
    np.testing.assert_allclose(evidence(subject(2)), found, atol=1e-6)
    # Exported files take one channel, the network that they come from three.
    for map_of in (of_class, evidence):
        np.testing.assert_array_equal(map_of(subject(2, channels=1)), map_of(subject(2)))


def test_new_weights_give_another_map_the_same_for_the_same_seed(float_model: Path) -> None:
    trained, first, again, other = (
        map_of(subject(2))
        for map_of in (
            evidence_of(float_model),
            randomised(float_model, 0),
            randomised(float_model, 0),
            randomised(float_model, 1),
        )
    )
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert np.abs(first - trained).max() > 1e-3 * np.abs(trained).max()
    assert not np.allclose(first, other)


def test_a_network_without_evidence_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny\.keras: has no output evidence"):
        evidence_of(tiny_model)


def test_the_table_and_the_records(model: Path, tiny_set: Path, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    arguments = (
        model,
        tiny_set,
        "--engine",
        "onnx",
        "--evidence",
        records,
        "--method",
        "centre",
        "--steps",
        "2",
    )
    done = evaluate(*arguments)
    assert done.exit_code == 0, done.output
    assert "3 images, 0 of them left out" in done.stdout
    assert "| method | impact, blur | impact, ring mean | impact, membrane | deletion AUC |" in done.stdout
    assert "| evidence minus |" in done.stdout
    lines = records.read_text().splitlines()
    assert json.loads(lines[0])["methods"] == ["evidence", "centre"]
    assert len(lines) == 4
    again = evaluate(*arguments)
    assert again.stdout == done.stdout
    assert records.read_text().splitlines() == lines
    refused = evaluate(*arguments[:-1], "3")
    assert refused.exit_code == 1
    assert "measured otherwise" in refused.stderr


def test_marks_are_counted(model: Path, tiny_set: Path) -> None:
    done = evaluate(model, tiny_set, "--engine", "onnx", "--marks", "--limit", "2")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 images.")
    # The tiny model says level 1 of all that isn't black.
    assert "| L, upper right | 0 of 2 | 0.000 (0.000 to 0.000) |" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--evidence", "x.jsonl", "--method", "Grad-CAM"), "needs --float-model"),
        (("--evidence", "x.jsonl"), "--marks need an exported"),
        (("--marks",), "--marks need an exported"),
        (("--marks", "--evidence", "x.jsonl"), "ask for one at a time"),
        (("--limit", "1"), "--limit without --evidence or --marks"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, tiny_model: Path, tiny_set: Path) -> None:
    done = evaluate(tiny_model, tiny_set, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
