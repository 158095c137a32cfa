"""Bidirectional networks of recurrent layers.  Derivation: derivations/rnn.md.

Every layer reads the sequence twice, from the first step to the last and from the last to the first, with two states
and two sets of weights; the output at step t sees both, h_t and h'_t:

    y_t = h_t v + h'_t v' + c

so that it depends on the whole sequence.  The head holds v above v', as one matrix.  Deep networks come in two forms:
`Between.APART`, two separate stacks, one for each direction, that meet in the head only; and `Between.JOINED`, where
both directions of a layer read both directions of the layer below.  The gradients are those of the layers' rules, each
direction by its own backpropagation through time; nothing is added to them.

Sources: Schuster and Paliwal 1997, Bidirectional recurrent neural networks; Graves, Mohamed and Hinton 2013, Speech
recognition with deep recurrent neural networks, eq. (8) to (11), for JOINED.
"""

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.nets.recurrent import Cell, Head, Sequences, at_every_step, init_head
from jaxnets.ops.affine import affine


class Between(enum.Enum):
    """What a layer reads of the layer below."""

    APART = enum.auto()
    """Each direction its own."""
    JOINED = enum.auto()
    """Both directions both."""


class Directions(NamedTuple):
    """A layer for each direction of reading."""

    forward: Any
    backward: Any


class Params(NamedTuple):
    """The layers, from the input on, and the head, which reads both directions."""

    layers: tuple[Directions, ...]
    head: Head


def init(
    key: Array,
    cell: Cell,
    n_in: int,
    hidden: Sequence[int],
    n_out: int,
    *,
    between: Between = Between.JOINED,
    dtype: Any = jnp.float32,
) -> Params:
    """Random parameters of a network with so many units in each direction of each layer.

    Raises:
      ValueError: if there is no layer, or a size is not positive.
    """
    if not hidden or min(n_in, n_out, *hidden) < 1:
        raise ValueError(
            f"birnn.init: n_in {n_in}, hidden {tuple(hidden)}, n_out {n_out}: wanted a layer, positive numbers"
        )
    head_key, *keys = jax.random.split(key, 1 + len(hidden))
    times = 2 if between is Between.JOINED else 1
    widths = (n_in, *(times * n for n in hidden[:-1]))
    layers = []
    for layer_key, below, n in zip(keys, widths, hidden, strict=True):
        forward_key, backward_key = jax.random.split(layer_key)
        layers.append(Directions(cell.init(forward_key, below, n, dtype), cell.init(backward_key, below, n, dtype)))
    return Params(tuple(layers), init_head(head_key, 2 * hidden[-1], n_out, dtype))


def states(
    params: Params, sequences: Sequences, *, cell: Cell, between: Between = Between.JOINED
) -> tuple[Float[Array, "batch time both"], Float[Array, "batch both"]]:
    """[h_t h'_t] of the last layer at all steps; and h after the last step beside h' after the first one."""
    x, lengths = sequences
    down = up = x
    last = first = None
    for number, (forward, backward) in enumerate(params.layers):
        if number and between is Between.JOINED:
            down = up = jnp.concatenate([down, up], -1)
        down, last = cell.run(forward, down, cell.start(forward, x.shape[0]), lengths)
        up, first = cell.run(backward, up, cell.start(backward, x.shape[0]), lengths, reverse=True)
    return jnp.concatenate([down, up], -1), jnp.concatenate([cell.output(last), cell.output(first)], -1)


def many_to_many(
    params: Params, sequences: Sequences, *, cell: Cell, between: Between = Between.JOINED
) -> Float[Array, "batch time n_out"]:
    """y_t of every step; after the end of a sequence it is c."""
    return at_every_step(params.head, states(params, sequences, cell=cell, between=between)[0])


def many_to_one(
    params: Params, sequences: Sequences, *, cell: Cell, between: Between = Between.JOINED
) -> Float[Array, "batch n_out"]:
    """One output for each sequence, from both final states."""
    return affine(states(params, sequences, cell=cell, between=between)[1], *params.head)
