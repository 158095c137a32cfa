"""What an LSTM does between its weighted inputs and its output, and back: (LM2) to (LM8) and (LM10), element-wise."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.kernels.parts import accumulator
from jaxnets.ops.recurrence._sequences import squashed


def cell(
    z: Float[Array, "*batch gates"], c_before: Float[Array, "*batch n"], peepholes: Float[Array, " peepholes"] | None
) -> tuple[Float[Array, "*batch gates"], Float[Array, "*batch n"]]:
    """[i f g o] and c_t: (LM2) to (LM4).  Without peepholes all gates go through one hyperbolic tangent."""
    if peepholes is None:
        gates = squashed(z, (0.5, 0.5, 1.0, 0.5))  # (LM2)
        return gates, _next(gates, c_before)
    n = c_before.shape[-1]
    i = squashed(z[..., :n] + c_before * _third(peepholes, 0, z.ndim), (0.5,))  # (LM2)
    f = squashed(z[..., n : 2 * n] + c_before * _third(peepholes, 1, z.ndim), (0.5,))  # (LM2)
    g = jnp.tanh(z[..., 2 * n : 3 * n])  # (LM2)
    c = f * c_before + i * g  # (LM3)
    o = squashed(z[..., 3 * n :] + c * _third(peepholes, 2, z.ndim), (0.5,))  # (LM4)
    return jnp.concatenate([i, f, g, o], -1), c


def output(gates: Float[Array, "*batch gates"], c: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    """h_t of (LM5)."""
    return jnp.split(gates, 4, -1)[3] * jnp.tanh(c)  # (LM5)


class Slopes(NamedTuple):
    """What cotangents of a step are multiplied with.  None of it comes from later steps."""

    gates: Float[Array, "*batch gates"]
    """From c_bar to δ^i, δ^f and δ^g, and from h_bar to δ^o."""
    through: Float[Array, "*batch n"]
    """From h_bar to c_bar."""
    f: Float[Array, "*batch n"]
    """From c_bar to that of the step before."""


def slopes(
    gates: Float[Array, "*batch gates"], c_before: Float[Array, "*batch n"]
) -> tuple[Slopes, Float[Array, "*batch n"]]:
    """The slopes of a step, or of many at once, and c_t."""
    i, f, g, o = jnp.split(gates, 4, -1)
    c = _next(gates, c_before)
    tanh_c = jnp.tanh(c)
    of_gates = jnp.concatenate([g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g), tanh_c * o * (1 - o)], -1)
    return Slopes(of_gates, o * (1 - tanh_c * tanh_c), f), c


def deltas(
    h_bar: Float[Array, "batch n"],
    c_back: Float[Array, "batch n"],
    of: Slopes,
    peepholes: Float[Array, " peepholes"] | None,
) -> tuple[Float[Array, "batch gates"], Float[Array, "batch n"]]:
    """δ_t, and the cotangent of c_{t-1}; h_bar is the whole one of h_t, c_back what the next step gives c_t."""
    s_i, s_f, s_g, s_o = jnp.split(of.gates, 4, -1)
    delta_o = h_bar * s_o  # (LM6)
    c_bar = h_bar * of.through + c_back  # (LM7)
    if peepholes is not None:
        c_bar += delta_o * _third(peepholes, 2, 2)  # (LM7)
    delta_i, delta_f, delta_g = c_bar * s_i, c_bar * s_f, c_bar * s_g  # (LM8)
    c_back = c_bar * of.f  # (LM10)
    if peepholes is not None:
        c_back += delta_i * _third(peepholes, 0, 2) + delta_f * _third(peepholes, 1, 2)  # (LM10)
    return jnp.concatenate([delta_i, delta_f, delta_g, delta_o], 1), c_back


def peephole_cotangents(
    delta: Float[Array, "steps batch gates"], c_before: Float[Array, "steps batch n"], c: Float[Array, "steps batch n"]
) -> Float[Array, " peepholes"]:
    """What some steps give to the cotangent of the peepholes (LM15)."""
    delta_i, delta_f, _, delta_o = jnp.split(delta, 4, -1)
    products = jnp.concatenate([delta_i * c_before, delta_f * c_before, delta_o * c], -1)  # (LM15)
    return products.sum((0, 1), dtype=accumulator(delta.dtype))


def _next(gates: Float[Array, "*batch gates"], c_before: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    i, f, g, _ = jnp.split(gates, 4, -1)
    return f * c_before + i * g  # (LM3)


def _third(peepholes: Float[Array, " peepholes"], k: int, ndim: int) -> Array:
    """p^i, p^f or p^o, for arrays of so many axes."""
    return jnp.split(peepholes, 3)[k].reshape((1,) * (ndim - 1) + (-1,))
