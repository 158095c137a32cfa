"""Weights that are used twice: a tied autoencoder, and one layer applied two times."""

from functools import partial

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, affine, normals


def autoencoder_loss(w, b, c, x):
    z = named(affine(x, w, b), "z")
    y = named(affine(jnp.tanh(z), w.T, c), "y")
    return 0.5 * jnp.sum((y - x) ** 2) / x.shape[0]


def autoencoder_hand(w, b, c, x, *, encoder=1.0, decoder=1.0, target=1.0):
    a = jnp.tanh(affine(x, w, b))
    y_bar = (affine(a, w.T, c) - x) / x.shape[0]
    z_bar = (y_bar @ w) * (1 - a**2)
    w_bar = encoder * (x.T @ z_bar) + decoder * (y_bar.T @ a)
    return (w_bar, jnp.sum(z_bar, 0), jnp.sum(y_bar, 0), z_bar @ w.T - target * y_bar), {"y": y_bar, "z": z_bar}


def autoencoder_sample(key):
    return normals(key, (5, 3), (3,), (5,), (7, 5))


def twice_loss(w, b, x, t):
    z1 = named(affine(x, w, b), "z1")
    z2 = named(affine(jnp.tanh(z1), w, b), "z2")
    return 0.5 * jnp.sum((jnp.tanh(z2) - t) ** 2) / x.shape[0]


def twice_hand(w, b, x, t, *, first=1.0):
    a1 = jnp.tanh(affine(x, w, b))
    a2 = jnp.tanh(affine(a1, w, b))
    a2_bar = (a2 - t) / x.shape[0]
    z2_bar = a2_bar * (1 - a2**2)
    z1_bar = (z2_bar @ w.T) * (1 - a1**2)
    w_bar = a1.T @ z2_bar + first * (x.T @ z1_bar)
    b_bar = jnp.sum(z2_bar, 0) + first * jnp.sum(z1_bar, 0)
    return (w_bar, b_bar, z1_bar @ w.T, -a2_bar), {"z2": z2_bar, "z1": z1_bar}


def twice_sample(key):
    return normals(key, (3, 3), (3,), (5, 3), (5, 3))


def _tied(name, hand, wrong=(), mistake=""):
    return Case(f"tied/{name}", autoencoder_loss, hand, autoencoder_sample, wrong, mistake)


CASES = (
    _tied(
        "encoder's share missing",
        partial(autoencoder_hand, encoder=0.0),
        ("w",),
        "w's gradient is that of its use in the decoder only",
    ),
    _tied(
        "decoder's share missing",
        partial(autoencoder_hand, decoder=0.0),
        ("w",),
        "w's gradient is that of its use in the encoder only",
    ),
    _tied(
        "x only as input",
        partial(autoencoder_hand, target=0.0),
        ("x",),
        "x is input and target, and its gradient is that of the input only",
    ),
    _tied("right", autoencoder_hand),
    Case(
        "shared layer/last use only",
        twice_loss,
        partial(twice_hand, first=0.0),
        twice_sample,
        ("w", "b"),
        "the layer is applied twice, and its gradients are those of the last use only",
    ),
    Case("shared layer/right", twice_loss, twice_hand, twice_sample),
)
