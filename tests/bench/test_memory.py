"""The bound of docs/limits.md on the memory of `cxrs-edge predict`."""

from __future__ import annotations

import pytest

from measure_memory import BOUND_MB, KINDS, measure

SIDE = 3000
PIXEL_BYTES = {
    "PNG, palette with transparency": 4,
    "PNG, 16 bit gray": 7,
    "PNG, transparent": 7.5,
    "TIFF, 32 bit integers deflated": 9,
}
"""The decoder's pixels, the gray ones, the square of 8 bits that is shrunk, and a margin; less what the small file's
inference takes, which is over before it would count for a large one. With a second copy of the
whole in colour, or with indexes of 8 bytes, it were 11 to 20."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "scan"
    path.write_bytes(KINDS["PNG of 600 x 600"].make())
    return measure(path, "--engine", "tflite").peak_mb


@pytest.mark.parametrize("kind", PIXEL_BYTES)
def test_no_pixel_is_kept_more_often_than_needed(kind, tmp_path, small):
    path = tmp_path / "scan"
    path.write_bytes(KINDS[kind].make(SIDE))
    run = measure(path, "--engine", "tflite")
    assert run.status == 0
    assert run.peak_mb - small < (PIXEL_BYTES[kind] * SIDE**2 + path.stat().st_size) / 1e6


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_file_of_each_kind_stays_below_the_bound(kind, tmp_path):
    path = tmp_path / "scan"
    path.write_bytes(KINDS[kind].make())
    run = measure(path)
    assert run.status == (1 if "refused" in kind else 0), run.csv
    assert 50 < run.peak_mb < BOUND_MB
