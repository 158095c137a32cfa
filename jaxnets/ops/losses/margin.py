"""Losses of the margin m = y f of a score f, for labels y = -1 or +1.  Derivation: derivations/losses.md.

    (LS19) C_x = Σ φ(m),  m = y f          (LS20) f_bar = C̄_x φ'(m) y,  y_bar = C̄_x φ'(m) f

                              φ(m)                                       φ'(m)
    zero_one        (LS21) 1 if m ≤ 0, 0 else                   (LS22) 0
    perceptron      (LS23) max(0, -m)                           (LS24) -1 if m ≤ 0, 0 else
    hinge           (LS25) max(0, 1 - m)                        (LS26) -1 if m ≤ 1, 0 else
    squared_hinge   (LS27) max(0, 1 - m)²                       (LS28) -2 max(0, 1 - m)
    logistic        (LS29) log(1 + e^(-m))                      (LS30) -σ(-m)
    exponential     (LS31) e^(-m)                               (LS32) -e^(-m)
    modified_huber  (LS33) max(0, 1 - m)² if m ≥ -1, -4m else   (LS34) -2 max(0, 1 - m) if m ≥ -1, -4 else

Convention at the kinks: a score on the border counts as wrong.  So zero_one is 1 at m = 0, and perceptron at m = 0 and
hinge at m = 1 have slope -1, as in scikit-learn: a perceptron that starts from zero weights learns.  JAX's own
derivative of the maximum is -1/2 there (and so is Optax's), which is as good a subgradient.

A label other than -1 and +1 is not refused, and scales the margin as the formulas say.

Sources: Rosenblatt, "The perceptron" (1958); Cortes and Vapnik, "Support-vector networks" (1995); Friedman, Hastie and
Tibshirani, "Additive logistic regression" (2000); Zhang, "Solving large scale linear prediction problems using
stochastic gradient descent algorithms" (2004).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops.losses._check import check_alike
from jaxnets.ops.losses._stable import softplus
from jaxnets.ops.losses.reduction import Cost, Reduction, reduce, spread
from jaxnets.rule import rule

Values = Float[Array, "batch *outputs"]


class Residuals(NamedTuple):
    """Both factors of the margin."""

    f: Values
    y: Values


def _margin(loss: str, f: Values, y: Values) -> Values:
    check_alike(loss, {"f": f, "y": y})
    return y * f  # (LS19)


def _cotangents(residuals: Residuals, slope: Values, c_bar: Cost, reduction: Reduction) -> tuple[Values, Values]:
    m_bar = spread(c_bar, slope, reduction) * slope
    return m_bar * residuals.y, m_bar * residuals.f  # (LS20)


def zero_one_forward(f: Values, y: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Number of wrong decisions sign f ≠ y; a score of 0 decides nothing and counts as wrong.  Its gradient is 0.

    Raises:
      ValueError: if f and y differ in shape or dtype or are no floating-point arrays.
    """
    m = _margin("zero_one", f, y)
    return reduce((m <= 0).astype(m.dtype), reduction), Residuals(f, y)  # (LS21)


def zero_one_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of f and y."""
    return _cotangents(residuals, jnp.zeros_like(residuals.f), c_bar, reduction)  # (LS22)


def perceptron_forward(f: Values, y: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Perceptron loss max(0, -m): wrong scores cost their size; slope -1 at m = 0.

    Raises:
      ValueError: if f and y differ in shape or dtype or are no floating-point arrays.
    """
    m = _margin("perceptron", f, y)
    return reduce(jnp.maximum(-m, 0), reduction), Residuals(f, y)  # (LS23)


def perceptron_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of f and y."""
    m = residuals.y * residuals.f
    return _cotangents(residuals, -(m <= 0).astype(m.dtype), c_bar, reduction)  # (LS24)


def hinge_forward(f: Values, y: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Hinge loss max(0, 1 - m) of a support vector machine: margins below 1 cost; slope -1 at m = 1.

    Raises:
      ValueError: if f and y differ in shape or dtype or are no floating-point arrays.
    """
    m = _margin("hinge", f, y)
    return reduce(jnp.maximum(1 - m, 0), reduction), Residuals(f, y)  # (LS25)


def hinge_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of f and y."""
    m = residuals.y * residuals.f
    return _cotangents(residuals, -(m <= 1).astype(m.dtype), c_bar, reduction)  # (LS26)


def squared_hinge_forward(f: Values, y: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Squared hinge loss max(0, 1 - m)², smooth at m = 1.

    Raises:
      ValueError: if f and y differ in shape or dtype or are no floating-point arrays.
    """
    m = _margin("squared_hinge", f, y)
    return reduce(jnp.maximum(1 - m, 0) ** 2, reduction), Residuals(f, y)  # (LS27)


def squared_hinge_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of f and y."""
    m = residuals.y * residuals.f
    return _cotangents(residuals, -2 * jnp.maximum(1 - m, 0), c_bar, reduction)  # (LS28)


def logistic_forward(f: Values, y: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Logistic loss log(1 + e^(-m)): the binary cross entropy for labels -1 and +1, in natural logarithms.

    Raises:
      ValueError: if f and y differ in shape or dtype or are no floating-point arrays.
    """
    m = _margin("logistic", f, y)
    return reduce(softplus(-m), reduction), Residuals(f, y)  # (LS29)


def logistic_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of f and y."""
    m = residuals.y * residuals.f
    return _cotangents(residuals, -jax.nn.sigmoid(-m), c_bar, reduction)  # (LS30)


def exponential_forward(f: Values, y: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Exponential loss e^(-m) of AdaBoost.

    No stable form exists: the value itself leaves float32 (and bfloat16) below m = -88.7, float64 below m = -709.7.
    Cost and gradient are infinite there, of the right sign, which stops a training run at once; use `logistic` instead.

    Raises:
      ValueError: if f and y differ in shape or dtype or are no floating-point arrays.
    """
    m = _margin("exponential", f, y)
    return reduce(jnp.exp(-m), reduction), Residuals(f, y)  # (LS31)


def exponential_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of f and y."""
    m = residuals.y * residuals.f
    return _cotangents(residuals, -jnp.exp(-m), c_bar, reduction)  # (LS32)


def modified_huber_forward(f: Values, y: Values, *, reduction: Reduction = Reduction.MEAN) -> tuple[Cost, Residuals]:
    """Squared hinge loss down to m = -1, from there on its tangent -4m: smooth, and linear for outliers.

    Raises:
      ValueError: if f and y differ in shape or dtype or are no floating-point arrays.
    """
    m = _margin("modified_huber", f, y)
    return reduce(jnp.where(m >= -1, jnp.maximum(1 - m, 0) ** 2, -4 * m), reduction), Residuals(f, y)  # (LS33)


def modified_huber_backward(residuals: Residuals, c_bar: Cost, *, reduction: Reduction) -> tuple[Values, Values]:
    """Cotangents of f and y."""
    m = residuals.y * residuals.f
    slope = jnp.where(m >= -1, -2 * jnp.maximum(1 - m, 0), -4)  # (LS34)
    return _cotangents(residuals, slope, c_bar, reduction)


zero_one = rule(zero_one_forward, zero_one_backward)
perceptron = rule(perceptron_forward, perceptron_backward)
hinge = rule(hinge_forward, hinge_backward)
squared_hinge = rule(squared_hinge_forward, squared_hinge_backward)
logistic = rule(logistic_forward, logistic_backward)
exponential = rule(exponential_forward, exponential_backward)
modified_huber = rule(modified_huber_forward, modified_huber_backward)
