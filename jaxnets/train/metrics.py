"""Evaluation: accuracy, and functions over a whole set run batch by batch, so that no temporary grows with the set."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ._batches import count_examples


def accuracy(outputs: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"]) -> Float[Array, ""]:
    """Return the fraction of examples whose largest output is the labelled one (of equal ones, the first counts).

    Raises ValueError when the labels are not integers of the shape of the outputs without their last axis.
    """
    if outputs.ndim == 0 or outputs.shape[:-1] != labels.shape or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"accuracy: labels are {labels.dtype}{list(labels.shape)}, wanted integers of shape "
            f"{list(outputs.shape[:-1])} (outputs {list(outputs.shape)})"
        )
    return jnp.mean(jnp.argmax(outputs, axis=-1) == labels.astype(int))


def apply_in_batches(function: Callable[[Any], Any], data: Any, *, batch_size: int) -> Any:
    """Return `function(data)`, computed batch by batch.

    `function` takes a pytree of arrays with the examples as first axis, and returns one whose examples each depend on
    that example alone. A last, smaller batch takes the rest. Raises ValueError when the data holds no examples, its
    leaves do not agree on how many, `batch_size` is less than 1, or the results do not have an example for each.
    """
    whole, rest, _ = _in_batches("apply_in_batches", _per_example(function), data, batch_size)
    whole = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), whole)
    return whole if rest is None else jax.tree.map(lambda *parts: jnp.concatenate(parts), whole, rest)


def mean_in_batches(function: Callable[[Any], Any], data: Any, *, batch_size: int) -> Any:
    """Return the mean of `function` over the examples, computed batch by batch.

    `function` takes a pytree of arrays with the examples as first axis, and returns a pytree of floating-point means
    over them (a loss, an accuracy, a dict of them). Each batch counts by its number of examples, so that the result is
    `function(data)` up to rounding. Sums are held in float32, or in float64 where the means are. Raises ValueError when
    the data holds no examples, its leaves do not agree on how many, `batch_size` is less than 1, or a result is not
    floating-point.
    """
    whole, rest, weight = _in_batches("mean_in_batches", function, data, batch_size)

    def mean(means: Array, last: Array | None = None) -> Array:
        if not jnp.issubdtype(means.dtype, jnp.floating):
            raise ValueError(f"mean_in_batches: function returned {means.dtype}, wanted floating-point means")
        wide = means.dtype if means.dtype == jnp.float64 else jnp.float32
        result = means.astype(wide).mean(0)
        if last is not None:
            result = result + (last.astype(wide) - result) * jnp.asarray(weight, wide)
        return result.astype(means.dtype)

    return jax.tree.map(mean, whole) if rest is None else jax.tree.map(mean, whole, rest)


def _per_example(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(batch: Any) -> Any:
        size = jax.tree.leaves(batch)[0].shape[0]
        result = function(batch)
        for leaf in jax.tree.leaves(result):
            if leaf.shape[:1] != (size,):
                raise ValueError(f"apply_in_batches: function returned shape {leaf.shape} for a batch of {size}")
        return result

    return checked


def _in_batches(name: str, function: Callable[[Any], Any], data: Any, batch_size: int) -> tuple[Any, Any, float]:
    """Return the results for the whole batches, stacked; that for the rest, or None; and the rest's share."""
    examples = count_examples(name, data)
    if batch_size < 1:
        raise ValueError(f"{name}: batch_size is {batch_size}, wanted at least 1")
    size = min(batch_size, examples)
    batches, rest = divmod(examples, size)
    data = jax.tree.map(jnp.asarray, data)

    def one(index: Integer[Array, ""]) -> Any:
        # A slice of the data as it lies; reshaping all of it into batches first would copy it where a rest is left.
        return function(jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, index * size, size), data))

    whole = jax.lax.map(one, jnp.arange(batches))
    last = function(jax.tree.map(lambda leaf: leaf[examples - rest :], data)) if rest else None
    return whole, last, rest / examples
