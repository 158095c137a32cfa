"""One layer and a loss whose gradient is easy to get wrong."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, affine, normals, times

TEMPERATURE = 2.5
KNEE = 1.5
FOCUS = 2.0


def loss(w, b, x, t, *, cost):
    """`cost(z, t)` is summed over the batch."""
    z = named(affine(x, w, b), "z")
    return cost(z, t) / x.shape[0]


def hand(w, b, x, t, *, bars_of):
    """`bars_of(z, t)`: the gradients of the cost for z and for t."""
    z_bar, t_bar = (bar / x.shape[0] for bar in bars_of(affine(x, w, b), t))
    return (x.T @ z_bar, jnp.sum(z_bar, 0), z_bar @ w.T, t_bar), {"z": z_bar}


# Binary cross-entropy, of the logits z


def binary(z, t):
    return jnp.sum(jax.nn.softplus(z) - t * z)


def binary_bars(z, t):
    return jax.nn.sigmoid(z) - t, -z


def clipped_binary_bars(z, t):
    z_bar, t_bar = binary_bars(z, t)
    return jnp.where(jnp.abs(z) > 16, 0.0, z_bar), t_bar


# Cross-entropy of a softmax with temperature


def softened(z, t):
    return -jnp.sum(t * jax.nn.log_softmax(z / TEMPERATURE))


def softened_bars(z, t, temperature=TEMPERATURE):
    log_p = jax.nn.log_softmax(z / TEMPERATURE)
    return (jnp.exp(log_p) * jnp.sum(t, 1, keepdims=True) - t) / temperature, -log_p


def safe_bars(z, t):
    """Through p_bar = -t / p, with 1e-12 added to p against a division by zero."""
    log_p = jax.nn.log_softmax(z / TEMPERATURE)
    p = jnp.exp(log_p)
    p_bar = -t / (p + 1e-12)
    return p * (p_bar - jnp.sum(p * p_bar, 1, keepdims=True)) / TEMPERATURE, -log_p


# Huber's loss


def huber(z, t):
    size = jnp.abs(z - t)
    return jnp.sum(jnp.where(size <= KNEE, 0.5 * size**2, KNEE * (size - 0.5 * KNEE)))


def huber_bars(z, t, outside=lambda error: KNEE * jnp.sign(error)):
    error = z - t
    z_bar = jnp.where(jnp.abs(error) <= KNEE, error, outside(error))
    return z_bar, -z_bar


# The squared error of sigmoids


def squared(z, t):
    return 0.5 * jnp.sum((jax.nn.sigmoid(z) - t) ** 2)


def squared_bars(z, t, slope=lambda a: a * (1 - a)):
    a = jax.nn.sigmoid(z)
    return (a - t) * slope(a), t - a


# The focal loss -Σ t (1 - p)² log p, with p = σ(z)


def focal(z, t):
    return -jnp.sum(t * jax.nn.sigmoid(-z) ** FOCUS * jax.nn.log_sigmoid(z))


def focal_bars(z, t, modulation=1.0):
    """`modulation`: the share of the derivative of (1 - p)²."""
    q, log_p = jax.nn.sigmoid(-z), jax.nn.log_sigmoid(z)
    z_bar = -t * q**FOCUS * (q - modulation * FOCUS * (1 - q) * log_p)
    return z_bar, -(q**FOCUS) * log_p


# A product over the outputs, against a target


def product(z, t):
    return 0.5 * jnp.sum((jnp.prod(z, 1) - t[:, 0]) ** 2)


def others(z):
    """For each entry, the product of the other ones in its row."""
    n = z.shape[1]
    return jnp.stack([jnp.prod(jnp.delete(z, i, 1), 1) for i in range(n)], 1)


def product_bars(z, t, rest=others):
    error = jnp.prod(z, 1) - t[:, 0]
    return error[:, None] * rest(z), jnp.zeros_like(t).at[:, 0].set(-error)


def sample(key):
    """Logits within ±16, targets that are probabilities."""
    w, b, x, t = normals(key, (3, 4), (4,), (5, 3), (5, 4))
    return w, b, x, jax.nn.softmax(t)


def far(key):
    """Errors on both sides of Huber's knee."""
    w, b, x, t = normals(key, (3, 4), (4,), (5, 3), (5, 4))
    return w, b, x, 2 * t


near = times(0.1, far)


def _case(name, cost, bars_of, sample=sample, wrong=(), mistake=""):
    return Case(name, partial(loss, cost=cost), partial(hand, bars_of=bars_of), sample, wrong, mistake)


_WRONG = (
    _case(
        "binary cross-entropy/clipped",
        binary,
        clipped_binary_bars,
        wrong=("z",),
        mistake="the probability is clipped, so that the gradient is 0 for |z| > 16, where the sample does not reach",
    ),
    _case(
        "softmax with temperature/no 1/temperature",
        softened,
        partial(softened_bars, temperature=1.0),
        wrong=("z",),
        mistake="the factor 1/temperature is missing",
    ),
    _case(
        "softmax with temperature/1e-12 for safety",
        softened,
        safe_bars,
        wrong=("z",),
        mistake="t / (p + 1e-12) for t / p, which is wrong where p is small, as nowhere in the sample",
    ),
    _case(
        "huber/slope 1 outside",
        huber,
        partial(huber_bars, outside=jnp.sign),
        far,
        ("z", "t"),
        "the slope of the linear parts is ±1 for ±1.5",
    ),
    _case(
        "huber/quadratic everywhere",
        huber,
        partial(huber_bars, outside=lambda error: error),
        near,
        ("z", "t"),
        "the linear parts are forgotten, which the sample does not reach",
    ),
    _case(
        "squared error/delta of the cross-entropy",
        squared,
        partial(squared_bars, slope=jnp.ones_like),
        wrong=("z",),
        mistake="a - t, the delta of the cross-entropy: σ' is missing",
    ),
    _case(
        "focal loss/modulation as a constant",
        focal,
        partial(focal_bars, modulation=0.0),
        wrong=("z",),
        mistake="the derivative of the factor (1 - p)² is missing",
    ),
    _case(
        "product/divided by the factor",
        product,
        partial(product_bars, rest=lambda z: jnp.prod(z, 1, keepdims=True) / z),
        wrong=("z",),
        mistake="the product of the others as the whole product divided by z, which is 0/0 at 0",
    ),
)

_RIGHT = (
    _case("binary cross-entropy/right", binary, binary_bars),
    _case("softmax with temperature/right", softened, softened_bars),
    _case("huber/right", huber, huber_bars, far),
    _case("squared error/right", squared, squared_bars),
    _case("focal loss/right", focal, focal_bars),
    _case("product/right", product, product_bars),
)

CASES = _WRONG + _RIGHT
