"""What operations ask of the dtype of their arguments, and what they make of narrow ones."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.kernels.parts import accumulator


def require_floating(name: str, z: Any, called: str = "z") -> None:
    """TypeError, in the name of the function `name`, unless z is of a real floating-point dtype."""
    dtype = jnp.result_type(z)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name}: {called} is {dtype}, wanted a floating-point array")


def require_array(name: str, a: Any, called: str) -> None:
    """TypeError, in the name of the function `name`, unless it is an array."""
    if not hasattr(a, "dtype"):
        raise TypeError(f"{name}: {called} is a {type(a).__name__}, wanted an array")


def require_one_dtype(name: str, arguments: dict[str, Any]) -> None:
    """TypeError if one of the named arguments is no array, ValueError unless all have one floating-point dtype."""
    for called, a in arguments.items():
        require_array(name, a, called)
    dtypes = {called: str(a.dtype) for called, a in arguments.items()}
    floating = all(jnp.issubdtype(a.dtype, jnp.floating) for a in arguments.values())
    if len(set(dtypes.values())) != 1 or not floating:
        raise ValueError(f"{name}: wanted arguments of one floating-point dtype, got {dtypes}")


def widened(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """In float32, if x is narrower: sums of many numbers with 8 or 11 binary digits want more of them."""
    return x.astype(accumulator(x.dtype))
