"""Prepared training images in memory, and balanced batches that depend on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrs_bench.labelled import LabelledSet
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import InputSpec, pixels_needed, prepare
from cxrs_export.augment import Augmentation, augment

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """`planes`: uint8, N x H x H, one gray plane an image; `levels`: int, N, each 1 or 2."""

    planes: NDArray[np.uint8]
    levels: NDArray[np.int64]


def load_planes(rows: LabelledSet, spec: InputSpec) -> Iterator[NDArray[np.uint8]]:
    """Read and prepare each image as the device does; yields H x H, one plane (channels are copies)."""
    for row in rows:
        image = read_image(read_file(row.path), name=str(row.path), at_least=pixels_needed(spec))
        yield prepare(image, spec)[0, :, :, 0]


def balanced_order(levels: NDArray[np.int64], batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Which images an epoch shows: steps x batch indices, each batch half level 1 and half level 2.

    An epoch has as many steps as one pass over all images would take. Each level is drawn in shuffled
    passes, so the rarer one is seen several times and none is left out for long.
    """
    steps = -(-len(levels) // batch)
    halves = []
    for level in (1, 2):
        rng = np.random.default_rng((seed, epoch, level))
        members = np.flatnonzero(levels == level)
        passes = -(-steps * (batch // 2) // len(members))
        drawn = np.concatenate([rng.permutation(members) for _ in range(passes)])
        halves.append(drawn[: steps * (batch // 2)].reshape(steps, batch // 2))
    return np.concatenate(halves, axis=1)


def epoch_batches(
    images: TrainingImages, ranges: Augmentation, *, batch: int, channels: int, seed: int, epoch: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Augmented batches of one epoch: pixels float32 B x H x H x C (0..255), classes 0 or 1, B."""
    order = balanced_order(images.levels, batch, seed, epoch)
    for step, indices in enumerate(order):
        planes = [
            augment(images.planes[i], ranges, np.random.default_rng((seed, epoch, step, place)))
            for place, i in enumerate(indices)
        ]
        pixels = np.repeat(np.stack(planes)[..., np.newaxis].astype(np.float32), channels, axis=3)
        yield pixels, images.levels[indices] - 1


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Make the next item in a thread while the caller works on this one."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(next, items, None)
        while (item := ahead.result()) is not None:
            ahead = pool.submit(next, items, None)
            yield item
