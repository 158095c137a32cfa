"""The part of an array that is wrong, where it is a box with a name: one step, one block of gates, some rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnets.verify.compare import RELATIVE
from jaxnets.verify.diagnosis.hypothesis import Hypothesis, Wrong
from jaxnets.verify.report import Explanation

FEWEST = 3
"""Of fewer wrong entries than this anything can be said."""

MOST_SHOWN = 8


class Part(NamedTuple):
    """The indices along each axis, and what to call them."""

    indices: tuple[np.ndarray, ...]
    words: str


def wrong_entries(wrong: Wrong) -> np.ndarray:
    """Which entries are wrong, measured by the size of all."""
    scale = np.sqrt(np.mean(abs(wrong.truth) ** 2)) or 1.0
    return ~(abs(wrong.hand - wrong.truth) <= RELATIVE * (abs(wrong.truth) + scale))


def wrong_part(wrong: Wrong) -> Part | None:
    """The wrong entries, if they are a box and not the whole array."""
    if wrong.hand.shape != wrong.truth.shape or not wrong.truth.ndim:
        return None
    bad = wrong_entries(wrong)
    indices = tuple(np.unique(where) for where in np.nonzero(bad))
    if not bad.any() or bad.all() or np.prod([len(where) for where in indices]) != bad.sum():
        return None
    words = ", ".join(
        f"axis {axis} in {short(where)}" for axis, where in enumerate(indices) if len(where) < bad.shape[axis]
    )
    return Part(indices, words)


def cut_out(part: Part, array: np.ndarray) -> np.ndarray:
    """The part of an array."""
    return array[np.ix_(*part.indices)]


def as_whole(part: Part, wrong: Wrong) -> Wrong | None:
    """The part as a wrong array of its own, if there is enough in it to judge by."""
    inside = wrong._replace(hand=cut_out(part, wrong.hand), truth=cut_out(part, wrong.truth))
    return inside if inside.truth.size >= FEWEST else None


def only_there(part: Part, hypothesis: Hypothesis) -> Hypothesis:
    """What holds of the part, with its place."""
    text, source = hypothesis.explanation.text, hypothesis.explanation.source
    return Hypothesis(hypothesis.surprise + 0.2, Explanation(f"{text} (only in {part.words})", source))


def short(indices: Sequence[int] | np.ndarray) -> str:
    """A list of indices, or its beginning."""
    shown = ", ".join(str(int(i)) for i in indices[:MOST_SHOWN])
    return f"[{shown}{', ...' if len(indices) > MOST_SHOWN else ''}]"
