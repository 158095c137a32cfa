"""An LSTM with peepholes: one step, unrolled in Python (names z0, c0, o0, h0, z1, ...) and in a scan (z, c, o, h)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, normals, times

STEPS = 5


class Params(NamedTuple):
    """Gates in the order input, forget, cell, output; `p` holds the peepholes of input, forget and output gate."""

    w: Any
    u: Any
    b: Any
    p: Any


class Step(NamedTuple):
    """What the backward pass needs of one step."""

    h_before: Any
    c_before: Any
    h: Any
    c: Any
    i: Any
    f: Any
    g: Any
    o: Any


def step(params, h, c, x, at=""):
    """`z` holds the weighted inputs of input gate, forget gate and cell, `o` that of the output gate."""
    w, u, b, p = params
    z_i, z_f, z_g, z_o = jnp.split(x @ w + h @ u + b[None], 4, axis=1)
    z = named(jnp.concatenate([z_i + p[:1] * c, z_f + p[1:2] * c, z_g], 1), f"z{at}")
    z_i, z_f, z_g = jnp.split(z, 3, axis=1)
    i, f, g = jax.nn.sigmoid(z_i), jax.nn.sigmoid(z_f), jnp.tanh(z_g)
    c_after = named(f * c + i * g, f"c{at}")
    o = jax.nn.sigmoid(named(z_o + p[2:] * c_after, f"o{at}"))
    h_after = named(o * jnp.tanh(c_after), f"h{at}")
    return Step(h, c, h_after, c_after, i, f, g, o)


def cost(h, t):
    """Of all steps: h and t are (time, batch, units)."""
    return 0.5 * jnp.sum((h - t) ** 2) / t.shape[1]


def unrolled_loss(params, h_init, c_init, x, t):
    h, c, outputs = h_init, c_init, []
    for at in range(x.shape[0]):
        done = step(params, h, c, x[at], str(at))
        h, c = done.h, done.c
        outputs.append(h)
    return cost(jnp.stack(outputs), t)


def scanned_loss(params, h_init, c_init, x, t):
    def body(carry, x_now):
        h, c = carry
        done = step(params, h, c, x_now)
        return (done.h, done.c), done.h

    return cost(jax.lax.scan(body, (h_init, c_init), x)[1], t)


def by_step(deltas):
    return {f"{name}{at}": delta for name, of_steps in deltas.items() for at, delta in enumerate(of_steps)}


def stacked(deltas):
    return {name: jnp.stack(of_steps) for name, of_steps in deltas.items()}


def tanh_slope(c):
    return 1 - jnp.tanh(c) ** 2


def c_before(done):
    return done.c_before


def h_before(done):
    return done.h_before


def hand(
    params,
    h_init,
    c_init,
    x,
    t,
    *,
    named_by=by_step,
    gates=(0, 1, 2),  # the order of input, forget and cell in z's delta
    forget_reads=c_before,
    u_reads=h_before,
    output_peephole=1.0,  # in c's delta
    gate_peepholes=1.0,  # in the delta of the cell before
    p_output=1.0,
    recurrent=lambda at: 1.0,  # what comes back from step `at` to the h before it
    carried=1.0,  # from cell to cell
    c_slope=tanh_slope,
    initial=1.0,
):
    w, u, _, p = params
    steps, h, c = [], h_init, c_init
    for at in range(x.shape[0]):
        steps.append(step(params, h, c, x[at]))
        h, c = steps[-1].h, steps[-1].c
    z_bars, c_bars, o_bars, h_bars, x_bars = [], [], [], [], []
    w_bar, u_bar, b_bar, p_bar = (jnp.zeros_like(leaf) for leaf in params)
    h_later, c_later = jnp.zeros_like(h_init), jnp.zeros_like(c_init)  # from the step after
    for at, done in reversed(list(enumerate(steps))):
        _, before, h, c, i, f, g, o = done
        h_bar = (h - t[at]) / t.shape[1] + h_later
        o_bar = h_bar * jnp.tanh(c) * o * (1 - o)
        c_bar = h_bar * o * c_slope(c) + output_peephole * p[2:] * o_bar + c_later
        blocks = (
            c_bar * g * i * (1 - i),
            c_bar * forget_reads(done) * f * (1 - f),
            c_bar * i * (1 - g**2),
        )
        z_bar = jnp.concatenate([blocks[gate] for gate in gates], 1)
        i_bar, f_bar, _ = jnp.split(z_bar, 3, axis=1)
        all_bar = jnp.concatenate([z_bar, o_bar], 1)
        c_later = carried * c_bar * f + gate_peepholes * (p[:1] * i_bar + p[1:2] * f_bar)
        h_later = recurrent(at) * (all_bar @ u.T)
        w_bar = w_bar + x[at].T @ all_bar
        u_bar = u_bar + u_reads(done).T @ all_bar
        b_bar = b_bar + jnp.sum(all_bar, 0)
        peeped = (i_bar * before, f_bar * before, p_output * o_bar * c)
        p_bar = p_bar + jnp.stack([jnp.sum(a, 0) for a in peeped])
        of_step = (z_bar, c_bar, o_bar, h_bar, all_bar @ w.T)
        for bars, bar in zip((z_bars, c_bars, o_bars, h_bars, x_bars), of_step, strict=True):
            bars.insert(0, bar)
    t_bar = (t - jnp.stack([done.h for done in steps])) / t.shape[1]
    bars = (Params(w_bar, u_bar, b_bar, p_bar), initial * h_later, initial * c_later, jnp.stack(x_bars), t_bar)
    return bars, named_by({"h": h_bars, "o": o_bars, "c": c_bars, "z": z_bars})


def sample(key):
    n, d, h = 2, 3, 4
    w, u, b, p, *rest = normals(
        key, (d, 4 * h), (h, 4 * h), (4 * h,), (3, h), (n, h), (n, h), (STEPS, n, d), (STEPS, n, h)
    )
    return Params(w / d**0.5, u / h**0.5, b, p), *rest


def _at_steps(name, steps=range(STEPS)):
    return tuple(f"{name}{at}" for at in reversed(steps))


def _unrolled(name, hand, wrong=(), mistake="", sample=sample):
    return Case(f"lstm/{name}", unrolled_loss, hand, sample, wrong, mistake)


def _scanned(name, hand, wrong=(), mistake=""):
    return Case(f"lstm in a scan/{name}", scanned_loss, hand, sample, wrong, mistake)


hand_stacked = partial(hand, named_by=stacked)

_WRONG = (
    _unrolled(
        "input and forget gates swapped",
        partial(hand, gates=(1, 0, 2)),
        _at_steps("z"),
        "the blocks of the input and the forget gate are swapped in z's delta",
    ),
    _unrolled(
        "forget gate reads c_t for c_{t-1}",
        partial(hand, forget_reads=lambda done: done.c),
        _at_steps("z"),
        "c_t for c_{t-1} in the forget gate's delta",
    ),
    _unrolled(
        "u reads h_t for h_{t-1}",
        partial(hand, u_reads=lambda done: done.h),
        ("params.u",),
        "h_t for h_{t-1} in the gradient of the recurrent weights",
    ),
    _unrolled(
        "no output peephole in c",
        partial(hand, output_peephole=0.0),
        _at_steps("c"),
        "the way from c_t through the output gate's peephole is missing",
    ),
    _unrolled(
        "no peepholes to the cell before",
        partial(hand, gate_peepholes=0.0),
        (*_at_steps("c", range(STEPS - 1)), "c_init"),
        "the way from c_{t-1} through the input and forget gates' peepholes is missing",
    ),
    _unrolled(
        "no gradient of the output peephole",
        partial(hand, p_output=0.0),
        ("params.p",),
        "the gradient of the output gate's peephole weights is 0",
    ),
    _unrolled(
        "recurrence dropped at one step",
        partial(hand, recurrent=lambda at: float(at != 3)),
        ("h2",),
        "what comes back from step 3 is missing in the delta of h at step 2",
    ),
    _unrolled(
        "1 - c² for 1 - tanh(c)²",
        partial(hand, c_slope=lambda c: 1 - c**2),
        _at_steps("c"),
        "tanh' of the cell taken as 1 - c²",
    ),
    _unrolled(
        "cell not carried",
        partial(hand, carried=0.0),
        (*_at_steps("c", range(STEPS - 1)), "c_init"),
        "the way from c_t to c_{t-1} through the forget gate is missing",
    ),
    _unrolled(
        "initial state forgotten",
        partial(hand, initial=0.0),
        ("h_init", "c_init"),
        "the gradients of the initial states are 0",
    ),
    _scanned(
        "forget gate reads c_t for c_{t-1}",
        partial(hand_stacked, forget_reads=lambda done: done.c),
        ("z",),
        "c_t for c_{t-1} in the forget gate's delta",
    ),
    _scanned(
        "no output peephole in c",
        partial(hand_stacked, output_peephole=0.0),
        ("c",),
        "the way from c_t through the output gate's peephole is missing",
    ),
    _scanned(
        "recurrence dropped at one step",
        partial(hand_stacked, recurrent=lambda at: float(at != 3)),
        ("h",),
        "what comes back from step 3 is missing in the delta of h at step 2",
    ),
)

_RIGHT = (
    _unrolled("right", hand),
    _unrolled("right, times 5", hand, sample=times(5.0, sample)),
    _scanned("right", hand_stacked),
)

CASES = _WRONG + _RIGHT
