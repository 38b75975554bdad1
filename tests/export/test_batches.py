from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_bench.labelled import read_labelled
from cxrs_edge.errors import ImageError
from cxrs_edge.image import read_image
from cxrs_edge.prepare import InputSpec, prepare
from cxrs_export.augment import Augmentation
from cxrs_export.batches import TrainingImages, balanced_order, epoch_batches, load_planes, prefetch

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


@pytest.fixture
def images() -> TrainingImages:
    planes = np.arange(6, dtype=np.uint8)[:, np.newaxis, np.newaxis] * np.ones((1, 32, 32), np.uint8) * 40
    return TrainingImages(planes=planes, levels=np.array([1, 2, 2, 1, 2, 2]))


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_the_ordered_images_with_their_classes(images: TrainingImages, channels: int) -> None:
    batches = list(epoch_batches(images, NONE, batch=4, channels=channels, seed=3, epoch=7))
    order = balanced_order(images.levels, 4, 3, 7)
    assert len(batches) == len(order) == 2
    for (pixels, classes), indices in zip(batches, order, strict=True):
        assert (pixels.dtype, pixels.shape) == (np.float32, (4, 32, 32, channels))
        assert classes.tolist() == [0, 0, 1, 1]
        np.testing.assert_array_equal(pixels[:, 5, 9, channels - 1], indices * 40)


def test_batches_depend_on_seed_and_epoch_alone(images: TrainingImages) -> None:
    def first(seed: int, epoch: int) -> bytes:
        batches = epoch_batches(images, Augmentation(), batch=2, channels=1, seed=seed, epoch=epoch)
        return next(batches)[0].tobytes()

    assert first(0, 0) == first(0, 0)
    assert len({first(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_an_image_is_changed_differently_each_time_it_is_shown() -> None:
    one_each = TrainingImages(
        np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8), np.array([1, 2])
    )
    ((pixels, classes),) = epoch_batches(one_each, Augmentation(), batch=8, channels=1, seed=0, epoch=0)
    assert classes.tolist() == [0] * 4 + [1] * 4
    assert len({plane.tobytes() for plane in pixels}) == 8


def test_planes_are_what_the_device_prepares(tiny_set: Path) -> None:
    rows = read_labelled(tiny_set)[:2]
    # Small enough for a JPEG of 96 pixels to be decoded at half its scale.
    spec = InputSpec(size=32, channels=3, crop_top=0.08)
    planes = list(load_planes(rows, spec))
    for row, plane in zip(rows, planes, strict=True):
        pixels = prepare(read_image(row.path.read_bytes(), name="x", at_least=35), spec)
        assert (plane.dtype, plane.shape) == (np.uint8, (32, 32))
        np.testing.assert_array_equal(plane, pixels[0, :, :, 2])


def test_an_unreadable_image_is_named(tiny_set: Path, tmp_path: Path) -> None:
    rows = read_labelled(tiny_set, images=tmp_path)
    (tmp_path / "t00.jpg").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"t00\.jpg: not an image"):
        next(load_planes(rows, InputSpec(size=32)))


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
