"""A gated recurrent unit in a scan, its derivation in a Python loop."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, normals


class Params(NamedTuple):
    """Weights of the reset and update gates, and of the candidate."""

    w_gates: Any
    u_gates: Any
    b_gates: Any
    w: Any
    u: Any
    b: Any


class Step(NamedTuple):
    """What the backward pass needs of one step: reset gate r, update gate s, candidate n."""

    before: Any
    h: Any
    r: Any
    s: Any
    n: Any


def step(params, h, x):
    gates = named(x @ params.w_gates + h @ params.u_gates + params.b_gates[None], "gates")
    r, s = jnp.split(jax.nn.sigmoid(gates), 2, axis=1)
    z = named(x @ params.w + (r * h) @ params.u + params.b[None], "z")
    n = jnp.tanh(z)
    return Step(h, named(s * h + (1 - s) * n, "h"), r, s, n)


def loss(params, h_init, x, t):
    def body(h, x_now):
        done = step(params, h, x_now)
        return done.h, done.h

    return 0.5 * jnp.sum((jax.lax.scan(body, h_init, x)[1] - t) ** 2)


def hand(
    params,
    h_init,
    x,
    t,
    *,
    candidate=lambda s: 1 - s,  # its share of h
    reset=lambda r: r,  # on the way back from the candidate to the h before
    direct=1.0,  # from h to the h before
    update_reads=lambda done: done.before - done.n,
):
    steps, h = [], h_init
    for x_now in x:
        steps.append(step(params, h, x_now))
        h = steps[-1].h
    gates_bars, z_bars, h_bars = [], [], []
    later = jnp.zeros_like(h_init)
    for done, t_now in reversed(list(zip(steps, t, strict=True))):
        before, h, r, s, n = done
        h_bar = h - t_now + later
        z_bar = h_bar * candidate(s) * (1 - n**2)
        reset_bar = z_bar @ params.u.T  # of r * h
        s_bar = h_bar * update_reads(done)
        gates_bar = jnp.concatenate([reset_bar * before * r * (1 - r), s_bar * s * (1 - s)], 1)
        later = direct * h_bar * s + reset_bar * reset(r) + gates_bar @ params.u_gates.T
        for bars, bar in ((gates_bars, gates_bar), (z_bars, z_bar), (h_bars, h_bar)):
            bars.insert(0, bar)
    before, h, r, _, _ = (jnp.stack(values) for values in zip(*steps, strict=True))
    gates_bar, z_bar, h_bar = jnp.stack(gates_bars), jnp.stack(z_bars), jnp.stack(h_bars)

    def outer(a, bar):
        return jnp.einsum("tni,tnj->ij", a, bar)

    params_bar = Params(
        outer(x, gates_bar),
        outer(before, gates_bar),
        jnp.sum(gates_bar, (0, 1)),
        outer(x, z_bar),
        outer(r * before, z_bar),
        jnp.sum(z_bar, (0, 1)),
    )
    x_bar = gates_bar @ params.w_gates.T + z_bar @ params.w.T
    return (params_bar, later, x_bar, t - h), {"h": h_bar, "z": z_bar, "gates": gates_bar}


def sample(key):
    n, d, h, time = 2, 5, 3, 4
    return (
        Params(*normals(key, (d, 2 * h), (h, 2 * h), (2 * h,), (d, h), (h, h), (h,))),
        *normals(jax.random.fold_in(key, 1), (n, h), (time, n, d), (time, n, h)),
    )


def _case(name, hand, wrong=(), mistake=""):
    return Case(f"gru in a scan/{name}", loss, hand, sample, wrong, mistake)


CASES = (
    _case("update gate for its complement", partial(hand, candidate=lambda s: s), ("z",), "s for 1 - s in z's delta"),
    _case(
        "update gate's sign",
        partial(hand, update_reads=lambda done: done.n - done.before),
        ("gates",),
        "n - h_{t-1} for h_{t-1} - n in the update gate's delta",
    ),
    _case(
        "update gate reads h_t for h_{t-1}",
        partial(hand, update_reads=lambda done: done.h - done.n),
        ("gates",),
        "h_t for h_{t-1} in the update gate's delta",
    ),
    _case(
        "reset gate missing on the way back",
        partial(hand, reset=lambda r: 1.0),
        ("h", "h_init"),
        "the factor r is missing on the way from the candidate back to h_{t-1}",
    ),
    _case(
        "no direct way back",
        partial(hand, direct=0.0),
        ("h", "h_init"),
        "the way from h_t to h_{t-1} through the update gate's mixture is missing",
    ),
    _case("right", hand),
)
