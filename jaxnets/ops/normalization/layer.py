"""Layer normalisation.  Derivation: derivations/normalization.md.

For each example (and place) n, over its D features, with a scale γ and a shift β for each feature, and h = 1/√(v + ε):

    (LY1) μ_n = 1/D Σ_c x,   v_n = 1/D Σ_c (x - μ_n)²,   x̂ = (x - μ_n) h_n,   y = γ_c x̂ + β_c
    (LY2) x_bar = h_n / D (D g - Σ_c g - x̂ Σ_c g x̂),   g = γ_c y_bar
    (LY3) γ_bar_c = Σ_n y_bar x̂        (LY4) β_bar_c = Σ_n y_bar

Source: Ba, Kiros and Hinton 2016, Layer normalization, eq. (3) and (4).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops._floating import widened
from jaxnets.ops.normalization._standardized import along_last, check_affine, check_features, moments, require_eps
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """What (LY2) to (LY4) need; x̂ is computed again, in the same pass over x that needs it."""

    x: Float[Array, "batch *places features"]
    mean: Float[Array, "batch *places 1"]
    h: Float[Array, "batch *places 1"]
    scale: Float[Array, " features"]


def layer_norm_forward(
    x: Float[Array, "batch *places features"],
    scale: Float[Array, " features"],
    shift: Float[Array, " features"],
    *,
    eps: float = 1e-5,
) -> tuple[Float[Array, "batch *places features"], Residuals]:
    """Each example with the mean and variance of its own features taken out, then scaled and shifted (LY1).

    Means are over the last axis, in two passes, and in float32 where x is narrower.

    Args:
      x: (batch, features), or with any axes of places between them, such as sequences (batch, time, features).
      scale: γ.
      shift: β.
      eps: ε ≥ 0, added to the variance.

    Raises:
      TypeError: if x, scale or shift is no floating-point array.
      ValueError: if x has fewer than two axes, scale or shift has not one entry a feature or these differ in dtype, or
        ε is negative.
    """
    check_features("layer_norm", x, scale=scale, shift=shift)
    check_affine("layer_norm", scale, shift)
    require_eps("layer_norm", eps)
    mean, variance = moments(x, (-1,))
    h = 1 / jnp.sqrt(variance + eps)
    x_hat = (widened(x) - mean) * h
    y = along_last(scale, x) * x_hat + along_last(shift, x)  # (LY1)
    return y.astype(x.dtype), Residuals(x, mean, h, scale)


def layer_norm_backward(
    residuals: Residuals, y_bar: Float[Array, "batch *places features"], *, eps: float
) -> tuple[Float[Array, "batch *places features"], Float[Array, " features"], Float[Array, " features"]]:
    """Cotangents of x, scale and shift: (LY2) to (LY4)."""
    x, mean, h, scale = residuals
    examples = tuple(range(x.ndim - 1))
    x_hat, y_bar = (widened(x) - mean) * h, widened(y_bar)
    g = along_last(scale, x) * y_bar
    taken = g.mean(-1, keepdims=True) + x_hat * (g * x_hat).mean(-1, keepdims=True)
    x_bar = h * (g - taken)  # (LY2)
    scale_bar, shift_bar = (y_bar * x_hat).sum(examples), y_bar.sum(examples)  # (LY3) (LY4)
    return x_bar.astype(x.dtype), scale_bar.astype(scale.dtype), shift_bar.astype(scale.dtype)


layer_norm = rule(layer_norm_forward, layer_norm_backward)
