"""What a hand-written derivation returns, read and checked for its structure."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.verify.leaves import is_inexact


class Answer(NamedTuple):
    """What a derivation gives: the cotangent of each differentiated leaf, and the deltas of named values, if any."""

    bars: list[Any]
    deltas: dict[str, Any]


class Malformed(ValueError):
    """An answer that has not the structure of the arguments."""


def read(result: Any, args: tuple[Any, ...], of: str) -> Answer:
    """Read what `hand` returned: the tuple of cotangents, or (that tuple, the dict of deltas)."""
    bars, deltas = result, {}
    with_deltas = (
        isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], tuple) and isinstance(result[1], dict)
    )
    # Two arguments, a tuple and a dict, look the same: then the arguments' own structure decides.
    if with_deltas and not (len(args) == 2 and jax.tree.structure(result) == jax.tree.structure(args)):
        bars, deltas = result
    if not isinstance(bars, tuple):
        raise Malformed(f"hand returned a {type(bars).__name__}, wanted a tuple of {len(args)} gradients")
    if len(bars) != len(args):
        raise Malformed(f"hand returned {len(bars)} gradients, {of} has {len(args)} arguments")
    leaves = [
        leaf
        for position, (arg, bar) in enumerate(zip(args, bars, strict=True))
        for leaf in _leaves_of(f"the gradient for argument {position} of {of}", arg, bar)
    ]
    return Answer(leaves, {name: _array(delta, f"the delta {name!r}") for name, delta in deltas.items()})


def _leaves_of(what: str, arg: Any, bar: Any) -> list[Any]:
    """The leaves of one gradient that belong to floating-point leaves of the argument."""
    arg_leaves, tree = jax.tree.flatten(arg)
    try:
        bar_leaves = [None] * len(arg_leaves) if bar is None else tree.flatten_up_to(bar)
    except ValueError as error:
        raise Malformed(f"{what} has another structure than it: {error}") from None
    leaves = []
    for leaf, bar_leaf in zip(arg_leaves, bar_leaves, strict=True):
        if not (hasattr(leaf, "dtype") and is_inexact(leaf)):
            if bar_leaf is not None and getattr(bar_leaf, "dtype", None) != jax.dtypes.float0:
                raise Malformed(f"{what} holds a {type(bar_leaf).__name__} where it has no derivative, wanted None")
            continue
        if bar_leaf is None:
            raise Malformed(f"{what} is None, wanted {leaf.dtype}{list(leaf.shape)} (zeros, if it is zero)")
        leaves.append(_array(bar_leaf, what))
    return leaves


def _array(value: Any, what: str) -> Any:
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.number):
        raise Malformed(f"{what} holds a {type(value).__name__}, wanted an array of numbers")
    return array
