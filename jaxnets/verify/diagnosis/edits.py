"""Backward passes with a mistake put in: what each of them would make of a gradient.

Every edit leaves the forward pass as it is and changes what is differentiated at one read of a value:

    gate          the term through this read has the factor γ: 0 leaves it out
    turn          a gate that is open in one step of a scan, or turn of a loop, only; or in all others
    substitution  the backward pass reads another value c where it should read v
    slope         the derivative of an element-wise f is taken to be s

All of them are one program, in which numbers say which edits are made: it is compiled once and run for each.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import jaxpr
from jaxnets.verify import cut
from jaxnets.verify.diagnosis import graph
from jaxnets.verify.diagnosis.record import STEP, Read, Record
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.leaves import is_inexact
from jaxnets.verify.problem import Problem


class Gate(NamedTuple):
    """A factor for the term through a read."""

    read: Read
    factor: float


class Substitution(NamedTuple):
    """`at(own, values)` is what is read instead of `own`, where `values(key)` is a value of the forward pass."""

    read: Read
    words: str
    surprise: float
    at: Callable[[Any, int, cut.Env], Any]  # (own value, turn of the loop, environment) -> value


class Slope(NamedTuple):
    """The derivative of an element-wise operation is taken to be `slope(x, y)` of its input and output."""

    read: Read
    words: str
    surprise: float
    slope: Callable[[Any, Any], Any]


class Turn(NamedTuple):
    """Only the term of one turn, or all but that one."""

    read: Read
    turn: int
    only: bool
    words: str
    surprise: float


Edit = Gate | Substitution | Slope | Turn


class Numbers(NamedTuple):
    """Which edits are made: for each read its factor, the turn that is kept, and the turn that is left out (-1: none);
    for each substitution and slope whether it is on.
    """

    factors: Any
    kept: Any
    left_out: Any
    switches: Any


class Plan(NamedTuple):
    """The edits that a program knows, by read."""

    gates: Mapping[tuple[str, int], int]  # read -> position among the factors
    substitutions: Mapping[tuple[str, int], Sequence[tuple[int, Substitution]]]
    slopes: Mapping[tuple[str, int], Sequence[tuple[int, Slope]]]


def results(
    problem: Problem,
    operands: list[Any],
    cotangents: list[Any],
    deltas: Mapping[str, Any],
    wanted: Sequence[str],
    record: Record,
    edits: Sequence[Edit],
) -> list[dict[str, np.ndarray]]:
    """For each edit, the values of the wanted names (deltas and leaves) that a backward pass with it would give."""
    reads = list(record.reads)
    switched = [edit for edit in edits if isinstance(edit, Substitution | Slope)]
    plan = Plan(
        {key: position for position, key in enumerate(reads)},
        _by_read(enumerate(switched), Substitution),
        _by_read(enumerate(switched), Slope),
    )
    numbers = _numbers(edits, plan, len(reads), len(switched))
    probes = {name: np.zeros(np.shape(delta)) for name, delta in deltas.items()}
    arrays = {("value", key): array for key, array in record.arrays.items()}

    def one(numbers: Numbers) -> dict[str, Any]:
        def handlers(env: cut.Env) -> jaxpr.Handlers:
            visitor = graph.Visitor(lambda *visit: _operation(plan, numbers, *visit))
            return graph.handlers(problem.closed.jaxpr, {**env, **arrays}, visitor)

        expected, bars = problem.truth_by(handlers)(operands, cotangents, deltas, probes)
        named = {**expected, **dict(zip(problem.input_names(), bars, strict=True))}
        return {name: named[name] for name in wanted}

    program = jax.jit(lambda numbers: jax.lax.map(one, numbers), compiler_options=FAST_COMPILE)
    every = {name: np.asarray(values) for name, values in program(numbers).items()}
    return [{name: np.asarray(values[number]) for name, values in every.items()} for number in range(len(edits))]


def _numbers(edits: Sequence[Edit], plan: Plan, reads: int, switches: int) -> Numbers:
    shape = (len(edits), reads)
    numbers = Numbers(np.ones(shape), np.full(shape, -1), np.full(shape, -1), np.zeros((len(edits), switches)))
    switch = 0
    for number, edit in enumerate(edits):
        at = plan.gates[edit.read.key]
        if isinstance(edit, Gate):
            numbers.factors[number, at] = edit.factor
        elif isinstance(edit, Turn):
            (numbers.kept if edit.only else numbers.left_out)[number, at] = edit.turn
        else:
            numbers.switches[number, switch] = 1.0
            switch += 1
    return numbers


def _by_read(numbered: Any, kind: type) -> dict[tuple[str, int], list[tuple[int, Any]]]:
    found: dict[tuple[str, int], list[tuple[int, Any]]] = {}
    for number, edit in numbered:
        if isinstance(edit, kind):
            found.setdefault(edit.read.key, []).append((number, edit))
    return found


def _operation(plan: Plan, numbers: Numbers, site: graph.Site, inputs: tuple[Any, ...], env: cut.Env) -> list[Any]:
    """The results of one operation, differentiated with the edits that are switched on."""
    keys = [(site.key, position) for position in range(len(inputs))]
    gated = [
        _gate(value, _factor(numbers, plan.gates[key], site, env)) if key in plan.gates else value
        for key, value in zip(keys, inputs, strict=True)
    ]
    outputs = list(jaxpr.bind(site.equation, gated))
    if any(key in plan.substitutions for key in keys):
        moved = [
            value + _held(_chosen(plan.substitutions.get(key, ()), numbers.switches, value, site, env))
            if key in plan.substitutions
            else value
            for key, value in zip(keys, gated, strict=True)
        ]
        changed = jaxpr.bind(site.equation, moved)
        outputs = [
            _differentiated_as(output, other) if is_inexact(output) else output
            for output, other in zip(outputs, changed, strict=True)
        ]
    for key, value in zip(keys, gated, strict=True):
        for number, edit in plan.slopes.get(key, ()):
            slope = _held(edit.slope(_held(value), _held(outputs[0])))
            on = numbers.switches[number].astype(value.dtype)
            outputs = [_differentiated_as(outputs[0], (1 - on) * outputs[0] + on * slope * value)]
    return outputs


def _factor(numbers: Numbers, at: int, site: graph.Site, env: cut.Env) -> Any:
    turn = env.get(("value", f"{site.scope}{STEP}"), site.occurrence)
    kept, left_out = numbers.kept[at], numbers.left_out[at]
    open_ = ((kept < 0) | (kept == turn)) & (left_out != turn)
    return jnp.where(open_, numbers.factors[at], 0.0)


def _chosen(
    substitutions: Sequence[tuple[int, Substitution]], switches: Any, own: Any, site: graph.Site, env: cut.Env
) -> Any:
    """How far to move a value to the one that is read instead of it: not at all if nothing is switched on."""
    own = _held(own)
    others = jnp.stack([like(own, edit.at(own, site.occurrence, env)) - own for _, edit in substitutions])
    weights = jnp.stack([switches[number] for number, _ in substitutions]).astype(others.dtype)
    return jnp.tensordot(weights.astype(others.dtype), others, 1)


def like(own: Any, other: Any) -> Any:
    """The other value, where it could be read instead: the turns of a loop may have other shapes."""
    return other if (other.shape, other.dtype) == (own.shape, own.dtype) else own


def _held(value: Any) -> Any:
    return jax.lax.stop_gradient(value)


@jax.custom_vjp
def _gate(value: Any, factor: Any) -> Any:
    return value


_gate.defvjp(
    lambda value, factor: (value, factor), lambda factor, bar: (factor.astype(bar.dtype) * bar, jnp.zeros_like(factor))
)


@jax.custom_vjp
def _differentiated_as(value: Any, other: Any) -> Any:
    """A value with the derivative of another."""
    return value


_differentiated_as.defvjp(lambda value, other: (value, None), lambda _, bar: (jnp.zeros_like(bar), bar))
