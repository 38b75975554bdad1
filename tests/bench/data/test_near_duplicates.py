"""What near-duplicate search finds, misses and takes wrongly, on phantoms and on the real X-rays if there."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cxrs_bench.data.near_duplicates import Look, find_near_duplicates, look_at, look_at_all, look_of
from cxrs_bench.labelled import read_labelled
from cxrs_bench.phantom import draw_phantom, varied_phantoms
from cxrs_edge.errors import ImageError

DATA = Path(os.environ.get("CXRS_SEVERITY", Path(__file__).parents[4] / "shared" / "data" / "severity"))
needs_real_images = pytest.mark.skipif(not DATA.is_dir(), reason=f"no labelled set at {DATA} (CXRS_SEVERITY)")


def encode(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def trim(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(width * share), round(height * share), round(width * (1 - share)), round(height * (1 - share)))
    )


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded at quality 30": lambda image: encode(image, 30),
    "256 x 256 pixels": lambda image: image.resize((256, 256)),
    "gamma 2": lambda image: image.point(lambda value: 255 * (value / 255) ** 2),
    "gamma 0.5": lambda image: image.point(lambda value: 255 * (value / 255) ** 0.5),
    "narrow window": lambda image: image.point(lambda value: min(255, max(0, (value - 40) * 1.6))),
    "equalized": ImageOps.equalize,
    "negative": ImageOps.invert,
    "1 % cut off each side": lambda image: trim(image, 0.01),
    "top 8 % cut off": lambda image: image.crop((0, round(image.height * 0.08), *image.size)),
    "centre square": lambda image: ImageOps.fit(image, (480, 480)),
    "top cut, centre square": lambda image: ImageOps.fit(
        image.crop((0, int(image.height * 0.08), *image.size)), (480, 480)
    ),
    "black frame of 5 %": lambda image: ImageOps.expand(image, round(image.width * 0.05)),
}


@pytest.fixture(scope="module")
def phantoms() -> list[Image.Image]:
    small = (replace(phantom, width=400, height=440) for phantom in varied_phantoms(4, seed=3))
    return [Image.fromarray(draw_phantom(phantom)) for phantom in small]


def pairs(first: list[Look], second: list[Look]) -> list[tuple[int, int]]:
    return [(match.first, match.second) for match in find_near_duplicates(first, second)]


@pytest.mark.parametrize("name", COPIES)
def test_each_kind_of_copy_is_found_and_only_with_its_original(
    phantoms: list[Image.Image], name: str
) -> None:
    originals = [look_of(image) for image in phantoms]
    (match,) = find_near_duplicates([look_of(COPIES[name](phantoms[2]))], originals)
    assert (match.first, match.second) == (0, 2)
    assert 0.88 <= abs(match.similarity) <= 1.0001
    assert (match.similarity < 0) == (name == "negative")


def test_positions_hold_beyond_one_block(phantoms: list[Image.Image]) -> None:
    a, b, c, d = (look_of(image) for image in phantoms)
    assert pairs([a] * 70 + [b], [c, b, d]) == [(70, 1)]
    assert pairs([a, b], [b, a, b]) == [(0, 1), (1, 0), (1, 2)]
    assert pairs([], [a]) == pairs([a], []) == []


@pytest.mark.parametrize(
    ("bits", "correlation", "found"),
    [(60, 0.885, True), (61, 0.885, False), (60, 0.875, False), (196, -0.885, True), (195, -0.885, False)],
)
def test_both_cuts_decide(bits: int, correlation: float, found: bool) -> None:
    hashes = np.ones((1, 256), np.float32)
    other = hashes.copy()
    other[0, :bits] = -1
    first, second = np.zeros((2, 1, 4096), np.float32)
    first[0, 0] = 1
    second[0, :2] = correlation, (1 - correlation**2) ** 0.5
    matches = list(find_near_duplicates([Look(hashes, first)], [Look(other, second)]))
    assert [round(match.similarity, 3) for match in matches] == ([correlation] if found else [])


def test_flat_images_are_no_copies_of_anything(phantoms: list[Image.Image]) -> None:
    flat = look_of(Image.new("L", (300, 300), 128))
    assert np.isfinite(flat.thumbnails).all()
    assert pairs([flat], [flat, look_of(phantoms[0])]) == []


def test_files_are_looked_at_in_parallel_and_bad_ones_named(
    tmp_path: Path, phantoms: list[Image.Image]
) -> None:
    good, bad, missing = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    phantoms[0].save(good)
    bad.write_bytes(b"\x89PNG but no more")
    reported: list[tuple[str, int, int]] = []
    looks, errors = look_at_all([good, bad, missing], lambda *step: reported.append(step))
    assert list(looks) == [good]
    assert np.array_equal(looks[good].thumbnails, look_at(good).thumbnails)
    assert {path: str(path) in str(error) for path, error in errors.items()} == {bad: True, missing: True}
    assert reported[-1] == ("looking at images", 3, 3)
    with pytest.raises(ImageError, match=r"b\.png"):
        look_at(bad)


@needs_real_images
@pytest.mark.slow
def test_on_real_x_rays(capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of docs/data.md: run with -s to see them."""
    paths = [row.path for row in read_labelled(DATA)]
    found, _ = look_at_all(paths, lambda *_: None)
    looks = [found[path] for path in paths]
    # The set holds no X-ray twice, but 62 patients with several films, up to 14.
    wrong = [pair for pair in pairs(looks, looks) if pair[0] < pair[1]]
    images = [Image.open(path).convert("L") for path in paths[::3]]
    more = {
        "2 % cut off each side": lambda image: trim(image, 0.02),
        "4 % cut off each side": lambda image: trim(image, 0.04),
        "turned by 1.5 degrees": lambda image: image.rotate(1.5),
        "mirrored": ImageOps.mirror,
    }
    recall = {}
    for name, copy in {**COPIES, **more}.items():
        matches = pairs([look_of(copy(image)) for image in images], looks)
        assert {second for first, second in matches if second != 3 * first} == set(), name
        recall[name] = len({first for first, second in matches if second == 3 * first}) / len(images)
    of = len(looks) * (len(looks) - 1) // 2
    told = [f"{len(wrong)} of {of} pairs of distinct films taken for copies"]
    told += [f"{name:24} {share:.3f} of {len(images)} copies found" for name, share in recall.items()]
    with capsys.disabled():
        print("", *told, sep="\n")  # noqa: T201
    assert wrong == []
    assert all(recall[name] >= 0.97 for name in COPIES)
