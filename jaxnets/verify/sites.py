"""Every custom-VJP rule inside a function, tested where it stands.

A rule is called somewhere inside `f`, perhaps under `jit` or `vmap`, perhaps many times in a scan.  At each such call
site the rule is replaced by its plain computation, with a backward pass that forms both vector-Jacobian products, ours
and autodiff's, at the very values and cotangents that arrive there.  It hands on autodiff's, so that an error stays
where it is made, and it returns the squared error as the *cotangent of a probe*, an extra input that changes nothing:
JAX then sums it over all the times the site runs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr
from jaxnets.rule import without_rules
from jaxnets.verify.compare import compare, row
from jaxnets.verify.noise import RUNS, perturbed, spreads
from jaxnets.verify.problem import Problem, is_inexact, pose, to_float64
from jaxnets.verify.report import Report, Row, Verdict


class Square(NamedTuple):
    """Entry by entry, squared and summed over the times that a site ran: hand less truth, truth, rounding spread."""

    error: Any
    truth: Any
    noise: Any


Squares = list[list[Square]]
"""Per site, per differentiable input."""


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
    inputs = problem.inputs()

    def by_hand(*inputs: Any) -> Any:
        return jaxpr.evaluate(problem.closed, problem.merge(inputs), {})

    def plain(*inputs: Any) -> Any:
        return without_rules(problem.closed, problem.merge(inputs))

    def pulled_back(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs: jax.vjp(f, *inputs)[1](problem.cotangents)

    @jax.jit
    def both(inputs: list[Any]) -> Any:
        y, pull_back = jax.vjp(by_hand, *inputs)
        return y, pull_back(problem.cotangents), plain(*inputs)

    y, hand, y_true = both(inputs)
    squares, truth = _at_sites(problem, sites, inputs, with_noise=False)
    site_rows = _site_rows(sites, squares)
    if any(row.verdict is not Verdict.OK for row in site_rows):
        squares, _ = _at_sites(problem, sites, inputs, with_noise=True)
        site_rows = _site_rows(sites, squares)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(problem.output)[0]]
    names = [name for name, wanted in zip(problem.names, problem.wanted, strict=True) if wanted]
    noise = spreads([pulled_back(plain), pulled_back(by_hand)], inputs, hand, truth)
    return [
        *(compare(f"value{path}", ours, theirs) for path, ours, theirs in zip(paths, y, y_true, strict=True)),
        *reversed(site_rows),
        *(compare(*columns) for columns in zip(names, hand, truth, noise, strict=True)),
    ]


def _at_sites(
    problem: Problem, sites: list[core.JaxprEqn], inputs: list[Any], with_noise: bool
) -> tuple[Squares, list[Any]]:
    """The squares of every site, as the cotangents of probes that are zero, and the true gradient of the inputs."""
    probes = [[_probe(atom.aval) for atom in site.invars if is_inexact(atom.aval)] for site in sites]

    def probed(probes: Squares, *inputs: Any) -> Any:
        probe_of = {id(site): probe for site, probe in zip(sites, probes, strict=True)}

        def handler(equation: core.JaxprEqn, *operands: Any) -> Any:
            if id(equation) not in probe_of:
                return _plain(equation, *operands)
            return _site(equation, with_noise)(probe_of[id(equation)], *operands)

        return jaxpr.evaluate(problem.closed, problem.merge(inputs), {primitives.custom_vjp_call_p: handler})

    def pull_back(probes: Squares, inputs: list[Any]) -> Any:
        return jax.vjp(probed, probes, *inputs)[1](problem.cotangents)

    # The perturbed passes are many small operations, of shapes that are compiled already: as one program they are slow
    # to compile.
    squares, *truth = (pull_back if with_noise else jax.jit(pull_back))(probes, inputs)
    return squares, truth


def _call_sites(root: core.Jaxpr) -> list[core.JaxprEqn]:
    """Each equation that calls a rule, once, in order of execution; rules inside rules are left out."""
    found = {
        id(equation): equation
        for equation in jaxpr.equations(root, enter=lambda e: e.primitive is not primitives.custom_vjp_call_p)
        if equation.primitive is primitives.custom_vjp_call_p and any(is_inexact(atom.aval) for atom in equation.invars)
    }
    return list(found.values())


def _probe(aval: Any) -> Square:
    return Square(*(np.zeros(aval.shape) for _ in Square._fields))


def _plain(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
    return without_rules(equation.params["call_jaxpr"], inputs)


def _site(equation: core.JaxprEqn, with_noise: bool) -> Callable[..., Any]:
    """The rule call of `equation` as its plain computation, whose probe's cotangent is the error of the rule."""

    @jax.custom_vjp
    def site(probe: Any, *inputs: Any) -> list[Any]:
        return _plain(equation, *inputs)

    def forward(probe: Any, *inputs: Any) -> Any:
        return _plain(equation, *inputs), inputs

    def backward(inputs: Any, y_bar: list[Any]) -> Any:
        def by_hand(*inputs: Any) -> Any:
            return jax.vjp(lambda *values: list(jaxpr.bind(equation, values)), *inputs)[1](y_bar)

        def by_autodiff(*inputs: Any) -> Any:
            return jax.vjp(lambda *values: _plain(equation, *values), *inputs)[1](y_bar)

        hand, truth = by_hand(*inputs), by_autodiff(*inputs)
        noise: list[Any] = [0 * abs(bar) if is_inexact(bar) else bar for bar in truth]
        if with_noise:
            for pull_back, exact in ((by_hand, hand), (by_autodiff, truth)):
                for run in range(RUNS // 2):
                    moved = perturbed(pull_back, inputs, run)
                    noise = [
                        largest if not is_inexact(at) else jnp.maximum(largest, abs(bar - at) ** 2)
                        for largest, bar, at in zip(noise, moved, exact, strict=True)
                    ]
        squares = [
            Square(abs(ours - theirs) ** 2, abs(theirs) ** 2, spread)
            for value, ours, theirs, spread in zip(inputs, hand, truth, noise, strict=True)
            if is_inexact(value)
        ]
        return squares, *truth

    site.defvjp(forward, backward)
    return site


def _site_rows(sites: list[core.JaxprEqn], squares: Squares) -> list[Row]:
    rows = []
    names = [site.params["call_jaxpr"].jaxpr.debug_info.func_src_info.split(" at ")[0] for site in sites]
    for i, (site, of_inputs) in enumerate(zip(sites, squares, strict=True)):
        name = names[i]
        ordinal = f" #{names[: i + 1].count(name)}" if names.count(name) > 1 else ""
        positions = [position for position, atom in enumerate(site.invars) if is_inexact(atom.aval)]
        for position, square in zip(positions, of_inputs, strict=True):
            error, truth, noise = (float(np.sqrt(np.sum(part))) for part in square)
            worst = tuple(int(k) for k in np.unravel_index(np.argmax(square.error), square.error.shape))
            rows.append(
                row(f"rule {name}{ordinal}, input {position}", error=error, scale=truth, noise=noise, worst=worst)
            )
    return rows
