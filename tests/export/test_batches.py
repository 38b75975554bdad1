from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_bench.labelled import read_labelled
from cxrs_edge.errors import ImageError
from cxrs_edge.image import read_image
from cxrs_edge.prepare import InputSpec, prepare
from cxrs_export.augment import Augmentation
from cxrs_export.batches import (
    balanced_order,
    changed_batches,
    load_planes,
    plain_batches,
    prefetch,
    shared_order,
)
from cxrs_export.disguise import Disguise
from cxrs_export.train_config import TrainConfig

NONE = Augmentation(translate=0, rotate=0, flip=False, zoom=0, intensity=0)


def levels(ones: int, twos: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(0).permutation(np.repeat([1, 2], [ones, twos]))


@given(
    ones=st.integers(1, 40),
    twos=st.integers(1, 40),
    half=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 9999),
)
@settings(deadline=None)
def test_balanced_order(ones: int, twos: int, half: int, seed: int, epoch: int) -> None:
    truth = levels(ones, twos)
    order = balanced_order(truth, 2 * half, seed, epoch)
    steps = -(-(ones + twos) // (2 * half))
    assert order.shape == (steps, 2 * half)
    assert (truth[order[:, :half]] == 1).all()
    assert (truth[order[:, half:]] == 2).all()
    seen = np.bincount(order.ravel(), minlength=len(truth))
    for level in (1, 2):
        assert np.ptp(seen[truth == level]) <= 1
    np.testing.assert_array_equal(order, balanced_order(truth, 2 * half, seed, epoch))


def test_the_rarer_level_is_seen_more_often() -> None:
    # 10 steps of 2 + 2: each of the 8 images of level 1 is seen 20 / 8 = 2 or 3 times, 20 of 32 others once.
    truth = levels(8, 32)
    seen = np.bincount(balanced_order(truth, 4, seed=0, epoch=0).ravel(), minlength=40)
    assert sorted(seen[truth == 1]) == [2] * 4 + [3] * 4
    assert sorted(seen[truth == 2]) == [0] * 12 + [1] * 20


def test_another_epoch_or_seed_is_another_order() -> None:
    truth = levels(20, 20)
    orders = [balanced_order(truth, 8, seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({order.tobytes() for order in orders}) == 9


def test_both_levels_are_shuffled_on_their_own() -> None:
    truth = np.repeat([1, 2], 20)
    order = balanced_order(truth, 4, seed=0, epoch=0)
    assert not np.array_equal(order[:, :2] + 20, order[:, 2:])


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    batch=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
@settings(deadline=None)
def test_shared_order(sizes: list[int], batch: int, seed: int, data: st.DataObject) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=len(sizes), max_size=len(sizes))))
    shares = weights / weights.sum()
    shape = (-(-len(groups) // batch), batch)
    order = shared_order(groups, shares, shape, (seed, 3))
    shown = shape[0] * batch
    assert order.shape == shape
    seen = np.bincount(order.ravel(), minlength=len(groups))
    for group, share in enumerate(shares):
        # Both ends of a group's piece are rounded, by a half at most.
        assert abs(seen[groups == group].sum() - share * shown) <= 1
        assert np.ptp(seen[groups == group]) <= 1
    np.testing.assert_array_equal(order, shared_order(groups, shares, shape, (seed, 3)))


def test_shared_order_mixes_the_groups() -> None:
    groups = np.repeat([0, 1], 50)
    order = shared_order(groups, np.array([0.5, 0.5]), (10, 10), (0, 0))
    assert all(0 < (groups[batch] == 0).sum() < 10 for batch in order)


@pytest.fixture
def planes() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Six plain images, of gray 0, 40, 80 and so on."""
    return np.arange(6, dtype=np.uint8)[:, np.newaxis, np.newaxis] * np.ones((1, 32, 32), np.uint8) * 40


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_the_ordered_images(planes: np.ndarray[Any, np.dtype[np.uint8]], channels: int) -> None:
    config = TrainConfig(size=32, batch=4, channels=channels, augmentation=NONE)
    order = np.array([[5, 1, 1, 0], [2, 3, 4, 0]])
    batches = list(changed_batches(planes, order, config, 7))
    assert len(batches) == 2
    for batch, expected in zip(batches, order, strict=True):
        pixels, indices = batch.pixels, batch.indices
        assert not batch.mirrored.any()
        assert (pixels.dtype, pixels.shape) == (np.float32, (4, 32, 32, channels))
        assert indices.tolist() == expected.tolist()
        np.testing.assert_array_equal(pixels[:, 5, 9, channels - 1], expected * 40)


def test_batches_depend_on_seed_and_epoch_alone(planes: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    def first(seed: int, epoch: int) -> bytes:
        config = TrainConfig(size=32, channels=1, seed=seed, disguise=Disguise(gamma=0.5))
        return next(changed_batches(planes, np.array([[3, 4]]), config, epoch)).pixels.tobytes()

    assert first(0, 0) == first(0, 0)
    assert len({first(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize(
    "changes",
    [{}, {"augmentation": NONE, "disguise": Disguise(stretch=0.3, blur=1, border=0.2, contrast=0.3)}],
)
def test_an_image_is_changed_differently_each_time_it_is_shown(changes: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32), dtype=np.uint8)
    config = TrainConfig(size=32, channels=1, **changes)
    (batch,) = changed_batches(noise, np.zeros((1, 8), np.int64), config, 0)
    assert len({plane.tobytes() for plane in batch.pixels}) == 8


def test_plain_batches_are_all_images_in_order(planes: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    many = np.concatenate([planes, planes + 1])
    batches = list(plain_batches(many, 3))
    assert [len(pixels) for pixels in batches] == [8, 4]
    pixels = np.concatenate(batches)
    assert (pixels.dtype, pixels.shape) == (np.float32, (12, 32, 32, 3))
    np.testing.assert_array_equal(pixels[..., 1], many)


def test_planes_are_what_the_device_prepares(tiny_set: Path) -> None:
    rows = read_labelled(tiny_set)[:2]
    # Small enough for a JPEG of 96 pixels to be decoded at half its scale.
    spec = InputSpec(size=32, channels=3, crop_top=0.08)
    planes = load_planes([row.path for row in rows], spec)
    assert (planes.dtype, planes.shape) == (np.uint8, (2, 32, 32))
    for row, plane in zip(rows, planes, strict=True):
        pixels = prepare(read_image(row.path.read_bytes(), name="x", at_least=35), spec)
        np.testing.assert_array_equal(plane, pixels[0, :, :, 2])


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "t00.jpg").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"t00\.jpg: not an image"):
        load_planes([tmp_path / "t00.jpg"], InputSpec(size=32))


def test_prefetch_keeps_the_order_and_ends() -> None:
    assert list(prefetch(iter(range(1, 50)))) == list(range(1, 50))
    assert list(prefetch(iter(()))) == []


def test_prefetch_works_ahead_in_one_other_thread() -> None:
    made: list[int] = []
    threads = set()
    ready = threading.Event()

    def items() -> Iterator[int]:
        for number in range(5):
            threads.add(threading.get_ident())
            made.append(number)
            if number == 1:
                ready.set()
            yield number

    ahead = prefetch(items())
    assert next(ahead) == 0
    assert ready.wait(10)
    assert made == [0, 1]
    assert list(ahead) == [1, 2, 3, 4]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_prefetch_passes_errors_on_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield 7
        raise ImageError("scan.png: damaged")

    ahead = prefetch(items())
    assert next(ahead) == 7
    with pytest.raises(ImageError, match="damaged"):
        next(ahead)


def test_prefetch_ends_with_a_consumer_that_stops_early() -> None:
    made: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    before = threading.active_count()
    ahead = prefetch(endless())
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert made == [0, 1]
