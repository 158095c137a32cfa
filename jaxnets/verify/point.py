"""The derivation and the truth at one point, equation by equation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxnets.verify import cut, kinks
from jaxnets.verify.answer import Answer
from jaxnets.verify.compare import compare
from jaxnets.verify.diagnosis import diagnose
from jaxnets.verify.problem import Problem
from jaxnets.verify.report import Row, Verdict


def leaves_at(problem: Problem, operands: list[Any], cotangents: list[Any]) -> list[Row]:
    """A row for each differentiated leaf: its cotangent by hand and by autodiff."""
    return _rows(problem, operands, cotangents, lambda answer: answer._replace(deltas={}))


def equations_at(problem: Problem, operands: list[Any], cotangents: list[Any]) -> list[Row]:
    """A row for each delta by hand, in the order of the backward pass, then for each leaf: what this equation alone
    makes of the deltas by hand that it is given.
    """
    return _rows(problem, operands, cotangents, lambda answer: answer)


class Sides(NamedTuple):
    """The values by hand and by autodiff, by name, in the order of the backward pass."""

    hand: dict[str, Any]
    truth: dict[str, Any]


def sides(problem: Problem, operands: list[Any], cotangents: list[Any], given: Answer, at_hand: Answer) -> Sides:
    """The derivation's values `at_hand`, and what they should be where the deltas `given` arrive."""
    fitting, shapes = _fitting(problem, given)
    deltas = deltas_in_place(problem, at_hand)
    expected, bars = problem.truth(operands, cotangents, fitting, {name: np.zeros(shapes[name]) for name in fitting})
    order = [*reversed(deltas)]
    # A delta of the wrong shape cannot be handed on: nothing is expected of it but its shape.
    should = {name: expected.get(name, np.full(shapes[name], np.nan)) for name in order}
    leaves = problem.input_names()
    return Sides(
        {**{name: deltas[name] for name in order}, **dict(zip(leaves, at_hand.bars, strict=True))},
        {**should, **dict(zip(leaves, bars, strict=True))},
    )


def deltas_in_place(problem: Problem, answer: Answer) -> dict[str, Any]:
    """The deltas by hand with the axes that the named values have inside `vmap`.

    A value that is named under `vmap` has its batch axis where `vmap` put it, a delta has it first.
    """
    deltas = {}
    for name, place in cut.find(problem.closed.jaxpr, answer.deltas).items():
        delta = answer.deltas[name]
        moves = [
            to
            for to in range(1, len(place.shape))
            if np.ndim(delta) == len(place.shape) and np.moveaxis(np.empty(np.shape(delta)), 0, to).shape == place.shape
        ]
        fits = np.shape(delta) == place.shape or len(moves) != 1
        deltas[name] = delta if fits else np.moveaxis(np.asarray(delta), 0, moves[0])
    return deltas


def _fitting(problem: Problem, answer: Answer) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    deltas = deltas_in_place(problem, answer)
    shapes = {name: place.shape for name, place in cut.find(problem.closed.jaxpr, deltas).items()}
    return {name: delta for name, delta in deltas.items() if np.shape(delta) == shapes[name]}, shapes


def _rows(
    problem: Problem, operands: list[Any], cotangents: list[Any], judged: Callable[[Answer], Answer]
) -> list[Row]:
    given = judged(problem.hand(operands, cotangents))
    both = sides(problem, operands, cotangents, given, given)
    names = list(both.hand)

    def rows(noise: dict[str, float]) -> list[Row]:
        return [compare(name, both.hand[name], both.truth[name], noise.get(name, 0.0)) for name in names]

    exact = rows({})
    if all(row.verdict is Verdict.OK for row in exact) or not problem.explain:
        return exact
    fitting, _ = _fitting(problem, given)
    spread = dict.fromkeys([*sorted(fitting), *problem.input_names()], 0.0)
    # A right derivation may cancel where autodiff's order of operations does not: its own noise counts too.
    for noise in problem.noise if all(np.all(np.isfinite(bar)) for bar in both.truth.values()) else ():
        norms = noise(operands, cotangents, fitting)
        spread = {name: max(norm, known) for (name, known), norm in zip(spread.items(), norms, strict=True)}
        exact = rows(spread)
        if all(row.verdict is not Verdict.WRONG for row in exact):
            return exact

    def there(point: list[Any], cotangents: list[Any]) -> Sides:
        answer = judged(problem.hand(point, cotangents))
        return sides(problem, point, cotangents, answer, answer)

    def by_hand(cotangents: list[Any]) -> dict[str, Any]:
        return sides(problem, operands, cotangents, given, judged(problem.hand(operands, cotangents))).hand

    def around(points: list[list[Any]], cotangents: list[Any]) -> dict[str, Any]:
        inputs = [
            np.stack(column) for column, moves in zip(zip(*points, strict=True), problem.wanted, strict=True) if moves
        ]
        probes = {name: np.zeros(np.shape(delta)) for name, delta in fitting.items()}
        expected, bars = problem.truth_at_each(inputs, operands, cotangents, fitting, probes)
        return {**expected, **dict(zip(problem.input_names(), bars, strict=True))}

    judged_rows = kinks.judge(problem, operands, cotangents, exact, there, by_hand, around, one_by_one=not given.deltas)
    return diagnose(problem, operands, cotangents, judged_rows, given._replace(deltas=fitting), both)
