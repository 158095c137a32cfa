"""Two residual blocks of tanh units, with dropout in the second."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, affine, keep, normals

KEPT = 0.8


def loss(w1, b1, w2, b2, x, mask, t, *, wrapped=keep):
    """`wrapped` is applied to the second block: nothing, or jax.jit."""

    def second(h1):
        z2 = named(affine(h1, w2, b2), "z2")
        return named(h1 + jnp.where(mask, jnp.tanh(z2) / KEPT, 0.0), "h2")

    z1 = named(affine(x, w1, b1), "z1")
    h1 = named(x + jnp.tanh(z1), "h1")
    return 0.5 * jnp.sum((wrapped(second)(h1) - t) ** 2) / x.shape[0]


def hand(w1, b1, w2, b2, x, mask, t, *, skip=1.0, kept=KEPT, dropped=0.0):
    a1 = jnp.tanh(affine(x, w1, b1))
    h1 = x + a1
    a2 = jnp.tanh(affine(h1, w2, b2))
    h2_bar = (h1 + jnp.where(mask, a2 / KEPT, 0.0) - t) / x.shape[0]
    z2_bar = jnp.where(mask, 1 / kept, dropped) * h2_bar * (1 - a2**2)
    h1_bar = skip * h2_bar + z2_bar @ w2.T
    z1_bar = h1_bar * (1 - a1**2)
    x_bar = h1_bar + z1_bar @ w1.T
    bars = (x.T @ z1_bar, jnp.sum(z1_bar, 0), h1.T @ z2_bar, jnp.sum(z2_bar, 0), x_bar, None, -h2_bar)
    return bars, {"h2": h2_bar, "z2": z2_bar, "h1": h1_bar, "z1": z1_bar}


def sample(key):
    w1, b1, w2, b2, x, t = normals(key, (3, 3), (3,), (3, 3), (3,), (7, 3), (7, 3))
    return w1, b1, w2, b2, x, jax.random.bernoulli(jax.random.fold_in(key, 1), KEPT, (7, 3)), t


jitted_loss = partial(loss, wrapped=jax.jit)
no_skip = partial(hand, skip=0.0)

CASES = (
    Case(
        "residual/no skip",
        loss,
        no_skip,
        sample,
        ("h1",),
        "the skip connection of the second block passes nothing back",
    ),
    Case(
        "residual/no skip, under jit",
        jitted_loss,
        no_skip,
        sample,
        ("h1",),
        "the skip connection of the second block, a function under jax.jit, passes nothing back",
    ),
    Case(
        "residual/dropout not rescaled",
        loss,
        partial(hand, kept=1.0),
        sample,
        ("z2",),
        "the units that were kept are scaled by 1/0.8 on the way forward and not on the way back",
    ),
    Case(
        "residual/dropout ignored",
        loss,
        partial(hand, dropped=1 / KEPT),
        sample,
        ("z2",),
        "units that were dropped get a gradient",
    ),
    Case("residual/right", loss, hand, sample),
    Case("residual/right, under jit", jitted_loss, hand, sample),
)
