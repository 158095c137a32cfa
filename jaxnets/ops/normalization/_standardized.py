"""Numbers less their mean, over their standard deviation: what normalising by a batch and by a layer share."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops._floating import require_floating, widened

Axes = tuple[int, ...]


class Moments(NamedTuple):
    """Mean and variance over some axes, which are kept with size 1."""

    mean: Float[Array, "..."]
    variance: Float[Array, "..."]


def moments(x: Float[Array, "..."], axes: Axes) -> Moments:
    """Mean and (biased) variance, in at least float32.

    In two passes: the mean of squares less the square of the mean, in one, would cancel where the mean is large.
    """
    x = widened(x)
    mean = x.mean(axes, keepdims=True)
    return Moments(mean, jnp.square(x - mean).mean(axes, keepdims=True))


def require_eps(what: str, eps: float) -> None:
    """ValueError, in the name of `what`, if the number added to the variance is negative."""
    if not eps >= 0:
        raise ValueError(f"{what}: eps is {eps}, wanted a number that is not negative")


def along_last(vector: Any, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """A vector with one entry for each of the last axis of x, in the shape to be broadcast over x."""
    return widened(vector).reshape((1,) * (x.ndim - 1) + (-1,))


def check_features(what: str, x: Any, **vectors: Any) -> None:
    """ValueError, in the name of `what`, unless x has examples and features, and each vector an entry a feature.

    TypeError if one of them is no floating-point array.
    """
    require_floating(what, x, "x")
    if x.ndim < 2:
        raise ValueError(f"{what}: wanted x (batch, ..., features), got {x.shape}")
    for name, vector in vectors.items():
        if vector.shape != x.shape[-1:]:
            raise ValueError(f"{what}: {name} is {vector.shape}, x has {x.shape[-1]} features (x {x.shape})")
        require_floating(what, vector, name)


def check_affine(what: str, scale: Any, shift: Any) -> None:
    """ValueError, in the name of `what`, unless scale and shift are of one dtype; it need not be that of x."""
    if scale.dtype != shift.dtype:
        raise ValueError(f"{what}: scale is {scale.dtype}, shift is {shift.dtype}, wanted one dtype")
