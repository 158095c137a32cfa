"""Writing with an encoder-decoder: the likeliest word at every step, or the likeliest of several whole sequences.

Both are compiled loops that end when every sequence has ended.

Source: Sutskever, Vinyals and Le 2014, Sequence to sequence learning with neural networks, section 3.2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer

from jaxnets.kernels.parts import accumulator
from jaxnets.nets.seq2seq import Model
from jaxnets.ops.activations import log_softmax

WORD = jnp.int32
"""The dtype of what is written, whatever that of the source is: the target may have more words."""


def greedy(
    params: Any,
    source: Integer[Array, "batch source"],
    lengths: Integer[Array, " batch"],
    *,
    model: Model,
    start: int,
    end: int,
    longest: int,
) -> Integer[Array, "batch {longest}"]:
    """The likeliest word after the words so far, step by step; `end` from the end of a sequence on.

    Args:
      start: the word that every target begins with; it is not part of the result.
      end: the word that ends it.
      longest: how many words are written at most, `end` included.

    Raises:
      ValueError: if longest is less than 1, or start or end is no word of the target.
    """
    _check_longest("greedy", longest)
    encoded = model.encode(params, source, lengths)
    batch = source.shape[0]

    def unfinished(carry: Any) -> Array:
        step, _, _, done, _ = carry
        return (step < longest) & ~jnp.all(done)

    def write(carry: Any) -> Any:
        step, state, word, done, words = carry
        logits, state, _ = model.decode(params, encoded, state, word[:, None])
        _check_words("greedy", start, end, logits)
        likeliest = jnp.argmax(logits[:, 0], -1).astype(word.dtype)
        word = jnp.where(done, jnp.full_like(word, end), likeliest)
        return step + 1, state, word, done | (word == end), lax.dynamic_update_index_in_dim(words, word, step, 1)

    first = jnp.full(batch, start, WORD)
    words = jnp.full((batch, longest), end, WORD)
    return lax.while_loop(unfinished, write, (0, encoded.state, first, jnp.zeros(batch, bool), words))[-1]


class Beams(NamedTuple):
    """The sequences that were kept, the likeliest first."""

    words: Integer[Array, "batch width {longest}"]
    scores: Float[Array, "batch width"]
    """The logarithm of the probability of each whole sequence, `end` included."""


def beam(
    params: Any,
    source: Integer[Array, "batch source"],
    lengths: Integer[Array, " batch"],
    *,
    model: Model,
    start: int,
    end: int,
    longest: int,
    width: int,
) -> Beams:
    """Beam search: after every step the `width` likeliest sequences so far are kept.

    Sequences are compared by their probability, without regard to their lengths.  With a width of 1 it is `greedy`.
    Where there are fewer sequences than `width`, the scores of the rest are -inf.

    Args:
      start, end, longest: as for `greedy`.
      width: how many sequences are kept.

    Raises:
      ValueError: if longest or width is less than 1, or start or end is no word of the target.
    """
    _check_longest("beam", longest)
    if width < 1:
        raise ValueError(f"beam: width is {width}, wanted at least 1")
    batch = source.shape[0]
    encoded = jax.tree.map(lambda a: jnp.repeat(a, width, 0), model.encode(params, source, lengths))

    dtype = accumulator(encoded.memory.dtype)  # in 8 binary digits, many sequences would have the same score

    def unfinished(carry: Any) -> Array:
        step, _, _, done, _, _ = carry
        return (step < longest) & ~jnp.all(done)

    def write(carry: Any) -> Any:
        step, state, word, done, words, scores = carry
        logits, state, _ = model.decode(params, encoded, state, word.reshape(-1, 1))
        _check_words("beam", start, end, logits)
        log_p = log_softmax(logits[:, 0].astype(dtype)).reshape(batch, width, -1)
        # A sequence that has ended goes on in one way, which costs nothing.
        only_end = jnp.where(jnp.arange(log_p.shape[2]) == end, 0.0, -jnp.inf).astype(log_p.dtype)
        log_p = jnp.where(done[:, :, None], only_end[None, None, :], log_p)
        scores, best = lax.top_k((scores[:, :, None] + log_p).reshape(batch, -1), width)
        parent, word = best // log_p.shape[2], (best % log_p.shape[2]).astype(word.dtype)
        rows = (jnp.arange(batch, dtype=parent.dtype)[:, None] * width + parent).reshape(-1)
        state = jax.tree.map(lambda a: a[rows], state)
        done = jnp.take_along_axis(done, parent, 1) | (word == end)
        words = jnp.take_along_axis(words, parent[:, :, None], 1)
        words = lax.dynamic_update_index_in_dim(words, word, step, 2)
        return step + 1, state, word, done, words, scores

    carry = (
        0,
        encoded.state,
        jnp.full((batch, width), start, WORD),
        jnp.zeros((batch, width), bool),
        jnp.full((batch, width, longest), end, WORD),
        # All begin alike: only the first counts, so that they become different ones.
        jnp.broadcast_to(jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf).astype(dtype), (batch, width)),
    )
    *_, words, scores = lax.while_loop(unfinished, write, carry)
    return Beams(words, scores)


def _check_words(what: str, start: int, end: int, logits: Array) -> None:
    words = logits.shape[-1]
    if not 0 <= start < words or not 0 <= end < words:
        raise ValueError(f"{what}: start is {start}, end {end}; the target has words 0 to {words - 1}")


def _check_longest(what: str, longest: int) -> None:
    if longest < 1:
        raise ValueError(f"{what}: longest is {longest}, wanted at least 1")
