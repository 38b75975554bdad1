"""A labelled set of drawn X-rays and an untrained model, both small enough to train and convert in a test."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from cxrs_bench.phantom import Phantom, draw_phantom

ZONES = {0: (0, 0, 0, 0, 0, 0), 1: (0, 0, 3, 0, 0, 0), 2: (2, 3, 3, 2, 3, 3)}
TINY_ROWS = (
    # image, patient, level, split, fold
    ("t00", "p0", 1, "train", 0),
    ("t01", "p0", 2, "train", 0),
    ("t02", "p1", 2, "train", 0),
    ("t03", "p2", 1, "train", 1),
    ("t04", "p2", 1, "train", 1),
    ("t05", "p3", 2, "train", 1),
    ("t06", "p4", 2, "train", 1),
    ("t07", "p5", 0, "train", 1),
    ("t08", "p6", 0, "test", -1),
    ("t09", "p7", 1, "test", -1),
    ("t10", "p8", 2, "test", -1),
    ("t11", "p8", 2, "test", -1),
)


READINGS = (
    *(f"brixia_{reader}_{zone}" for reader in ("senior", "junior") for zone in "abcdef"),
    "geographic",
    "opacity",
)
UNREAD = ("t03", "t04", "t10")
"""Images of which only the extents were read."""


def _readings(image_id: str, _: str, level: int) -> tuple[object, ...]:
    scores = ("",) * 12 if image_id in UNREAD else ZONES[level] * 2
    return *scores, level * 2.5, level * 2.0


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``labels.csv`` and ``images/`` of the 12 phantoms in `TINY_ROWS`, 96 x 112 pixels.

    Training split: three images of level 1, four of level 2, one of level 0, in folds 0 and 1, from six
    patients; test split: one, two and one, from three patients. Read it only; every test shares it.
    """
    folder = tmp_path_factory.mktemp("tiny") / "set"
    (folder / "images").mkdir(parents=True)
    for seed, (image_id, _, level, _, _) in enumerate(TINY_ROWS):
        drawn = draw_phantom(Phantom(ZONES[level], seed=seed, width=96, height=112))
        Image.fromarray(drawn).save(folder / "images" / f"{image_id}.jpg", quality=90)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            (
                "image_id",
                "patient_id",
                "level",
                "split",
                "fold",
                "source",
                "level_basis",
                "licence",
                *READINGS,
            )
        )
        writer.writerows((*row, "drawn", "phantom", "CC0-1.0", *_readings(*row[:3])) for row in TINY_ROWS)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``.keras`` file of the network at 64 x 64 x 3 with random weights and provenance. Read it only."""
    import keras

    from cxrs_edge.prepare import InputSpec
    from cxrs_export.keras_file import Provenance, save_model
    from cxrs_export.network import build_network

    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    training = {"data_sha256": "0" * 64, "split": "train", "images": 7, "recipe": {"seed": 1}}
    provenance = Provenance(
        input=InputSpec(size=64, crop_top=0.1),
        training=training,
        temperature=1.5,
        temperature_fitted="fold 0",
    )
    save_model(build_network(size=64), path, provenance)
    return path
