"""A plain recurrent network in a scan, its derivation in a scan that runs backwards."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, normals

TIME = 3


def loss(params, h_init, x, t):
    def body(h, x_now):
        z = named(x_now @ params["w"] + h @ params["u"] + params["b"][None], "z")
        h_after = named(jnp.tanh(z), "h")
        return h_after, h_after

    _, h = jax.lax.scan(body, h_init, x)
    return 0.5 * jnp.mean(jnp.sum((h - t) ** 2, 2))


def hand(
    params,
    h_init,
    x,
    t,
    *,
    transposed=jnp.transpose,  # u, on the way back
    mean_over=lambda time, n: time * n,
    u_reads=lambda h_before, h: h_before,
    kept=lambda at: 1.0,  # what comes back to step `at` from the step after
):
    def forward(h, x_now):
        h_after = jnp.tanh(x_now @ params["w"] + h @ params["u"] + params["b"][None])
        return h_after, (h, h_after)

    def backward(later, step):
        at, h, t_now = step
        h_bar = (h - t_now) / mean_over(*t.shape[:2]) + kept(at) * later
        z_bar = h_bar * (1 - h**2)
        return z_bar @ transposed(params["u"]), (h_bar, z_bar)

    _, (h_before, h) = jax.lax.scan(forward, h_init, x)
    h_init_bar, (h_bar, z_bar) = jax.lax.scan(
        backward, jnp.zeros_like(h_init), (jnp.arange(x.shape[0]), h, t), reverse=True
    )
    params_bar = {
        "w": jnp.einsum("tni,tnj->ij", x, z_bar),
        "u": jnp.einsum("tni,tnj->ij", u_reads(h_before, h), z_bar),
        "b": jnp.sum(z_bar, (0, 1)),
    }
    t_bar = (t - h) / (t.shape[0] * t.shape[1])
    return (params_bar, h_init_bar, z_bar @ params["w"].T, t_bar), {"h": h_bar, "z": z_bar}


def sample(key, time=TIME, batch=2):
    w, u, b, *rest = normals(key, (5, 4), (4, 4), (4,), (batch, 4), (time, batch, 5), (time, batch, 4))
    return {"w": w / 5**0.5, "u": u / 2, "b": b}, *rest


def other_lengths(key, *, time, batch):
    return sample(key, time, batch)


def truncated(at):
    """Truncated backpropagation: nothing comes back across the end of a stretch of three steps."""
    return jnp.where((at + 1) % TIME == 0, 0.0, 1.0)


def _case(name, hand, wrong=(), mistake="", sampler=None):
    return Case(f"rnn in a scan/{name}", loss, hand, sample, wrong, mistake, sampler)


CASES = (
    _case(
        "u not transposed",
        partial(hand, transposed=lambda u: u),
        ("h", "h_init"),
        "the recurrent weights for their transpose, which being square they let pass",
    ),
    _case(
        "no 1/time",
        partial(hand, mean_over=lambda time, n: n),
        ("h",),
        "the loss is a mean over the steps, its delta is not divided by their number",
    ),
    _case(
        "u reads h_t for h_{t-1}",
        partial(hand, u_reads=lambda h_before, h: h),
        ("params['u']",),
        "h_t for h_{t-1} in the gradient of the recurrent weights",
    ),
    _case("one step back only", partial(hand, kept=lambda at: 0.0), ("h",), "nothing comes back from the step after"),
    _case(
        "truncated after three steps",
        partial(hand, kept=truncated),
        ("h",),
        "backpropagation is truncated after three steps; the sample has three",
        sampler=other_lengths,
    ),
    _case("right", hand),
)
