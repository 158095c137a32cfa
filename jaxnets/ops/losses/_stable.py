"""The logarithms that losses are made of, in the forms that neither overflow nor lose all their digits.

Plain JAX without rules: their derivatives are written out at each loss that uses them.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def softplus(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + e^z), so that -softplus(-z) = log σ(z) and -softplus(z) = log(1 - σ(z))."""
    return jnp.logaddexp(z, 0)


def log_softmax(z: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """log(e^z_j / Σ_k e^z_k) along the last axis, the largest z taken out of the exponentials."""
    shifted = z - z.max(-1, keepdims=True)
    return shifted - jnp.log(jnp.exp(shifted).sum(-1, keepdims=True))


def unless_absent(q: Float[Array, "*shape"], p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`q`, but 1 where p = q = 0, so that p log q is 0 there: an impossible event that never happens costs nothing."""
    return jnp.where((p == 0) & (q == 0), 1, q)
