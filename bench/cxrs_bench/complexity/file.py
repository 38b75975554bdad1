"""Count a model file of any format that cxrs-edge runs."""

from __future__ import annotations

import os
from pathlib import Path

from cxrs_bench.complexity.cost import Complexity
from cxrs_bench.complexity.onnx import count_onnx
from cxrs_bench.complexity.tflite import IDENTIFIER, count_tflite
from cxrs_edge.errors import ModelError


def count_file(path: str | os.PathLike[str]) -> Complexity:
    """Count the parameters and MACs of a .tflite or .onnx file, told apart by content, for one
    image.

    Raises
    ------
    ModelError : the file can't be opened, is neither format, is damaged, or has shapes that aren't
        fixed.
    MissingDependency : the package that reads its format isn't installed.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}; expected a readable .tflite or .onnx file; check the path"
        ) from None
    if data[4:8] == IDENTIFIER:
        return count_tflite(data, str(path))
    return count_onnx(data, str(path))
