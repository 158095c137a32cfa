"""What the loops over parts of an array have in common."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


def part_size(length: int, most: int) -> int:
    """How many entries to take at a time, at most `most`: a divisor of the length, unless all are under half of that.

    With a divisor no entries are left over.  Otherwise the parts are as equal as can be, less the last.
    """
    if length <= most:
        return length
    divisor = max(size for size in range(1, most + 1) if length % size == 0)
    return divisor if 2 * divisor >= most else -(-length // -(-length // most))


def varying_with(carry: Any, arrays: Any) -> Any:
    """The carry, marked as different from shard to shard along every mesh axis along which an array is.

    Inside a `shard_map`, a loop that adds something of the arrays to its carry changes the carry's type, which JAX
    refuses.
    """
    axes = frozenset[str]().union(*(_varying(a) for a in jax.tree.leaves(arrays)))
    return jax.tree.map(lambda c: lax.pcast(c, tuple(axes - _varying(c)), to="varying"), carry)


def added(total: Any, contribution: Any) -> Any:
    """Their sum, array by array."""
    return jax.tree.map(jnp.add, total, contribution)


def accumulator(dtype: Any) -> Any:
    """The dtype in which sums over many tiles are kept: at least float32."""
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def _varying(a: Array) -> frozenset[str]:
    aval: Any = jax.typeof(a)
    return aval.manual_axis_type.varying
