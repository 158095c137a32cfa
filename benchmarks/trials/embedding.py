"""Embeddings of tokens and of their positions, and a layer on top."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, normals

VOCABULARY = 11


def loss(table, places, w, ids, t):
    e = named(table[ids] + places[None], "e")
    y = named(e @ w, "y")
    return 0.5 * jnp.sum((jnp.tanh(y) - t) ** 2) / ids.shape[0]


def add(zeros, ids, e_bar):
    return zeros.at[ids].add(e_bar)


def overwrite(zeros, ids, e_bar):
    return zeros.at[ids].set(e_bar)


def over_batch(bar):
    return jnp.sum(bar, 0)


def hand(table, places, w, ids, t, *, put=add, places_sum=over_batch):
    e = table[ids] + places[None]
    a = jnp.tanh(e @ w)
    error = (a - t) / ids.shape[0]
    y_bar = error * (1 - a**2)
    e_bar = y_bar @ w.T
    w_bar = jnp.einsum("nti,nto->io", e, y_bar)
    return (put(jnp.zeros_like(table), ids, e_bar), places_sum(e_bar), w_bar, None, -error), {"y": y_bar, "e": e_bar}


def floats(key, batch):
    table, places, w, t = normals(key, (VOCABULARY, 4), (3, 4), (4, 5), (batch, 3, 5))
    return (table, places, w), t


def distinct(key):
    """Every token once."""
    weights, t = floats(key, 2)
    return *weights, jnp.array([[4, 1, 9], [0, 10, 2]]), t


def repeated(key):
    weights, t = floats(key, 2)
    return *weights, jnp.array([[4, 1, 4], [1, 10, 4]]), t


def other_batches(key, *, batch):
    weights, t = floats(key, batch)
    return *weights, jax.random.randint(jax.random.fold_in(key, 1), (batch, 3), 0, VOCABULARY), t


def _case(name, hand, sample, wrong=(), mistake="", sampler=None):
    return Case(f"embedding/{name}", loss, hand, sample, wrong, mistake, sampler)


CASES = (
    _case(
        "overwritten",
        partial(hand, put=overwrite),
        repeated,
        ("table",),
        "a token that occurs several times gets the gradient of one occurrence, not the sum",
    ),
    _case(
        "overwritten, no token twice",
        partial(hand, put=overwrite),
        distinct,
        ("table",),
        "a token that occurs several times gets the gradient of one occurrence; in the sample none does",
        sampler=other_batches,
    ),
    _case(
        "positions averaged",
        partial(hand, places_sum=partial(jnp.mean, axis=0)),
        repeated,
        ("places",),
        "mean over the batch for the sum",
    ),
    _case("right", hand, repeated),
    _case("right, no token twice", hand, distinct),
)
