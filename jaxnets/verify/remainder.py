"""A function of one number t near 0, from its values alone: its slope there, and the order of a Taylor remainder."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

LEVELS = 6
FIRST_STEPS = (2e-2, 2e-3, 2e-4, 2e-5)
"""A kink between -h and h spoils a difference, so that a shorter first step may see less but true."""

LADDER = 2.0 ** -np.arange(3, 21)
ROUNDING = 50 * np.finfo(float).eps
"""Below this fraction of the function's largest value a remainder is rounding."""

TAIL = 4
"""How many of the shortest steps above rounding give the order."""


class Slope(NamedTuple):
    """A derivative and an estimate of its own error."""

    value: float
    error: float


def slope(g: Callable[[float], float], good_enough: float) -> Slope:
    """g'(0) by Richardson extrapolation of central differences.

    Shorter steps are tried until the error is below `good_enough`; if none is, the best is returned.  The error is that
    of Ridders: how far the best entry of the tableau is from the two that it was made of.

    Source: C. J. F. Ridders, Accurate computation of F'(x) and F'(x)F''(x), Adv. Eng. Software 4 (1982).
    """
    best = Slope(float("nan"), float("inf"))
    for first in FIRST_STEPS:
        # An entry from outside of the function's domain is NaN, which is less than nothing.
        best = min([best, *_entries(g, first)], key=lambda entry: entry.error)
        if best.error <= good_enough:
            break
    return best


def _entries(g: Callable[[float], float], first: float) -> Iterator[Slope]:
    """Every extrapolated entry of the tableau."""
    above: list[float] = []
    for step in (first / 2**level for level in range(LEVELS)):
        now = [(g(step) - g(-step)) / (2 * step)]
        for column, before in enumerate(above, start=1):
            now.append(now[-1] + (now[-1] - before) / (4**column - 1))
            yield Slope(now[-1], max(abs(now[-1] - now[-2]), abs(now[-1] - before)))
        above = now


def order(g: Callable[[float], float], derivative: float) -> float | None:
    """The order in h of |g(h) - g(0) - h derivative| for small h: 2 where the derivative is right and g is smooth, 1
    where it is wrong.  None where the remainder is rounding: g is affine as far as can be told.
    """
    at = g(0.0)
    values = [(step, g(step)) for step in LADDER]
    seen = [(step, value) for step, value in values if np.isfinite(value)]
    rounding = ROUNDING * max(abs(at), *(abs(value) for _, value in seen), 0.0)
    remainders = [(step, abs(value - at - step * derivative)) for step, value in seen]
    tail = list(itertools.takewhile(lambda pair: pair[1] > rounding, remainders))[-TAIL:]
    if len(tail) < 2:
        return None
    steps, sizes = np.log2(np.array(tail)).T
    return float(np.polyfit(steps, sizes, 1)[0])
