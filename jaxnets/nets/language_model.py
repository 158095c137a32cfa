"""A language model of recurrent layers: the next word, or character, from all before it.  See derivations/rnn.md.

    embedding -> recurrent layers -> logits of the next word at every step

Its loss is the cross entropy in nats a word: of random guessing ln(words), and e to the loss is the perplexity.

Source: Mikolov, Karafiát, Burget, Černocký and Khudanpur 2010, Recurrent neural network based language model,
section 2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.nets import recurrent
from jaxnets.nets.recurrent import Cell, Sequences
from jaxnets.ops.embedding import embed
from jaxnets.ops.losses import token_cross_entropy


class Params(NamedTuple):
    """The vectors of the words, and the network that reads them."""

    table: Float[Array, "words features"]
    network: recurrent.Params


def init(
    key: Array, cell: Cell, words: int, *, features: int = 64, hidden: Sequence[int] = (256,), dtype: Any = jnp.float32
) -> Params:
    """Random parameters: word vectors N(0, 1/features), the layers as their cell says.

    Raises:
      ValueError: if there is no layer, or a size is not positive.
    """
    if min(words, features) < 1:
        raise ValueError(f"language_model.init: words {words}, features {features}: wanted positive numbers")
    table_key, key = jax.random.split(key)
    table = initializers.normal(features**-0.5)(table_key, (words, features), dtype)
    return Params(table, recurrent.init(key, cell, features, hidden, words, dtype=dtype))


def apply(
    params: Params, tokens: Integer[Array, "batch time"], before: tuple[Any, ...] | None = None, *, cell: Cell
) -> tuple[Float[Array, "batch time words"], tuple[Any, ...]]:
    """Logits of the word after each word, and the states after the last one.

    Args:
      before: the states before the first word, as an earlier call gave them, for a text in pieces; zeros if None.
    """
    x = embed(params.table, tokens)
    h, after = recurrent.states(params.network, Sequences(x), before, cell=cell)
    return recurrent.at_every_step(params.network.head, h), after


def loss(params: Params, tokens: Integer[Array, "batch steps"], *, cell: Cell) -> Float[Array, ""]:
    """Cross entropy of every word but the first, given those before it in its row, in nats a word.

    Raises:
      ValueError: if there are no rows of at least two words.
    """
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(
            f"language_model.loss: tokens is {tokens.shape}, wanted (batch, steps) with at least two steps"
        )
    logits, _ = apply(params, tokens[:, :-1], cell=cell)
    return token_cross_entropy(logits, tokens[:, 1:])


def generate(
    params: Params,
    key: Array,
    prompt: Integer[Array, "batch time"],
    length: int,
    *,
    cell: Cell,
    temperature: float | Array = 1.0,
) -> Integer[Array, "batch {length}"]:
    """Words drawn one after the other, each given all before it.

    Args:
      prompt: what is read first, at least one word.
      temperature: what the logits are divided by, above 0: the smaller, the more likely words.  A Python number, or an
        array, which is not checked.

    Raises:
      ValueError: if length is less than 1, the temperature is not positive, or the prompt has no rows of words.
    """
    if length < 1 or (isinstance(temperature, int | float) and not temperature > 0):
        raise ValueError(f"generate: length is {length}, temperature {temperature}; wanted positive numbers")
    if prompt.ndim != 2 or not prompt.shape[1]:
        raise ValueError(f"generate: prompt is {prompt.shape}, wanted (batch, time) with at least one word")
    logits, states = apply(params, prompt, cell=cell)

    def step(carry: Any, key: Array) -> tuple[Any, Array]:
        logits, states = carry
        word = jax.random.categorical(key, logits / temperature).astype(prompt.dtype)
        logits, states = apply(params, word[:, None], states, cell=cell)
        return (logits[:, 0], states), word

    _, words = lax.scan(step, (logits[:, -1], states), jax.random.split(key, length))
    return words.T
