"""Hypotheses about the wrong array alone: right numbers times a factor, or in the wrong places, or summed wrongly."""

import itertools
from collections.abc import Iterator

import numpy as np

from jaxnets.verify.diagnosis.hypothesis import Hypothesis, Wrong, reproduces, same, says
from jaxnets.verify.diagnosis.numbers import in_words, named

MOST_AXES = 4
SINGLE = 2e-6
"""What is left of the digits by an operation in float32, or several."""


def arrangement(wrong: Wrong) -> Iterator[Hypothesis]:
    """Zero, a constant factor, a missing sum or mean, transposed, flipped, rolled, shifted, permuted blocks."""
    hand, truth = wrong.hand, wrong.truth
    if not np.any(hand):
        yield says(0.0, "identically zero: this gradient is missing")
        return
    if hand.shape == truth.shape:
        yield from _factor(wrong)
        yield from _moved(hand, truth)
        yield from _digits(wrong)
    yield from _transposed(hand, truth)
    yield from _summed(hand, truth)


def _factor(wrong: Wrong) -> Iterator[Hypothesis]:
    if wrong.truth.size < 2 or not np.any(wrong.truth):
        return
    factor = float(np.vdot(wrong.truth, wrong.hand).real / np.vdot(wrong.truth, wrong.truth).real)
    if factor and reproduces(factor * wrong.truth, wrong):
        name = named(factor, wrong.dimensions)
        yield says(1.0 if name else 1.5, f"off by the constant factor {in_words(factor, wrong.dimensions)}")


def _digits(wrong: Wrong) -> Iterator[Hypothesis]:
    error, scale = np.linalg.norm(wrong.hand - wrong.truth), np.linalg.norm(wrong.truth)
    if 0 < error <= SINGLE * scale:
        yield says(9.0, f"right to {np.log10(scale / error):.0f} digits: as if something were computed in float32")


def _transposed(hand: np.ndarray, truth: np.ndarray) -> Iterator[Hypothesis]:
    if not 2 <= truth.ndim <= MOST_AXES or hand.ndim != truth.ndim:
        return
    for axes in itertools.permutations(range(truth.ndim)):
        moved = np.transpose(truth, axes)
        if list(axes) != sorted(axes) and same(hand, moved):
            yield says(2.0, f"transposed: the right value with its axes in the order {list(axes)}")


def _moved(hand: np.ndarray, truth: np.ndarray) -> Iterator[Hypothesis]:
    axes = range(min(truth.ndim, MOST_AXES))
    for count in range(1, len(axes) + 1):
        for chosen in itertools.combinations(axes, count):
            if any(truth.shape[axis] > 1 for axis in chosen) and same(hand, np.flip(truth, chosen)):
                yield says(2.1, f"flipped: the right value in reverse order along axis {_list(chosen)}")
    for axis in axes:
        size = truth.shape[axis]
        for by in range(1, size):
            if same(hand, np.roll(truth, by, axis)):
                yield says(2.2, f"rolled: the right value moved by {by} along axis {axis}")
        for by in (1, -1):
            if size > 2 and same(hand, _shifted(truth, by, axis)):
                later = "the one before" if by > 0 else "the one after"
                yield says(2.3, f"off by one step: each entry along axis {axis} holds the value of {later}")
        yield from _blocks(hand, truth, axis)


def _shifted(array: np.ndarray, by: int, axis: int) -> np.ndarray:
    """Moved along an axis, zeros following."""
    moved = np.roll(array, by, axis)
    edge = [slice(None)] * array.ndim
    edge[axis] = slice(0, 1) if by > 0 else slice(-1, None)
    moved[tuple(edge)] = 0
    return moved


def _blocks(hand: np.ndarray, truth: np.ndarray, axis: int) -> Iterator[Hypothesis]:
    """Equal blocks along an axis (the gates of a cell), in another order."""
    size = truth.shape[axis]
    for count in (4, 3, 2, size):
        if size % count or count > 16 or count < 2:
            continue
        ours, theirs = np.split(hand, count, axis), np.split(truth, count, axis)
        order = [next((j for j, block in enumerate(theirs) if same(mine, block)), -1) for mine in ours]
        if sorted(order) == list(range(count)) != order:
            yield says(2.4, f"permuted: the right value with its {count} blocks along axis {axis} in the order {order}")
            return


def _summed(hand: np.ndarray, truth: np.ndarray) -> Iterator[Hypothesis]:
    """A sum over an axis left out, or made where there should be none."""
    if hand.ndim > truth.ndim:
        extra = hand.ndim - truth.ndim
        for axes in itertools.combinations(range(hand.ndim), extra):
            if same(hand.sum(axes), truth):
                yield says(1.2, f"not summed over axis {_list(axes)}")
        return
    for axis in range(min(truth.ndim, MOST_AXES)):
        for text, value in (("summed", truth.sum(axis, keepdims=True)), ("averaged", truth.mean(axis, keepdims=True))):
            if truth.shape[axis] > 1:
                spread = np.broadcast_to(value, truth.shape)
                if same(hand, spread) or same(hand, value) or same(hand, np.squeeze(value, axis)):
                    yield says(2.5, f"{text} over axis {axis}, which has to stay")


def _list(axes: tuple[int, ...]) -> str:
    return str(axes[0]) if len(axes) == 1 else str(list(axes))
