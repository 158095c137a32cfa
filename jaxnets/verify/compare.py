"""Is one array the other?  The measured tolerance, and the row that says so."""

from typing import Any

import numpy as np

from jaxnets.verify.report import Row, Verdict

RELATIVE = 1e-9
"""Correct code stays below 1e-15 in float64 (norm-wise), the smallest realistic mistake found was 5e-6."""

NOISE = 100.0
"""Correct code stays below 2.3 times the spread of the truth under perturbed rounding."""

POWERLESS = 1e-3
"""Where the allowance for noise exceeds this fraction of the truth, nothing can be concluded."""


def compare(name: str, hand: Any, truth: Any, noise: float = 0.0) -> Row:
    """Compare a whole array with the truth: wrong iff ‖hand - truth‖ > 1e-9 ‖truth‖ + 100 noise.

    A difference of shape is wrong, and a NaN equals nothing, another NaN included.
    `noise` is the norm of the truth's own rounding spread (`jaxnets.verify.noise`).
    """
    hand, truth = np.asarray(hand), np.asarray(truth)
    if truth.size == 0 and hand.shape == truth.shape:
        return Row(name, Verdict.OK, 0.0)
    if hand.shape != truth.shape:
        note = f"shape {list(hand.shape)}, wanted {list(truth.shape)}"
        return Row(name, Verdict.WRONG, float("inf"), note=note)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and NaN is wrong
        difference = np.asarray(np.abs(hand - truth))
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(np.nan_to_num(difference, nan=np.inf)), truth.shape))
    return row(
        name,
        error=norm(difference),
        scale=norm(truth),
        noise=noise,
        worst=worst,
        values=(hand[worst].item(), truth[worst].item()),
        difference=difference,
    )


def row(
    name: str,
    *,
    error: float,
    scale: float,
    worst: tuple[int, ...],
    noise: float = 0.0,
    values: tuple[Any, Any] = (None, None),
    difference: np.ndarray | None = None,
) -> Row:
    """The row for an error of norm `error` against a truth of norm `scale`; `difference` is that of each entry."""
    relative = 0.0 if error == 0 else error / scale if scale > 0 else float("inf")
    relative = float("nan") if np.isnan(error) or np.isnan(scale) else relative
    allowance = NOISE * noise
    if np.isfinite(scale) and error <= RELATIVE * scale:  # nothing is equal to an infinity
        verdict = Verdict.OK
    elif allowance > POWERLESS * scale and error <= allowance:
        verdict = Verdict.NO_POWER
    elif np.isfinite(scale) and error <= RELATIVE * scale + allowance:
        verdict = Verdict.OK
    else:  # also where error is NaN
        verdict = Verdict.WRONG
    heat = _heat(difference) if difference is not None and verdict is Verdict.WRONG else ()
    return Row(name, verdict, relative, worst, *values, heat=heat)


HEAT = 64
"""The most rows and columns of a heat map."""


def _heat(difference: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """The sizes of the errors as a picture: the last axis across, the others down, the largest of each block."""
    flat = difference.reshape(-1, difference.shape[-1]) if difference.ndim > 1 else np.atleast_2d(difference)
    if flat.size == 0:
        return ()
    edges = [np.linspace(0, size, min(size, HEAT) + 1).astype(int)[:-1] for size in flat.shape]
    blocks = np.maximum.reduceat(np.maximum.reduceat(flat, edges[0], axis=0), edges[1], axis=1)
    return tuple(tuple(float(value) for value in line) for line in blocks)


def norm(array: Any) -> float:
    """Euclidean norm over all entries, without underflow or overflow of the squares."""
    array = np.asarray(array)
    largest = float(np.max(np.abs(array), initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.linalg.norm((array / largest).ravel()))
