"""Losses of the difference e = a - t between a prediction and its target.  Derivation: derivations/losses.md.

    (LS3) C_x = Σ φ(e),  e = a - t         (LS4) a_bar = C̄_x φ'(e),  t_bar = -a_bar

                                  φ(e)                                       φ'(e)
    quadratic            (LS5)  e²/(2s)                             (LS6)  e/s
    squared_error        (LS7)  e²                                  (LS8)  2e
    absolute_error       (LS9)  |e|                                 (LS10) sign e
    huber                (LS11) e²/2 if |e| ≤ δ, δ(|e| - δ/2) else  (LS12) e limited to [-δ, δ]
    log_cosh             (LS13) log cosh e                          (LS14) tanh e
    epsilon_insensitive  (LS15) max(0, |e| - ε)                     (LS16) sign e if |e| > ε, 0 else
    quantile             (LS17) (1 - τ)e if e > 0, -τe else         (LS18) 1 - τ if e > 0, -τ if e < 0

Convention at the kinks: the slope is 0 where e = 0 (absolute_error, quantile) and where |e| = ε (epsilon_insensitive),
so a prediction without error stays where it is.  JAX's own derivative there is 1, 1/2 - τ and ±1/2.

Sources: Nielsen, Neural Networks and Deep Learning, ch. 1, eq. (6); Huber, "Robust estimation of a location parameter"
(1964); Vapnik, The Nature of Statistical Learning Theory (1995), ch. 6; Koenker and Bassett, "Regression quantiles"
(1978).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops.losses._check import check_alike, check_positive
from jaxnets.ops.losses.reduction import Cost, Reduction, reduce, spread
from jaxnets.rule import rule

Values = Float[Array, "batch *outputs"]


class Residuals(NamedTuple):
    """What every slope is a function of."""

    e: Values


def _difference(loss: str, a: Values, t: Values) -> Values:
    check_alike(loss, {"a": a, "t": t})
    return a - t  # (LS3)


def _cotangents(slope: Values, c_bar: Cost, reduction: Reduction) -> tuple[Values, Values]:
    a_bar = spread(c_bar, slope, reduction) * slope  # (LS4)
    return a_bar, -a_bar  # (LS4)


def quadratic_forward(
    a: Values, t: Values, *, variance: float = 1.0, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, Residuals]:
    """Quadratic cost ‖a - t‖²/(2s) of an example; its mean over the batch is Nielsen's 1/(2n) Σ ‖y - a‖².

    `variance` is s: σ² for Gaussian noise, or the number of outputs where their mean is wanted.

    Raises:
      ValueError: if a and t differ in shape or dtype or are no floating-point arrays, or the variance is not positive.
    """
    check_positive("quadratic", "variance", variance)
    e = _difference("quadratic", a, t)
    return reduce(e * e / (2 * variance), reduction), Residuals(e)  # (LS5)


def quadratic_backward(
    residuals: Residuals, c_bar: Cost, *, variance: float, reduction: Reduction
) -> tuple[Values, Values]:
    """Cotangents of a and t."""
    return _cotangents(residuals.e / variance, c_bar, reduction)  # (LS6)


def squared_error_forward(a: Values, t: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Squared error ‖a - t‖² of an example: summed over its outputs, without 1/2, then averaged over the batch.

    With n_out outputs it is n_out times scikit-learn's `mean_squared_error`, which averages over them too.

    Raises:
      ValueError: if a and t differ in shape or dtype or are no floating-point arrays.
    """
    e = _difference("squared_error", a, t)
    return reduce(e * e, reduction), Residuals(e)  # (LS7)


def squared_error_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of a and t."""
    return _cotangents(2 * residuals.e, c_bar, reduction)  # (LS8)


def absolute_error_forward(a: Values, t: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Absolute error Σ|a - t| of an example; slope 0 where a = t.

    Raises:
      ValueError: if a and t differ in shape or dtype or are no floating-point arrays.
    """
    e = _difference("absolute_error", a, t)
    return reduce(jnp.abs(e), reduction), Residuals(e)  # (LS9)


def absolute_error_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of a and t."""
    return _cotangents(jnp.sign(residuals.e), c_bar, reduction)  # (LS10)


def huber_forward(
    a: Values, t: Values, *, delta: float = 1.0, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, Residuals]:
    """Huber's loss: quadratic up to |a - t| = δ, from there on the line that continues it smoothly.

    Raises:
      ValueError: if a and t differ in shape or dtype or are no floating-point arrays, or delta is not positive.
    """
    check_positive("huber", "delta", delta)
    e = _difference("huber", a, t)
    terms = jnp.where(jnp.abs(e) <= delta, e * e / 2, delta * (jnp.abs(e) - delta / 2))  # (LS11)
    return reduce(terms, reduction), Residuals(e)


def huber_backward(residuals: Residuals, c_bar: Cost, *, delta: float, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of a and t."""
    return _cotangents(jnp.clip(residuals.e, -delta, delta), c_bar, reduction)  # (LS12)


def log_cosh_forward(a: Values, t: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Logarithm of cosh(a - t): about e²/2 for small differences, |e| - log 2 for large ones.

    Raises:
      ValueError: if a and t differ in shape or dtype or are no floating-point arrays.
    """
    e = _difference("log_cosh", a, t)
    # cosh e = e^|e| (1 + e^(-2|e|))/2: no exponential can overflow.
    return reduce(jnp.abs(e) + jnp.log1p(jnp.expm1(-2 * jnp.abs(e)) / 2), reduction), Residuals(e)  # (LS13)


def log_cosh_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of a and t."""
    return _cotangents(jnp.tanh(residuals.e), c_bar, reduction)  # (LS14)


def epsilon_insensitive_forward(
    a: Values, t: Values, *, epsilon: float = 0.1, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, Residuals]:
    """Absolute error beyond a tube of half-width ε that costs nothing; slope 0 in the tube and on its wall.

    Raises:
      ValueError: if a and t differ in shape or dtype or are no floating-point arrays, or epsilon is negative.
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon_insensitive: epsilon is {epsilon}, wanted 0 or a number above it")
    e = _difference("epsilon_insensitive", a, t)
    return reduce(jnp.maximum(jnp.abs(e) - epsilon, 0), reduction), Residuals(e)  # (LS15)


def epsilon_insensitive_backward(
    residuals: Residuals, c_bar: Cost, *, epsilon: float, reduction: Reduction
) -> tuple[Values, Values]:
    """Cotangents of a and t."""
    e = residuals.e
    return _cotangents(jnp.where(jnp.abs(e) <= epsilon, 0, jnp.sign(e)), c_bar, reduction)  # (LS16)


def quantile_forward(
    a: Values, t: Values, *, tau: float = 0.5, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, Residuals]:
    """Quantile (pinball) loss, least where a is the τ-quantile of t: τ for each unit below t, 1 - τ for each above.

    The slope is 0 where a = t.  At τ = 1/2 it is half the absolute error.

    Raises:
      ValueError: if a and t differ in shape or dtype or are no floating-point arrays, or tau is not between 0 and 1.
    """
    if not 0 < tau < 1:
        raise ValueError(f"quantile: tau is {tau}, wanted a number between 0 and 1")
    e = _difference("quantile", a, t)
    return reduce(jnp.maximum((1 - tau) * e, -tau * e), reduction), Residuals(e)  # (LS17)


def quantile_backward(residuals: Residuals, c_bar: Cost, *, tau: float, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of a and t."""
    e = residuals.e
    return _cotangents(jnp.sign(e) * jnp.where(e > 0, 1 - tau, tau), c_bar, reduction)  # (LS18)


quadratic = rule(quadratic_forward, quadratic_backward)
squared_error = rule(squared_error_forward, squared_error_backward)
absolute_error = rule(absolute_error_forward, absolute_error_backward)
huber = rule(huber_forward, huber_backward)
log_cosh = rule(log_cosh_forward, log_cosh_backward)
epsilon_insensitive = rule(epsilon_insensitive_forward, epsilon_insensitive_backward)
quantile = rule(quantile_forward, quantile_backward)
