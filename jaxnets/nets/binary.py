"""Units that are 0 or 1: draws from their probabilities, and all of their joint states one by one."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

T = TypeVar("T")
States = Float[Array, "states units"]

MOST_ENUMERATED = 20
"""So many units have a million joint states, which is as far as sums over all of them go here."""


def sample_bernoulli(key: Key[Array, ""], p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 with probability p, else 0, independently, in the dtype of p.  No gradient passes a draw."""
    return jax.random.bernoulli(key, p).astype(p.dtype)


def states(numbers: Integer[Array, " states"], units: int, dtype: Any = jnp.float32) -> States:
    """The joint states of so many units with these numbers, from 0 to 2^units - 1: their binary digits, lowest first.

    >>> all_of_them = states(jnp.arange(2**units), units)
    """
    return ((numbers[:, None] >> jnp.arange(units, dtype=numbers.dtype)[None, :]) & 1).astype(dtype)


def log_sum_over_states(
    log_weights: Callable[[States], Float[Array, " states"]], units: int, dtype: Any, *, block: int
) -> tuple[Float[Array, ""], Float[Array, " all_states"]]:
    """Logarithm of Σ_s e^log_weights(s) over all joint states, and the probability of each of them, in order of number.

    So many states as a block, a power of two, are held at a time.  ValueError if it is none.
    """
    each = jax.lax.map(lambda part: log_weights(states(part, units, dtype)), _numbers(units, block)).ravel()
    total = jax.nn.logsumexp(each)
    return total, jnp.exp(each - total)


def sum_over_states(
    part: Callable[[States, Float[Array, " states"]], T], p: Float[Array, " all_states"], units: int, *, block: int
) -> T:
    """The sum of `part(s, p of s)` over blocks of all joint states, as `log_sum_over_states` gives p."""
    numbers = _numbers(units, block)
    each = p.reshape(numbers.shape)

    def of(numbers: Integer[Array, " states"], p: Float[Array, " states"]) -> T:
        return part(states(numbers, units, p.dtype), p)

    def add(total: T, block: tuple[Integer[Array, " states"], Float[Array, " states"]]) -> tuple[T, None]:
        return jax.tree.map(jnp.add, total, of(*block)), None

    start = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(of, numbers[0], each[0]))
    return jax.lax.scan(add, start, (numbers, each))[0]


def check_enumerable(name: str, what: str, units: int, most: int = MOST_ENUMERATED) -> None:
    """ValueError, in the name of the function `name`, if so many units have too many joint states."""
    if units > most:
        raise ValueError(f"{name}: {what} has {units} units, wanted at most {most} (2^{most} states are summed over)")


def _numbers(units: int, block: int) -> Integer[Array, "blocks block"]:
    """The numbers of all states, a row for those that are held at a time."""
    if block < 1 or block & (block - 1):
        raise ValueError(f"sum over states: block is {block}, wanted a power of two")
    return jnp.arange(2**units).reshape(-1, min(block, 2**units))
