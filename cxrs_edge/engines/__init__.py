"""Inference engines: pixels in, named float32 arrays out. `cxrs_edge.engines.registry` opens one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

# Listing the engines must not cost the import of numpy: `cxrs-edge --help` does it.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxrs_edge.prepare import Pixels

Outputs: TypeAlias = "Mapping[str, NDArray[np.float32]]"
"""Output name as in the card -> float32 array, for example ``probabilities`` -> 1 x 2."""


class Engine(Protocol):
    """Runs one model. Integers stay inside: pixels are cast and outputs dequantized by the engine.

    Attributes
    ----------
    name : as in the registry, for example ``tflite``.
    version : of the package that runs the model.
    threads : how many it computes with.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def infer(self, pixels: Pixels) -> Outputs:
        """Run the network on uint8, 1 x H x W x C, 0..255.

        Returns the outputs that the card names. Raises `EngineError` for pixels of another shape or
        type than the card's, and when the engine breaks down.
        """
        ...
