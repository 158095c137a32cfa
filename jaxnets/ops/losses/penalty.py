"""Weight penalty.  Derivation: derivations/losses.md.

    (LS58) P = λ Σ_l ‖W^l‖²                (LS59) W_bar^l = 2λ P_bar W^l,  lambda_bar = P_bar Σ_l ‖W^l‖²

Source: Krogh and Hertz, "A simple weight decay can improve generalization" (1991), with λ/2 there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxnets.rule import rule

Weights = PyTree[Float[Array, "..."]]


class Residuals(NamedTuple):
    """The weights, the coefficient λ, and Σ_l ‖W^l‖²."""

    w: Weights
    coefficient: Float[Array, ""]
    square: Float[Array, ""]


def l2_penalty_forward(w: Weights, coefficient: Float[Array, ""] | float) -> tuple[Float[Array, ""], Residuals]:
    """L2 penalty λ Σ ‖W‖² (squared Frobenius norms) over all arrays of a pytree: pass it the weights, not the biases.

    It depends on no example, so it has no 1/batch: add it to a loss.  Nielsen's λ/(2n) Σ w² is the coefficient λ/(2n).
    The coefficient is traced, not static: it can follow a schedule without a new compilation, be swept by `jax.vmap`,
    and be differentiated.  It is rounded to the weights' dtype.

    Raises:
      ValueError: if there are no weights, they are not floating-point arrays of one dtype, or the coefficient is no
        scalar.
    """
    leaves = jax.tree.leaves(w)
    dtypes = {leaf.dtype for leaf in leaves}
    if len(dtypes) != 1 or not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(
            f"l2_penalty: w has the dtypes {sorted(map(str, dtypes))}, wanted arrays of one floating-point dtype"
        )
    coefficient = jnp.asarray(coefficient)
    if coefficient.ndim != 0:
        raise ValueError(f"l2_penalty: coefficient has shape {coefficient.shape}, wanted a scalar")
    square = jnp.stack([jnp.sum(leaf * leaf) for leaf in leaves]).sum()
    return coefficient.astype(square.dtype) * square, Residuals(w, coefficient, square)  # (LS58)


def l2_penalty_backward(residuals: Residuals, p_bar: Float[Array, ""]) -> tuple[Weights, Float[Array, ""]]:
    """Cotangents of the weights and of the coefficient."""
    w, coefficient, square = residuals
    scale = 2 * coefficient.astype(square.dtype) * p_bar
    return jax.tree.map(lambda leaf: scale * leaf, w), (p_bar * square).astype(coefficient.dtype)  # (LS59)


l2_penalty = rule(l2_penalty_forward, l2_penalty_backward)
