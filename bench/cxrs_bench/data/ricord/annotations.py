"""The MD.ai annotations of RICORD-1C -> the level of each study, by majority over the annotators."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrs_edge.errors import DataError

INVALID = "invalid"
GRADES = {
    "Mild Opacities (1-2 lung zones)": "level1",
    "Moderate Opacities (3-4 lung zones)": "level2",
    "Severe Opacities (>4 lung zones)": "level2",
    "Invalid Study": INVALID,
}
"""Name of an MD.ai label, its spaces made single, -> what it votes for."""


@dataclass(frozen=True)
class Grading:
    """How a study was graded: the winner (``level1``, ``level2``, ``invalid``) and each one's votes."""

    winner: str
    votes: Mapping[str, int]

    @property
    def tied(self) -> bool:
        """Whether the winner won only by standing first in the file."""
        return list(self.votes.values()).count(max(self.votes.values())) > 1

    def __str__(self) -> str:
        return " ".join(f"{grade}:{count}" for grade, count in self.votes.items())


def read_gradings(path: Path) -> dict[str, Grading]:
    """Read MD.ai's JSON; returns the grading of each study that has one, by StudyInstanceUID.

    An annotator has one vote for each of level 1, level 2 and invalid that they gave a study: marking it moderate
    and severe is one vote for level 2. Among equally many votes the grade that stands first in the file wins, as
    in the published preparation. Raises `DataError`.
    """
    try:
        project = json.loads(path.read_text(encoding="utf-8-sig"))
        grade_of_label = dict(_labels(project))
        votes = dict.fromkeys(_votes(project, grade_of_label))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read as JSON: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: no MD.ai annotations ({type(error).__name__}: {error}); expected labelGroups with labels, "
            "and datasets with annotations"
        ) from error
    if not grade_of_label:
        raise DataError(f"{path}: none of its labels is a grade; expected: {', '.join(GRADES)}")
    counts: dict[str, Counter[str]] = {}
    for study, _, grade in votes:
        counts.setdefault(study, Counter())[grade] += 1
    return {study: _decide(counted) for study, counted in counts.items()}


def _labels(project: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for group in project["labelGroups"]:
        for label in group["labels"]:
            name = " ".join(label["name"].split())
            if name in GRADES:
                yield label["id"], GRADES[name]


def _votes(project: dict[str, Any], grade_of_label: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Study, annotator, grade, in the order of the file."""
    for dataset in project["datasets"]:
        for annotation in dataset["annotations"]:
            grade = grade_of_label.get(annotation["labelId"])
            if grade is not None:
                # Without its author an annotation is a vote of its own.
                author = annotation.get("createdById") or annotation["id"]
                yield annotation["StudyInstanceUID"], author, grade


def _decide(counted: Counter[str]) -> Grading:
    # most_common keeps the order of first appearance among equals.
    ranked = counted.most_common()
    return Grading(winner=ranked[0][0], votes=dict(ranked))
