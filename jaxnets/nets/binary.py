"""Units that are 0 or 1: draws from their probabilities, and all of their joint states one by one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

MOST_ENUMERATED = 20
"""So many units have a million joint states, which is as far as sums over all of them go here."""


def sample_bernoulli(key: Key[Array, ""], p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 with probability p, else 0, independently, in the dtype of p.  No gradient passes a draw."""
    return jax.random.bernoulli(key, p).astype(p.dtype)


def states(
    numbers: Integer[Array, " states"], units: int, dtype: jax.typing.DTypeLike = jnp.float32
) -> Float[Array, "states units"]:
    """The joint states of so many units with these numbers, from 0 to 2^units - 1: their binary digits, lowest first.

    >>> all_of_them = states(jnp.arange(2**units), units)
    """
    return ((numbers[:, None] >> jnp.arange(units, dtype=numbers.dtype)[None, :]) & 1).astype(dtype)


def check_enumerable(name: str, what: str, units: int, most: int = MOST_ENUMERATED) -> None:
    """ValueError, in the name of the function `name`, if so many units have too many joint states."""
    if units > most:
        raise ValueError(f"{name}: {what} has {units} units, wanted at most {most} (2^{most} states are summed over)")
