"""Arrays on their way through a callback.

JAX calls back in a thread of its own, which may know no float64 and cuts wide numbers to half; PRNG keys arrive as the
integers that they are made of.  So numbers of eight bytes travel as two of four, and keys as their data.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_WIDE = (jnp.float64, jnp.int64, jnp.uint64)


def halved(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """What travels, and how the array is made of it again."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        impl = jax.random.key_impl(x)
        return jax.random.key_data(x), lambda data: jax.random.wrap_key_data(jnp.asarray(data), impl=impl)
    if x.dtype == jnp.complex128:
        parts = [lax.bitcast_convert_type(part, jnp.uint32) for part in (x.real, x.imag)]
        return jnp.concatenate(parts, axis=-1), lambda halves: _joined(halves, x.dtype)
    if x.dtype in _WIDE:
        return lax.bitcast_convert_type(x, jnp.uint32), lambda halves: _joined(halves, x.dtype)
    return x, jnp.asarray


def _joined(halves: Any, dtype: Any) -> Any:
    return jnp.asarray(np.ascontiguousarray(halves).view(dtype)[..., 0])
