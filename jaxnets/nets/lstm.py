"""The LSTM layer for networks of jaxnets.nets.recurrent.  Derivation: derivations/lstm.md."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.nets.recurrent import Cell, orthogonal
from jaxnets.ops.recurrence import LSTMState, lstm
from jaxnets.ops.recurrence.lstm import lstm_deltas


class Layer(NamedTuple):
    """Weights from the input, weights from the output before, and biases, with blocks for the gates i, f, g, o."""

    w_x: Float[Array, "n_in gates"]
    w_h: Float[Array, "n gates"]
    b: Float[Array, " gates"]
    peepholes: Float[Array, " peepholes"] | None = None


def init(
    key: Array, n_in: int, n: int, dtype: Any = jnp.float32, *, forget: float = 1.0, peepholes: bool = False
) -> Layer:
    """Random parameters: w_x as Glorot and Bengio 2010, each block of w_h orthogonal, biases 0 but for the forget gate.

    Args:
      forget: the bias of the forget gate; with 1 it is open at first (Jozefowicz, Zaremba and Sutskever 2015).
      peepholes: whether the gates see the cell; their weights are 0 at first.
    """
    x_key, h_key = jax.random.split(key)
    blocks = [orthogonal(k, n, dtype) for k in jax.random.split(h_key, 4)]
    return Layer(
        initializers.glorot_uniform()(x_key, (n_in, 4 * n), dtype),
        jnp.concatenate(blocks, 1),
        jnp.zeros(4 * n, dtype).at[n : 2 * n].set(forget),
        jnp.zeros(3 * n, dtype) if peepholes else None,
    )


def chrono_init(
    key: Array, n_in: int, n: int, dtype: Any = jnp.float32, *, longest: int, peepholes: bool = False
) -> Layer:
    """As `init`, with units that begin with memories of all lengths.

    The bias of a forget gate is ln u, with u uniform from 1 to longest - 1, that of its input gate -ln u.  A gate
    that forgets with bias ln k keeps a value for about k steps; the input gate is as nearly shut as that one is open.

    Source: Tallec and Ollivier 2018, Can recurrent neural networks warp time?, section 3 ("chrono initialization").

    Args:
      longest: T_max, the longest time lag that is looked for.

    Raises:
      ValueError: if `longest` is less than 3.
    """
    if longest < 3:
        raise ValueError(f"lstm.chrono_init: longest is {longest}, wanted at least 3")
    layer_key, lag_key = jax.random.split(key)
    layer = init(layer_key, n_in, n, dtype, peepholes=peepholes)
    bias = jnp.log(jax.random.uniform(lag_key, (n,), dtype, 1, longest - 1))
    return layer._replace(b=layer.b.at[:n].set(-bias).at[n : 2 * n].set(bias))


def start(layer: Layer, batch: int) -> LSTMState:
    """The state of zeros."""
    zeros = jnp.zeros((batch, layer.w_h.shape[0]), layer.w_h.dtype)
    return LSTMState(zeros, zeros)


def _run(
    layer: Layer, x: Array, state: LSTMState, lengths: Integer[Array, " batch"] | None, *, reverse: bool = False
) -> tuple[Array, LSTMState]:
    return lstm(x, layer.w_x, layer.w_h, layer.b, state, lengths, layer.peepholes, reverse=reverse)


def _forward(
    layer: Layer, x: Array, state: LSTMState, lengths: Integer[Array, " batch"] | None, *, name: str, chunk: int
) -> tuple[tuple[Array, LSTMState], Any]:
    return lstm.forward(x, layer.w_x, layer.w_h, layer.b, state, lengths, layer.peepholes, name=name, chunk=chunk)


def _deltas(residuals: Any, h_bar: Array, *, chunk: int) -> tuple[Layer, Array, Array]:
    zeros = jnp.zeros_like(residuals.h_0)
    found, delta = lstm_deltas(residuals, (h_bar, LSTMState(zeros, zeros)), chunk=chunk)
    return Layer(found.w_x, found.w_h, found.b, found.peepholes), found.x, delta


CELL = Cell(init, start, _run, _forward, _deltas, lambda state: state.h)
