"""The simple recurrent layer (Elman 1990) for networks of jaxnets.nets.recurrent.  Derivation: derivations/rnn.md."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.nets.recurrent import Cell, orthogonal
from jaxnets.ops.activations import tanh
from jaxnets.ops.recurrence import elman
from jaxnets.ops.recurrence.elman import elman_deltas
from jaxnets.rule import Rule


class Layer(NamedTuple):
    """Weights from the input, weights from the state before, biases."""

    w_x: Float[Array, "n_in n"]
    w_h: Float[Array, "n n"]
    b: Float[Array, " n"]


def init(key: Array, n_in: int, n: int, dtype: Any = jnp.float32) -> Layer:
    """Random parameters: w_x as Glorot and Bengio 2010, w_h orthogonal (Saxe et al. 2014), biases 0."""
    x_key, h_key = jax.random.split(key)
    return Layer(
        initializers.glorot_uniform()(x_key, (n_in, n), dtype),
        orthogonal(h_key, n, dtype),
        jnp.zeros(n, dtype),
    )


def cell(activation: Rule[..., Any] = tanh) -> Cell:
    """The layer with this activation: an element-wise rule that keeps its output alone (tanh, sigmoid, relu)."""

    def run(
        layer: Layer, x: Array, state: Array, lengths: Integer[Array, " batch"] | None, *, reverse: bool = False
    ) -> tuple[Array, Array]:
        return elman(x, *layer, state, lengths, activation=activation, reverse=reverse)

    def forward(
        layer: Layer, x: Array, state: Array, lengths: Integer[Array, " batch"] | None, *, name: str, chunk: int
    ) -> tuple[tuple[Array, Array], Any]:
        return elman.forward(x, *layer, state, lengths, activation=activation, name=name, chunk=chunk)

    def deltas(residuals: Any, h_bar: Array, *, chunk: int) -> tuple[Layer, Array, Array]:
        bars = (h_bar, jnp.zeros_like(residuals.h_0))
        found, delta = elman_deltas(residuals, bars, activation=activation, chunk=chunk)
        return Layer(found.w_x, found.w_h, found.b), found.x, delta

    return Cell(init, start, run, forward, deltas, lambda state: state)


def start(layer: Layer, batch: int) -> Float[Array, "batch n"]:
    """The state of zeros."""
    return jnp.zeros((batch, layer.w_h.shape[0]), layer.w_h.dtype)


CELL = cell()
"""With tanh."""
