"""Agreement as Markdown for people and as JSON for programs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cxrs_bench.label_table import read_table, refuse_duplicates
from cxrs_bench.markdown import markdown_table
from cxrs_bench.review.agreement import Agreement, Judgement, agreements, judgements
from cxrs_bench.review.answers import Answers
from cxrs_bench.review.readings import NOT_RATED, Reader
from cxrs_edge.card import ZONES
from cxrs_edge.errors import DataError
from cxrs_edge.render import printable
from cxrs_edge.review.booklet import HEIGHTS, RATINGS, SIDES

SCHEMA: Final = "cxrs-edge/agreement/1"
FEW = 30
"""Cases (or patients) below which a percentile interval is plainly too narrow. Of a mean of n it is about
sqrt((n - 1) / n) * 1.96 / t as wide as Student's (Hesterberg, The American Statistician 2015): 0.94 for 30, 0.82 for
10."""
PLACES = dict(zip(ZONES, (f"{side} {height}" for side in SIDES for height in HEIGHTS), strict=True))


@dataclass(frozen=True)
class Report:
    """All that a booklet's readings say; `resampled` is what the intervals draw, ``cases`` or ``patients``."""

    answers: Answers
    readers: tuple[Reader, ...]
    agreements: list[Agreement]
    judgements: list[Judgement]
    resampled: str


def score(
    readers: tuple[Reader, ...], answers: Answers, patients: Path | None, *, resamples: int, seed: int
) -> Report:
    """Compare all; with a table of patients (``image_id``, ``patient_id``) they are resampled, else cases."""
    of_case = (
        [str(number) for number in range(len(answers.cases))]
        if patients is None
        else _patients(patients, answers)
    )
    return Report(
        answers,
        readers,
        agreements(readers, answers, of_case, resamples=resamples, seed=seed),
        judgements(readers, answers, of_case, resamples=resamples, seed=seed),
        "cases" if patients is None else "patients",
    )


def render_report(report: Report) -> str:
    """Markdown: the readers, kappa of each pair, and what each said of the regions."""
    head = (
        f"Booklet {report.answers.booklet}: {len(report.answers.cases)} cases; {report.answers.model}. "
        f"95 % intervals resample {report.resampled}. Kappa of level and regions has linear weights."
    )
    who = [[_cell(reader.name), *map(str, _done(reader))] for reader in report.readers]
    pairs = [
        [_cell(" and ".join(a.between)), _what(a.what), str(a.count), f"{a.alike:.2f}", str(a.kappa)]
        for a in report.agreements
    ]
    said = [[_cell(j.reader), j.regions, *map(str, j.counts), str(j.agreeing)] for j in report.judgements]
    tables = [
        (("reader", "cases read", "regions judged"), who),
        (("between", "on", "count", "alike", "kappa (95 %)"), pairs),
        (("reader", "the network's", *RATINGS, "share that agrees (95 %)"), said),
    ]
    notes = [
        "n/a: kappa is not defined where one side answers everything alike: agreement is then what chance gives, and "
        "kappa 0, whatever the other side says.",
        f"Intervals from few {report.resampled}, below {FEW}, are too narrow.",
    ]
    parts = [head, *(markdown_table(titles, rows) for titles, rows in tables if rows), *notes]
    return "\n\n".join(parts) + "\n"


def report_json(report: Report) -> dict[str, Any]:
    """Plain values; undefined figures are null. Each case comes with its source and every reader's answers."""
    return {
        "schema": SCHEMA,
        "booklet": report.answers.booklet,
        "resampled": report.resampled,
        "agreement": [
            {
                "between": list(a.between),
                "on": a.what,
                "count": a.count,
                "alike": a.alike,
                "kappa": a.kappa.to_json(),
            }
            for a in report.agreements
        ],
        "regions": [
            {
                "reader": j.reader,
                "of": j.regions,
                "counts": dict(zip(RATINGS, j.counts, strict=True)),
                "agreeing": j.agreeing.to_json(),
            }
            for j in report.judgements
        ],
        "cases": [_case_json(report, number) for number in range(len(report.answers.cases))],
    }


def _case_json(report: Report, number: int) -> dict[str, Any]:
    answer = report.answers.cases[number]
    return {
        "case": number + 1,
        "source": printable(answer.source),
        "network": {"level": answer.level, "zones": _marked(answer.zones), "critical": list(answer.critical)},
        "readers": {
            reader.name: {
                "zones": _marked(reader.cases[number].zones),
                "regions": [None if r == NOT_RATED else RATINGS[r] for r in reader.cases[number].ratings],
            }
            for reader in report.readers
        },
    }


def _marked(zones: tuple[bool, ...] | None) -> str | None:
    """The affected zones' letters."""
    return None if zones is None else "".join(zone for zone, on in zip(ZONES, zones, strict=True) if on)


def _done(reader: Reader) -> tuple[int, int]:
    read = sum(case.zones is not None for case in reader.cases)
    return read, sum(rating != NOT_RATED for case in reader.cases for rating in case.ratings)


def _patients(path: Path, answers: Answers) -> list[str]:
    """Each case's patient, by the file's name with or without its suffix."""
    try:
        rows = [
            (row["image_id"], row["patient_id"]) for _, row in read_table(path, ("image_id", "patient_id"))
        ]
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: not a UTF-8 CSV; expected columns image_id and patient_id") from error
    refuse_duplicates([image for image, _ in rows], path)
    known = dict(rows)
    names = [Path(case.source) for case in answers.cases]
    found = [known.get(name.name) or known.get(name.stem) for name in names]
    for name, patient in zip(names, found, strict=True):
        if not patient:
            raise DataError(f"{path}: no patient_id for image_id {name.name}, a case of the booklet")
    return [str(patient) for patient in found]


def _what(what: str) -> str:
    place = PLACES.get(what.removeprefix("zone "))
    return f"{what}, {place}" if place else what


def _cell(text: str) -> str:
    return printable(text).replace("|", "/")
