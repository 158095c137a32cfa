"""The GRU layer for networks of jaxnets.nets.recurrent.  Derivation: derivations/gru.md."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.nets.recurrent import Cell, orthogonal
from jaxnets.ops.recurrence import gru
from jaxnets.ops.recurrence.gru import gru_deltas


class Layer(NamedTuple):
    """Weights from the input, weights from the state before, and biases, with blocks for r, u and n."""

    w_x: Float[Array, "n_in gates"]
    w_h: Float[Array, "n gates"]
    b: Float[Array, " gates"]
    b_n: Float[Array, " n"]
    """The bias that the reset gate acts on."""


def init(key: Array, n_in: int, n: int, dtype: Any = jnp.float32) -> Layer:
    """Random parameters: w_x as Glorot and Bengio 2010, each block of w_h orthogonal, biases 0."""
    x_key, h_key = jax.random.split(key)
    blocks = [orthogonal(k, n, dtype) for k in jax.random.split(h_key, 3)]
    return Layer(
        initializers.glorot_uniform()(x_key, (n_in, 3 * n), dtype),
        jnp.concatenate(blocks, 1),
        jnp.zeros(3 * n, dtype),
        jnp.zeros(n, dtype),
    )


def start(layer: Layer, batch: int) -> Float[Array, "batch n"]:
    """The state of zeros."""
    return jnp.zeros((batch, layer.w_h.shape[0]), layer.w_h.dtype)


def _run(
    layer: Layer, x: Array, state: Array, lengths: Integer[Array, " batch"] | None, *, reverse: bool = False
) -> tuple[Array, Array]:
    return gru(x, *layer, state, lengths, reverse=reverse)


def _forward(
    layer: Layer, x: Array, state: Array, lengths: Integer[Array, " batch"] | None, *, name: str, chunk: int
) -> tuple[tuple[Array, Array], Any]:
    return gru.forward(x, *layer, state, lengths, name=name, chunk=chunk)


def _deltas(residuals: Any, h_bar: Array, *, chunk: int) -> tuple[Layer, Array, Array]:
    found, delta = gru_deltas(residuals, (h_bar, jnp.zeros_like(residuals.h_0)), chunk=chunk)
    return Layer(found.w_x, found.w_h, found.b, found.b_n), found.x, delta


CELL = Cell(init, start, _run, _forward, _deltas, lambda state: state)
