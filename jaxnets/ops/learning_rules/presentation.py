"""One example after the other, or some at a time: the loop that every learning rule runs in.

    (HB1) w ← w + η Δ(w, x, t)

Derivation: derivations/learning-rules.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

Params = Any
"""Weights, or any pytree of arrays."""


class Learned(NamedTuple):
    """The weights at last, and in each epoch the number of steps that changed them."""

    params: Params
    changes: Int32[Array, " epochs"]


@partial(jax.jit, static_argnames=("update", "epochs", "batch_size"))
def learn(
    update: Callable[..., Params],
    params: Params,
    data: tuple[Any, ...],
    *,
    learning_rate: float | Float[Array, ""],
    epochs: int,
    batch_size: int = 1,
) -> Learned:
    """Present the data `epochs` times in their given order, as one compiled `lax.scan` (HB1).

    It is compiled once for each rule, number of epochs, batch size and shape.

    Args:
      update: `update(params, *rows) -> change`, of the structure of the parameters: a rule of `learning_rules`, or any
        other function.  `rows` are the next rows of each array of `data`.
      data: (x,) for a rule without a teacher, (x, t) for one with.
      batch_size: rows that are taken at the same weights: 1 for a rule that learns from one example after the other.

    Returns:
      What was learned.  A rule that corrects errors makes a change where it made a mistake: `changes` counts them, if
      there is one output unit, the batch size is 1 and no input is zero.

    Raises:
      ValueError: if the arrays of data differ in length, or the batch size does not divide it.
    """
    lengths = {len(leaf) for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1:
        raise ValueError(f"learn: the arrays of data have {sorted(lengths)} rows, wanted as many in each")
    (length,) = lengths
    if batch_size < 1 or length % batch_size:
        raise ValueError(f"learn: batch_size is {batch_size}, wanted a divisor of the {length} rows of data")
    batches = jax.tree.map(lambda a: a.reshape(length // batch_size, batch_size, *a.shape[1:]), data)

    def step(params: Params, rows: tuple[Any, ...]) -> tuple[Params, Array]:
        change = update(params, *rows)
        moved = jax.tree.map(lambda p, d: p + learning_rate * d, params, change)  # (HB1)
        return moved, jnp.any(jnp.stack([jnp.any(d != 0) for d in jax.tree.leaves(change)]))

    def epoch(params: Params, _: None) -> tuple[Params, Array]:
        params, changed = jax.lax.scan(step, params, batches)
        return params, changed.sum(dtype=jnp.int32)

    return Learned(*jax.lax.scan(epoch, params, None, length=epochs))
