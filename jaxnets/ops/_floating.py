"""The check that an element-wise function shares with its derivatives."""

from typing import Any

import jax.numpy as jnp


def require_floating(name: str, z: Any, called: str = "z") -> None:
    """TypeError, in the name of the function `name`, unless z is of a real floating-point dtype."""
    dtype = jnp.result_type(z)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name}: {called} is {dtype}, wanted a floating-point array")
