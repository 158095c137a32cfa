"""The arguments that every loss refuses."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array


def check_alike(loss: str, arrays: Mapping[str, Array], *, classes: bool = False) -> None:
    """Raise ValueError unless the arrays are floating-point, agree in shape and dtype, and have a batch axis.

    With `classes` they need a last axis of classes as well.  Nothing is broadcast: (batch, 1) against (batch,) would
    silently compare every example with every other.
    """
    (first, reference), *_ = arrays.items()
    axes, wanted = (2, "(batch, ..., classes)") if classes else (1, "(batch, ...)")
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{loss}: {name} is {array.dtype}, wanted floating-point numbers")
        if array.ndim < axes:
            raise ValueError(f"{loss}: {name} has shape {array.shape}, wanted {wanted}")
        if array.shape != reference.shape:
            raise ValueError(
                f"{loss}: {name} has shape {array.shape}, {first} has {reference.shape}, wanted the same shape "
                "(nothing is broadcast)"
            )
        if array.dtype != reference.dtype:
            raise ValueError(f"{loss}: {name} is {array.dtype}, {first} is {reference.dtype}, wanted the same dtype")


def check_positive(loss: str, name: str, value: float) -> None:
    """Raise ValueError unless a static number is above 0."""
    if not value > 0:
        raise ValueError(f"{loss}: {name} is {value}, wanted a number above 0")
