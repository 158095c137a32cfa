"""What the hypotheses work on, and what they give."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxnets.verify.report import Explanation

TOLERANCE = 1e-7
"""A hypothesis explains a wrong array if it reproduces it to this part of it, far below any mistake."""

FAR_CLOSER = 1e-3


class Wrong(NamedTuple):
    """One array that is wrong, with what there is to name things by."""

    name: str
    hand: np.ndarray
    truth: np.ndarray
    dimensions: Mapping[str, int]  # "x.shape[0]" -> 5
    integers: Mapping[str, np.ndarray]  # integer arguments
    values: Mapping[str, np.ndarray]  # values of the forward pass by name


class Hypothesis(NamedTuple):
    """An explanation and how surprising it is: of several that fit, the least surprising is the likely one."""

    surprise: float
    explanation: Explanation


def says(surprise: float | int, text: str, source: str = "") -> Hypothesis:
    """A hypothesis in words."""
    return Hypothesis(float(surprise), Explanation(text, source))


def reproduces(value: np.ndarray, wrong: Wrong) -> bool:
    """Whether a hypothetical value is the wrong one, far closer than the truth is."""
    error = np.linalg.norm(wrong.hand - wrong.truth) if wrong.hand.shape == wrong.truth.shape else np.inf
    return same(value, wrong.hand) and bool(np.linalg.norm(value - wrong.hand) <= FAR_CLOSER * error)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays agree as closely as an explanation must."""
    if a.shape != b.shape:
        return False
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return bool(np.linalg.norm(a - b) <= TOLERANCE * scale)
