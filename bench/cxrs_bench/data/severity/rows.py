"""Merged films -> rows of labels.csv and excluded.csv, and what they come to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cxrs_bench.data.csv_text import csv_text
from cxrs_bench.data.severity.clones import Repository, key_of
from cxrs_bench.data.severity.merge import Merged
from cxrs_bench.data.severity.scores import level_of_geographic, level_of_zones, zones_with_opacity
from cxrs_bench.data.severity.split import TEST

Row = dict[str, str]
SMALL = 360
"""Pixels that the shorter side has at least where the film isn't noted as small."""
ZONES = "abcdef"
COLUMNS = (
    "image_id", "source", "original_filename", "patient_id", "view", "age", "sex", "licence", "url", "copy_from",
    *(f"brixia_senior_{zone}" for zone in ZONES), *(f"brixia_junior_{zone}" for zone in ZONES),
    "zones_senior", "zones_junior", "geographic", "opacity", "level", "level_basis", "split", "fold",
    "width", "height", "merged_from", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Exclusion:
    """A scored film that is not in the set."""

    name: str
    source: str
    reason: str
    detail: str = ""


def image_id(merged: Merged) -> str:
    """A hash of the original name, so that it says nothing about level or split."""
    return "cxs-" + hashlib.sha1(f"severity:{key_of(merged.film.name)}".encode()).hexdigest()[:5]


def level_and_basis(merged: Merged) -> tuple[int, str]:
    """The senior radiologist's zones where there are some, else the weak label of the Geographic score."""
    film = merged.film
    if film.brixia:
        return level_of_zones(film.brixia.senior), "brixia"
    if film.geographic is None:
        raise ValueError(f"{film.name}: no score")
    return level_of_geographic(film.geographic.geographic), "geographic"


def stratum(merged: Merged) -> str:
    """What a split is stratified by: basis and level."""
    level, basis = level_and_basis(merged)
    return f"{basis} {level}"


def make_row(merged: Merged, part: int, size: tuple[int, int]) -> Row:
    """The row of a film in `part` (`TEST` or a fold) whose JPEG has `size`, width and height."""
    film, about = merged.film, merged.film.about
    level, basis = level_and_basis(merged)
    cells: dict[str, object] = {
        "image_id": image_id(merged), "source": film.source, "original_filename": film.name,
        "patient_id": merged.patient, "view": about.view, "age": about.age, "sex": about.sex,
        "licence": about.licence, "url": about.url, "copy_from": film.copy_from,
        "level": level, "level_basis": basis, "split": "test" if part == TEST else "train", "fold": part,
        "width": size[0], "height": size[1], "merged_from": "; ".join(copy.name for copy in merged.copies),
        "note": "small" if min(size) < SMALL else "", **_scores(merged),
    }  # fmt: skip
    return {column: str(cells.get(column, "")) for column in COLUMNS}


def labels_csv(rows: Iterable[Row]) -> str:
    """The whole of labels.csv."""
    return csv_text(COLUMNS, (row.values() for row in rows))


def exclusions_csv(exclusions: Iterable[Exclusion]) -> str:
    """The whole of excluded.csv, sorted by name."""
    ordered = sorted(exclusions, key=lambda one: one.name)
    return csv_text(
        ("original_filename", "source", "reason", "detail"),
        ((one.name, one.source, one.reason, one.detail) for one in ordered),
    )


def render_counts(rows: Sequence[Row], exclusions: Sequence[Exclusion], absent: Iterable[Repository]) -> str:
    """Images by source and level, films left out by reason, and what was skipped because its clone is missing."""
    sources = sorted({row["source"] for row in rows})
    lines = [f"{'source':<14}{'level 0':>9}{'level 1':>9}{'level 2':>9}{'images':>9}"]
    for source in (*sources, "all"):
        levels = Counter(row["level"] for row in rows if source in ("all", row["source"]))
        counts = "".join(f"{levels[level]:>9}" for level in "012")
        lines.append(f"{source:<14}{counts}{levels.total():>9}")
    lines.append(
        f"{len({row['patient_id'] for row in rows})} patients; {len(exclusions)} scored films left out"
    )
    reasons = Counter(one.reason for one in exclusions)
    lines += [f"{count:>8}  {reason}" for reason, count in reasons.most_common()]
    lines += [f"skipped: no {one.folder} ({one.gives}; github {one.address})" for one in absent]
    return "\n".join(lines)


def _scores(merged: Merged) -> dict[str, object]:
    cells: dict[str, object] = {}
    brixia, geographic = merged.film.brixia, merged.film.geographic
    if brixia:
        for reader, zones in (("senior", brixia.senior), ("junior", brixia.junior)):
            cells |= {f"brixia_{reader}_{zone}": score for zone, score in zip(ZONES, zones, strict=True)}
            cells[f"zones_{reader}"] = zones_with_opacity(zones)
    if geographic:
        cells |= {"geographic": round(geographic.geographic, 4), "opacity": round(geographic.opacity, 4)}
    return cells
