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
    narrow = _narrow("mixed_precision", compute)

    def narrowed(params: Any, batch: Any) -> Array:
        return loss(*narrow((params, batch))).astype(jnp.float32)

    return narrowed


def mixed_precision_stateful(
    loss: Callable[[Any, Any, Any, Array], tuple[Array, Any]], compute: Any = jnp.bfloat16
) -> Callable[[Any, Any, Any, Array], tuple[Array, Any]]:
    """The same of `loss(params, carried, batch, key)`, as `stateful_step` takes it; what is carried stays as it is.

    Raises:
      ValueError: if `compute` is no floating-point dtype.
    """
    narrow = _narrow("mixed_precision_stateful", compute)

    def narrowed(params: Any, carried: Any, batch: Any, key: Array) -> tuple[Array, Any]:
        params, batch = narrow((params, batch))
        value, moved = loss(params, carried, batch, key)
        return value.astype(jnp.float32), moved

    return narrowed


def _narrow(function: str, compute: Any) -> Callable[[Any], Any]:
    if not jnp.issubdtype(compute, jnp.floating):
        raise ValueError(f"{function}: compute is {jnp.dtype(compute)}, wanted a floating-point dtype")

    def of_leaf(a: Any) -> Array:
        a = jnp.asarray(a)
        return a.astype(compute) if jnp.issubdtype(a.dtype, jnp.floating) else a

    return lambda tree: jax.tree.map(of_leaf, tree)
