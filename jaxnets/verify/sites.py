"""Every custom-VJP rule inside a function, tested where it stands.

A rule is called somewhere inside `f`, perhaps under `jit` or `vmap`, perhaps many times in a scan.  At each such call
site the rule is replaced by its plain computation, with a backward pass that forms both vector-Jacobian products, ours
and autodiff's, at the very values and cotangents that arrive there.  It hands on autodiff's, so that an error stays
where it is made, and it returns the squared error as the *cotangent of a probe*, an extra input that changes nothing:
JAX then sums it over all the times the site runs.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr
from jaxnets.rule import without_rules
from jaxnets.verify.compare import compare, row
from jaxnets.verify.noise import spreads
from jaxnets.verify.problem import Problem, is_inexact, pose, to_float64
from jaxnets.verify.report import Report, Row

Probes = list[list[tuple[Any, Any]]]
"""Per site, per differentiable input: the squared error and the squared truth, entry by entry."""


def rules(f: Callable[..., Any], *args: Any, seed: int = 0) -> Report:
    """Verify every custom-VJP rule inside `f` against autodiff, at `f(*args)`.

    Rows, in this order: the value of `f` (a rule's forward pass must not change it); each rule call site on its own,
    the last one first, as the backward pass meets them; the whole gradient of `f`, leaf by leaf.  A rule inside
    another rule's forward has no row of its own, since its backward pass is never used there.

    Args:
      f: any function that `jax.jit` can trace; non-array arguments are constants.
      args: its arguments; floating-point leaves are converted to float64, and differentiated.
      seed: for the random cotangents.

    Raises:
      ValueError: if `f` holds no rule, has nothing to differentiate, or an argument is not finite.
    """
    with jax.enable_x64():
        problem = pose("verify.rules", f, to_float64(args), jax.random.key(seed))
        sites = _call_sites(problem.closed.jaxpr)
        if not sites:
            raise ValueError(f"verify.rules: {problem.title} holds no custom-VJP rule, there is nothing to verify")
        return Report(problem.title, tuple(_rows(problem, sites)))


def _rows(problem: Problem, sites: list[core.JaxprEqn]) -> list[Row]:
    probes = [[_probe(atom.aval) for atom in site.invars if is_inexact(atom.aval)] for site in sites]

    def by_hand(*inputs: Any) -> Any:
        return jaxpr.evaluate(problem.closed, problem.merge(inputs), {})

    def plain(*inputs: Any) -> Any:
        return without_rules(problem.closed, problem.merge(inputs))

    def probed(probes: Probes, *inputs: Any) -> Any:
        return _probed(problem, sites, probes, problem.merge(inputs))

    @jax.jit
    def both(inputs: list[Any], cotangents: list[Any]) -> Any:
        y, pull_back = jax.vjp(by_hand, *inputs)
        y_true, pull_back_true = jax.vjp(probed, probes, *inputs)
        return y, y_true, pull_back(cotangents), pull_back_true(cotangents)

    inputs = problem.inputs()
    y, y_true, hand, (squares, *truth) = both(inputs, problem.cotangents)
    names = [name for name, wanted in zip(problem.names, problem.wanted, strict=True) if wanted]
    noise = spreads(plain, inputs, problem.cotangents, hand, truth)
    return [
        *(
            compare(f"value{jax.tree_util.keystr(path)}", ours, theirs)
            for (path, _), ours, theirs in zip(
                jax.tree_util.tree_flatten_with_path(problem.output)[0], y, y_true, strict=True
            )
        ),
        *reversed(_site_rows(sites, squares)),
        *(compare(*columns) for columns in zip(names, hand, truth, noise, strict=True)),
    ]


def _call_sites(root: core.Jaxpr) -> list[core.JaxprEqn]:
    """Each equation that calls a rule, once, in order of execution; rules inside rules are left out."""
    found = {
        id(equation): equation
        for equation in jaxpr.equations(root, enter=lambda e: e.primitive is not primitives.custom_vjp_call_p)
        if equation.primitive is primitives.custom_vjp_call_p and any(is_inexact(atom.aval) for atom in equation.invars)
    }
    return list(found.values())


def _probe(aval: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(aval.shape), np.zeros(aval.shape)


def _probed(problem: Problem, sites: list[core.JaxprEqn], probes: Probes, operands: list[Any]) -> list[Any]:
    probe_of = {id(site): probe for site, probe in zip(sites, probes, strict=True)}

    def handler(equation: core.JaxprEqn, *inputs: Any) -> Any:
        if id(equation) not in probe_of:
            return _plain(equation, *inputs)
        return _site(equation)(probe_of[id(equation)], *inputs)

    return jaxpr.evaluate(problem.closed, operands, {primitives.custom_vjp_call_p: handler})


def _plain(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
    return without_rules(equation.params["call_jaxpr"], inputs)


def _site(equation: core.JaxprEqn) -> Callable[..., Any]:
    """The rule call of `equation` as its plain computation, whose probe's cotangent is the error of the rule."""

    @jax.custom_vjp
    def site(probe: Any, *inputs: Any) -> list[Any]:
        return _plain(equation, *inputs)

    def forward(probe: Any, *inputs: Any) -> Any:
        return _plain(equation, *inputs), inputs

    def backward(inputs: Any, y_bar: list[Any]) -> Any:
        hand = jax.vjp(lambda *values: list(jaxpr.bind(equation, values)), *inputs)[1](y_bar)
        truth = jax.vjp(lambda *values: _plain(equation, *values), *inputs)[1](y_bar)
        squares = [
            (abs(ours - theirs) ** 2, abs(theirs) ** 2)
            for value, ours, theirs in zip(inputs, hand, truth, strict=True)
            if is_inexact(value)
        ]
        return squares, *truth

    site.defvjp(forward, backward)
    return site


def _site_rows(sites: list[core.JaxprEqn], squares: Probes) -> list[Row]:
    rows = []
    names = [site.params["call_jaxpr"].jaxpr.debug_info.func_src_info.split(" at ")[0] for site in sites]
    for i, (site, of_inputs) in enumerate(zip(sites, squares, strict=True)):
        name = names[i]
        ordinal = f" #{names[: i + 1].count(name)}" if names.count(name) > 1 else ""
        positions = [position for position, atom in enumerate(site.invars) if is_inexact(atom.aval)]
        for position, (error, scale) in zip(positions, of_inputs, strict=True):
            rows.append(
                row(
                    f"rule {name}{ordinal}, input {position}",
                    error=float(np.sqrt(np.sum(error))),
                    scale=float(np.sqrt(np.sum(scale))),
                    worst=tuple(int(k) for k in np.unravel_index(np.argmax(error), error.shape)),
                )
            )
    return rows
