"""Hypotheses about where an array is wrong: at some indices, where an index repeats, in a saturated region."""

from collections.abc import Iterator

import numpy as np

from jaxnets.verify.diagnosis.hypothesis import Hypothesis, Wrong, says
from jaxnets.verify.diagnosis.part import short, wrong_entries, wrong_part


def places(wrong: Wrong) -> Iterator[Hypothesis]:
    """Wrong only where an index repeats, in a region of some value, in some indices."""
    if wrong.hand.shape != wrong.truth.shape or wrong.truth.size < 2:
        return
    bad = wrong_entries(wrong)
    if not bad.any() or bad.all():
        return
    yield from _repeated(wrong, bad)
    yield from _region(wrong, bad)
    part = wrong_part(wrong)
    if part is not None:
        zero = ", all zero there" if not np.any(wrong.hand[bad]) else ""
        yield says(8.0, f"wrong only in {part.words} ({bad.sum()} of {bad.size} entries{zero})")


def _repeated(wrong: Wrong, bad: np.ndarray) -> Iterator[Hypothesis]:
    """The rows that are wrong are those that an integer argument names more than once."""
    for name, indices in wrong.integers.items():
        values, counts = np.unique(indices, return_counts=True)
        repeated = set(values[counts > 1].tolist())
        for axis in range(bad.ndim):
            rows = bad.any(axis=tuple(other for other in range(bad.ndim) if other != axis))
            if repeated and set(np.flatnonzero(rows).tolist()) == repeated:
                which = short(np.array(sorted(repeated)))
                text = f"wrong exactly at the indices along axis {axis} that {name} repeats, {which}"
                yield says(1.1, f"{text}: their contributions are overwritten, not added")


def _region(wrong: Wrong, bad: np.ndarray) -> Iterator[Hypothesis]:
    """The wrong entries are those where some value of the forward pass is large, small, or zero."""
    for name, value in wrong.values.items():
        if value.shape != bad.shape or min(bad.sum(), (~bad).sum()) < 2:
            continue
        inside, outside = value[bad], value[~bad]
        if np.all(inside == 0) and np.all(outside != 0):
            yield says(7.0, f"wrong only where {name} is 0")
        elif inside.min() > outside.max():
            yield says(7.1, f"wrong only where {name} > {_between(outside.max(), inside.min())}")
        elif inside.max() < outside.min():
            yield says(7.1, f"wrong only where {name} < {_between(inside.max(), outside.min())}")
        elif abs(inside).min() > abs(outside).max():
            yield says(7.2, f"wrong only where |{name}| > {_between(abs(outside).max(), abs(inside).min())}")
        elif abs(inside).max() < abs(outside).min():
            yield says(7.2, f"wrong only where |{name}| < {_between(abs(inside).max(), abs(outside).min())}")


def _between(low: float, high: float) -> str:
    """The roundest number between two."""
    if low <= 0 <= high:
        return "0"
    for digits in range(1, 8):
        text = f"{(low + high) / 2:.{digits}g}"
        if low <= float(text) <= high:
            return text
    return f"{(low + high) / 2:.6g}"
