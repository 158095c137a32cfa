"""One hidden layer, whose activation has a kink or a formula that is easy to confuse with another."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, affine, normals

LEAK = 0.01


def loss(w, b, v, x, t, *, act):
    z = named(affine(x, w, b), "z")
    a = named(act(z), "a")
    return 0.5 * jnp.sum((a @ v - t) ** 2) / x.shape[0]


def hand(w, b, v, x, t, *, act, slope):
    z = affine(x, w, b)
    a = act(z)
    y_bar = (a @ v - t) / x.shape[0]
    a_bar = y_bar @ v.T
    z_bar = a_bar * slope(z)
    return (x.T @ z_bar, jnp.sum(z_bar, 0), a.T @ y_bar, z_bar @ w.T, -y_bar), {"a": a_bar, "z": z_bar}


def step(where):
    """1 where `where(z)`, else 0."""
    return lambda z: where(z).astype(z.dtype)


def leaky(leak):
    return lambda z: jnp.where(z > 0, 1.0, leak)


def elu_slope(z):
    return jnp.where(z > 0, 1.0, jnp.exp(jnp.minimum(z, 0.0)))


def gelu_slope(z):
    """Of z Φ(z)."""
    return jax.scipy.stats.norm.cdf(z) + z * jax.scipy.stats.norm.pdf(z)


def tanh_gelu_slope(z):
    """Of the usual approximation of z Φ(z)."""
    tanh = jnp.tanh((2 / jnp.pi) ** 0.5 * (z + 0.044715 * z**3))
    return 0.5 * (1 + tanh) + 0.5 * z * (1 - tanh**2) * (2 / jnp.pi) ** 0.5 * (1 + 3 * 0.044715 * z**2)


def swish_slope(z):
    s = jax.nn.sigmoid(z)
    return s + z * s * (1 - s)


def sample(key):
    return normals(key, (3, 4), (4,), (4, 2), (5, 3), (5, 2))


def at_zero(key):
    """Without a bias, and with rows of zeros in x: z is 0 there, exactly."""
    w, b, v, x, t = sample(key)
    return w, jnp.zeros_like(b), v, x.at[1:3].set(0.0), t


def _case(name, act, slope, sample=sample, wrong=(), mistake=""):
    return Case(name, partial(loss, act=act), partial(hand, act=act, slope=slope), sample, wrong, mistake)


_WRONG = (
    _case(
        "relu/not in the backward pass",
        jax.nn.relu,
        jnp.ones_like,
        wrong=("z",),
        mistake="the slope is 1 everywhere",
    ),
    _case(
        "relu6/no upper end",
        jax.nn.relu6,
        step(lambda z: z > 0),
        wrong=("z",),
        mistake="the slope is 1 above 6, where the sample does not reach",
    ),
    _case(
        "leaky relu/another leak",
        partial(jax.nn.leaky_relu, negative_slope=LEAK),
        leaky(0.1),
        wrong=("z",),
        mistake="the slope of the negative side is 0.1 for 0.01",
    ),
    _case(
        "elu/slope of the relu",
        jax.nn.elu,
        step(lambda z: z > 0),
        wrong=("z",),
        mistake="the slope of the negative side is 0 for exp(z)",
    ),
    _case(
        "gelu/slope of the exact one",
        partial(jax.nn.gelu, approximate=True),
        gelu_slope,
        wrong=("z",),
        mistake="forward the approximation by tanh, backward the slope of z Φ(z)",
    ),
    _case(
        "swish/one factor only",
        jax.nn.silu,
        jax.nn.sigmoid,
        wrong=("z",),
        mistake="the product rule's second term z σ'(z) is missing",
    ),
)

_RIGHT = (
    _case("relu/right", jax.nn.relu, step(lambda z: z > 0)),
    _case("relu/right at 0, JAX's convention", jax.nn.relu, step(lambda z: z > 0), at_zero),
    _case("relu/right at 0, slope 1 there", jax.nn.relu, step(lambda z: z >= 0), at_zero),
    _case("absolute value/right at 0, slope 1 there", jnp.abs, lambda z: jnp.where(z >= 0, 1.0, -1.0), at_zero),
    _case("absolute value/right at 0, slope 0 there", jnp.abs, jnp.sign, at_zero),
    _case("relu6/right", jax.nn.relu6, step(lambda z: (z > 0) & (z < 6))),
    _case("leaky relu/right", partial(jax.nn.leaky_relu, negative_slope=LEAK), leaky(LEAK)),
    _case("elu/right", jax.nn.elu, elu_slope),
    _case("gelu/right", partial(jax.nn.gelu, approximate=True), tanh_gelu_slope),
    _case("swish/right", jax.nn.silu, swish_slope),
)

CASES = _WRONG + _RIGHT
