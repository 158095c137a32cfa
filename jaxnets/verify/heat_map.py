"""A picture of where a leaf is wrong, as inline SVG with a legend."""

import math
import statistics
from collections.abc import Sequence

LEVELS = 8
"""Shades of an error; shade 0 is an entry without any."""
DECADES = 8
"""What is this many powers of ten smaller than the largest error is rounding: it gets the lightest shade."""
SIDE = 300
LARGEST, SMALLEST = 18, 4
"""Pixels: the side that a map aims at, and the bounds of one cell."""


def heat_map(heat: Sequence[Sequence[float]]) -> str:
    """A figure with a cell for each number, in the CSS classes h0 to h8, and hx where it is not finite.

    The scale is linear from 0; or logarithmic, where most errors are a hundred times smaller than the largest.
    There is no figure of a single number.
    """
    if sum(len(line) for line in heat) < 2:
        return ""
    finite = [value for line in heat for value in line if math.isfinite(value)]
    high = max(finite, default=0.0)
    visible = [value for value in finite if value > 0 and value >= high * 10.0**-DECADES]
    low = min(visible) if visible and statistics.median(visible) < high / 100 else 0.0
    levels = [[_level(value, low, high) for value in line] for line in heat]
    scale = f"up to {high:.1e}, {'logarithmic' if low else 'linear'} scale" if finite else "not finite"
    title = f"Heat map of the error, {len(heat)} × {len(heat[0])}, {scale}"
    return f"<figure>{_svg(levels, title)}{_legend(levels, low, high)}</figure>"


def _level(value: float, low: float, high: float) -> str:
    """The CSS class of a cell; `low` is 0 for the linear scale."""
    if not math.isfinite(value):
        return "hx"
    if value == 0:
        return "h0"
    fraction = math.log(max(value, low) / low) / math.log(high / low) if low else value / high
    return f"h{min(1 + int(fraction * LEVELS), LEVELS)}"


def _svg(levels: Sequence[Sequence[str]], title: str) -> str:
    # One path for each shade: a tenth of the size of one element for each cell.
    width, height = (min(max(SIDE // count, SMALLEST), LARGEST) for count in (len(levels[0]), len(levels)))
    if len(levels) == 1:
        height = LARGEST
    gap = 1 if min(width, height) > 2 * SMALLEST else 0
    cells: dict[str, list[str]] = {}
    for down, line in enumerate(levels):
        for across, level in enumerate(line):
            box = f"M{across * width} {down * height}h{width - gap}v{height - gap}h{gap - width}z"
            cells.setdefault(level, []).append(box)
    paths = "".join(f'<path class="{level}" d="{"".join(boxes)}"/>' for level, boxes in sorted(cells.items()))
    across, down = width * len(levels[0]) - gap, height * len(levels) - gap
    return (
        f'<svg role="img" width="{across}" height="{down}" viewBox="0 0 {across} {down}" shape-rendering="crispEdges">'
        f"<title>{title}</title>{paths}</svg>"
    )


def _legend(levels: Sequence[Sequence[str]], low: float, high: float) -> str:
    parts = []
    if high > 0:
        ramp = "".join(f'<i class="h{level}"></i>' for level in range(1, LEVELS + 1))
        least, kind = (f"≤ {low:.1e}", "log") if low else ("0", "linear")
        parts.append(f"<span>{least}</span><span>{ramp}</span><span>{high:.1e}, {kind}</span>")
    present = {level for line in levels for level in line}
    names = {"h0": "right", "hx": "not finite"}
    parts += [f'<span><i class="{level}"></i> {name}</span>' for level, name in names.items() if level in present]
    return f"<figcaption>{''.join(parts)}</figcaption>"
