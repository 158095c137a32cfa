"""The derivatives of a derivation against those of autodiff: is every value in it a function of the arguments?

A derivation that is right in value may have saved something that JAX takes for a constant, through `stop_gradient`, a
callback, or a number that was computed beforehand.  Then all that is built on it, a Hessian-vector product, a gradient
penalty, a meta-gradient, is wrong without a word.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives

from jaxnets import jaxpr
from jaxnets.verify import cut
from jaxnets.verify.compare import compare
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.line import holds, inner
from jaxnets.verify.noise import spread
from jaxnets.verify.problem import Problem
from jaxnets.verify.remainder import slope
from jaxnets.verify.report import Row, Verdict

BESIDE, DISTANCE = 2, 1e-6
"""At a kink a second derivative is what a convention makes of it: it must be wrong at points next to it as well."""

BY_DIFFERENCES = 1e-5
"""Right derivatives differ from differences by 1e-8 of their scale, those that miss a path by parts of it."""


def second_derivatives(problem: Problem) -> list[Row]:
    """A row for each mode, or for each delta and leaf whose derivative is wrong, in the order of the backward pass.

    Reverse mode gives the gradient of ⟨hand(x, y_bar), v⟩ in x and y_bar; forward mode, where no custom-VJP rule stands
    in its way, the change of hand(x, y_bar) along a direction.  Each equation is compared with what autodiff makes of
    it at the deltas by hand, so that what is inherited is not blamed.

    A function that holds something still, by `stop_gradient`, has first derivatives whose own derivative autodiff does
    not know.  There a derivation is wrong only if what JAX takes for its derivative is not the one that it has, by
    differences.
    """
    both = _both(problem, _names(problem))
    rows: list[Row] = []
    for mode in (_reverse(both), None if both.rules else _forward(both)):
        if mode is not None and all(row.verdict is not Verdict.WRONG for row in rows):
            rows += _judged(problem, both, mode)
    return rows


class _Both(NamedTuple):
    """Hand and truth as functions of the variables."""

    values: Callable[[list[Any]], tuple[list[Any], list[Any]]]  # (by hand, by autodiff)
    by_hand: Callable[[list[Any]], list[Any]]  # compiled
    names: list[str]  # of the values
    variables: list[Any]  # the floating-point arguments, and the cotangents, where the derivation knows others than 1
    variable_names: list[str]
    rules: bool  # whether the derivation itself calls custom-VJP rules, which forward mode does not go through


Key = tuple[str, str | None]


class _Mode(NamedTuple):
    """Derivatives as a program: (variables, direction) -> (by hand, by autodiff).

    For each direction it says of which value each result is the derivative, and with respect to which variable, none
    if it is along the direction.
    """

    name: str
    program: Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]
    runs: list[tuple[list[Any], list[Key]]]


def _names(problem: Problem) -> list[str]:
    """The deltas that fit their places, the last first."""
    deltas = problem.hand(problem.operands, problem.cotangents).deltas
    places = cut.find(problem.closed.jaxpr, deltas)
    return [name for name in reversed(places) if np.shape(deltas[name]) == places[name].shape]


def _both(problem: Problem, names: list[str]) -> _Both:
    truth = problem.truth_by(cut.handlers)
    inputs = problem.inputs()
    cotangents = [] if problem.scalar_loss else problem.cotangents

    def point(variables: list[Any]) -> tuple[list[Any], list[Any]]:
        return problem.merge(variables[: len(inputs)]), variables[len(inputs) :] or problem.cotangents

    def values(variables: list[Any]) -> tuple[list[Any], list[Any]]:
        answer = problem.hand_as_written(*point(variables))
        deltas = {name: jnp.asarray(answer.deltas[name]) for name in names}
        probes = {name: jnp.zeros_like(delta) for name, delta in deltas.items()}
        expected, bars = truth(*point(variables), deltas, probes)
        return [*deltas.values(), *answer.bars], [*(expected[name] for name in names), *bars]

    def by_hand(variables: list[Any]) -> list[Any]:
        answer = problem.hand(*point(variables))
        return [*(answer.deltas[name] for name in names), *answer.bars]

    program = jax.make_jaxpr(problem.hand_as_written)(problem.operands, problem.cotangents).jaxpr
    return _Both(
        values,
        by_hand,
        [*names, *problem.input_names()],
        [*inputs, *cotangents],
        [*problem.input_names(), *(f"cotangent {position}" for position in range(len(cotangents)))],
        rules=any(equation.primitive is primitives.custom_vjp_call_p for equation in jaxpr.equations(program)),
    )


def _reverse(both: _Both) -> _Mode:
    def program(variables: list[Any], v: list[Any]) -> tuple[list[Any], list[Any]]:
        def products(variables: list[Any]) -> list[Any]:
            sides = both.values(variables)
            return [sum(jnp.sum(value * weight).real for value, weight in zip(side, v, strict=True)) for side in sides]

        pull_back = jax.vjp(products, variables)[1]
        ours, theirs = (pull_back([jnp.asarray(float(at == side)) for at in range(2)])[0] for side in range(2))
        return ours, theirs

    weights = _random(jax.eval_shape(both.values, both.variables)[0])
    runs: list[tuple[list[Any], list[Key]]] = [
        (
            [weight if at == here else np.zeros_like(weight) for at, weight in enumerate(weights)],
            [(name, variable) for variable in both.variable_names],
        )
        for here, name in enumerate(both.names)
    ]
    return _Mode("second derivatives, reverse mode", _compiled(program), runs)


def _forward(both: _Both) -> _Mode:
    def program(variables: list[Any], direction: list[Any]) -> tuple[list[Any], list[Any]]:
        return jax.jvp(both.values, (variables,), (direction,))[1]

    runs: list[tuple[list[Any], list[Key]]] = [(_random(both.variables), [(name, None) for name in both.names])]
    return _Mode("second derivatives, forward mode", _compiled(program), runs)


def _compiled(f: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(f, compiler_options=FAST_COMPILE)


def _random(like: list[Any]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(leaf.shape).astype(leaf.dtype) for leaf in like]


def _judged(problem: Problem, both: _Both, mode: _Mode) -> list[Row]:
    def row(verdict: Verdict, error: float, note: str = "") -> Row:
        return Row(mode.name, verdict, error, note=note, decisive=False)

    try:
        here = _rows(mode, both.variables, {})
    except Exception as error:  # a loop that has no way back, a callback, ...
        return [row(Verdict.NO_POWER, 0.0, f"the derivation cannot be differentiated: {type(error).__name__}")]
    off = [key for key in here if here[key].verdict is Verdict.WRONG]
    for point in _beside(problem, both.variables) if off else ():
        there = _rows(mode, point, {})
        off = [key for key in off if key in there and there[key].verdict is Verdict.WRONG]
    if off and holds(problem):
        off = [key for key in off if not _its_own(both, mode, key)]
        if not off:
            note = "the function holds something still, by stop_gradient: there is no truth"
            return [row(Verdict.NO_POWER, 0.0, note)]
    if off:
        here |= _rows(mode, both.variables, _noise(mode, both.variables, off))
        off = [key for key in off if here[key].verdict is Verdict.WRONG]
    if not off:
        return [row(Verdict.OK, max((at.error for at in here.values() if at.verdict is Verdict.OK), default=0.0))]
    return [
        max((here[key] for key in off if key[0] == value), key=lambda row: row.error)
        for value in dict.fromkeys(value for value, _ in off)
    ]


def _rows(mode: _Mode, variables: list[Any], noise: dict[Key, float]) -> dict[Key, Row]:
    """A row for each derivative that is finite by autodiff."""
    rows = {}
    for direction, keys in mode.runs:
        for key, ours, theirs in zip(keys, *mode.program(variables, direction), strict=True):
            if np.all(np.isfinite(theirs)):
                row = compare(key[0], ours, theirs, noise.get(key, 0.0))
                way = "along a direction" if key[1] is None else f"with respect to {key[1]}"
                rows[key] = dataclasses.replace(row, note=f"its derivative {way}", decisive=False)
    return rows


def _its_own(both: _Both, mode: _Mode, key: Key) -> bool:
    """Whether a derivative of the derivation, as JAX sees it, is that of its values."""
    value, variable = key
    direction, keys = next((direction, keys) for direction, keys in mode.runs if key in keys)
    derivative = mode.program(both.variables, direction)[0][keys.index(key)]
    other = _random([derivative])[0]
    moves, weights = direction, direction
    if variable is None:
        at_point = zip(both.names, both.by_hand(both.variables), strict=True)
        weights = [other if name == value else np.zeros(np.shape(x)) for name, x in at_point]
    else:
        variables = zip(both.variable_names, both.variables, strict=True)
        moves = [other if name == variable else np.zeros(np.shape(x)) for name, x in variables]

    def along(t: float) -> float:
        there = [x + t * move for x, move in zip(both.variables, moves, strict=True)]
        return inner(weights, both.by_hand(there))

    scale = float(np.sum(abs(np.asarray(derivative) * other)))
    measured = slope(along, BY_DIFFERENCES * scale)
    return bool(abs(inner([derivative], [other]) - measured.value) <= BY_DIFFERENCES * scale + measured.error)


def _noise(mode: _Mode, variables: list[Any], wanted: list[Key]) -> dict[Key, float]:
    """What rounding can do to either side."""
    program = inspect.unwrap(mode.program)  # as it was before it was compiled

    def flat(variables: list[Any], direction: list[Any]) -> list[Any]:
        ours, theirs = program(variables, direction)
        return [*ours, *theirs]

    norms = spread(flat)
    noise = {}
    for direction, keys in mode.runs:
        if any(key in wanted for key in keys):
            of_results = norms(variables, direction)
            noise |= dict(zip(keys, map(max, of_results[: len(keys)], of_results[len(keys) :]), strict=True))
    return noise


def _beside(problem: Problem, variables: list[Any]) -> Iterator[list[Any]]:
    generator = np.random.default_rng(problem.seed)
    for _ in range(BESIDE):
        yield [
            x + DISTANCE * np.maximum(1.0, abs(np.asarray(x))) * generator.standard_normal(np.shape(x))
            for x in variables
        ]
