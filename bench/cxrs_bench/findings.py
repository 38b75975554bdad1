"""Sets of chest X-rays labelled with a finding (normal, a pneumonia, COVID-19), for pretraining.

A folder with ``labels.csv`` (columns ``image_id, source, patient_id, label, split`` and, where given, ``population``)
and ``images/``.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrs_bench.label_table import filled, image_path, read_table, refuse_duplicates, with_suffix
from cxrs_bench.labelled import Assigned, refuse_shared_patients
from cxrs_edge.errors import DataError

REQUIRED_COLUMNS = ("image_id", "source", "patient_id", "label", "split")


@dataclass(frozen=True)
class FindingImage:
    """One X-ray with its finding and the collection it comes from; `population` as the set writes it, else empty."""

    image_id: str
    path: Path
    patient: str
    finding: str
    source: str
    split: str
    population: str = ""


FindingSet = tuple[FindingImage, ...]


def read_findings(folder: Path, *, images: Path | None = None) -> FindingSet:
    """Read a set of findings; patients shared between its splits are refused by name.

    Parameters
    ----------
    folder : with ``labels.csv``, or that file itself.
    images : folder of the images; default ``images/`` beside ``labels.csv``.
    """
    path = folder / "labels.csv" if folder.is_dir() else folder
    images = images or path.parent / "images"
    try:
        rows = tuple(
            FindingImage(
                image_id=filled(row, "image_id", where),
                path=image_path(images, with_suffix(filled(row, "image_id", where)), where),
                patient=filled(row, "patient_id", where),
                finding=filled(row, "label", where),
                source=filled(row, "source", where),
                split=filled(row, "split", where),
                population=row.get("population", ""),
            )
            for where, row in read_table(path, REQUIRED_COLUMNS)
        )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    refuse_duplicates([row.image_id for row in rows], path)
    refuse_shared_patients(rows)
    return rows


def without_patients(rows: FindingSet, others: Iterable[Assigned]) -> FindingSet:
    """The images of all patients but those of another set: one that networks will be trained for and judged on."""
    patients = {row.patient for row in others}
    return tuple(row for row in rows if row.patient not in patients)


def findings_digest(rows: FindingSet) -> str:
    """SHA-256 over ids, patients, sources and findings: names the exact data a network was pretrained on."""
    lines = sorted(f"{r.image_id}\t{r.patient}\t{r.source}\t{r.finding}\n" for r in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
