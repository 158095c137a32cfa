"""From one sequence to another: an encoder reads, a decoder writes.  Derivation: derivations/seq2seq.md.

A `Model` says how: `PLAIN`, where the decoder begins with the last state of the encoder and sees nothing else of the
source, and `ATTENTION`, where the encoder reads in both directions and the decoder looks at all its outputs before
every step.  The decoder is given the target's own words while it is trained (teacher forcing), and its own afterwards
(jaxnets.nets.decoding).

Sources: Sutskever, Vinyals and Le 2014, Sequence to sequence learning with neural networks, section 2; Cho et al. 2014,
Learning phrase representations using RNN encoder-decoder, section 2.2; Bahdanau, Cho and Bengio 2015, Neural machine
translation by jointly learning to align and translate, section 3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.nets import lstm as lstm_layer
from jaxnets.nets.birnn import Directions
from jaxnets.nets.recurrent import Head, at_every_step, init_head
from jaxnets.ops.activations import tanh
from jaxnets.ops.affine import affine
from jaxnets.ops.embedding import embed
from jaxnets.ops.losses import token_cross_entropy
from jaxnets.ops.recurrence import AttentionWeights, LSTMState, attention_lstm


class Pairs(NamedTuple):
    """Sources and targets.  A target begins with the symbol that starts it and ends with the one that ends it."""

    source: Integer[Array, "batch source"]
    source_lengths: Integer[Array, " batch"]
    target: Integer[Array, "batch target"]
    target_lengths: Integer[Array, " batch"]


class Encoded(NamedTuple):
    """What the decoder is given of the source."""

    memory: Float[Array, "batch source n_m"]
    lengths: Integer[Array, " batch"]
    state: LSTMState
    """That the decoder begins with."""


class Decoded(NamedTuple):
    """What the decoder gives for some words."""

    logits: Float[Array, "batch time words"]
    """Of the word after each."""
    state: LSTMState
    alpha: Float[Array, "batch time source"] | None
    """How much it looked at each place, with attention."""


class Model(NamedTuple):
    """How sources are read and targets written, as pure functions."""

    encode: Callable[[Any, Array, Array], Encoded]
    """(params, source, its lengths)"""
    decode: Callable[[Any, Encoded, LSTMState, Array], Decoded]
    """(params, encoded, state, words)"""


class Plain(NamedTuple):
    """Parameters of `PLAIN`."""

    source: Float[Array, "source_words features"]
    target: Float[Array, "target_words features"]
    encoder: lstm_layer.Layer
    decoder: lstm_layer.Layer
    head: Head


class Attentive(NamedTuple):
    """Parameters of `ATTENTION`."""

    source: Float[Array, "source_words features"]
    target: Float[Array, "target_words features"]
    encoder: Directions
    bridge: tuple[Float[Array, "n n"], Float[Array, " n"]]
    """From the encoder's state after it has read backwards to the decoder's first, through tanh."""
    decoder: AttentionWeights
    head: Head
    """It reads h_t and s_t, side by side."""


def init_plain(
    key: Array, source_words: int, target_words: int, *, features: int = 32, units: int = 128, dtype: Any = jnp.float32
) -> Plain:
    """Random parameters of `PLAIN`.  ValueError if a size is not positive."""
    _check_sizes("init_plain", source_words, target_words, features, units)
    source_key, target_key, encoder_key, decoder_key, head_key = jax.random.split(key, 5)
    return Plain(
        _table(source_key, source_words, features, dtype),
        _table(target_key, target_words, features, dtype),
        lstm_layer.init(encoder_key, features, units, dtype),
        lstm_layer.init(decoder_key, features, units, dtype),
        init_head(head_key, units, target_words, dtype),
    )


def init_attentive(
    key: Array, source_words: int, target_words: int, *, features: int = 32, units: int = 128, dtype: Any = jnp.float32
) -> Attentive:
    """Random parameters of `ATTENTION`.  ValueError if a size is not positive."""
    _check_sizes("init_attentive", source_words, target_words, features, units)
    keys = jax.random.split(key, 9)
    glorot = initializers.glorot_uniform()
    decoder = lstm_layer.init(keys[4], features, units, dtype)
    return Attentive(
        _table(keys[0], source_words, features, dtype),
        _table(keys[1], target_words, features, dtype),
        Directions(lstm_layer.init(keys[2], features, units, dtype), lstm_layer.init(keys[3], features, units, dtype)),
        (glorot(keys[5], (units, units), dtype), jnp.zeros(units, dtype)),
        AttentionWeights(
            decoder.w_x,
            glorot(keys[6], (2 * units, 4 * units), dtype),
            decoder.w_h,
            decoder.b,
            glorot(keys[7], (units, units), dtype),
            glorot(jax.random.fold_in(keys[7], 1), (2 * units, units), dtype),
            initializers.normal(units**-0.5)(jax.random.fold_in(keys[7], 2), (units,), dtype),
        ),
        init_head(keys[8], 3 * units, target_words, dtype),
    )


def _encode_plain(params: Plain, source: Array, lengths: Array) -> Encoded:
    x = embed(params.source, source)
    h, last = lstm_layer.CELL.run(params.encoder, x, lstm_layer.start(params.encoder, x.shape[0]), lengths)
    return Encoded(h, lengths, last)


def _decode_plain(params: Plain, encoded: Encoded, state: LSTMState, words: Array) -> Decoded:
    h, state = lstm_layer.CELL.run(params.decoder, embed(params.target, words), state, None)
    return Decoded(at_every_step(params.head, h), state, None)


def _encode_attentive(params: Attentive, source: Array, lengths: Array) -> Encoded:
    x = embed(params.source, source)
    forward, backward = params.encoder
    run, start = lstm_layer.CELL.run, lstm_layer.start(forward, x.shape[0])
    down, _ = run(forward, x, start, lengths)
    up, first = run(backward, x, start, lengths, reverse=True)
    h = tanh(affine(first.h, *params.bridge))
    return Encoded(jnp.concatenate([down, up], -1), lengths, LSTMState(h, jnp.zeros_like(h)))


def _decode_attentive(params: Attentive, encoded: Encoded, state: LSTMState, words: Array) -> Decoded:
    x = embed(params.target, words)
    h, s, alpha, state = attention_lstm(params.decoder, x, encoded.memory, state, encoded.lengths)
    return Decoded(at_every_step(params.head, jnp.concatenate([h, s], -1)), state, alpha)


PLAIN = Model(_encode_plain, _decode_plain)
"""The decoder sees the last state of the encoder alone."""

ATTENTION = Model(_encode_attentive, _decode_attentive)
"""The decoder looks at all outputs of an encoder that reads in both directions."""


def apply(params: Any, pairs: Pairs, *, model: Model) -> Decoded:
    """The logits of every word of the targets but the first, each given those before it (teacher forcing).

    Raises:
      ValueError: if there are not as many targets as sources, or no targets of at least two words.
    """
    source, target = pairs.source.shape, pairs.target.shape
    if len(source) != 2 or len(target) != 2 or source[0] != target[0] or target[1] < 2:
        raise ValueError(
            f"seq2seq: source is {source}, target {target};"
            " wanted (batch, source) and (batch, target), with at least two words"
        )
    encoded = model.encode(params, pairs.source, pairs.source_lengths)
    return model.decode(params, encoded, encoded.state, pairs.target[:, :-1])


def loss(params: Any, pairs: Pairs, *, model: Model) -> Float[Array, ""]:
    """Cross entropy of the targets in nats a word, the symbol that ends them included.

    What stands after the end of a source or target is not looked at.
    """
    return token_cross_entropy(
        apply(params, pairs, model=model).logits, pairs.target[:, 1:], jnp.maximum(pairs.target_lengths - 1, 0)
    )


def _table(key: Array, words: int, features: int, dtype: Any) -> Array:
    return initializers.normal(features**-0.5)(key, (words, features), dtype)


def _check_sizes(what: str, source_words: int, target_words: int, features: int, units: int) -> None:
    if min(source_words, target_words, features, units) < 1:
        raise ValueError(
            f"seq2seq.{what}: source_words {source_words}, target_words {target_words}, features {features},"
            f" units {units}: wanted positive numbers"
        )
