"""Thumbnails that the gate's network is trained on: films varied as other hospitals' are, whole and spoiled,
beside pictures and made images that are no films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrs_bench.gate.made import MADE
from cxrs_bench.gate.spoil import TURNS, Plane
from cxrs_edge.image import GrayImage
from cxrs_edge.prepare import MAX_ASPECT, InputSpec, prepare

CLASSES = ("chest", "drawn", *TURNS, "other")
MADE_SIZE = (112, 112)
FEW_PIXELS = (6, 28)
SHARES = {"chest": 0.36, "spoiled": 0.30, "drawn": 0.06, "picture": 0.20, "made": 0.08}
"""Of the samples of an epoch; `spoiled` are films and phantoms turned, inverted or cut."""
PHANTOMS_AMONG_SPOILED = 0.1
SPOILED = (*TURNS, "part", "part")
"""Parts come three times as often: they are the hardest, and the most various."""


@dataclass(frozen=True)
class Material:
    """What samples are made of: gray planes, their shorter sides some 100 pixels.

    Attributes
    ----------
    films : real X-rays, upright.
    reach : running sum of each film's chance to be taken, which gives small sources more of them; ends with 1.
    phantoms : drawn ones, upright.
    pictures : that are no X-rays.
    """

    films: Sequence[Plane]
    reach: NDArray[np.float64]
    phantoms: Sequence[Plane]
    pictures: Sequence[Plane]


def thumbnail(plane: Plane, side: int) -> Plane:
    """What the gate sees of an image: uint8, side x side."""
    longest = MAX_ASPECT * min(plane.shape)
    plane = plane[:longest, :longest]
    image = GrayImage(pixels=plane, name="sample", format="PNG", size=(plane.shape[1], plane.shape[0]))
    return np.asarray(prepare(image, InputSpec(size=side, channels=1, resize="box"))[0, :, :, 0])


def draw_samples(
    material: Material, count: int, side: int, rng: np.random.Generator
) -> tuple[Plane, NDArray[np.int64]]:
    """`count` thumbnails, uint8, count x side x side, and the numbers of their classes."""
    kinds = rng.choice(list(SHARES), count, p=list(SHARES.values()))
    drawn = [_draw_one(material, str(kind), rng) for kind in kinds]
    thumbnails = np.stack([thumbnail(plane, side) for plane, _ in drawn])
    return _expose(thumbnails, rng), np.array([CLASSES.index(label) for _, label in drawn])


def _draw_one(material: Material, kind: str, rng: np.random.Generator) -> tuple[Plane, str]:
    if kind == "made":
        return list(MADE.values())[rng.integers(len(MADE))](MADE_SIZE, rng), "other"
    if kind == "picture":
        return _vary_picture(_any(material.pictures, rng), rng), "other"
    if kind == "drawn" or (kind == "spoiled" and rng.random() < PHANTOMS_AMONG_SPOILED):
        plane, label = _any(material.phantoms, rng), "drawn"
    else:
        plane, label = material.films[int(np.searchsorted(material.reach, rng.random()))], "chest"
    plane = vary_film(plane, rng)
    if kind == "spoiled":
        label = SPOILED[rng.integers(len(SPOILED))]
        plane = TURNS[label](plane, rng)
    return plane, label


def vary_film(film: Plane, rng: np.random.Generator) -> Plane:
    """Other framing, tilt and shape; either side left."""
    image = Image.fromarray(film[:, ::-1] if rng.random() < 0.5 else film)
    if rng.random() < 0.5:
        image = image.rotate(
            rng.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=int(rng.choice([0, 0, 20]))
        )
    width, height = image.size
    if rng.random() < 0.7:
        left, top, right, bottom = rng.uniform(-0.08, 0.08, 4)
        # A box beyond the image is filled with black, as by shutters.
        image = image.crop(
            (int(left * width), int(top * height), int((1 + right) * width), int((1 + bottom) * height))
        )
    if rng.random() < 0.5:
        image = image.resize((max(64, int(image.width * rng.uniform(0.85, 1.18))), image.height))
    return np.asarray(image)


def _vary_picture(picture: Plane, rng: np.random.Generator) -> Plane:
    """A part at any turn, sometimes inverted, sometimes as blurred as what was enlarged from a few pixels."""
    if rng.random() < 0.7:
        shape = np.array(picture.shape)
        rows, columns = np.maximum(rng.uniform(0.4, 1, 2) * shape, np.minimum(40, shape)).astype(int)
        top, left = (rng.random(2) * (shape - (rows, columns) + 1)).astype(int)
        picture = picture[top : top + rows, left : left + columns]
    if rng.random() < 0.25:
        few = int(rng.integers(*FEW_PIXELS))
        small = Image.fromarray(picture).resize((few, few), Image.Resampling.BOX)
        picture = np.asarray(small.resize(MADE_SIZE, Image.Resampling.BICUBIC))
    turned = np.rot90(picture, int(rng.integers(4)))
    return np.asarray(255 - turned if rng.random() < 0.2 else turned)


def _expose(thumbnails: Plane, rng: np.random.Generator) -> Plane:
    """Each with another exposure, contrast and noise."""
    gamma, contrast, black, noise = rng.uniform(
        (-0.5, 0.5, 0.0, 0.0), (0.5, 1.0, 0.15, 0.02), (len(thumbnails), 4)
    ).T[:, :, None, None]
    values = contrast * (thumbnails / 255) ** np.exp(gamma) + black
    values += noise * rng.standard_normal(thumbnails.shape)
    return np.asarray(np.clip(255 * values, 0, 255), np.uint8)


def _any(planes: Sequence[Plane], rng: np.random.Generator) -> Plane:
    return planes[int(rng.integers(len(planes)))]
