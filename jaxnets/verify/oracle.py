"""The derivative along a direction from values of the function alone: by the complex step, or else by differences."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.verify.complex_step import NoComplexForm, derivative
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.line import Line
from jaxnets.verify.problem import Problem
from jaxnets.verify.remainder import slope

COMPLEX_STEP, DIFFERENCES = 1e-10, 1e-8
"""Tolerances, relative to Σ |bar · v|.  Right derivations stay below 2e-15 and 2e-12, the mistakes found above 1e-6."""


class Measured(NamedTuple):
    """A derivative along a direction, the error that it may have, and the error that it says it has."""

    value: float
    allowed: float
    error: float
    how: str

    def powerless(self) -> bool:
        """Whether its own error is too large to tell right from wrong."""
        return not self.error <= self.allowed


Oracle = Callable[[Sequence[Any], Sequence[Any], float], Measured]
"""(operands, directions of the differentiated ones, scale of the derivative) -> the derivative."""


def oracle(problem: Problem, along: Line, directions: Sequence[Any]) -> Oracle:
    """The complex step, where the function has a finite complex form, else Richardson extrapolation.

    `directions` are any: whether there is a complex form is found by trying.
    """
    step: Any = jax.jit(by_complex_step(problem), compiler_options=FAST_COMPILE)
    try:
        step(problem.operands, directions)
    except NoComplexForm:
        step = None

    def measure(operands: Sequence[Any], directions: Sequence[Any], scale: float) -> Measured:
        value = float("nan") if step is None else float(step(operands, directions))
        if np.isfinite(value):
            return Measured(value, COMPLEX_STEP * scale, 0.0, "complex step")
        allowed = DIFFERENCES * scale
        found = slope(lambda t: along(operands, directions, t), allowed)
        return Measured(found.value, allowed, found.error, "Richardson extrapolation")

    return measure


def by_complex_step(problem: Problem) -> Callable[[Sequence[Any], Sequence[Any]], Any]:
    """(operands, directions of the differentiated ones) -> the derivative, or NoComplexForm."""

    def step(operands: Sequence[Any], directions: Sequence[Any]) -> Any:
        given = iter(directions)
        tangents = derivative(problem.closed, operands, [next(given) if moves else None for moves in problem.wanted])
        changes = [tangent for tangent in tangents if tangent is not None]
        return sum(jnp.sum(bar * dy).astype(float) for bar, dy in zip(problem.cotangents, changes, strict=True))

    return step
