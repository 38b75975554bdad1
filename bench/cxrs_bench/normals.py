"""Films without a finding, as labelled images on which severity can learn what no opacity looks like."""

from __future__ import annotations

from cxrs_bench.findings import FindingSet
from cxrs_bench.labelled import LabelledImage, LabelledSet
from cxrs_bench.readings import ZONES, Readings

NORMAL = "normal"
"""The finding that is none, as collections write it; also the basis of such an image's level."""
PAEDIATRIC = "paediatric"
CLEAR = Readings(senior=(0,) * len(ZONES), geographic=0.0, opacity=0.0)


def normals(rows: FindingSet, split: str) -> LabelledSet:
    """The normal films of one split, of level 0 with all zones clear; children's are left out."""
    return tuple(
        LabelledImage(
            image_id=row.image_id,
            path=row.path,
            patient=row.patient,
            level=0,
            split=row.split,
            source=row.source,
            basis=NORMAL,
            readings=CLEAR,
        )
        for row in rows
        if row.finding == NORMAL and row.split == split and not row.population.startswith(PAEDIATRIC)
    )
