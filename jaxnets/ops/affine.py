"""Affine map.  Derivation: derivations/affine.md.

    (AF1) z = x w + b
    (AF2) x_bar = z_bar wᵀ      (AF3) w_bar = xᵀ z_bar      (AF4) b_bar = Σ_batch z_bar

Source: Nielsen, Neural Networks and Deep Learning, ch. 2, eq. (25), (BP3) and (BP4), for a batch of rows.
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from jaxnets.rule import rule


class Residuals(NamedTuple):
    """What (AF2) and (AF3) need: both factors of the product."""

    x: Float[Array, "batch n_in"]
    w: Float[Array, "n_in n_out"]


def affine_forward(
    x: Float[Array, "batch n_in"], w: Float[Array, "n_in n_out"], b: Float[Array, " n_out"]
) -> tuple[Float[Array, "batch n_out"], Residuals]:
    """Weighted input z = x w + b of a fully connected layer, for a batch of rows (AF1).

    Raises:
      ValueError: if x is no matrix, or the widths of x, w and b do not agree.
    """
    if x.ndim != 2 or w.ndim != 2 or b.ndim != 1:
        raise ValueError(f"affine: wanted a matrix x, a matrix w and a vector b, got {x.shape}, {w.shape}, {b.shape}")
    if x.shape[1] != w.shape[0]:
        raise ValueError(f"affine: x has {x.shape[1]} features, w expects {w.shape[0]} (x {x.shape}, w {w.shape})")
    if w.shape[1] != b.shape[0]:
        raise ValueError(f"affine: b has {b.shape[0]} entries, w gives {w.shape[1]} (w {w.shape}, b {b.shape})")
    return x @ w + b[None, :], Residuals(x, w)  # (AF1)


def affine_backward(
    residuals: Residuals, z_bar: Float[Array, "batch n_out"]
) -> tuple[Float[Array, "batch n_in"], Float[Array, "n_in n_out"], Float[Array, " n_out"]]:
    """Cotangents of x, w and b: (AF2) to (AF4)."""
    x, w = residuals
    return z_bar @ w.T, x.T @ z_bar, z_bar.sum(0)  # (AF2) (AF3) (AF4)


affine = rule(affine_forward, affine_backward)
