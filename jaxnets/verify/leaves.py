"""The array leaves of arguments: which have a derivative, what they are called, and their cotangents."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


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


def random_cotangent(generator: np.random.Generator, leaf: Any) -> Any:
    """Dense random numbers of a leaf's shape and dtype (all-ones would hide errors); no derivative for the others.

    NumPy draws them: JAX would compile a program for each shape, which takes longer than most checks.
    """
    if not is_inexact(leaf):
        return np.zeros(leaf.shape, jax.dtypes.float0)
    numbers = generator.normal(size=leaf.shape)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        numbers = numbers + 1j * generator.normal(size=leaf.shape)
    return jnp.asarray(numbers, leaf.dtype)


def one_hots(cotangents: list[Any]) -> Iterator[tuple[int, tuple[int, ...], list[Any]]]:
    """Each cotangent that is 1 in one entry and 0 in all others: (array, index, cotangents)."""
    for position, cotangent in enumerate(cotangents):
        for entry in np.ndindex(np.shape(cotangent)):
            single: list[Any] = [np.zeros(np.shape(other), other.dtype) for other in cotangents]
            single[position][entry] = 1.0
            yield position, entry, single


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
