"""Numbers of eight bytes as two of four: JAX calls back in a thread of its own, where it may cut them to four."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

_WIDE = (jnp.float64, jnp.int64, jnp.uint64)


def halved(x: Any) -> Any:
    """The halves along a new last axis; of a complex number those of its parts.  Anything narrow stays as it is."""
    if x.dtype == jnp.complex128:
        return jnp.concatenate([halved(x.real), halved(x.imag)], axis=-1)
    return lax.bitcast_convert_type(x, jnp.uint32) if x.dtype in _WIDE else x


def joined(halves: Any, dtype: Any) -> Any:
    """The array of this dtype whose halves these are."""
    if dtype not in (*_WIDE, jnp.complex128):
        return halves
    return jnp.asarray(np.ascontiguousarray(halves).view(dtype)[..., 0])
