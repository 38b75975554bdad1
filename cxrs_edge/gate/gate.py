"""A prepared square and the size of its file -> rejected or not, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cxrs_edge.gate.data import BUNDLED, GateData, read_gate
from cxrs_edge.gate.network import Floats, class_logits, shrink

OFF = "the quality gate was off: nothing has checked that this is an upright frontal chest X-ray"
DRAWN = "looks like a drawn phantom, not like a patient's X-ray: its level means nothing"
ADVICE = {
    "turned_left": ("a chest that lies on its side", "turn it 90 degrees clockwise"),
    "turned_right": ("a chest that lies on its side", "turn it 90 degrees counter-clockwise"),
    "upside_down": ("a chest that stands upside down", "turn it by 180 degrees"),
    "inverted": (
        "an inverted film, bone dark and air bright",
        "invert it, so that bone is bright, or export it as DICOM with its photometric interpretation",
    ),
    "part": ("only a part of a chest", "give the whole film, with both lungs"),
    "other": ("no chest X-ray from the front", "give a frontal (PA or AP) film of the whole chest"),
}
"""Class -> what the image looks like, and what to do. The classes that pass, chest and drawn, aren't in it."""
PASSING = ("chest", "drawn")
DOUBTFUL = "doubtful: "
"""What a note begins with that doesn't reject."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one image.

    Attributes
    ----------
    rejected : whether it must not be graded.
    notes : the reason and the cure if rejected, else what is doubtful; empty if nothing is.
    """

    rejected: bool
    notes: tuple[str, ...] = ()


class Gate:
    """Judges prepared squares.

    >>> Gate.bundled().judge(np.zeros((480, 480), np.uint8), (480, 480)).rejected
    True
    """

    def __init__(self, data: GateData) -> None:
        self._data = data
        self._passing = np.isin(data.classes, PASSING)

    @classmethod
    def bundled(cls) -> Gate:
        """The gate of this release, read once. Raises `ModelError` if its file is damaged."""
        return _bundled()

    def judge(self, plane: NDArray[np.uint8], size: tuple[int, int]) -> Verdict:
        """Judge one image.

        Parameters
        ----------
        plane : uint8, side x side: one channel of what `cxrs_edge.prepare` made of it.
        size : width and height of the file, in pixels.
        """
        thumbnail = shrink(plane, self._data.side)
        flaw = self._find_flaw(thumbnail, size)
        if flaw:
            return Verdict(rejected=True, notes=(flaw,))
        logits = class_logits(thumbnail, self._data.layers)
        margin = self._margin(logits)
        if margin < self._data.limits.reject_margin:
            looks_like, cure = self._describe(logits)
            return Verdict(rejected=True, notes=(f"looks like {looks_like}; {cure}",))
        return Verdict(rejected=False, notes=tuple(self._find_doubts(logits, margin, size)))

    def _find_flaw(self, thumbnail: NDArray[np.uint8], size: tuple[int, int]) -> str | None:
        """What makes any class a guess."""
        limits = self._data.limits
        if min(size) < limits.reject_side:
            return (
                f"{size[0]} x {size[1]} pixels, too small to show a lung's texture; "
                f"expected at least {limits.reject_side} a side; export the film at its full size"
            )
        contrast = float(thumbnail.std())
        if contrast < limits.reject_contrast:
            return (
                f"nearly blank: coarse gray levels vary by {contrast:.1f} of 255, expected at least "
                f"{limits.reject_contrast:g}; check the exposure, or the window that it was exported with"
            )
        return None

    def _find_doubts(self, logits: Floats, margin: float, size: tuple[int, int]) -> Iterator[str]:
        limits = self._data.limits
        if min(size) < limits.doubt_side:
            yield f"{DOUBTFUL}only {size[0]} x {size[1]} pixels; fine opacities can't be seen"
        if margin < limits.doubt_margin:
            looks_like, cure = self._describe(logits)
            yield f"{DOUBTFUL}may be {looks_like}; if it is, {cure}"
        elif self._data.classes[int(logits.argmax())] == "drawn":
            yield DRAWN

    def _margin(self, logits: Floats) -> float:
        """Log odds of the classes that pass against all others: what the limits are compared with."""
        passes = np.logaddexp.reduce(logits[self._passing])
        return float(passes - np.logaddexp.reduce(logits[~self._passing]))

    def _describe(self, logits: Floats) -> tuple[str, str]:
        """The likeliest class that doesn't pass."""
        return ADVICE[self._data.classes[int(np.where(self._passing, -np.inf, logits).argmax())]]


@cache
def _bundled() -> Gate:
    return Gate(read_gate(BUNDLED))
