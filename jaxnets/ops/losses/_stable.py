"""The logarithms that losses are made of, in the forms that neither overflow nor lose all their digits.

Plain JAX without rules, the forward passes of the activations: their derivatives are written out at each loss.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops.activations import log_softmax_forward, softplus_forward


def softplus(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + e^z), so that -softplus(-z) = log σ(z) and -softplus(z) = log(1 - σ(z))."""
    return softplus_forward(z)[0]


def log_softmax(z: Float[Array, "*batch classes"]) -> Float[Array, "*batch classes"]:
    """log(e^z_j / Σ_k e^z_k) along the last axis."""
    return log_softmax_forward(z)[0]


def unless_absent(q: Float[Array, "*shape"], p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`q`, but 1 where p = q = 0, so that p log q is 0 there: an impossible event that never happens costs nothing."""
    return jnp.where((p == 0) & (q == 0), 1, q)
