"""What a case of the benchmark is, and what all cases share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Sample = Callable[[jax.Array], tuple[Any, ...]]


class Case(NamedTuple):
    """A loss and its derivation by hand, right or wrong.

    `loss(*args)` is a scalar; it names the values whose deltas the derivation gives.  `hand(*args)` is JAX code and
    returns (gradients, deltas).  `sample(key)` draws the arguments, in JAX's default precision.  `wrong` holds the
    names of the deltas and leaves whose equations are wrong, none if the derivation is right, and `mistake` says what
    is wrong.  `sampler(key, *, batch, ...)` draws arguments of other sizes, where only those show the mistake.
    """

    name: str
    loss: Callable[..., Any]
    hand: Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]
    sample: Sample
    wrong: tuple[str, ...] = ()
    mistake: str = ""
    sampler: Callable[..., tuple[Any, ...]] | None = None


def normals(key: jax.Array, *shapes: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Independent normal arrays."""
    keys = jax.random.split(key, len(shapes))
    return tuple(jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True))


def times(factor: float, sample: Sample) -> Sample:
    """The same sample with every floating-point array scaled."""

    def scaled(key: jax.Array) -> tuple[Any, ...]:
        return jax.tree.map(lambda a: a * factor if jnp.issubdtype(a.dtype, jnp.floating) else a, sample(key))

    return scaled


def affine(x: Any, w: Any, b: Any) -> Any:
    """A fully connected layer, for rows."""
    return x @ w + b[None, :]


def keep(value: Any) -> Any:
    """No change: where a mistake could be made, and is not."""
    return value
