from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrs_bench.severity_predictions import (
    COLUMNS,
    SeverityPrediction,
    read_severity_predictions,
    write_severity_predictions,
)
from cxrs_edge.errors import DataError

SHARE = st.floats(0, 1)
PREDICTION = st.builds(
    SeverityPrediction,
    image_id=st.text("abc-0", min_size=1, max_size=5),
    margin=st.floats(-1e6, 1e6),
    zones=st.tuples(*[SHARE] * 6),
    geographic=st.floats(0, 8),
    opacity=st.floats(0, 8),
)


@given(st.lists(PREDICTION, max_size=5, unique_by=lambda p: p.image_id))
def test_what_is_written_is_read_back(predictions: list[SeverityPrediction]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "p.csv"
        write_severity_predictions(predictions, file)
        assert read_severity_predictions(file) == tuple(predictions)


@pytest.mark.parametrize(
    ("column", "cell"),
    [("margin", "inf"), ("margin", "x"), ("zone_c", "1.01"), ("geographic", "-1"), ("opacity", "nan")],
)
def test_a_wrong_number_is_named(tmp_path: Path, column: str, cell: str) -> None:
    cells = {name: "a" if name == "image_id" else "0.5" for name in COLUMNS} | {column: cell}
    file = tmp_path / "p.csv"
    file.write_text(",".join(COLUMNS) + "\n" + ",".join(cells[name] for name in COLUMNS) + "\n")
    with pytest.raises(DataError, match=rf"p\.csv:2: {column} '{cell}'"):
        read_severity_predictions(file)


def test_an_image_stands_once(tmp_path: Path) -> None:
    twice = [SeverityPrediction("a", 0.0, (0.0,) * 6, 0.0, 0.0)] * 2
    write_severity_predictions(twice, tmp_path / "p.csv")
    with pytest.raises(DataError, match="image_id a stands twice"):
        read_severity_predictions(tmp_path / "p.csv")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read_severity_predictions(tmp_path / "none.csv")
