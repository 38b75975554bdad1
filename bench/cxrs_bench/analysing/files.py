"""The model files of a report, found again in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxrs_bench.record import Report
from cxrs_edge.errors import DataError
from cxrs_edge.model_file import read_model_file


def find_files(report: Report, folder: Path) -> Mapping[str, Path]:
    """Model id -> its file; raises `DataError` where one is missing or is another file than the one measured."""
    return {model.id: _find(folder, model.id, model.sha256) for model in report.models}


def _find(folder: Path, name: str, sha256: str) -> Path:
    # A report comes from anywhere: its ids must not lead out of the folder.
    path = folder / Path(name).name
    if name != path.name or not path.is_file():
        raise DataError(
            f"{folder}: has no file {name!r}, which the report measured; name the folder that it is in"
        )
    found = read_model_file(path).card.sha256
    if found != sha256:
        raise DataError(
            f"{path}: hash {found[:12]}..., but the report measured {sha256[:12]}...; expected the same file; "
            "measure again with this one"
        )
    return path
