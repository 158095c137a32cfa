"""Local response normalisation across channels.  Derivation: derivations/normalization.md.

At each place, channel i is damped by those around it.  W(i) are the n channels from i - ⌊n/2⌋ to i + ⌊(n-1)/2⌋, as far
as there are any:

    (LR1) d_i = k + α Σ_{j ∈ W(i)} a_j²,   b_i = a_i d_i^{-β}
    (LR2) a_bar_i = b_bar_i d_i^{-β} - 2αβ a_i Σ_{j: i ∈ W(j)} b_bar_j a_j d_j^{-β-1}

Source: Krizhevsky, Sutskever and Hinton 2012, ImageNet classification with deep convolutional neural networks,
section 3.3.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops._floating import require_floating, widened
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """What (LR2) needs."""

    a: Float[Array, "*places channels"]
    d: Float[Array, "*places channels"]


def local_response_norm_forward(
    a: Float[Array, "*places channels"], *, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> tuple[Float[Array, "*places channels"], Residuals]:
    """Channels that are damped by the squares of their neighbours (LR1); the defaults are AlexNet's.

    Args:
      a: channels last.
      size: n, the channels that damp one: itself, and as many on either side; one more before it where n is even.
      k: positive.
      alpha: α ≥ 0, for every channel.  PyTorch's is n times that, since it takes the mean of the squares.
      beta: β.

    Raises:
      TypeError: if a is no floating-point array.
      ValueError: if a has no axis, or size, k or alpha is out of its range.
    """
    require_floating("local_response_norm", a, "a")
    if a.ndim == 0:
        raise ValueError("local_response_norm: wanted an array with channels last, got a number")
    if size < 1 or not k > 0 or not alpha >= 0:
        raise ValueError(
            f"local_response_norm: size is {size}, k {k}, alpha {alpha}, wanted at least 1, positive and not negative"
        )
    wide = widened(a)
    d = k + alpha * _around(wide * wide, size // 2, (size - 1) // 2)
    return (wide * d**-beta).astype(a.dtype), Residuals(a, d)  # (LR1)


def local_response_norm_backward(
    residuals: Residuals, b_bar: Float[Array, "*places channels"], *, size: int, k: float, alpha: float, beta: float
) -> tuple[Float[Array, "*places channels"]]:
    """Cotangent of a (LR2)."""
    a, d = widened(residuals.a), residuals.d
    scaled = widened(b_bar) * d**-beta
    # Channel i is in the windows of those from i - ⌊(n-1)/2⌋ to i + ⌊n/2⌋: the window turned round.
    felt = _around(scaled * a / d, (size - 1) // 2, size // 2)
    return ((scaled - 2 * alpha * beta * a * felt).astype(b_bar.dtype),)  # (LR2)


local_response_norm = rule(local_response_norm_forward, local_response_norm_backward)


def _around(q: Array, before: int, after: int) -> Array:
    """For each channel the sum over those from `before` before it to `after` after it."""
    padded = jnp.pad(q, ((0, 0),) * (q.ndim - 1) + ((before, after),))
    channels = q.shape[-1]
    return sum((padded[..., shift : shift + channels] for shift in range(before + after + 1)), jnp.zeros_like(q))
