"""Critical factors: candidate regions whose removal changes the decision, whatever fills their place.

The promise of GSInquire (Lin et al., Do Explanations Reflect Decisions? arXiv:1910.07387), kept without its
inquisitor: the candidates come from the evidence map, an exact output of the file, and each is removed to see.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrs_edge.errors import ModelError
from cxrs_edge.evidence.fills import FILLS, Fill, remove
from cxrs_edge.evidence.regions import Cells, Region, find_regions
from cxrs_edge.grade import Decision, grade
from cxrs_edge.grader import Examination, Grader

HALF = 0.5


@dataclass(frozen=True)
class Removal:
    """What became of the decision when a region was filled.

    Attributes
    ----------
    fill : a key of `cxrs_edge.evidence.fills.FILLS`.
    level : decided without the region, 0 to 2.
    probability : of the level that was decided with it, calibrated.
    changed : whether the level is another one, or its probability at most half of what it was. With two levels the
        second means the first, except at exactly one half.
    """

    fill: str
    level: int | None
    probability: float
    changed: bool


@dataclass(frozen=True, eq=False)
class Candidate:
    """A region of the evidence map and its removals, one for each fill."""

    region: Region
    removals: tuple[Removal, ...]

    @property
    def is_critical(self) -> bool:
        """Whether the decision changed under every fill."""
        return all(removal.changed for removal in self.removals)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one X-ray got its level, as far as removing regions shows it.

    Attributes
    ----------
    examination : the grade, the pixels and the outputs that are explained.
    reason : why there is no explanation; empty if there is one.
    probability : of the decided level, calibrated, with all in place; 0 without an explanation.
    candidates : at most three, the strongest first.
    together : the same for all candidates at once; empty without any.
    """

    examination: Examination
    reason: str = ""
    probability: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    together: tuple[Removal, ...] = ()

    @property
    def critical_factors(self) -> tuple[Candidate, ...]:
        """The candidates that passed, the strongest first."""
        return tuple(candidate for candidate in self.candidates if candidate.is_critical)


def explain(
    grader: Grader, source: str | os.PathLike[str] | bytes, *, name: str | None = None
) -> Explanation:
    """Grade one image and check what its level comes from: at most 9 inferences.

    Parameters as `Grader.examine`, which raises the same. Raises `ModelError` before anything is read if the model
    has no output ``evidence``.
    """
    check_model(grader)
    return explain_examination(grader, grader.examine(source, name=name))


def check_model(grader: Grader) -> None:
    """Raises `ModelError` if the model has no output ``evidence``."""
    if "evidence" not in grader.card.outputs:
        raise ModelError(
            f"model {grader.card.name}: has no output evidence, so it can't be explained; expected a model with "
            "it, such as the bundled one"
        )


def explain_examination(grader: Grader, examination: Examination) -> Explanation:
    """The same for what is graded already: at most 8 more inferences."""
    level, outputs = examination.grade.level, examination.outputs
    if level not in (1, 2):
        return Explanation(examination, reason=_why_not(examination))
    before = examination.grade.probabilities[f"level{level}"]
    evidence = outputs["evidence"][0].astype(np.float64)
    regions = find_regions(evidence if level == 2 else -evidence)
    candidates = tuple(
        Candidate(region, remove_cells(grader, examination, region.cells)) for region in regions
    )
    # One region alone is all of them: nothing new would be asked.
    together = candidates[0].removals if len(candidates) == 1 else ()
    if len(candidates) > 1:
        together = remove_cells(grader, examination, union(regions))
    return Explanation(examination, "", before, candidates, together)


def union(regions: Sequence[Region]) -> Cells:
    """All cells of some regions; at least one."""
    cells: Cells = np.any([region.cells for region in regions], axis=0)
    return cells


def remove_cells(
    grader: Grader, examination: Examination, cells: Cells, fills: Mapping[str, Fill] = FILLS
) -> tuple[Removal, ...]:
    """Fill these cells in each way and decide again: one inference for each fill."""
    return tuple(
        _compare(
            fill, examination, grade(grader.engine.infer(remove(examination.pixels, cells, way)), grader.card)
        )
        for fill, way in fills.items()
    )


def _compare(fill: str, examination: Examination, after: Decision) -> Removal:
    level, before = examination.grade.level, examination.grade.probabilities
    probability = after.probabilities[f"level{level}"]
    changed = after.level != level or probability <= HALF * before[f"level{level}"]
    return Removal(fill, after.level, probability, changed)


def _why_not(examination: Examination) -> str:
    if examination.grade.level == 0:
        return "level 0: the evidence map tells level 1 from level 2, and neither was decided"
    return "; ".join(("rejected", *examination.grade.notes))
