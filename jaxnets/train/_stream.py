"""An epoch over data that stays in host memory, or in files: some batches at a time are sent ahead to the device.

While the device computes on one chunk of batches, the next is read and sent; two chunks are there at a time.  A chunk
is read in the order in which its examples lie, and put into the order of the epoch on the device, by the same gather as
if all of the data were there: the run is the same to the last bit.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int32, Key

from ._compiled import RunEpoch, compile_for
from ._epoch import Batching, NonFinite, batches_function, finite_leaves, order_in_shares
from .placement import Placement
from .step import State, Step


class Chunk(NamedTuple):
    """Batches that are sent together: whole ones, or the rest batch alone."""

    lie: Int32[np.ndarray, "shares each"]
    """Rows of every share, in the order in which they lie."""
    whole: Int32[np.ndarray, "steps shares _"]
    """Places in `lie` of the examples of the whole batches."""
    rest: Int32[np.ndarray, "shares _"]
    """Those of the rest batch."""


def chunks_of(order: Int32[np.ndarray, "shares each"], batching: Batching, most: int) -> Iterator[Chunk]:
    """Cut an epoch into chunks of so many whole batches at most, or one more, and the rest."""
    count = batching.examples // batching.size
    # Every length is a program to compile: if there is a length that leaves no shorter chunk, it is taken.
    steps = next((n for n in range(most, max(most // 2, 1), -1) if count % n == 0), most)
    # The compiler takes a loop of one step apart, and may then round otherwise: no chunk is one step alone.
    starts = [first for first in range(0, count, steps) if not first or count - first > 1]
    each = batching.size // batching.shares
    cuts = [first * each for first in (*starts, count)]
    if count * batching.size < batching.examples:
        cuts.append(order.shape[1])
    for first, end in pairwise(cuts):
        part = order[:, first:end]
        sorting = np.argsort(part, axis=1)
        places = np.argsort(sorting, axis=1).astype(np.int32)
        yield Chunk(np.take_along_axis(part, sorting, axis=1), *batching._replace(examples=part.size).rows(places))


def streamed_epoch(
    step: Step,
    state: State,
    data: Any,
    key: Key[Array, ""],
    batching: Batching,
    non_finite: NonFinite,
    placement: Placement | None,
    most: int,
) -> RunEpoch:
    """Compile the steps of a chunk, for data in the memory of the hosts: with several, each has its own shares."""
    run = batches_function(step, batching.shares, non_finite)
    order_of = jax.jit(lambda key, number: order_in_shares(key, number, batching.examples, batching.shares))
    here = [0] if placement is None else placement.shares_here()
    of_share = batching.examples // batching.shares

    def sent(chunk: Chunk) -> tuple[Any, Any, Any]:
        rows = np.concatenate([place * of_share + chunk.lie[share] for place, share in enumerate(here)])
        read = jax.tree.map(lambda leaf: _native(np.asarray(leaf[rows])), data)
        if placement is None:
            return jax.device_put((read, chunk.whole, chunk.rest))
        return placement.examples(read), *placement.whole((chunk.whole, chunk.rest))

    def chunks(number: int) -> Iterator[Chunk]:
        return chunks_of(np.asarray(order_of(key, np.uint32(number))).astype(np.int32), batching, most)

    one_of_each = {chunk.whole.shape: chunk for chunk in chunks(1)}
    compiled = {
        shape: compile_for(run, (state, *sent(chunk)), placement, results=3) for shape, chunk in one_of_each.items()
    }
    ends_of = jax.jit(finite_leaves, out_shardings=None if placement is None else placement.everywhere())

    def run_epoch(state: State, number: int) -> tuple[State, list[Array], list[Array], Array]:
        losses, flags = [], []
        for chunk in chunks(number):
            state, *found = compiled[chunk.whole.shape](state, *sent(chunk))
            jax.block_until_ready(losses[-1:])  # of the chunk before: no more than two are on the device
            losses += found[0]
            flags += found[1]
        return state, losses, flags, ends_of(state.params)

    return run_epoch


def _native(a: np.ndarray) -> np.ndarray:
    """In the machine's byte order, which a file need not have."""
    return a.astype(a.dtype.newbyteorder("="), copy=False)
