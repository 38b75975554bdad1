"""Parameters and multiply-accumulates of model files, counted on the file itself."""

from cxrs_bench.complexity.cost import Complexity, OperatorCost, OperatorTotal
from cxrs_bench.complexity.file import count_file
from cxrs_bench.complexity.table import render_complexity

__all__ = ["Complexity", "OperatorCost", "OperatorTotal", "count_file", "render_complexity"]
