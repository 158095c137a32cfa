"""A derivation written as an ordinary function: its gradient, and the deltas of the values that the loss names."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr
from jaxnets.verify.compare import compare
from jaxnets.verify.noise import spreads
from jaxnets.verify.problem import Problem, is_inexact, pose, to_float64
from jaxnets.verify.report import Report


def gradient(loss: Callable[..., Any], hand: Callable[..., Any], *args: Any) -> Report:
    """Verify a hand-written gradient of a scalar loss.

    Args:
      loss: `loss(*args) -> scalar`, any function that `jax.jit` can trace.  It may name intermediate values with
        `jax.ad_checkpoint.checkpoint_name(value, "z1")`.
      hand: `hand(*args)` returns the tuple of gradients, one per argument and of its structure (None for an argument
        without derivative), or that tuple and a dict: name -> delta, ∂loss/∂(the value of that name).  It is called
        with float64 arrays and need not be traceable: NumPy and Python loops are fine.
      args: the arguments; floating-point leaves are converted to float64.

    Returns:
      A report with the deltas, last one first, as the backward pass computes them, then every leaf of the gradient.  An
      error in a delta reaches all that follows it, so `first_wrong` is where to look.

    Raises:
      ValueError: if the loss is no scalar, an argument is not finite, the gradient has another structure than the
        arguments, or a delta's name is unknown, ambiguous, or inside a scan.
    """
    with jax.enable_x64():
        args = to_float64(args)
        problem = pose("verify.gradient", loss, args, jax.random.key(0))
        shapes = [leaf.shape for leaf in jax.tree.leaves(problem.output)]
        if shapes != [()]:
            raise ValueError(f"verify.gradient: {problem.title} returns shapes {shapes}, wanted one scalar")
        only_cotangent = [jnp.ones(())]
        return _report(problem._replace(cotangents=only_cotangent), args, hand(*args))


def vjp(f: Callable[..., Any], hand: Callable[..., Any], *args: Any, seed: int = 0) -> Report:
    """Verify a hand-written vector-Jacobian product of any function, at a random cotangent.

    As `gradient`, with `hand(args, y_bar)` for the cotangent `y_bar` of `f(*args)`, of its structure.
    """
    with jax.enable_x64():
        args = to_float64(args)
        problem = pose("verify.vjp", f, args, jax.random.key(seed))
        y_bar = jax.tree.unflatten(jax.tree.structure(problem.output), problem.cotangents)
        return _report(problem, args, hand(args, y_bar))


def _report(problem: Problem, args: tuple[Any, ...], result: Any) -> Report:
    bars, deltas = _split(result, args)
    hand = _leaves(problem, args, bars)
    named = _named_values(problem.closed.jaxpr, list(deltas))
    avals: dict[str, Any] = {name: equation.outvars[0].aval for name, equation in named.items()}
    probes = {name: np.zeros(aval.shape) for name, aval in avals.items()}

    def plain(probes: dict[str, Any], *inputs: Any) -> list[Any]:
        return _probed(problem, probes, problem.merge(inputs))

    order = [*reversed(named)]  # the order of the backward pass

    def pull_back(*values: Any) -> list[Any]:
        """The cotangents of the probes, in that order, and of the differentiated arguments."""
        probes, inputs = dict(zip(order, values, strict=False)), values[len(order) :]
        deltas, *bars = jax.vjp(plain, probes, *inputs)[1](problem.cotangents)
        return [*(deltas[name] for name in order), *bars]

    values = [*(probes[name] for name in order), *problem.inputs()]
    names = [*order, *(name for name, wanted in zip(problem.names, problem.wanted, strict=True) if wanted)]
    ours = [*(_array(deltas[name], f"verify: the delta {name!r}") for name in order), *hand]
    theirs = jax.jit(pull_back)(*values)
    noise = spreads([pull_back], values, ours, theirs)
    return Report(problem.title, tuple(compare(*columns) for columns in zip(names, ours, theirs, noise, strict=True)))


def _split(result: Any, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read what `hand` returned: the tuple of cotangents, or (that tuple, the dict of deltas)."""
    with_deltas = (
        isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], tuple) and isinstance(result[1], dict)
    )
    # Two arguments, a tuple and a dict, look the same: then the arguments' own structure decides.
    if with_deltas and not (len(args) == 2 and jax.tree.structure(result) == jax.tree.structure(args)):
        return result[0], result[1]
    if not isinstance(result, tuple):
        raise ValueError(f"verify: hand returned a {type(result).__name__}, wanted a tuple of {len(args)} gradients")
    return result, {}


def _leaves(problem: Problem, args: tuple[Any, ...], bars: tuple[Any, ...]) -> list[np.ndarray]:
    """The leaves of the hand's gradients that belong to floating-point leaves of the arguments."""
    if len(bars) != len(args):
        raise ValueError(f"verify: hand returned {len(bars)} gradients, {problem.title} has {len(args)} arguments")
    return [
        leaf
        for position, (arg, bar) in enumerate(zip(args, bars, strict=True))
        for leaf in _leaves_of(f"verify: the gradient for argument {position} of {problem.title}", arg, bar)
    ]


def _leaves_of(what: str, arg: Any, bar: Any) -> list[np.ndarray]:
    arg_leaves, tree = jax.tree.flatten(arg)
    try:
        bar_leaves = [None] * len(arg_leaves) if bar is None else tree.flatten_up_to(bar)
    except ValueError as error:
        raise ValueError(f"{what} has another structure than it: {error}") from None
    leaves = []
    for leaf, bar_leaf in zip(arg_leaves, bar_leaves, strict=True):
        if not (hasattr(leaf, "dtype") and is_inexact(leaf)):
            continue
        if bar_leaf is None:
            raise ValueError(f"{what} is None, wanted {leaf.dtype}{list(leaf.shape)} (zeros, if it is zero)")
        leaves.append(_array(bar_leaf, what))
    return leaves


def _array(value: Any, what: str) -> np.ndarray:
    array = np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.number):
        raise ValueError(f"{what} holds a {type(value).__name__}, wanted an array of numbers")
    return array


_REPEATING = (primitives.scan_p, primitives.while_p)


def _named_values(root: core.Jaxpr, wanted: Sequence[str]) -> dict[str, core.JaxprEqn]:
    """The equations that name the wanted values, in order of execution."""

    def naming(enter: Callable[[core.JaxprEqn], bool]) -> list[core.JaxprEqn]:
        return [e for e in jaxpr.equations(root, enter) if e.primitive is primitives.name_p]

    once = naming(lambda e: e.primitive not in _REPEATING)
    names = [equation.params["name"] for equation in once]
    anywhere = {equation.params["name"] for equation in naming(lambda _: True)}
    for name in wanted:
        if names.count(name) == 1:
            continue
        if name in names:
            raise ValueError(f"verify: {names.count(name)} values are named {name!r}, a delta needs a name of its own")
        if name in anywhere:
            raise ValueError(
                f"verify: {name!r} is inside a loop, where it has one delta a step; name a value outside it"
            )
        raise ValueError(f"verify: hand returned a delta for {name!r}, the function names only {sorted(anywhere)}")
    return {e.params["name"]: e for e in once if e.params["name"] in wanted}


def _probed(problem: Problem, probes: dict[str, Any], operands: list[Any]) -> list[Any]:
    """The plain function with a zero added to each named value: its cotangent is the delta there."""

    def tap(equation: core.JaxprEqn, value: Any) -> list[Any]:
        name = equation.params["name"]
        return [value + probes[name] if name in probes else value]

    handlers = jaxpr.inlining(primitives.custom_vjp_call_p, {primitives.name_p: tap})
    return jaxpr.evaluate(problem.closed, operands, handlers)
