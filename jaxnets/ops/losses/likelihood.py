"""Negative log likelihoods and divergences of distributions.  Derivation: derivations/losses.md.

    gaussian_negative_log_likelihood, e = mean - y, v the variance
        (LS45) C_x = ½ Σ [log 2π + log v + e²/v]
        (LS46) mean_bar = C̄_x e/v,  v_bar = C̄_x ½(1/v - e²/v²),  y_bar = -mean_bar
    kl_divergence
        (LS47) C_x = Σ_j p_j (log p_j - log q_j)
        (LS48) p_bar = C̄_x (log p - log q + 1),  q_bar = -C̄_x p/q
    gaussian_kl of N(μ, e^ρ) from N(0, 1), ρ the logarithm of the variance
        (LS49) C_x = ½ Σ [μ² + e^ρ - 1 - ρ]
        (LS50) mu_bar = C̄_x μ,  rho_bar = C̄_x ½(e^ρ - 1)
    bernoulli_negative_elbo: the two parts above that a variational auto-encoder with yes-or-no outputs adds up
        (LS51) C_x = sigmoid_cross_entropy(logits, x) + gaussian_kl(μ, ρ)

Convention: 0 log 0 = 0.  Where p = 0, p log p has slope 0 in p (the true slope is minus infinity), so a one-hot p has a
finite gradient; where also q = 0, the whole term is absent.

Sources: Bishop, Pattern Recognition and Machine Learning, sections 1.2.5 and 3.1.1; Kullback and Leibler, "On
information and sufficiency" (1951); Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendices B and C.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops.losses._check import check_alike
from jaxnets.ops.losses._stable import unless_absent
from jaxnets.ops.losses.cross_entropy import sigmoid_cross_entropy
from jaxnets.ops.losses.reduction import Cost, Reduction, reduce, spread
from jaxnets.rule import rule

Distributions = Float[Array, "batch *positions classes"]
Values = Float[Array, "batch *outputs"]
Latents = Float[Array, "batch *latents"]


class GaussianResiduals(NamedTuple):
    """The difference e = mean - y and the variance."""

    e: Values
    variance: Values


def gaussian_negative_log_likelihood_forward(
    mean: Values, variance: Values, y: Values, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, GaussianResiduals]:
    """Negative log likelihood of y under independent Gaussians N(mean, variance), the constant ½ log 2π included.

    The variance is positive and has the shape of the mean (`jnp.broadcast_to` for a shared one, its gradient is then
    summed by JAX); where it is negative, the cost is NaN.

    Raises:
      ValueError: if the three differ in shape or dtype or are no floating-point arrays.
    """
    check_alike("gaussian_negative_log_likelihood", {"mean": mean, "variance": variance, "y": y})
    e = mean - y
    terms = 0.5 * (math.log(2 * math.pi) + jnp.log(variance) + e * e / variance)  # (LS45)
    return reduce(terms, reduction), GaussianResiduals(e, variance)


def gaussian_negative_log_likelihood_backward(
    residuals: GaussianResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Values, Values, Values]:
    """Cotangents of the mean, the variance and y."""
    e, variance = residuals
    cx_bar = spread(c_bar, e, reduction)
    mean_bar = cx_bar * e / variance  # (LS46)
    return mean_bar, cx_bar * 0.5 * (1 - e * e / variance) / variance, -mean_bar  # (LS46)


class DivergenceResiduals(NamedTuple):
    """Both distributions; q is 1 where an event is absent, p = q = 0."""

    p: Distributions
    q: Distributions


def kl_divergence_forward(
    p: Distributions, q: Distributions, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, DivergenceResiduals]:
    """Kullback-Leibler divergence KL(p‖q) = H(p, q) - H(p) of q from p, in nats.

    Raises:
      ValueError: if p and q differ in shape or dtype, have no axis of classes, or are no floating-point arrays.
    """
    check_alike("kl_divergence", {"p": p, "q": q}, classes=True)
    q = unless_absent(q, p)
    return reduce(p * (_log_or_zero(p) - jnp.log(q)), reduction), DivergenceResiduals(p, q)  # (LS47)


def kl_divergence_backward(
    residuals: DivergenceResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Distributions, Distributions]:
    """Cotangents of p and q."""
    p, q = residuals
    cx_bar = spread(c_bar, p, reduction)
    slope_of_p_log_p = jnp.where(p == 0, 0, _log_or_zero(p) + 1)
    return cx_bar * (slope_of_p_log_p - jnp.log(q)), -cx_bar * p / q  # (LS48)


def _log_or_zero(p: Distributions) -> Distributions:
    return jnp.log(jnp.where(p == 0, 1, p))


class GaussianKlResiduals(NamedTuple):
    """The code's mean and the logarithm of its variance."""

    mu: Latents
    log_variance: Latents


def gaussian_kl_forward(
    mu: Latents, log_variance: Latents, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, GaussianKlResiduals]:
    """KL(N(μ, e^ρ) ‖ N(0, 1)), ρ = log_variance, summed over independent latents.

    The variance itself is part of the value: above ρ = 88.7 (float32; 709.7 in float64) cost and gradient are infinite.

    Raises:
      ValueError: if mu and log_variance differ in shape or dtype or are no floating-point arrays.
    """
    check_alike("gaussian_kl", {"mu": mu, "log_variance": log_variance})
    terms = 0.5 * (mu * mu + jnp.expm1(log_variance) - log_variance)  # (LS49)
    return reduce(terms, reduction), GaussianKlResiduals(mu, log_variance)


def gaussian_kl_backward(
    residuals: GaussianKlResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Latents, Latents]:
    """Cotangents of mu and log_variance."""
    mu, log_variance = residuals
    cx_bar = spread(c_bar, mu, reduction)
    return cx_bar * mu, cx_bar * 0.5 * jnp.expm1(log_variance)  # (LS50)


gaussian_negative_log_likelihood = rule(
    gaussian_negative_log_likelihood_forward, gaussian_negative_log_likelihood_backward
)
kl_divergence = rule(kl_divergence_forward, kl_divergence_backward)
gaussian_kl = rule(gaussian_kl_forward, gaussian_kl_backward)


def bernoulli_negative_elbo(
    logits: Values, x: Values, mu: Latents, log_variance: Latents, *, reduction: Reduction = Reduction.MEAN
) -> Cost:
    """Negative evidence lower bound of a variational auto-encoder: reconstruction plus divergence of the code.

    `logits` are the decoder's for the data x in [0, 1], at one sample of the code drawn from N(mu, e^log_variance).
    Both parts are rules, and JAX adds their gradients.

    Raises:
      ValueError: if logits and x, or mu and log_variance, differ in shape or dtype or are no floating-point arrays, or
        the two pairs differ in batch size or dtype.
    """
    if logits.shape[:1] != mu.shape[:1] or logits.dtype != mu.dtype:
        raise ValueError(
            f"bernoulli_negative_elbo: logits are {logits.dtype} {logits.shape}, mu is {mu.dtype} {mu.shape}, "
            "wanted the same batch size and dtype"
        )
    reconstruction = sigmoid_cross_entropy(logits, x, reduction=reduction)
    return reconstruction + gaussian_kl(mu, log_variance, reduction=reduction)  # (LS51)
