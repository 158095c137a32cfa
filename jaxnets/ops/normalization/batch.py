"""Batch normalisation.  Derivation: derivations/normalization.md.

For each feature c, over the N entries that it has in all examples and at all places, with a scale γ and a shift β, and
h = 1/√(v + ε):

    (BN1) μ_c = 1/N Σ x,   v_c = 1/N Σ (x - μ_c)²,   x̂ = (x - μ_c) h_c,   y = γ_c x̂ + β_c
    (BN2) x_bar = γ_c h_c / N (N y_bar - Σ y_bar - x̂ Σ y_bar x̂)
    (BN3) γ_bar_c = Σ y_bar x̂        (BN4) β_bar_c = Σ y_bar

For an example that is not one of a batch, with running statistics μ and v that are given:

    (BN5) y = γ_c x̂ + β_c,   x̂ = (x - μ_c) h_c
    (BN6) x_bar = γ_c h_c y_bar        (BN7) μ_bar_c = -γ_c h_c Σ y_bar        (BN8) v_bar_c = -γ_c h_c² / 2 Σ y_bar x̂

with (BN3) and (BN4) as they are.  Every batch in training moves them towards its own, with a momentum ρ:

    (BN9) μ_c ← ρ μ_c + (1 - ρ) 1/N Σ x,   v_c ← ρ v_c + (1 - ρ) 1/N Σ (x - 1/N Σ x)²

Source: Ioffe and Szegedy 2015, Batch normalization, algorithms 1 and 2 and the equations of section 3.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxnets.ops._floating import widened
from jaxnets.ops.normalization._standardized import along_last, check_affine, check_features, moments, require_eps
from jaxnets.rule import rule


class Statistics(NamedTuple):
    """Running mean μ and variance v of each feature: a state, which training hands on and never differentiates."""

    mean: Float[Array, " features"]
    variance: Float[Array, " features"]


class Residuals(NamedTuple):
    """What (BN2) to (BN4) need; x̂ is computed again, in the same pass over x that needs it."""

    x: Float[Array, "batch *places features"]
    mean: Float[Array, "..."]
    h: Float[Array, "..."]
    scale: Float[Array, " features"]


def batch_norm_forward(
    x: Float[Array, "batch *places features"],
    scale: Float[Array, " features"],
    shift: Float[Array, " features"],
    *,
    eps: float = 1e-5,
) -> tuple[Float[Array, "batch *places features"], Residuals]:
    """Each feature with the mean and variance of the batch taken out, then scaled and shifted (BN1).

    Means are over all axes but the last, in two passes, and in float32 where x is narrower.  With one entry a feature
    y is the shift.

    Args:
      x: (batch, features), or with any axes of places between them, such as images NHWC.
      scale: γ.
      shift: β.
      eps: ε ≥ 0, added to the variance.

    Raises:
      TypeError: if x, scale or shift is no floating-point array.
      ValueError: if x has fewer than two axes, scale or shift has not one entry a feature or these differ in dtype, or
        ε is negative.
    """
    check_features("batch_norm", x, scale=scale, shift=shift)
    check_affine("batch_norm", scale, shift)
    require_eps("batch_norm", eps)
    mean, variance = moments(x, _axes(x))
    h = 1 / jnp.sqrt(variance + eps)
    x_hat = (widened(x) - mean) * h
    y = along_last(scale, x) * x_hat + along_last(shift, x)  # (BN1)
    return y.astype(x.dtype), Residuals(x, mean, h, scale)


def batch_norm_backward(
    residuals: Residuals, y_bar: Float[Array, "batch *places features"], *, eps: float
) -> tuple[Float[Array, "batch *places features"], Float[Array, " features"], Float[Array, " features"]]:
    """Cotangents of x, scale and shift: (BN2) to (BN4)."""
    x, mean, h, scale = residuals
    axes = _axes(x)
    x_hat, y_bar = (widened(x) - mean) * h, widened(y_bar)
    scale_bar, shift_bar = (y_bar * x_hat).sum(axes), y_bar.sum(axes)  # (BN3) (BN4)
    n = math.prod(x.shape[:-1])
    taken = (along_last(shift_bar, x) + x_hat * along_last(scale_bar, x)) / n
    x_bar = along_last(scale, x) * h * (y_bar - taken)  # (BN2)
    return x_bar.astype(x.dtype), scale_bar.astype(scale.dtype), shift_bar.astype(scale.dtype)


batch_norm = rule(batch_norm_forward, batch_norm_backward)


def batch_norm_training(
    x: Float[Array, "batch *places features"],
    scale: Float[Array, " features"],
    shift: Float[Array, " features"],
    statistics: Statistics,
    *,
    momentum: float = 0.9,
    eps: float = 1e-5,
) -> tuple[Float[Array, "batch *places features"], Statistics]:
    """`batch_norm`, and the running statistics after this batch (BN9), in their own dtype.

    The variance is the biased one, over N, as in Flax; PyTorch's running variance is N/(N - 1) times that, and its
    momentum is 1 - ρ.  No gradient flows through the statistics.

    Args:
      x: as in `batch_norm`.
      scale: as in `batch_norm`.
      shift: as in `batch_norm`.
      statistics: those before this batch.
      momentum: ρ, in [0, 1].
      eps: as in `batch_norm`.

    Raises:
      TypeError: as `batch_norm`.
      ValueError: as `batch_norm`; or if x is empty, the statistics have not one entry a feature, or ρ is out of its
        range.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"batch_norm_training: momentum is {momentum}, wanted 0 to 1")
    check_features("batch_norm_training", x, mean=statistics.mean, variance=statistics.variance)
    if x.size == 0:
        raise ValueError(f"batch_norm_training: x {x.shape} has no entries to take a mean of")
    # Compiled, these are the moments inside batch_norm, and not computed twice.
    of_batch = moments(lax.stop_gradient(x), _axes(x))
    known = lax.stop_gradient(statistics)
    moved = [
        momentum * old + (1 - momentum) * new.reshape(old.shape).astype(old.dtype)
        for old, new in zip(known, of_batch, strict=True)
    ]  # (BN9)
    return batch_norm(x, scale, shift, eps=eps), Statistics(*moved)


class InferenceResiduals(NamedTuple):
    """What (BN6) to (BN8) need."""

    x: Float[Array, "batch *places features"]
    scale: Float[Array, " features"]
    statistics: Statistics


def batch_norm_inference_forward(
    x: Float[Array, "batch *places features"],
    scale: Float[Array, " features"],
    shift: Float[Array, " features"],
    statistics: Statistics,
    *,
    eps: float = 1e-5,
) -> tuple[Float[Array, "batch *places features"], InferenceResiduals]:
    """Each feature normalised by statistics that are given, then scaled and shifted (BN5): an affine map of x.

    Raises:
      TypeError: if x or a vector is no floating-point array.
      ValueError: if x has fewer than two axes, a vector has not one entry a feature, scale and shift differ in dtype,
        or ε is negative.
    """
    vectors = {"scale": scale, "shift": shift, "mean": statistics.mean, "variance": statistics.variance}
    check_features("batch_norm_inference", x, **vectors)
    check_affine("batch_norm_inference", scale, shift)
    require_eps("batch_norm_inference", eps)
    x_hat, _ = _by(statistics, x, eps)
    y = along_last(scale, x) * x_hat + along_last(shift, x)  # (BN5)
    return y.astype(x.dtype), InferenceResiduals(x, scale, statistics)


def batch_norm_inference_backward(
    residuals: InferenceResiduals, y_bar: Float[Array, "batch *places features"], *, eps: float
) -> tuple[Float[Array, "batch *places features"], Float[Array, " features"], Float[Array, " features"], Statistics]:
    """Cotangents of x, scale, shift and the statistics: (BN6), (BN3), (BN4), (BN7) and (BN8)."""
    x, scale, statistics = residuals
    x_hat, h = _by(statistics, x, eps)
    y_bar, slope = widened(y_bar), along_last(scale, x) * h
    scale_bar, shift_bar = (y_bar * x_hat).sum(_axes(x)), y_bar.sum(_axes(x))
    mean_bar = -slope.ravel() * shift_bar  # (BN7)
    variance_bar = -0.5 * (slope * h).ravel() * scale_bar  # (BN8)
    return (
        (slope * y_bar).astype(x.dtype),  # (BN6)
        scale_bar.astype(scale.dtype),
        shift_bar.astype(scale.dtype),
        Statistics(mean_bar.astype(statistics.mean.dtype), variance_bar.astype(statistics.variance.dtype)),
    )


batch_norm_inference = rule(batch_norm_inference_forward, batch_norm_inference_backward)


def _axes(x: Array) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _by(statistics: Statistics, x: Array, eps: float) -> tuple[Array, Array]:
    """x̂ and h."""
    h = 1 / jnp.sqrt(along_last(statistics.variance, x) + eps)
    return (widened(x) - along_last(statistics.mean, x)) * h, h
