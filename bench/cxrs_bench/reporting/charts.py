"""Charts as SVG elements for a page: text stays text, colours are the page's.

A colour of `INKS` stands in the SVG as a CSS variable, so that light and dark are the style sheet's business. Text
from a report is never read as mathematics.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INKS = {
    "ink": "#1a1b01", "soft": "#1a1b02", "line": "#1a1b03", "paper": "#1a1b04",
    **{f"n{index}": f"#1a1b{0x10 + index:02x}" for index in range(4)},
    **{f"g{index}": f"#1a1b{0x20 + index:02x}" for index in range(12)},
}  # fmt: skip
"""CSS variable -> the colour that stands for it while matplotlib draws; none is ever seen. n: networks, g: groups."""
WIDTH = 5.0
"""Inches; the page scales a chart to its column."""

_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_GEOMETRY = re.compile(r'\s(?:d|x|y|transform)="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")
"""More than a hundredth of a point is nothing but bytes."""
_IDS = re.compile(r'\bid="([^"]+)"')
_REFERENCES = re.compile(r'(xlink:href="#|url\(#)([^")]+)')
_SIZE = re.compile(r'(<svg\b[^>]*?) width="[^"]*"', re.DOTALL)
_HEIGHT = re.compile(r'(<svg\b[^>]*?) height="[^"]*"', re.DOTALL)

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    # Only for the widths of texts: the page sets the font.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.edgecolor": INKS["line"],
    "grid.color": INKS["line"],
    "text.color": INKS["ink"],
    "axes.labelcolor": INKS["soft"],
    "xtick.color": INKS["soft"],
    "ytick.color": INKS["soft"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
}


class Canvas:
    """A figure that is being drawn, and after the context its `svg`."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        self.svg = ""


@contextmanager
def canvas(name: str, height: float, columns: int = 1, **options: Any) -> Iterator[tuple[Canvas, Any]]:
    """A figure with axes to draw in; `name` is unique in the page, `height` in inches.

    Yields the canvas and its axes, an array of them for several columns.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        drawn = Canvas(figure)
        yield drawn, figure.subplots(1, columns, **options)
        mpl.rcParams["svg.hashsalt"] = name
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        drawn.svg = embed(text.getvalue(), name)


def embed(svg: str, name: str) -> str:
    """An SVG file as an element of a page: no prolog, ids of its own, colours of the page, as wide as its column."""
    svg = "\n".join(map(str.strip, _METADATA.sub("", svg[svg.index("<svg") :]).splitlines()))
    svg = _HEIGHT.sub(r"\1", _SIZE.sub(r'\1 width="100%"', svg, count=1), count=1)
    svg = _GEOMETRY.sub(lambda found: _DIGITS.sub(r"\1", found[0]), svg)
    svg = _IDS.sub(rf'id="{name}-\1"', svg)
    svg = _REFERENCES.sub(rf"\1{name}-\2", svg)
    for variable, colour in INKS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
