"""Every custom-VJP rule inside a function, tested where it stands.

A rule is called somewhere inside `f`, perhaps under `jit` or `vmap`, perhaps many times in a scan.  At each such call
site the rule is replaced by its plain computation, with a backward pass that forms both vector-Jacobian products, ours
and autodiff's, at the very values and cotangents that arrive there.  It hands on autodiff's, so that an error stays
where it is made, and it returns the squared error as the *cotangent of a probe*, an extra input that changes nothing:
JAX then sums it over all the times the site runs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr
from jaxnets.rule import without_rules
from jaxnets.verify.checks.applicable import NotApplicable
from jaxnets.verify.compare import norm, row
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.halves import halved
from jaxnets.verify.leaves import is_inexact
from jaxnets.verify.point import leaves_at
from jaxnets.verify.problem import Level, Problem, pose
from jaxnets.verify.report import Row, Verdict


class Square(NamedTuple):
    """Entry by entry, squared and summed over the times that a site ran: hand less truth, and truth."""

    error: Any
    truth: Any


Squares = list[list[Square]]
"""Per site, per differentiable input."""


def call_sites(problem: Problem, level: Level) -> list[Row]:
    """A row for each input of each call of a rule, the last call first, as the backward pass meets them.

    A rule inside another rule's forward has no row of its own, since its backward pass is never used there.
    """
    sites = rule_calls(problem.closed.jaxpr) if problem.rules else []
    if not sites:
        raise NotApplicable("it is about the rules inside a function, and here the derivation is a function of its own")
    rows = _site_rows(sites, _squares(problem, sites))
    wrong = [index for index, of_site in enumerate(rows) if any(row.verdict is Verdict.WRONG for row in of_site)]
    for index, runs in _runs(problem, sites, wrong).items():
        rows[index] = _closer(rows[index], sites[index], runs)
    return [row for of_site in reversed(rows) for row in of_site]


def rule_calls(root: core.Jaxpr) -> list[core.JaxprEqn]:
    """Each equation that calls a rule, once, in order of execution; rules inside rules are left out."""
    found = {
        id(equation): equation
        for equation in jaxpr.equations(root, enter=lambda e: e.primitive is not primitives.custom_vjp_call_p)
        if equation.primitive is primitives.custom_vjp_call_p and any(is_inexact(atom.aval) for atom in own(equation))
    }
    return list(found.values())


def own(site: core.JaxprEqn) -> list[Any]:
    """The arguments of a rule call.  Before them stand arrays that the rule closes over, which have no cotangent."""
    return site.invars[site.params["num_consts"] :]


def rule_name(site: core.JaxprEqn) -> str:
    """What the function is called whose rule is called there."""
    return site.params["call_jaxpr"].jaxpr.debug_info.func_src_info.split(" at ")[0]


def _squares(problem: Problem, sites: list[core.JaxprEqn]) -> Squares:
    """The squares of every site, as the cotangents of probes that are zero."""
    zeros = [[_probe(atom.aval) for atom in own(site) if is_inexact(atom.aval)] for site in sites]

    def probed(probes: Squares, *inputs: Any) -> Any:
        probe_of = {id(site): probe for site, probe in zip(sites, probes, strict=True)}

        def handler(equation: core.JaxprEqn, *operands: Any) -> Any:
            if id(equation) not in probe_of:
                return _plain(equation, *operands)
            return _measured(equation)(probe_of[id(equation)], *operands)

        return _differentiated(problem, handler, inputs)

    def pull_back(probes: Squares, inputs: list[Any]) -> Any:
        return jax.vjp(probed, probes, *inputs)[1](problem.cotangents)[0]

    return jax.jit(pull_back, compiler_options=FAST_COMPILE)(zeros, problem.inputs())


def _differentiated(problem: Problem, handler: Callable[..., Any], inputs: Any) -> list[Any]:
    """The floating-point outputs of the function, with a handler for its rules."""
    outputs = jaxpr.evaluate(problem.closed, problem.merge(inputs), {primitives.custom_vjp_call_p: handler})
    return [y for y in outputs if is_inexact(y)]


def _probe(aval: Any) -> Square:
    return Square(*(np.zeros(aval.shape) for _ in Square._fields))


def _plain(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
    return without_rules(equation.params["call_jaxpr"], inputs)


def _split(site: core.JaxprEqn, inputs: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """What a rule closes over, and its arguments."""
    count = site.params["num_consts"]
    return inputs[:count], inputs[count:]


def _measured(equation: core.JaxprEqn) -> Callable[..., Any]:
    """The rule call of `equation` as its plain computation, whose probe's cotangent is the error of the rule."""

    @jax.custom_vjp
    def site(probe: Any, *inputs: Any) -> list[Any]:
        return _plain(equation, *inputs)

    def forward(probe: Any, *inputs: Any) -> Any:
        return _plain(equation, *inputs), inputs

    def backward(inputs: Any, y_bar: list[Any]) -> Any:
        consts, arguments = _split(equation, inputs)
        hand = jax.vjp(lambda *values: list(jaxpr.bind(equation, (*consts, *values))), *arguments)[1](y_bar)
        truth = jax.vjp(lambda *values: _plain(equation, *consts, *values), *arguments)[1](y_bar)
        squares = [
            Square(abs(ours - theirs) ** 2, abs(theirs) ** 2)
            for atom, ours, theirs in zip(own(equation), hand, truth, strict=True)
            if is_inexact(atom.aval)
        ]
        return squares, *(None for _ in consts), *truth

    site.defvjp(forward, backward)
    return site


def _site_rows(sites: list[core.JaxprEqn], squares: Squares) -> list[list[Row]]:
    rows = []
    names = [rule_name(site) for site in sites]
    for i, (site, of_inputs) in enumerate(zip(sites, squares, strict=True)):
        ordinal = f" #{names[: i + 1].count(names[i])}" if names.count(names[i]) > 1 else ""
        positions = [position for position, atom in enumerate(own(site)) if is_inexact(atom.aval)]
        rows.append([])
        for position, square in zip(positions, of_inputs, strict=True):
            error, truth = (float(np.sqrt(np.sum(part))) for part in square)
            worst = tuple(int(k) for k in np.unravel_index(np.argmax(square.error), square.error.shape))
            name = f"rule {names[i]}{ordinal}, input {position}"
            rows[-1].append(row(name, error=error, scale=truth, worst=worst))
    return rows


class Run(NamedTuple):
    """What a rule closes over, the values and the cotangents that arrived at a site once."""

    consts: tuple[Any, ...]
    inputs: tuple[Any, ...]
    y_bar: list[Any]


MOST_RUNS = 32
"""The most runs of a site that are looked at one by one, where it is wrong."""


def _runs(problem: Problem, sites: list[core.JaxprEqn], wanted: list[int]) -> dict[int, list[Run]]:
    """What arrived at the wanted sites, each time that they ran."""
    seen: dict[int, list[Any]] = {index: [] for index in wanted}
    index_of = {id(sites[index]): index for index in wanted}

    def watched(equation: core.JaxprEqn) -> Callable[..., Any]:
        @jax.custom_vjp
        def site(*inputs: Any) -> list[Any]:
            return _plain(equation, *inputs)

        def forward(*inputs: Any) -> Any:
            return _plain(equation, *inputs), inputs

        def backward(inputs: Any, y_bar: list[Any]) -> Any:
            record = seen[index_of[id(equation)]]
            consts, arguments = _split(equation, tuple(map(_array, inputs)))
            leaves, tree = jax.tree.flatten(Run(tuple(consts), tuple(arguments), y_bar))
            halves, rebuild = zip(*map(halved, leaves), strict=True)
            jax.debug.callback(lambda *halves: record.append((tree, rebuild, halves)), *halves)
            return jax.vjp(lambda *values: _plain(equation, *values), *inputs)[1](y_bar)

        site.defvjp(forward, backward)
        return site

    def handler(equation: core.JaxprEqn, *operands: Any) -> Any:
        return watched(equation)(*operands) if id(equation) in index_of else _plain(equation, *operands)

    def pull_back(inputs: list[Any]) -> Any:
        return jax.vjp(lambda *inputs: _differentiated(problem, handler, inputs), *inputs)[1](problem.cotangents)

    if wanted:
        jax.block_until_ready(jax.jit(pull_back, compiler_options=FAST_COMPILE)(problem.inputs()))
        jax.effects_barrier()
    return {index: [_run(*record) for record in records] for index, records in seen.items()}


def _array(value: Any) -> Any:
    """A literal is a Python number."""
    return value if hasattr(value, "dtype") else jax.numpy.asarray(value)


def _run(tree: Any, rebuild: Sequence[Callable[[Any], Any]], halves: Sequence[Any]) -> Run:
    return jax.tree.unflatten(tree, [build(half) for build, half in zip(rebuild, halves, strict=True)])


def _closer(rows: list[Row], site: core.JaxprEqn, runs: list[Run]) -> list[Row]:
    """The rows of a wrong site, as a problem of its own at each run: is it noise, a kink, or a mistake, and which?"""
    if not runs:
        return rows
    first: dict[str, Row] = {}
    alone = pose("verify.rules", lambda *inputs: list(jaxpr.bind(site, (*runs[0].consts, *inputs))), runs[0].inputs)

    def cotangents(run: Run) -> list[Any]:
        return [jax.numpy.asarray(bar) for bar in run.y_bar if is_inexact(bar)]

    def error(run: Run) -> float:
        hand = alone.hand(list(run.inputs), cotangents(run)).bars
        _, truth = alone.truth(list(run.inputs), cotangents(run), {}, {})
        errors = [norm(np.asarray(ours) - theirs) for ours, theirs in zip(hand, truth, strict=True)]
        return float(np.nan_to_num(max(errors), nan=np.inf))

    for run in sorted(runs, key=error, reverse=True)[:MOST_RUNS]:
        there = leaves_at(alone, list(run.inputs), cotangents(run))
        for outer, inner in zip(rows, there, strict=True):
            seen = first.get(outer.name)
            if seen is None or (seen.verdict is not Verdict.WRONG and inner.verdict is Verdict.WRONG):
                first[outer.name] = dataclasses.replace(inner, name=outer.name)
    return [first.get(row.name, row) for row in rows]
