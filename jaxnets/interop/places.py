"""Where Flax keeps an array of ours, and in which layout.

A naming is a function from the parameters of a network to a tree of the same structure with a `Place` for each array.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

Path = tuple[str | int, ...]
"""The keys that lead to an array of Flax, from the outermost dictionary inwards."""

Naming = Callable[[Any], Any]
"""Parameters -> a tree of their structure with a `Place` for each array.  It may look at the structure alone."""


@dataclass(frozen=True)
class Place:
    """The arrays of Flax that hold one array of ours."""

    paths: tuple[Path, ...]
    split: Callable[[Array], tuple[Array, ...]]
    """ours -> theirs, one for each path; ValueError if ours has no such parts"""
    join: Callable[[Sequence[Array], jax.ShapeDtypeStruct], Array]
    """theirs, and the shape and dtype of ours -> ours"""


def at(*path: str | int) -> Place:
    """One array, in the same layout."""
    return Place((path,), lambda ours: (ours,), lambda theirs, ours: theirs[0])


def blocks(*paths: Path) -> Place:
    """Ours has so many blocks of columns (or of entries, a vector), each of them an array of Flax; in this order."""

    def split(ours: Array) -> tuple[Array, ...]:
        if ours.ndim < 1 or ours.shape[-1] % len(paths):
            raise ValueError(f"has shape {ours.shape}, wanted {len(paths)} blocks of columns of the same size")
        return tuple(jnp.split(ours, len(paths), axis=-1))

    return Place(paths, split, lambda theirs, ours: jnp.concatenate(theirs, axis=-1))


def matrix(*path: str | int) -> Place:
    """A matrix, in ours with several axes for its rows: Flax's layer reads its input flattened, row by row."""

    def split(ours: Array) -> tuple[Array, ...]:
        return (ours.reshape(math.prod(ours.shape[:-1]), ours.shape[-1]),)

    return Place((path,), split, lambda theirs, ours: theirs[0].reshape(ours.shape))


def absent() -> Place:
    """Flax's layer has no such array: ours must be zero.  Traced values are not looked at."""

    def split(ours: Array) -> tuple[Array, ...]:
        if not isinstance(ours, Tracer) and ours.any():
            raise ValueError("is not zero, and Flax has no such array")
        return ()

    return Place((), split, lambda theirs, ours: jnp.zeros(ours.shape, ours.dtype))


def kernel_and_bias(layer: Any, *path: str | int) -> Any:
    """A layer of two arrays, weights and biases, whatever it is called here."""
    return type(layer)(at(*path, "kernel"), at(*path, "bias"))
