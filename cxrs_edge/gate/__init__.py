"""The quality gate: does an image show a whole, upright chest from the front, so that a level means something?

`judge` of `Gate` looks at the prepared square before any inference. What it refuses is rejected with the reason and
what to do about it; what is only doubtful goes on with a note. All of its numbers are in ``gate.npz``, which
cxrs_export.gate_fitting makes; how often it is right is in docs/gate.md.
"""

from cxrs_edge.gate.gate import OFF, Gate, Verdict

__all__ = ["OFF", "Gate", "Verdict"]
