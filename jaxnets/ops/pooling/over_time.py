"""Max pooling over time: the strongest answer of each filter anywhere in a sentence.

Derivation: derivations/pooling.md.

    (PL11) y_{n,c} = max_t x_{n,t,c},   t*_{n,c} = the first t where x is that maximum
    (PL12) x_bar_{n,t,c} = [t = t*_{n,c}] y_bar_{n,c}

Source: Collobert et al. 2011, Natural language processing (almost) from scratch, section 3.3.2; Kim 2014, Convolutional
neural networks for sentence classification, section 2.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer

from jaxnets.ops._floating import require_floating
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """What (PL12) needs: t*; and the number of time steps, as the length of an empty array."""

    first: Integer[Array, "batch features"]
    steps: Float[Array, "time 0"]


def max_over_time_forward(
    x: Float[Array, "batch time features"],
) -> tuple[Float[Array, "batch features"], Residuals]:
    """The largest entry of each feature over time (PL11); of several, the first gets the whole cotangent.

    NaN anywhere gives NaN, and its cotangent to the first of them.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if x has another rank, or no time step.
    """
    require_floating("max_over_time", x, "x")
    if x.ndim != 3 or x.shape[1] == 0:
        raise ValueError(f"max_over_time: wanted x (batch, time, features) with at least one step, got {x.shape}")
    first = jnp.argmax(x, 1)
    y = jnp.take_along_axis(x, first[:, None], 1)[:, 0]  # (PL11)
    return y, Residuals(first, jnp.zeros((x.shape[1], 0), x.dtype))


def max_over_time_backward(
    residuals: Residuals, y_bar: Float[Array, "batch features"]
) -> tuple[Float[Array, "batch time features"]]:
    """Cotangent of x (PL12)."""
    first, steps = residuals
    shape = (y_bar.shape[0], steps.shape[0], y_bar.shape[1])
    t = lax.broadcasted_iota(first.dtype, shape, 1)
    return (jnp.where(t == first[:, None], y_bar[:, None], 0),)  # (PL12)


max_over_time = rule(max_over_time_forward, max_over_time_backward)
