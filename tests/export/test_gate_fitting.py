"""The gate's network is the same in Keras and on the device; fitting on a few films gives a file that works."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cxrs_bench.gate.films import read_films
from cxrs_bench.gate.made import MADE
from cxrs_bench.phantom import Phantom, draw_phantom
from cxrs_edge.cli import main
from cxrs_edge.errors import DataError
from cxrs_edge.gate.data import read_gate
from cxrs_edge.gate.network import class_logits, normalise
from cxrs_export.gate_fitting import find_pictures, reduced
from cxrs_export.gate_network import GateRecipe, _build, _layers_of
from cxrs_export.gate_samples import CLASSES, SHARES, Material, draw_samples, thumbnail, vary_film


def film(seed: int = 0, width: int = 112, height: int = 130) -> np.ndarray:
    return draw_phantom(Phantom((0, 1, 0, 0, 2, 0), seed, width, height))


def material(count: int = 4) -> Material:
    films = [film(seed) for seed in range(count)]
    reach = np.arange(1, count + 1) / count
    pictures = [MADE["shapes"]((112, 90), np.random.default_rng(seed)) for seed in range(3)]
    return Material(films=films, reach=reach, phantoms=films, pictures=pictures)


def test_the_device_computes_what_keras_does():
    network = _build(GateRecipe(widths=(3, 4, 5)))
    rng = np.random.default_rng(0)
    layers = [layer for layer in network.layers if layer.get_weights()]
    for layer in layers:
        layer.set_weights(
            [rng.normal(0, 0.5, weight.shape).astype(np.float16) for weight in layer.get_weights()]
        )
    thumbnails = rng.integers(0, 256, (5, 32, 32), np.uint8)
    expected = network.predict_on_batch(normalise(thumbnails)[..., np.newaxis])
    found = [class_logits(one, _layers_of(network)) for one in thumbnails]
    assert np.array(found) == pytest.approx(np.asarray(expected), abs=1e-3)


def test_samples_have_the_shares_and_are_drawn_again_alike():
    thumbnails, labels = draw_samples(material(), 600, 32, np.random.default_rng(1))
    assert (thumbnails.shape, thumbnails.dtype) == ((600, 32, 32), np.uint8)
    share = np.bincount(labels, minlength=len(CLASSES)) / 600
    assert share[CLASSES.index("chest")] == pytest.approx(SHARES["chest"], abs=0.07)
    assert share[CLASSES.index("other")] == pytest.approx(SHARES["picture"] + SHARES["made"], abs=0.07)
    assert (share > 0).all()
    again, same = draw_samples(material(), 600, 32, np.random.default_rng(1))
    assert np.array_equal(thumbnails, again)
    assert np.array_equal(labels, same)


def test_a_varied_film_is_still_that_film():
    """Its thumbnail resembles that of the film, or of its mirror image, more than the film upside down does."""
    whole = film(3)
    for seed in range(10):
        varied = thumbnail(vary_film(whole, np.random.default_rng(seed)), 32)

        def likeness(other: np.ndarray, varied: np.ndarray = varied) -> float:
            return float(np.corrcoef(varied.ravel(), thumbnail(other, 32).ravel())[0, 1])

        upright = max(likeness(whole), likeness(np.ascontiguousarray(whole[:, ::-1])))
        assert upright > max(likeness(np.ascontiguousarray(whole[::-1])), 0.6)


def test_a_film_is_reduced_to_its_shorter_side(tmp_path):
    Image.fromarray(film(0, 448, 560)).save(tmp_path / "film.png")
    plane = reduced(tmp_path / "film.png")
    assert plane.shape == (140, 112)


def write_set(folder: Path, count: int) -> Path:
    (folder / "images").mkdir(parents=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "patient_id", "split", "source"])
        for seed in range(count):
            Image.fromarray(film(seed)).save(folder / "images" / f"f{seed}.jpg")
            writer.writerow([f"f{seed}", f"p{seed // 2}", "val" if seed == 0 else "train", "here"])
    return folder


def test_films_of_a_set_and_what_is_wrong_with_one(tmp_path):
    films = read_films(write_set(tmp_path / "set", 3))
    assert [(one.patient, one.split, one.group) for one in films] == [
        ("p0", "val", "set, val"),
        ("p0", "train", "set, train"),
        ("p1", "train", "set, train"),
    ]
    assert films[0].path == tmp_path / "set" / "images" / "f0.jpg"
    with pytest.raises(DataError, match=r"labels\.csv: can't be read"):
        read_films(tmp_path)
    (tmp_path / "labels.csv").write_text("image_id,patient_id,split\n")
    with pytest.raises(DataError, match="no rows"):
        read_films(tmp_path)
    with pytest.raises(DataError, match="no picture"):
        find_pictures([tmp_path / "nothing"])


def test_fit_writes_a_gate_that_can_be_read(tmp_path, monkeypatch):
    recipe = GateRecipe(epochs=1, samples=200, phantoms=4)
    monkeypatch.setattr("cxrs_export.gate_network.GateRecipe", lambda: recipe)
    write_set(tmp_path / "set", 6)
    (tmp_path / "pictures").mkdir()
    for seed in range(3):
        picture = MADE["shapes"]((150, 120), np.random.default_rng(seed))
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{seed}.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    arguments = [
        "gate",
        "fit",
        tmp_path / "set",
        "--pictures",
        tmp_path / "pictures",
        "-o",
        tmp_path / "gate.npz",
    ]
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    fitted = read_gate(tmp_path / "gate.npz")
    assert fitted.classes == CLASSES
    assert fitted.limits.reject_margin <= fitted.limits.doubt_margin
    assert fitted.fitted["films"] == {"set, train": 5}
    assert (fitted.fitted["pictures"], fitted.fitted["patients"]) == (3, 3)
    assert fitted.fitted["recipe"]["phantoms"] == 4
