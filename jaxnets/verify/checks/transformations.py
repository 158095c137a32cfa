"""The derivation under `vmap`, in a `scan`, without `jit`, and differentiated once more."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.verify import cut
from jaxnets.verify.answer import Answer
from jaxnets.verify.checks.applicable import NotApplicable, unless_too_large
from jaxnets.verify.compare import compare
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.nearby import nearby
from jaxnets.verify.point import sides
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.report import Row, Verdict, brief
from jaxnets.verify.second_derivatives import second_derivatives

POINTS, BY = 3, 0.01
"""How many points are stacked, and how far off the given one they are."""


def transformations(problem: Problem, level: Level) -> list[Row]:
    """A row for each transformation, or for each delta and leaf that is wrong under it.

    At three points nearby, `vmap` gives the stack of what single calls give.  At level FULL a `scan` over the points
    gives it too, so does a call that is not compiled, and the derivation is differentiated: its derivatives are those
    of autodiff, so that nothing that it reads was cut off by a `stop_gradient`, or computed out of JAX's sight.

    Where the function itself cannot be transformed so, nothing is held against the derivation.
    """
    if not problem.traced:
        raise NotApplicable("the derivation is no JAX code")
    unless_too_large(problem, level)
    points = list(nearby(problem, POINTS, BY))
    rows = _under("vmap", problem, points, _mapped)
    if level is Level.FULL:
        rows += _under("scan", problem, points, _scanned)
        rows += _under("no jit", problem, points[:1], _one_by_one)
        rows += second_derivatives(problem)
    return rows


Pass = Callable[[list[Any], list[Any]], Any]
"""(operands, cotangents) -> a pytree of arrays."""

Way = Callable[[Pass, list[list[Any]], list[list[Any]]], list[Any]]
"""(a pass, operands at each point, cotangents at each point) -> its results at each point."""


def _mapped(f: Pass, points: list[list[Any]], cotangents: list[list[Any]]) -> list[Any]:
    mapped = jax.jit(jax.vmap(f), compiler_options=FAST_COMPILE)
    return _unstacked(mapped(_stacked(points), _stacked(cotangents)), len(points))


def _scanned(f: Pass, points: list[list[Any]], cotangents: list[list[Any]]) -> list[Any]:
    def over_points(points: list[Any], cotangents: list[Any]) -> Any:
        return jax.lax.scan(lambda _, at: ((), f(*at)), (), (points, cotangents))[1]

    scanned = jax.jit(over_points, compiler_options=FAST_COMPILE)
    return _unstacked(scanned(_stacked(points), _stacked(cotangents)), len(points))


def _one_by_one(f: Pass, points: list[list[Any]], cotangents: list[list[Any]]) -> list[Any]:
    return [f(point, bars) for point, bars in zip(points, cotangents, strict=True)]


def _stacked(lists: list[list[Any]]) -> list[Any]:
    return [
        jnp.stack(column) if jnp.issubdtype(column[0].dtype, jax.dtypes.prng_key) else np.stack(column)
        for column in zip(*lists, strict=True)
    ]


def _unstacked(tree: Any, number: int) -> list[Any]:
    arrays = jax.tree.map(np.asarray, tree)
    return [jax.tree.map(lambda array, at=at: array[at], arrays) for at in range(number)]


def _under(name: str, problem: Problem, points: list[list[Any]], way: Way) -> list[Row]:
    cotangents = _cotangents(problem, len(points))
    singles = [problem.hand(point, bars) for point, bars in zip(points, cotangents, strict=True)]
    try:
        answers: list[Answer] = way(problem.hand_as_written, points, cotangents)
    except Exception as error:  # whatever stands in the way
        return [_refused(name, problem, points, cotangents, way, error)]
    rows = _rows(problem, answers, singles, {})
    if all(row.verdict is Verdict.OK for row in rows):
        return [Row(name, Verdict.OK, max(row.error for row in rows), decisive=False)]
    rows = _rows(problem, answers, singles, _noise(problem, points, cotangents, singles[0]))
    wrong = [row.name for row in rows if row.verdict is Verdict.WRONG]
    if not wrong:
        return [Row(name, Verdict.OK, max(row.error for row in rows), note="but for rounding", decisive=False)]
    blamed = [row for row in wrong if row in _wrong_alone(problem, points, cotangents, answers)] or wrong
    return [
        dataclasses.replace(row, note="; ".join(filter(None, (row.note, f"under {name}"))), decisive=False)
        for row in rows
        if row.name in blamed
    ]


def _cotangents(problem: Problem, number: int) -> list[list[Any]]:
    """Others at each point, where the derivation knows others than 1."""
    generator = np.random.default_rng(problem.seed)
    spread = 0.0 if problem.scalar_loss else 0.5
    return [
        [bar * (1 + spread * generator.uniform(-1, 1, np.shape(bar))) for bar in problem.cotangents]
        for _ in range(number)
    ]


def _named(problem: Problem, answer: Answer) -> dict[str, Any]:
    """What a derivation gives, in the order of the backward pass."""
    order = reversed(cut.find(problem.closed.jaxpr, answer.deltas))
    return {
        **{name: answer.deltas[name] for name in order},
        **dict(zip(problem.input_names(), answer.bars, strict=True)),
    }


def _rows(problem: Problem, answers: list[Answer], singles: list[Answer], noise: dict[str, float]) -> list[Row]:
    ours, theirs = ([_named(problem, answer) for answer in each] for each in (answers, singles))
    return [
        compare(name, _stack(at[name] for at in ours), _stack(at[name] for at in theirs), noise.get(name, 0.0))
        for name in theirs[0]
    ]


def _stack(arrays: Any) -> np.ndarray:
    return np.stack([np.asarray(array) for array in arrays])


def _noise(problem: Problem, points: list[list[Any]], cotangents: list[list[Any]], answer: Answer) -> dict[str, float]:
    """What rounding can do to the derivation over all points."""
    names = [*sorted(answer.deltas), *problem.input_names()]
    norms = [problem.noise[-1](point, bars, answer.deltas) for point, bars in zip(points, cotangents, strict=True)]
    return dict(zip(names, np.linalg.norm(norms, axis=0).tolist(), strict=True))


def _wrong_alone(
    problem: Problem, points: list[list[Any]], cotangents: list[list[Any]], answers: Sequence[Answer]
) -> set[str]:
    """The equations that are wrong by themselves, given the deltas of the transformed derivation."""
    wrong = set()
    for point, bars, answer in zip(points, cotangents, answers, strict=True):
        hand, truth = sides(problem, point, bars, answer, answer)
        wrong |= {name for name in hand if compare(name, hand[name], truth[name]).verdict is Verdict.WRONG}
    return wrong


def _refused(
    name: str, problem: Problem, points: list[list[Any]], cotangents: list[list[Any]], way: Way, error: Exception
) -> Row:
    truth = problem.truth_by(cut.handlers)
    try:
        way(lambda operands, bars: truth(operands, bars, {}, {}), points, cotangents)
    except Exception:
        return Row(name, Verdict.NO_POWER, 0.0, note=f"it refuses the function itself: {brief(error)}", decisive=False)
    return Row(name, Verdict.WRONG, float("inf"), note=brief(error), decisive=False)
