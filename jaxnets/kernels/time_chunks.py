"""A pass over the steps of a sequence in chunks, for the CPU's caches.

What does not depend on the step before, such as the product of all inputs with the weights, is best computed for many
steps at once; but if for all of them, the results fill the memory and are read back from there.  A chunk of steps is
the middle: large products, whose results are still in the cache when the recurrence reads them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxnets.kernels.parts import accumulator, part_size, varying_with

Carry = TypeVar("Carry")

Run = Callable[[Carry, Any, Any, Any], tuple[Carry, Any, Any]]
"""(carry, chunk of `sequences`, chunk of `steps`, first step) -> (carry, new sequences, new steps), time first."""


def over_chunks(
    run: Run[Carry], carry: Carry, sequences: Any, steps: Any, *, most: int, reverse: bool = False
) -> tuple[Carry, Any, Any]:
    """Call `run` on at most `most` steps after the other, from the last ones if `reverse`.

    Args:
      run: gets and gives chunks of arrays with the time first.
      carry: what is handed on from chunk to chunk.
      sequences: a tree of arrays (batch, time, ...): turned chunk by chunk, and not as a whole.
      steps: a tree of arrays (time, batch, ...).

    Returns:
      The last carry, what `run` gave as sequences (batch, time, ...), and what it gave as steps (time, batch, ...).
    """
    length = _length(sequences, steps)
    size = part_size(length, most)
    if size == length:
        carry, new_sequences, new_steps = run(carry, _turned(sequences), steps, 0)
        return carry, _turned(new_sequences), new_steps

    def piece(carry: Carry, start: Any, size: int) -> tuple[Carry, Any, Any]:
        chunk = jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, size, 1), sequences)
        here = jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, size, 0), steps)
        carry, new_sequences, new_steps = run(carry, _turned(chunk), here, start)
        return carry, _turned(new_sequences), new_steps

    def write(state: Any, start: Any, size: int) -> Any:
        carry, whole_sequences, whole_steps = state
        carry, new_sequences, new_steps = piece(carry, start, size)
        return (
            carry,
            _written(whole_sequences, new_sequences, start, axis=1),
            _written(whole_steps, new_steps, start, axis=0),
        )

    _, of_sequences, of_steps = jax.eval_shape(lambda carry: piece(carry, 0, size), carry)
    empty = _empty(of_sequences, length, axis=1), _empty(of_steps, length, axis=0)
    state = varying_with((carry, *empty), (carry, sequences, steps))
    rest = length % size
    if rest and reverse:
        state = write(state, length - rest, rest)
    starts = size * jnp.arange(length // size)
    state, _ = lax.scan(lambda state, start: (write(state, start, size), None), state, starts, reverse=reverse)
    if rest and not reverse:
        state = write(state, length - rest, rest)
    return state


def before(
    states: Float[Array, "batch time n"],
    chunk: Float[Array, "steps batch n"],
    first: Float[Array, "batch n"],
    start: Any,
    *,
    reverse: bool,
) -> Float[Array, "steps batch n"]:
    """The state before each step of a chunk of `states` that begins at step `start`: `first` before all of them.

    With `reverse` the states were made from the last step to the first one.
    """
    size, length = chunk.shape[0], states.shape[1]
    place = start + size if reverse else start - 1
    there = lax.dynamic_index_in_dim(states, jnp.clip(place, 0, length - 1), 1, keepdims=False)
    outside = place == length if reverse else place < 0
    edge = jnp.where(outside, first, there)[None]
    return jnp.concatenate([chunk[1:], edge] if reverse else [edge, chunk[:-1]])


def over_steps(a: Float[Array, "*places n"], delta: Float[Array, "*places m"]) -> Float[Array, "n m"]:
    """Σ aᵀ δ over all steps and examples as one product, in the dtype of its sum: at least float32.

    As a product of matrices: given one that sums over two axes, XLA's CPU compiler turns both operands first.
    """
    rows, columns = (lax.collapse(b, 0, -1) for b in (a, delta))
    return jnp.matmul(rows.T, columns, preferred_element_type=accumulator(a.dtype))


def _turned(tree: Any) -> Any:
    return jax.tree.map(lambda a: a.swapaxes(0, 1), tree)


def _empty(shapes: Any, length: int, *, axis: int) -> Any:
    """Room for `length` steps of arrays of these shapes."""
    return jax.tree.map(lambda a: jnp.zeros((*a.shape[:axis], length, *a.shape[axis + 1 :]), a.dtype), shapes)


def _written(whole: Any, parts: Any, start: Any, *, axis: int) -> Any:
    return jax.tree.map(lambda room, part: lax.dynamic_update_slice_in_dim(room, part, start, axis), whole, parts)


def _length(sequences: Any, steps: Any) -> int:
    leaves = jax.tree.leaves(sequences)
    return leaves[0].shape[1] if leaves else jax.tree.leaves(steps)[0].shape[0]
