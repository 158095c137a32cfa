"""The arguments that all training loops have, checked before anything is compiled."""

from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._batches import count_examples


def check_key(function: str, key: Any, *, called: str = "key", ndims: tuple[int, ...] = (0,)) -> None:
    """TypeError unless it holds typed keys, ValueError unless it has one of these numbers of axes."""
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        got = f"{key.dtype} array of shape {key.shape}" if isinstance(key, jax.Array | np.ndarray) else repr(key)
        raise TypeError(f"{function}: {called} is {got}, wanted a typed key, as from jax.random.key(0)")
    if key.ndim not in ndims:
        wanted = " or ".join("one key of shape ()" if ndim == 0 else "a vector of keys" for ndim in ndims)
        raise ValueError(f"{function}: {called} has shape {key.shape}, wanted {wanted}")


def check_sizes(function: str, data: Any, batch_size: Any, epochs: Any, start: Any = 0, processes: int = 1) -> int:
    """How many examples so many processes have; ValueError or TypeError if the sizes do not fit them."""
    for name, value, least in (("batch_size", batch_size, 1), ("epochs", epochs, 0), ("start", start, 0)):
        _check_int(function, name, value, least)
    examples = processes * count_examples(function, data)
    if batch_size > examples:
        raise ValueError(f"{function}: batch_size is {batch_size}, but data has {examples} examples")
    return examples


def check_stream(function: str, stream: Any) -> None:
    """ValueError or TypeError unless it is None or a number of batches that are sent at a time."""
    if stream is not None:
        _check_int(function, "stream", stream, 2)


def _check_int(function: str, name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{function}: {name} is {value!r}, wanted an int")
    if value < least:
        raise ValueError(f"{function}: {name} is {value}, wanted at least {least}")
