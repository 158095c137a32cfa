"""Pooling of images in windows of 2 × 3, and the maximum over windows of a sequence that overlap."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, normals

WINDOW = (2, 3)


def windows(x):
    """(batch, height, width, channels) as (batch, height / 2, width / 3, channels, 6)."""
    n, height, width, channels = x.shape
    split = x.reshape(n, height // 2, 2, width // 3, 3, channels)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(n, height // 2, width // 3, channels, 6)


def from_windows(windows):
    n, height, width, channels, _ = windows.shape
    split = windows.reshape(n, height, width, channels, *WINDOW)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * height, 3 * width, channels)


def loss(x, t, *, pool):
    y = named(pool(windows(x), -1), "y")
    return 0.5 * jnp.sum((y - t) ** 2) / x.shape[0]


def hand(x, t, *, pool, share):
    """`share(windows, y)`: the derivative of y for each entry of its window."""
    inside = windows(x)
    y = pool(inside, -1)
    y_bar = (y - t) / x.shape[0]
    return (from_windows(share(inside, y[..., None]) * y_bar[..., None]), -y_bar), {"y": y_bar}


def split_evenly(inside, y):
    """Ties share: JAX's convention."""
    ties = (inside == y).astype(y.dtype)
    return ties / jnp.sum(ties, -1, keepdims=True)


def all_to_the_first(inside, y):
    """The first of several maxima gets all: another valid subgradient."""
    return jax.nn.one_hot(jnp.argmax(inside, -1), inside.shape[-1], dtype=y.dtype)


def all_to_each(inside, y):
    return (inside == y).astype(y.dtype)


def divided_by(size):
    return lambda inside, y: jnp.full_like(inside, 1 / size)


def sample(key):
    return normals(key, (3, 4, 6, 5), (3, 2, 2, 5))


def after_relu(key):
    """About half of x is 0, so that some windows hold nothing else: six ties."""
    x, t = sample(key)
    return jnp.maximum(x - 1.0, 0.0), t


# Windows of three steps of a sequence (batch, time), one step apart


def places(time):
    return jnp.arange(time - 2)[:, None] + jnp.arange(3)[None]


def overlapping_loss(x, t):
    y = named(jnp.max(x[:, places(x.shape[1])], -1), "y")
    return 0.5 * jnp.sum((y - t) ** 2)


def overlapping_hand(x, t, *, put=lambda zeros, rows, columns, y_bar: zeros.at[rows, columns].add(y_bar)):
    inside = x[:, places(x.shape[1])]
    y_bar = jnp.max(inside, -1) - t
    first = jnp.argmax(inside, -1) + jnp.arange(t.shape[1])[None]
    rows = jnp.broadcast_to(jnp.arange(x.shape[0])[:, None], first.shape)
    return (put(jnp.zeros_like(x), rows, first, y_bar), -y_bar), {"y": y_bar}


def overlapping_sample(key):
    return normals(key, (3, 7), (3, 5))


max_loss = partial(loss, pool=jnp.max)
max_hand = partial(hand, pool=jnp.max)
mean_loss = partial(loss, pool=jnp.mean)
mean_hand = partial(hand, pool=jnp.mean)


def _max(name, share, sample=sample, wrong=(), mistake=""):
    return Case(f"max pool/{name}", max_loss, partial(max_hand, share=share), sample, wrong, mistake)


CASES = (
    _max(
        "every tie gets all",
        all_to_each,
        wrong=("x",),
        mistake="each of several maxima gets the whole gradient; the sample has no ties",
    ),
    _max(
        "every tie gets all, after a ReLU",
        all_to_each,
        after_relu,
        ("x",),
        "each of several maxima gets the whole gradient; the sample has ties at 0",
    ),
    Case(
        "mean pool/divided by one side",
        mean_loss,
        partial(mean_hand, share=divided_by(WINDOW[0])),
        sample,
        ("x",),
        "the gradient is divided by the window's height, not by its area",
    ),
    Case(
        "max pool with overlap/overwritten",
        overlapping_loss,
        partial(overlapping_hand, put=lambda zeros, rows, columns, y_bar: zeros.at[rows, columns].set(y_bar)),
        overlapping_sample,
        ("x",),
        "an entry that is the maximum of several windows gets the gradient of one of them, not the sum",
    ),
    _max("right", split_evenly),
    _max("right at ties, JAX's convention", split_evenly, after_relu),
    _max("right at ties, all to the first", all_to_the_first, after_relu),
    Case("mean pool/right", mean_loss, partial(mean_hand, share=divided_by(6)), sample),
    Case("max pool with overlap/right", overlapping_loss, overlapping_hand, overlapping_sample),
)
