"""The same comparison at inputs where derivations go wrong: small, large, saturated, zero, tied, constant, repeated."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.verify.leaves import is_inexact
from jaxnets.verify.point import equations_at
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.report import Row, Verdict

DRAWS = {Level.QUICK: 1, Level.FULL: 3}
"""How many integers and half-integers are drawn."""


def regimes(problem: Problem, level: Level) -> list[Row]:
    """A row for each regime, up to the first in which an equation is wrong, which has a row for each wrong equation.

    All floating-point arguments times 1e-3, 10 and 40, zero, integers and half-integers (ties), constant rows; integer
    arguments with repeated indices.  A regime that leaves the domain of the function, so that it or its gradient is not
    finite, is passed over.  At a kink a valid subgradient is accepted (`jaxnets.verify.kinks`).
    """
    rows: list[Row] = []
    for name, operands in _points(problem, level):
        rows += _at(problem, name, operands)
        if any(row.verdict is Verdict.WRONG for row in rows):
            break  # found and explained
    return rows


def _at(problem: Problem, name: str, operands: list[Any]) -> list[Row]:
    rows = equations_at(problem._replace(explain=False), operands, problem.cotangents)
    if any(row.verdict is not Verdict.OK for row in rows):
        _, truth = problem.truth(operands, problem.cotangents, {}, {})
        values = [value for value in problem.value(operands) if is_inexact(value)]
        if not all(np.all(np.isfinite(array)) for array in (*truth, *values)):
            return []
        rows = equations_at(problem, operands, problem.cotangents)
    wrong = [row for row in rows if row.verdict is Verdict.WRONG]
    if wrong:
        return [
            dataclasses.replace(row, decisive=False, note="; ".join(filter(None, (row.note, f"with {name}"))))
            for row in wrong
        ]
    for verdict in (Verdict.NO_POWER, Verdict.SUBGRADIENT):
        of_kind = [row for row in rows if row.verdict is verdict]
        if of_kind:
            note = f"{', '.join(row.name for row in of_kind)}" + (f": {of_kind[0].note}" if of_kind[0].note else "")
            return [Row(name, verdict, max(row.error for row in of_kind), decisive=False, note=note)]
    return [Row(name, Verdict.OK, max(row.error for row in rows), decisive=False)]


def _points(problem: Problem, level: Level) -> Iterator[tuple[str, list[Any]]]:
    generator = np.random.default_rng(problem.seed)

    def floats(change: Callable[[np.ndarray], np.ndarray]) -> list[Any]:
        return [
            change(np.asarray(operand)).astype(operand.dtype) if moves else operand
            for operand, moves in zip(problem.operands, problem.wanted, strict=True)
        ]

    for factor in ("1e-3", "10", "40"):
        yield f"floats × {factor}", floats(lambda a, by=float(factor): a * by)
    yield "floats 0", floats(np.zeros_like)
    for _ in range(DRAWS[level]):
        yield "floats integers", floats(lambda a: generator.integers(-3, 4, a.shape).astype(float))
        yield "floats half-integers", floats(lambda a: generator.integers(-6, 7, a.shape) / 2)
    yield "floats constant rows", floats(_constant_rows)
    indices = [is_index(operand) for operand in problem.operands]
    if any(indices):
        yield (
            "indices repeated",
            [_repeated(a) if repeats else a for a, repeats in zip(problem.operands, indices, strict=True)],
        )


def is_index(operand: Any) -> bool:
    """Whether an operand holds several integers, which may be indices."""
    return jnp.issubdtype(operand.dtype, np.integer) and operand.size > 1


def _constant_rows(array: np.ndarray) -> np.ndarray:
    """Each row the value of its first entry."""
    return np.broadcast_to(array[..., :1], array.shape) if array.ndim else array


def _repeated(array: Any) -> np.ndarray:
    """The first half of the indices twice over."""
    flat = np.asarray(array).ravel()
    return np.resize(flat[: (flat.size + 1) // 2], flat.size).reshape(array.shape)
