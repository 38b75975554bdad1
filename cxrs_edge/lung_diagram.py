"""The six lung zones as a small drawing in text."""

from __future__ import annotations

from collections.abc import Mapping


def draw_lungs(zones: Mapping[str, float]) -> list[str]:
    """Lines of ASCII: each zone's probability in percent, the right lung on the left as on a film.

    ASCII, because a console's code page may have no characters to draw with.
    """
    a, b, c, d, e, f = (f"{zone} {100 * zones[zone]:3.0f} %" for zone in "abcdef")
    return [
        "  right lung      left lung    opacity in each zone",
        "   .-------.      .-------.",
        f"  / {a} \\    / {d} \\    upper",
        f" |  {b}  |  |  {e}  |   middle",
        f" |  {c}  |  |  {f}  |   lower",
        " '-----------'  '-----------'",
    ]
