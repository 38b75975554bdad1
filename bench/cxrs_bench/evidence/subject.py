"""One graded image as every method of explanation gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.engines import Outputs
from cxrs_edge.evidence.factors import Removal, remove_cells
from cxrs_edge.evidence.fills import Fill, Plane
from cxrs_edge.evidence.regions import Cells
from cxrs_edge.grade import grade
from cxrs_edge.grader import Examination, Grader

Map = NDArray[np.float64]
"""h x w: how much each cell speaks for the decided level, by one method; only the order of the cells counts."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An image with level 1 or 2, and the network that decided it."""

    grader: Grader
    examination: Examination

    @property
    def level(self) -> int:
        """The decided level, 1 or 2."""
        level = self.examination.grade.level
        assert level in (1, 2)  # others aren't explained
        return int(level or 0)

    @property
    def probability(self) -> float:
        """Of the decided level, calibrated, with all in place."""
        return self.examination.grade.probabilities[f"level{self.level}"]

    @property
    def plane(self) -> Plane:
        """What the network saw, uint8, H x W."""
        plane: Plane = self.examination.pixels[0, :, :, 0]
        return plane

    @property
    def support(self) -> Map:
        """The evidence for the decided level, in logits."""
        evidence: Map = self.examination.outputs["evidence"][0].astype(np.float64)
        return evidence if self.level == 2 else -evidence

    def ask(self, plane: Plane) -> float:
        """The decided level's probability for another picture of the same size; one inference."""
        return grade(self._infer(plane), self.grader.card).probabilities[f"level{self.level}"]

    def support_of(self, plane: Plane) -> Map:
        """The evidence for the decided level in another picture of the same size; one inference."""
        evidence: Map = self._infer(plane)["evidence"][0].astype(np.float64)
        return evidence if self.level == 2 else -evidence

    def remove(self, cells: Cells, fills: Mapping[str, Fill]) -> tuple[Removal, ...]:
        """What becomes of the decision without these cells; one inference for each fill."""
        return remove_cells(self.grader, self.examination, cells, fills)

    def _infer(self, plane: Plane) -> Outputs:
        channels = self.examination.pixels.shape[3]
        return self.grader.engine.infer(np.repeat(plane[np.newaxis, :, :, np.newaxis], channels, axis=3))
