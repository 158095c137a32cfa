"""Scaled dot-product attention with its three projections."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, keep, normals


def attend(q, k, v):
    """For one sequence (time, features), or a batch of them."""
    s = named(q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5, "s")
    p = named(jax.nn.softmax(s), "p")
    return named(p @ v, "o")


def loss(w_q, w_k, w_v, x, t, *, wrapped=keep):
    """`wrapped` is applied to `attend`: nothing, or jax.vmap."""
    q, k, v = named(x @ w_q, "q"), named(x @ w_k, "k"), named(x @ w_v, "v")
    return 0.5 * jnp.sum((wrapped(attend)(q, k, v) - t) ** 2) / x.shape[0]


def turn(a):
    return jnp.swapaxes(a, 1, 2)


def softmax_bar(p, p_bar):
    return p * (p_bar - jnp.sum(p * p_bar, -1, keepdims=True))


def hand(
    w_q,
    w_k,
    w_v,
    x,
    t,
    *,
    s_bar_of=softmax_bar,
    root_of=lambda time, features: features,  # in the backward pass
    turned=turn,  # p in v's delta
    k_reads=lambda q, k: q,
):
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    p = jax.nn.softmax(q @ turn(k) / q.shape[2] ** 0.5)
    o_bar = (p @ v - t) / x.shape[0]
    p_bar = o_bar @ turn(v)
    v_bar = turned(p) @ o_bar
    s_bar = s_bar_of(p, p_bar)
    scale = root_of(*q.shape[1:]) ** -0.5
    q_bar = scale * s_bar @ k
    k_bar = scale * turn(s_bar) @ k_reads(q, k)

    def outer(a, bar):
        return jnp.einsum("nti,ntj->ij", a, bar)

    x_bar = q_bar @ w_q.T + k_bar @ w_k.T + v_bar @ w_v.T
    bars = (outer(x, q_bar), outer(x, k_bar), outer(x, v_bar), x_bar, -o_bar)
    return bars, {"o": o_bar, "p": p_bar, "v": v_bar, "s": s_bar, "k": k_bar, "q": q_bar}


def sample(key, batch=2, time=3, features=4):
    *projections, x, t = normals(key, (7, features), (7, features), (7, 5), (batch, time, 7), (batch, time, 5))
    return *(w / 7**0.5 for w in projections), x, t


def as_long_as_wide(key):
    return sample(key, time=4)


def saturated(key, factor):
    """The scores grow with the square of the factor."""
    w_q, w_k, w_v, x, t = sample(key)
    return w_q, w_k, w_v, factor * x, t


def other_lengths(key, *, batch, time):
    return sample(key, batch, time)


def divided(p, p_bar):
    """p_bar drawn out of the bracket, so that it is divided by: 0/0 where it is 0."""
    return p * p_bar * (1 - jnp.sum(p * p_bar, -1, keepdims=True) / p_bar)


def _case(name, hand, wrong=(), mistake="", sample=sample, sampler=None):
    return Case(f"attention/{name}", loss, hand, sample, wrong, mistake, sampler)


vmapped_loss = partial(loss, wrapped=jax.vmap)
no_row_sum = partial(hand, s_bar_of=lambda p, p_bar: p * p_bar)

CASES = (
    _case("no row sum", no_row_sum, ("s",), "the softmax's term Σ p p_bar is missing"),
    Case(
        "attention under vmap/no row sum",
        vmapped_loss,
        no_row_sum,
        sample,
        ("s",),
        "the softmax's term Σ p p_bar is missing",
    ),
    _case(
        "sum over the queries",
        partial(hand, s_bar_of=lambda p, p_bar: p * (p_bar - jnp.sum(p * p_bar, 1, keepdims=True))),
        ("s",),
        "the softmax's term Σ p p_bar is summed over the queries, not over the keys",
    ),
    _case(
        "√time for √features",
        partial(hand, root_of=lambda time, features: time),
        ("k", "q"),
        "1/√time for 1/√features in the backward pass; in the sample both are 4",
        as_long_as_wide,
        other_lengths,
    ),
    _case(
        "no root",
        partial(hand, root_of=lambda time, features: 1),
        ("k", "q"),
        "the factor 1/√features is missing in the backward pass",
    ),
    _case("p not transposed", partial(hand, turned=keep), ("v",), "p for its transpose in v's delta"),
    _case("k reads k for q", partial(hand, k_reads=lambda q, k: k), ("k",), "k for q in k's delta"),
    _case(
        "divided by the delta",
        partial(hand, s_bar_of=divided),
        ("s",),
        "the formula divides by p's delta, which is 0/0 where that is 0",
    ),
    _case("right", hand),
    _case("right, as long as wide", hand, sample=as_long_as_wide),
    _case("right, x times 5", hand, sample=partial(saturated, factor=5)),
    _case("right, x times 30", hand, sample=partial(saturated, factor=30)),
    Case("attention under vmap/right", vmapped_loss, hand, sample),
)
