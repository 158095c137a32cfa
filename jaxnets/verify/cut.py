"""The graph of a function, cut at the values that it names.

A value named by `jax.ad_checkpoint.checkpoint_name` whose delta somebody derived by hand is a cut: going back, the
cotangent that arrives there is recorded, as the cotangent of a probe that is zero, and the delta by hand goes on in its
place.  So each equation of a derivation is judged by what *it* makes of the deltas that it was given, and an error in
one does not reach the next.  In a scan there is a delta, and a probe, for each step.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr


class Place(NamedTuple):
    """Where a name stands: the shape of its value over all steps of the scans around it, and its equation."""

    shape: tuple[int, ...]
    steps: int  # how many leading axes are steps
    equation: core.JaxprEqn


def places(root: core.Jaxpr) -> dict[str, list[Place]]:
    """Each named value, in order of execution."""
    found: dict[str, list[Place]] = {}

    def walk(inner: core.Jaxpr, steps: tuple[int, ...]) -> None:
        for equation in inner.eqns:
            if equation.primitive is primitives.name_p:
                aval: Any = equation.outvars[0].aval
                place = Place((*steps, *aval.shape), len(steps), equation)
                found.setdefault(equation.params["name"], []).append(place)
            within = (*steps, equation.params["length"]) if equation.primitive is primitives.scan_p else steps
            for body in core.jaxprs_in_params(equation.params):
                walk(body, within)

    walk(root, ())
    return found


def find(root: core.Jaxpr, names: Mapping[str, Any]) -> dict[str, Place]:
    """The places of the deltas `names`, in order of execution.

    Raises:
      ValueError: if a name is unknown, or names several values.
    """
    found = places(root)
    for name in names:
        if name not in found:
            raise ValueError(f"verify: hand returned a delta for {name!r}, the function names only {sorted(found)}")
        if len(found[name]) > 1:
            raise ValueError(
                f"verify: {len(found[name])} values are named {name!r}, a delta needs a name of its own "
                "(f'{name}{step}' in a Python loop; in a lax.scan one name is enough)"
            )
    return {name: at[0] for name, at in found.items() if name in names}


Env = Mapping[tuple[str, str], Any]
"""What handlers need to know, each under a kind and a name: arrays, with leading axes for the steps of scans."""


def handlers(env: Env) -> jaxpr.Handlers:
    """Handlers that cut at each name with ("delta", name) and ("probe", name) in `env`, and leave out all rules.

    Inside a scan each of them is its slice at the step.
    """

    def scan(equation: core.JaxprEqn, *inputs: Any) -> Any:
        mine = {key: env[key] for key in named_inside(equation) if key in env}
        if not mine:
            return jaxpr.enter(equation, inputs, now)
        return jaxpr.scan(equation, inputs, lambda at, _: (handlers({**env, **at}), lambda _: None), extra=mine)[0]

    now = jaxpr.inlining(primitives.custom_vjp_call_p, {primitives.name_p: namer(env), primitives.scan_p: scan})
    return now


def namer(env: Env) -> Callable[..., list[Any]]:
    """The handler of a naming equation."""

    def name(equation: core.JaxprEqn, value: Any) -> list[Any]:
        delta = env.get(("delta", equation.params["name"]))
        return [value] if delta is None else [_cut(env["probe", equation.params["name"]], delta, value)]

    return name


def named_inside(equation: core.JaxprEqn) -> list[tuple[str, str]]:
    """The keys of `Env` that belong to names inside an equation."""
    names = {
        inside.params["name"]
        for body in core.jaxprs_in_params(equation.params)
        for inside in jaxpr.equations(body)
        if inside.primitive is primitives.name_p
    }
    return [(kind, name) for kind in ("delta", "probe") for name in names]


@jax.custom_vjp
def _cut(probe: Any, delta: Any, value: Any) -> Any:
    return value


def _cut_forward(probe: Any, delta: Any, value: Any) -> Any:
    return value, delta


def _cut_backward(delta: Any, arrived: Any) -> Any:
    return arrived, jnp.zeros_like(delta), delta


_cut.defvjp(_cut_forward, _cut_backward)
