"""Activations with flat pieces: unit step, sign, piecewise linear.  Derivation: derivations/activations.md.

Element-wise, a = a(z), then da/dz, then d²a/dz², each but for the kinks; z_bar = a_bar ⊙ da/dz.

    unit step          (AC1) a = 0 for z < 0, at_zero for z = 0, 1 for z > 0      (AC2) 0      (AC3) 0
    sign               (AC4) a = -1 for z < 0, 0 for z = 0, 1 for z > 0           (AC5) 0      (AC6) 0
    piecewise linear   (AC7) a = 0 for z ≤ -1/2, z + 1/2 between, 1 for z ≥ 1/2
                       (AC8) 1 for -1/2 < z < 1/2, else 0                         (AC9) 0

The derivative of a step is 0 almost everywhere, and 0 is also what this library takes at the jump: no gradient passes a
step.  At both kinks of the piecewise linear unit the slope is 0 (autodiff of `jnp.clip` has 1/2 there).

Sources: McCulloch and Pitts 1943, A logical calculus of the ideas immanent in nervous activity; Rosenblatt 1958, The
perceptron: a probabilistic model for information storage and organization in the brain; Haykin 1994, Neural Networks: a
comprehensive foundation, section 1.3.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxnets.ops._floating import require_floating
from jaxnets.rule import rule


def unit_step_forward(z: Float[Array, "*shape"], *, at_zero: float = 1.0) -> tuple[Float[Array, "*shape"], tuple[()]]:
    """Unit step (Heaviside function): 0 below 0, 1 above, `at_zero` at 0.

    Args:
      z: an array of any shape.
      at_zero: the value at 0.  The literature has 1 (perceptrons with threshold: fire when it is reached), 0 and 0.5.

    Raises:
      TypeError: if z is not of a floating-point dtype.
    """
    require_floating("unit_step", z)
    return jnp.where(z == 0, at_zero, 0.5 + 0.5 * jnp.sign(z)), ()  # (AC1)


def unit_step_backward(
    residuals: tuple[()], a_bar: Float[Array, "*shape"], *, at_zero: float = 1.0
) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z: zeros, whatever the value at 0."""
    return (jnp.zeros_like(a_bar),)  # (AC2)


unit_step = rule(unit_step_forward, unit_step_backward)


def unit_step_prime(z: Float[Array, "*shape"], *, at_zero: float = 1.0) -> Float[Array, "*shape"]:
    """Derivative of the unit step: 0, also at the jump, whatever the value there."""
    require_floating("unit_step_prime", z)
    return jnp.zeros_like(z)  # (AC2)


def unit_step_second(z: Float[Array, "*shape"], *, at_zero: float = 1.0) -> Float[Array, "*shape"]:
    """Second derivative of the unit step: 0."""
    require_floating("unit_step_second", z)
    return jnp.zeros_like(z)  # (AC3)


def sign_forward(z: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple[()]]:
    """Sign (signum, not sigmoid): -1 below 0, 0 at 0, 1 above.

    Raises:
      TypeError: if z is not of a floating-point dtype.
    """
    require_floating("sign", z)
    return jnp.sign(z), ()  # (AC4)


def sign_backward(residuals: tuple[()], a_bar: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z: zeros."""
    return (jnp.zeros_like(a_bar),)  # (AC5)


sign = rule(sign_forward, sign_backward)


def sign_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Derivative of the sign: 0, also at the jump."""
    require_floating("sign_prime", z)
    return jnp.zeros_like(z)  # (AC5)


def sign_second(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Second derivative of the sign: 0."""
    require_floating("sign_second", z)
    return jnp.zeros_like(z)  # (AC6)


def piecewise_linear_forward(z: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Piecewise linear unit (hard sigmoid of slope 1): z + 1/2, clipped to [0, 1].

    Residual: where z lies between the kinks.  (The output does not tell: just below 1/2 it rounds to 1.)

    Raises:
      TypeError: if z is not of a floating-point dtype.
    """
    require_floating("piecewise_linear", z)
    a = jnp.where(z <= -0.5, 0.0, jnp.where(z >= 0.5, 1.0, z + 0.5))  # (AC7)
    return a, jnp.abs(z) < 0.5


def piecewise_linear_backward(
    residuals: Bool[Array, "*shape"], a_bar: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z: a_bar between the kinks, 0 at them and beyond."""
    return (jnp.where(residuals, a_bar, 0.0),)  # (AC8)


piecewise_linear = rule(piecewise_linear_forward, piecewise_linear_backward)


def piecewise_linear_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Derivative of the piecewise linear unit: 1 for -1/2 < z < 1/2, else 0."""
    require_floating("piecewise_linear_prime", z)
    return jnp.where(jnp.abs(z) < 0.5, jnp.ones_like(z), 0.0)  # (AC8)


def piecewise_linear_second(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Second derivative of the piecewise linear unit: 0, also at the kinks."""
    require_floating("piecewise_linear_second", z)
    return jnp.zeros_like(z)  # (AC9)
