"""A function and its arguments in float64, flat: a name for every leaf, a random cotangent for every output."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxnets import jaxpr


class Problem(NamedTuple):
    """`closed` at `operands` is the function; `wanted[i]` says whether operand i is differentiated."""

    title: str
    closed: core.ClosedJaxpr
    operands: list[Any]
    names: list[str]
    wanted: list[bool]
    output: Any
    cotangents: list[Any]

    def inputs(self) -> list[Any]:
        """The operands that are differentiated."""
        return [operand for operand, wanted in zip(self.operands, self.wanted, strict=True) if wanted]

    def merge(self, inputs: Sequence[Any]) -> list[Any]:
        """All operands, with `inputs` in the differentiated places."""
        given = iter(inputs)
        return [next(given) if wanted else operand for operand, wanted in zip(self.operands, self.wanted, strict=True)]


def pose(entry: str, f: Callable[..., Any], args: tuple[Any, ...], key: jax.Array) -> Problem:
    """Trace f at float64 arguments.  Call it under `jax.enable_x64()`.

    Raises:
      ValueError: if there is nothing to differentiate, or an argument is not finite.
    """
    closed, operands, output = jaxpr.trace(f, args)
    names = leaf_names(f, args)
    wanted = [is_inexact(operand) for operand in operands]
    if not any(wanted):
        raise ValueError(
            f"{entry}: no argument of {title(f)} is a floating-point array, there is nothing to differentiate"
        )
    for name, operand, differentiated in zip(names, operands, wanted, strict=True):
        if differentiated and not np.all(np.isfinite(operand)):
            raise ValueError(f"{entry}: {name} is not finite")
    outputs = jax.tree.leaves(output)
    if not any(is_inexact(leaf) for leaf in outputs):
        raise ValueError(f"{entry}: {title(f)} returns no floating-point array, there is nothing to differentiate")
    keys = jax.random.split(key, len(outputs))
    cotangents = [random_cotangent(key, leaf) for key, leaf in zip(keys, outputs, strict=True)]
    return Problem(title(f), closed, operands, names, wanted, output, cotangents)


def title(f: Callable[..., Any]) -> str:
    """The name of a function, through functools.partial."""
    return getattr(f, "__name__", None) or getattr(getattr(f, "func", None), "__name__", type(f).__name__)


def to_float64(tree: Any) -> Any:
    """Every floating-point leaf in float64 (complex in complex128), Python floats too; other leaves as they are."""

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, float | complex) or (hasattr(leaf, "dtype") and is_inexact(leaf)):
            return jnp.asarray(leaf, jnp.complex128 if jnp.iscomplexobj(leaf) else jnp.float64)
        return leaf

    return jax.tree.map(convert, tree)


def is_inexact(leaf: Any) -> bool:
    """True for floating-point and complex arrays: those that have a derivative."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def random_cotangent(key: jax.Array, leaf: Any) -> Any:
    """Dense random numbers of a leaf's shape and dtype (all-ones would hide errors); no derivative for the others."""
    if not is_inexact(leaf):
        return np.zeros(leaf.shape, jax.dtypes.float0)
    return jax.random.normal(key, leaf.shape, leaf.dtype)


def leaf_names(f: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """A path for every array leaf of the arguments, such as `params[0].w`."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # no signature: a builtin, or an extension's function
        parameters = []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    roots = [*positional[: len(args)], *(f"args[{i}]" for i in range(len(positional), len(args)))]
    return [
        root + jax.tree_util.keystr(path)
        for root, arg in zip(roots, args, strict=True)
        for path, leaf in jax.tree_util.tree_flatten_with_path(arg)[0]
        if isinstance(leaf, jax.Array | np.ndarray | np.generic)
    ]
