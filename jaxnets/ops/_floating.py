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


def widened(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """In float32, if x is narrower: sums of many numbers with 8 or 11 binary digits want more of them."""
    return x.astype(accumulator(x.dtype))
