"""The derivations of derivations/rnn.md, derivations/lstm.md and derivations/gru.md."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.catalog.samples import normal
from jaxnets.nets import gru as gru_layer
from jaxnets.nets import lstm as lstm_layer
from jaxnets.nets import recurrent, rnn, srn
from jaxnets.ops import losses
from jaxnets.ops.activations import sigmoid, tanh
from jaxnets.ops.recurrence import AttentionWeights, LSTMState, attention_lstm, elman, gru, lstm
from jaxnets.verify import Derivation

_RNN, _LSTM, _GRU = "derivations/rnn.md", "derivations/lstm.md", "derivations/gru.md"
_RC = tuple(f"RC{number}" for number in range(1, 9))
_RH = tuple(f"RH{number}" for number in range(1, 6))
_LM = tuple(f"LM{number}" for number in range(1, 15))
_GU = tuple(f"GU{number}" for number in range(1, 16))

BATCH, STEPS, N_IN, UNITS = 2, 5, 4, 3


def _arguments(blocks: int, *vectors: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of x, both weights, and vectors with so many blocks."""
    weights = (N_IN, blocks * UNITS), (UNITS, blocks * UNITS)
    return ((BATCH, STEPS, N_IN), *weights, *((k * UNITS,) for k in vectors))


_STATE = (BATCH, UNITS)


def _joined(run: Callable[..., tuple[Array, Any]], **static: Any) -> Callable[..., Array]:
    """All outputs and then the last state, along the axis of time."""

    def joined(*args: Any) -> Array:
        h, last = run(*args, **static)
        return jnp.concatenate([h, *(leaf[:, None] for leaf in jax.tree.leaves(last))], 1)

    return jax.jit(joined)


def with_lengths(key: Array) -> tuple[Any, ...]:
    """One whole sequence, and one that is over before."""
    return *normal(*_arguments(1, 1), _STATE)(key), jnp.array([5, 3], jnp.int32)


def for_lstm(key: Array) -> tuple[Any, ...]:
    """Without lengths and peepholes."""
    *rest, h, c = normal(*_arguments(4, 4), _STATE, _STATE)(key)
    return *rest, LSTMState(h, c)


def for_whole_lstm(key: Array) -> tuple[Any, ...]:
    """With lengths and peepholes."""
    *rest, h, c, peepholes = normal(*_arguments(4, 4), _STATE, _STATE, (3 * UNITS,))(key)
    return *rest, LSTMState(h, c), jnp.array([5, 3], jnp.int32), peepholes


def for_gru(key: Array) -> tuple[Any, ...]:
    """With lengths."""
    return *normal(*_arguments(3, 3, 1), _STATE)(key), jnp.array([5, 3], jnp.int32)


def for_attention(key: Array) -> tuple[Any, ...]:
    """A memory of six places, of which one sequence has four."""
    gates = 4 * UNITS
    *weights, x, memory, h, c = normal(
        *((N_IN, gates), (5, gates), (UNITS, gates), (gates,), (UNITS, 7), (5, 7), (7,)),
        *((BATCH, STEPS, N_IN), (BATCH, 6, 5), _STATE, _STATE),
    )(key)
    return x, AttentionWeights(*weights), memory, LSTMState(h, c), jnp.array([6, 4], jnp.int32)


def _attended(x: Array, *rest: Any) -> Array:
    """All outputs of a step side by side, and the last state as one step more."""
    weights, memory, state, lengths = rest
    h, s, alpha, last = attention_lstm(weights, x, memory, state, lengths)
    steps = jnp.concatenate([h, s, alpha], 2)
    both = jnp.concatenate(last, 1)[:, None]
    return jnp.concatenate([steps, jnp.pad(both, ((0, 0), (0, 0), (0, steps.shape[2] - both.shape[2])))], 1)


def for_jordan(key: Array) -> tuple[Any, ...]:
    """With biases that are not 0."""
    w_x, w_y, b, v, c, x, y_0 = normal((4, 3), (6, 3), (3,), (3, 6), (6,), (2, 5, 4), (2, 6))(key)
    return srn.Params(w_x, w_y, b, v, c), x, y_0


def _network(cell: recurrent.Cell, key: Array) -> tuple[Any, ...]:
    """Two layers, with biases that are not 0, and a batch."""
    params_key, b_key, x_key, t_key = jax.random.split(key, 4)
    params = recurrent.init(params_key, cell, 3, (4, 7), 6, dtype=float)
    leaves, tree = jax.tree.flatten(params)
    moved = [
        leaf + 0.1 * jax.random.normal(k, leaf.shape)
        for leaf, k in zip(leaves, jax.random.split(b_key, len(leaves)), strict=True)
    ]
    batch = jax.random.normal(x_key, (2, 5, 3)), jax.random.normal(t_key, (2, 5, 6))
    return jax.tree.unflatten(tree, moved), batch


def _whole(name: str, cell: recurrent.Cell, document: str, tags: tuple[str, ...], **options: Any) -> Derivation:
    """A network of two layers, with the deltas of every step."""
    static = {"cell": cell, "cost": losses.quadratic, **options}
    return Derivation(
        name,
        jax.jit(partial(recurrent.loss, **static)),
        partial(_network, cell),
        document,
        tags,
        jax.jit(partial(recurrent.gradient, **static)),
    )


RECURRENCE = (
    Derivation("recurrence/elman", _joined(elman, chunk=2), with_lengths, _RNN, _RC),
    Derivation(
        "recurrence/elman/reverse",
        _joined(elman, chunk=2, reverse=True, activation=sigmoid),
        with_lengths,
        _RNN,
        _RC,
    ),
    Derivation("recurrence/lstm", _joined(lstm, chunk=2), for_lstm, _LSTM, _LM),
    Derivation(
        "recurrence/lstm/peepholes",
        _joined(lstm, chunk=2, reverse=True, keep_gates=True),
        for_whole_lstm,
        _LSTM,
        (*_LM, "LM15"),
    ),
    Derivation("recurrence/gru", _joined(gru, chunk=2), for_gru, _GRU, _GU),
    Derivation(
        "recurrence/attention_lstm",
        jax.jit(_attended),
        for_attention,
        "derivations/seq2seq.md",
        tuple(f"AT{number}" for number in range(1, 15)),
    ),
    Derivation("jordan", jax.jit(srn.jordan), for_jordan, _RNN, tuple(f"JN{number}" for number in range(1, 8))),
    _whole("rnn", rnn.cell(tanh), _RNN, _RC[:7] + _RH, activation=sigmoid),
    _whole("lstm", lstm_layer.CELL, _LSTM, _LM),
    _whole("gru", gru_layer.CELL, _GRU, _GU),
)
