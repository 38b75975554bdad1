"""Prepared training images in memory, and batches that depend on seed and epoch alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrs_bench.progress import Report
from cxrs_edge.image import read_file, read_image
from cxrs_edge.prepare import InputSpec, pixels_needed, prepare
from cxrs_export.augment import augment
from cxrs_export.disguise import disguise
from cxrs_export.train_config import TrainConfig

T = TypeVar("T")

VALIDATION_BATCH = 8


def load_planes(
    files: Sequence[Path], spec: InputSpec, report: Report = lambda *_: None
) -> NDArray[np.uint8]:
    """Read and prepare each image as the device does; N x H x H, one plane an image (channels are copies)."""
    planes = np.empty((len(files), spec.size, spec.size), np.uint8)
    for number, file in enumerate(files):
        image = read_image(read_file(file), name=str(file), at_least=pixels_needed(spec))
        planes[number] = prepare(image, spec)[0, :, :, 0]
        report("reading images", number + 1, len(files))
    return planes


def balanced_order(levels: NDArray[np.int64], batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Which images an epoch shows: steps x batch indices, each batch half level 1 and half level 2.

    An epoch has as many steps as one pass over all images would take. Each level is drawn in shuffled
    passes, so the rarer one is seen several times and none is left out for long.
    """
    steps = -(-len(levels) // batch)
    halves = [
        _passes(np.flatnonzero(levels == level), steps * (batch // 2), (seed, epoch, level)).reshape(
            steps, -1
        )
        for level in (1, 2)
    ]
    return np.concatenate(halves, axis=1)


def shared_order(
    groups: NDArray[np.int64], shares: NDArray[np.float64], shape: tuple[int, int], seed: tuple[int, int]
) -> NDArray[np.int64]:
    """Which images an epoch shows: `shape` (steps x batch) indices, group g as often as ``shares[g]`` (sum 1) says.

    Each group is drawn in shuffled passes, by `seed` (the run's and the epoch). Counts are cut so that they add up to
    the epoch's images.
    """
    ends = np.round(np.cumsum(shares) * math.prod(shape)).astype(int)
    counts = np.diff(ends, prepend=0)
    drawn = np.concatenate(
        [
            _passes(np.flatnonzero(groups == group), count, (*seed, group))
            for group, count in enumerate(counts)
        ]
    )
    return np.random.default_rng(seed).permutation(drawn).reshape(shape)


def _passes(members: NDArray[np.int64], count: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """`count` of the members, in as many shuffled passes as that takes."""
    rng = np.random.default_rng(seed)
    rounds = -(-count // len(members))
    return np.concatenate([members[:0], *(rng.permutation(members) for _ in range(rounds))])[:count]


@dataclass(frozen=True)
class Batch:
    """Augmented images.

    Attributes
    ----------
    pixels : float32, B x H x H x C, 0..255.
    indices : B, which images they are.
    mirrored : bool, B, which of them are mirrored left to right.
    """

    pixels: NDArray[np.float32]
    indices: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def changed_batches(
    planes: NDArray[np.uint8], order: NDArray[np.int64], config: TrainConfig, epoch: int
) -> Iterator[Batch]:
    """The batches of one epoch."""
    for step, indices in enumerate(order):
        changed, mirrored = [], []
        for place, index in enumerate(indices):
            rng = np.random.default_rng((config.seed, epoch, step, place))
            # The disguise draws after the augmentation, so that switching it on leaves that as it was.
            moved, flipped = augment(planes[index], config.augmentation, rng)
            changed.append(disguise(moved, config.disguise, rng))
            mirrored.append(flipped)
        yield Batch(_pixels(np.stack(changed), config.channels), indices, np.array(mirrored))


def plain_batches(planes: NDArray[np.uint8], channels: int) -> Iterator[NDArray[np.float32]]:
    """All images once and unchanged, in order; float32 B x H x H x C (0..255)."""
    for start in range(0, len(planes), VALIDATION_BATCH):
        yield _pixels(planes[start : start + VALIDATION_BATCH], channels)


def _pixels(planes: NDArray[np.uint8], channels: int) -> NDArray[np.float32]:
    return np.repeat(planes[..., np.newaxis].astype(np.float32), channels, axis=3)


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Make the next item in a thread while the caller works on this one."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(next, items, None)
        while (item := ahead.result()) is not None:
            ahead = pool.submit(next, items, None)
            yield item
