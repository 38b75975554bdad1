from __future__ import annotations

import pytest

from cxrs_export.ranges import tie, typical_ranges


def test_one_odd_image_does_not_decide() -> None:
    images = [{"map": (-float(n), float(n))} for n in (1, 2, 3, 4)] + [{"map": (-900.0, 900.0)}]
    assert typical_ranges(images) == {"map": (-4.0, 4.0)}


def test_operands_and_sum_share_the_widest_range() -> None:
    ranges = {"a": (0.0, 2.0), "b": (-1.0, 1.0), "sum": (0.0, 3.0), "other": (0.0, 9.0)}
    tied = tie(ranges, [["a", "b", "sum"]])
    assert tied == {"a": (-1.0, 3.0), "b": (-1.0, 3.0), "sum": (-1.0, 3.0), "other": (0.0, 9.0)}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_chained_sums_share_one_range(order: tuple[int, ...]) -> None:
    ranges = {name: (0.0, float(n)) for n, name in enumerate("abcdefg", 1)}
    chain = [["a", "b", "c"], ["c", "d", "e"], ["e", "f", "g"]]
    tied = tie(ranges, [chain[n] for n in order])
    assert set(tied.values()) == {(0.0, 7.0)}


def test_what_has_no_range_is_left_out() -> None:
    assert tie({"a": (0.0, 1.0)}, [["a", "constant"]]) == {"a": (0.0, 1.0)}
