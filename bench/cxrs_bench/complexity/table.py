"""Complexity -> a Markdown table that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from cxrs_bench.complexity.cost import Complexity

_Row = tuple[str, ...]


def render_complexity(complexity: Complexity, *, each: bool = False) -> str:
    """Render as a Markdown table, one line per type of operator, or `each` operator in graph order.

    The last row is the total; the line below the table has all parameters, FLOPs, and the types of
    operators that could not be counted.
    """
    if each:
        header: _Row = ("name", "operator", "output", "parameters", "MACs", "kB moved", "MACs/byte")
        body: list[_Row] = [
            (
                row.name,
                row.operator,
                " x ".join(map(str, row.output_shape)),
                f"{row.parameters:,}",
                f"{row.macs:,}",
                f"{row.bytes_moved / 1000:,.1f}",
                f"{row.intensity:.1f}",
            )
            for row in complexity.rows
        ]
    else:
        header = ("operator", "count", "parameters", "MACs", "share")
        body = [
            (
                total.operator,
                str(total.count),
                f"{total.parameters:,}",
                f"{total.macs:,}",
                _share(total.macs, complexity),
            )
            for total in complexity.by_operator().values()
        ]
    return "\n".join((*_table(header, [*body, _total(complexity, each)]), "", _summary(complexity)))


def _share(macs: int, complexity: Complexity) -> str:
    return f"{macs / complexity.macs:.1%}" if complexity.macs else "-"


def _total(complexity: Complexity, each: bool) -> _Row:
    kernels, macs = f"{complexity.kernel_parameters:,}", f"{complexity.macs:,}"
    if each:
        moved = sum(row.bytes_moved for row in complexity.rows)
        intensity = complexity.macs / moved if moved else 0.0
        return ("total", "", "", kernels, macs, f"{moved / 1000:,.1f}", f"{intensity:.1f}")
    return ("total", str(len(complexity.rows)), kernels, macs, _share(complexity.macs, complexity))


def _summary(complexity: Complexity) -> str:
    line = (
        f"{complexity.parameters:,} parameters, {complexity.total_parameters:,} in all; "
        f"{complexity.macs / 1e9:.2f} G MACs = {complexity.flops / 1e9:.2f} GFLOPs for one image."
    )
    if complexity.bytes_moved:
        line += (
            f" {complexity.bytes_moved / 1e6:.1f} MB moved, operators without MACs included: "
            f"{complexity.macs / complexity.bytes_moved:.1f} MACs per byte."
        )
    if complexity.unknown:
        line += f" Not counted, no rule for: {', '.join(complexity.unknown)}."
    return line


def _table(header: _Row, body: Sequence[_Row]) -> list[str]:
    """Lines of a padded table; numbers are aligned right."""
    widths = [max(len(row[i]) for row in (header, *body)) for i in range(len(header))]
    left = [not any(char.isdigit() for char in body[-1][i]) for i in range(len(header))]
    rule = (
        "-" * width if is_left else "-" * (width - 1) + ":"
        for width, is_left in zip(widths, left, strict=True)
    )
    lines = [
        " | ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left, strict=True)
        )
        for row in (header, *body)
    ]
    lines.insert(1, " | ".join(rule))
    return [f"| {line} |" for line in lines]
