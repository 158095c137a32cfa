"""The least time that a computation can take on this machine: by its operations, and by the bytes that it must move.

Both limits are measured, not read off a data sheet.  The bytes are those that no order of the computation avoids: the
arguments are read, and the results are written.  They are set against the bandwidth of arrays of as many bytes, since
those that fit into a cache are not fetched from memory again.
"""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.train import matmul_peak

LARGEST = 1 << 28


class Work(NamedTuple):
    """What a computation does at least."""

    flops: int
    bytes: int


class Bound(NamedTuple):
    """The least seconds, and what sets them."""

    seconds: float
    by: str


class Roof(NamedTuple):
    """FLOP/s of matrix products, and bytes a second by the bytes of an array, a power of two."""

    flops: float
    bandwidths: dict[int, float]

    def bound(self, work: Work) -> Bound:
        limits = {
            "operations": work.flops / self.flops,
            "bytes": work.bytes / self.bandwidths[array_size(work.bytes)],
        }
        by = max(limits, key=limits.__getitem__)
        return Bound(limits[by], by)


def array_size(wanted: int) -> int:
    """The power of two, of those that bandwidths are measured for, that holds so many bytes."""
    return min(LARGEST, max(1 << 12, 1 << (wanted - 1).bit_length()))


def measured(sizes: set[int], seconds: float = 0.05) -> Roof:
    """The roof of the default device, for works of so many bytes: the best of several runs each."""
    return Roof(matmul_peak(seconds=seconds), {size: bandwidth(size, seconds) for size in sorted(sizes)})


@functools.partial(jax.jit, donate_argnums=0)
def _increased(a: jax.Array, turns: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(np.int32(0), turns, lambda _, a: a + np.float32(1), a)


def bandwidth(size: int, seconds: float = 0.05) -> float:
    """Bytes a second that are read and written, of an array of so many bytes to which 1 is added over and over."""
    a = jnp.zeros(size // 4, jnp.float32)
    turns, best = 1, 0.0
    a = jax.block_until_ready(_increased(a, np.int32(turns)))
    runs = 0
    while runs < 5:
        begin = time.perf_counter()
        a = jax.block_until_ready(_increased(a, np.int32(turns)))
        taken = time.perf_counter() - begin
        best = max(best, 2 * size * turns / taken)
        if taken < seconds:
            turns *= 2
        else:
            runs += 1
    return best
