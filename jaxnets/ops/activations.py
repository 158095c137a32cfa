"""Activation functions: linear, sigmoid, tanh, rectifiers, softmax.  Derivation: derivations/activations.md.

Element-wise, a = a(z), then da/dz, then d²a/dz²; z_bar = a_bar ⊙ da/dz:

    linear       (AC10) a = z                               (AC11) 1                         (AC12) 0
    sigmoid      (AC13) a = σ(z) = 1 / (1 + e^-z)           (AC14) a (1 - a)                 (AC15) a (1 - a) (1 - 2a)
    tanh         (AC16) a = (e^z - e^-z) / (e^z + e^-z)     (AC17) 1 - a²                    (AC18) -2a (1 - a²)
    softplus     (AC19) a = ln(1 + e^z)                     (AC20) σ(z) = 1 - e^-a           (AC21) σ(z) σ(-z)
    relu         (AC22) a = max(0, z)                       (AC23) 1 for z > 0, else 0       (AC24) 0
    leaky relu   (AC25) a = z for z ≥ 0, slope z below      (AC26) 1 for z ≥ 0, slope below  (AC27) 0

Over the last axis, with m = max_j z_j:

    softmax      (AC28) p_i = e^(z_i - m) / Σ_j e^(z_j - m)      (AC29) z_bar = p ⊙ (p_bar - Σ_j p_j p_bar_j)
    log softmax  (AC30) l_i = z_i - m - ln Σ_j e^(z_j - m)       (AC31) z_bar = l_bar - e^l Σ_j l_bar_j

At the kink 0 the slope of relu is 0 and that of leaky relu is 1, as in `jax.nn`; both second derivatives are 0 there.
`<name>_prime` and `<name>_second` are the two derivatives as functions of z, in forms that keep their relative accuracy
in both tails.  The backward passes of sigmoid and tanh start from the rounded output a, and are 0 where a rounds to 1.

Sources: Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors, eq. (2) and (5):
sigmoid; LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, section 4.4: tanh; Dugas et al. 2001, Incorporating
second-order functional knowledge for better option pricing: softplus; Nair and Hinton 2010, Rectified linear units
improve restricted Boltzmann machines: relu; Maas, Hannun and Ng 2013, Rectifier nonlinearities improve neural network
acoustic models, eq. (3): leaky relu; Bridle 1990, Probabilistic interpretation of feedforward classification network
outputs, with relationships to statistical pattern recognition: softmax.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxnets.ops._floating import require_floating
from jaxnets.rule import rule


def linear_forward(z: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple[()]]:
    """Linear activation: the identity.  TypeError if z is not of a floating-point dtype."""
    require_floating("linear", z)
    return z, ()  # (AC10)


def linear_backward(residuals: tuple[()], a_bar: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z: a_bar itself."""
    return (a_bar,)  # (AC11)


linear = rule(linear_forward, linear_backward)


def linear_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Derivative of the identity: 1."""
    require_floating("linear_prime", z)
    return jnp.ones_like(z)  # (AC11)


def linear_second(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Second derivative of the identity: 0."""
    require_floating("linear_second", z)
    return jnp.zeros_like(z)  # (AC12)


def sigmoid_forward(z: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Logistic sigmoid, from (-∞, ∞) to (0, 1).  Residual: the output.

    Raises:
      TypeError: if z is not of a floating-point dtype.
    """
    require_floating("sigmoid", z)
    e = _exp_minus_abs(z)
    a = jnp.where(z < 0, e, 1.0) / (1 + e)  # (AC13), for z < 0 multiplied by e^z above and below
    return a, a


def sigmoid_backward(residuals: Float[Array, "*shape"], a_bar: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z, from the output a alone."""
    a = residuals
    return (a_bar * a * (1 - a),)  # (AC14)


sigmoid = rule(sigmoid_forward, sigmoid_backward)


def sigmoid_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Derivative of the sigmoid, σ(z) σ(-z), at most 1/4 and there at 0; e^-|z| in both tails."""
    require_floating("sigmoid_prime", z)
    e = _exp_minus_abs(z)
    return e / (1 + e) ** 2  # (AC14), with a and 1 - a as 1 / (1 + e) and e / (1 + e)


def sigmoid_second(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Second derivative of the sigmoid; extremes ±√3/18 at z = ∓ln(2 + √3)."""
    require_floating("sigmoid_second", z)
    return -sigmoid_prime(z) * jnp.tanh(0.5 * z)  # (AC15), 1 - 2a without its cancellation at z = 0


def tanh_forward(z: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Hyperbolic tangent, from (-∞, ∞) to (-1, 1).  Residual: the output.

    Raises:
      TypeError: if z is not of a floating-point dtype.
    """
    require_floating("tanh", z)
    a = jnp.tanh(z)  # (AC16)
    return a, a


def tanh_backward(residuals: Float[Array, "*shape"], a_bar: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z, from the output a alone."""
    a = residuals
    return (a_bar * (1 - a * a),)  # (AC17)


tanh = rule(tanh_forward, tanh_backward)


def tanh_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Derivative of tanh, at most 1 and there at 0; 4 e^(-2|z|) in both tails."""
    require_floating("tanh_prime", z)
    return 4 * sigmoid_prime(2 * z)  # (AC17), by tanh z = 2 σ(2z) - 1


def tanh_second(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Second derivative of tanh."""
    require_floating("tanh_second", z)
    return 8 * sigmoid_second(2 * z)  # (AC18), by tanh z = 2 σ(2z) - 1


def softplus_forward(z: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Softplus, the smooth rectifier, > 0.  Residual: the output.  TypeError if z is not of a floating-point dtype."""
    require_floating("softplus", z)
    a = jnp.where(z < 0, 0.0, z) + jnp.log1p(_exp_minus_abs(z))  # (AC19), for z ≥ 0 with e^z taken out of the logarithm
    return a, a


def softplus_backward(
    residuals: Float[Array, "*shape"], a_bar: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z, from the output a alone."""
    a = residuals
    return (a_bar * -jnp.expm1(-a),)  # (AC20)


softplus = rule(softplus_forward, softplus_backward)


def softplus_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Derivative of softplus: the sigmoid."""
    require_floating("softplus_prime", z)
    a, _ = sigmoid_forward(z)
    return a  # (AC20)


def softplus_second(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Second derivative of softplus: the first of the sigmoid."""
    require_floating("softplus_second", z)
    return sigmoid_prime(z)  # (AC21)


def relu_forward(z: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Rectified linear unit.  Slope 0 at the kink 0.  Residual: the output.

    Raises:
      TypeError: if z is not of a floating-point dtype.
    """
    require_floating("relu", z)
    a = jnp.where(z <= 0, 0.0, z)  # (AC22), so written that autodiff has slope 0 at 0 and NaN stays NaN
    return a, a


def relu_backward(residuals: Float[Array, "*shape"], a_bar: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z, from the output a alone: a > 0 exactly where z > 0."""
    a = residuals
    return (jnp.where(a > 0, a_bar, 0.0),)  # (AC23)


relu = rule(relu_forward, relu_backward)


def relu_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Derivative of relu: 1 for z > 0, else 0."""
    require_floating("relu_prime", z)
    return jnp.where(z > 0, jnp.ones_like(z), 0.0)  # (AC23)


def relu_second(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Second derivative of relu: 0, also at the kink."""
    require_floating("relu_second", z)
    return jnp.zeros_like(z)  # (AC24)


def leaky_relu_forward(
    z: Float[Array, "*shape"], *, slope: float = 0.01
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Leaky rectified linear unit.  Slope 1 at the kink 0.

    Residual: where z ≥ 0, one byte per unit, right for every slope (the output tells the side only if slope > 0).

    Args:
      z: an array of any shape.
      slope: the derivative for z < 0, any number; 0 gives relu, but for the slope at the kink.

    Raises:
      TypeError: if z is not of a floating-point dtype.
    """
    require_floating("leaky_relu", z)
    return jnp.where(z >= 0, z, slope * z), z >= 0  # (AC25)


def leaky_relu_backward(
    residuals: Bool[Array, "*shape"], a_bar: Float[Array, "*shape"], *, slope: float = 0.01
) -> tuple[Float[Array, "*shape"]]:
    """Cotangent of z: a_bar, times `slope` where z < 0."""
    return (jnp.where(residuals, a_bar, slope * a_bar),)  # (AC26)


leaky_relu = rule(leaky_relu_forward, leaky_relu_backward)


def leaky_relu_prime(z: Float[Array, "*shape"], *, slope: float = 0.01) -> Float[Array, "*shape"]:
    """Derivative of leaky relu: 1 for z ≥ 0, `slope` below."""
    require_floating("leaky_relu_prime", z)
    return jnp.where(z >= 0, jnp.ones_like(z), slope)  # (AC26)


def leaky_relu_second(z: Float[Array, "*shape"], *, slope: float = 0.01) -> Float[Array, "*shape"]:
    """Second derivative of leaky relu: 0, also at the kink."""
    require_floating("leaky_relu_second", z)
    return jnp.zeros_like(z)  # (AC27)


def softmax_forward(z: Float[Array, "*batch n"]) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
    """Softmax over the last axis: positive numbers with sum 1.  Residual: the output.

    Raises:
      TypeError: if z is not of a floating-point dtype.
      ValueError: if z is a scalar, or its last axis is empty.
    """
    _require_entries("softmax", z)
    e = jnp.exp(z - z.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)  # (AC28)
    return p, p


def softmax_backward(
    residuals: Float[Array, "*batch n"], p_bar: Float[Array, "*batch n"]
) -> tuple[Float[Array, "*batch n"]]:
    """Cotangent of z: the Jacobian diag(p) - p pᵀ applied, without forming it."""
    p = residuals
    return (p * (p_bar - (p * p_bar).sum(-1, keepdims=True)),)  # (AC29)


softmax = rule(softmax_forward, softmax_backward)


def log_softmax_forward(z: Float[Array, "*batch n"]) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
    """Logarithm of the softmax over the last axis, also right where the softmax rounds to 0.  Residual: the output.

    Raises:
      TypeError: if z is not of a floating-point dtype.
      ValueError: if z is a scalar, or its last axis is empty.
    """
    _require_entries("log_softmax", z)
    shifted = z - z.max(-1, keepdims=True)
    log_p = shifted - jnp.log(jnp.exp(shifted).sum(-1, keepdims=True))  # (AC30)
    return log_p, log_p


def log_softmax_backward(
    residuals: Float[Array, "*batch n"], l_bar: Float[Array, "*batch n"]
) -> tuple[Float[Array, "*batch n"]]:
    """Cotangent of z: the Jacobian I - 1 pᵀ, transposed and applied, without forming it."""
    log_p = residuals
    return (l_bar - jnp.exp(log_p) * l_bar.sum(-1, keepdims=True),)  # (AC31)


log_softmax = rule(log_softmax_forward, log_softmax_backward)


def _exp_minus_abs(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """e^-|z|, which cannot overflow; cut at 0 as in its callers, so that autodiff takes one side throughout."""
    return jnp.exp(jnp.where(z < 0, z, -z))


def _require_entries(name: str, z: Float[Array, "..."]) -> None:
    require_floating(name, z)
    if jnp.ndim(z) == 0 or jnp.shape(z)[-1] == 0:
        raise ValueError(f"{name}: z has shape {jnp.shape(z)}, wanted a last axis with at least one entry")
