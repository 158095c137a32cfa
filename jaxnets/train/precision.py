"""Mixed precision: a loss computed in a narrow dtype, of parameters that are kept and updated in a wide one.

    step = gradient_step(mixed_precision(loss), optimizer)

The gradient with respect to the wide parameters is that with respect to the narrow ones, widened: the way back of a
cast is the cast back.  In bfloat16, which has the exponents of float32, no loss needs to be scaled.

Source: Micikevicius et al. 2018, Mixed precision training, section 3.1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def mixed_precision(loss: Callable[[Any, Any], Array], compute: Any = jnp.bfloat16) -> Callable[[Any, Any], Array]:
    """`loss(params, batch)` with all floating-point arrays of both in the dtype `compute`, its value in float32.

    Raises:
      ValueError: if `compute` is no floating-point dtype.
    """
    if not jnp.issubdtype(compute, jnp.floating):
        raise ValueError(f"mixed_precision: compute is {jnp.dtype(compute)}, wanted a floating-point dtype")

    def narrow(a: Any) -> Array:
        a = jnp.asarray(a)
        return a.astype(compute) if jnp.issubdtype(a.dtype, jnp.floating) else a

    def narrowed(params: Any, batch: Any) -> Array:
        params, batch = jax.tree.map(narrow, (params, batch))
        return loss(params, batch).astype(jnp.float32)

    return narrowed
