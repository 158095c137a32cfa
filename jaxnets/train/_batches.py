"""Batches of a pytree of arrays with a common first axis, the examples."""

from typing import Any

import jax
from jaxtyping import Array, Integer


def count_examples(function: str, data: Any) -> int:
    """Return the length of the first axis that all leaves of the data share.

    Raises ValueError, in the name of the function, when the data is empty, a leaf is no array or has no axis, or the
    leaves do not agree.
    """
    leaves = [("data" + jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(data)]
    if not leaves:
        raise ValueError(f"{function}: data holds no arrays")
    for name, leaf in leaves:
        if not (hasattr(leaf, "__getitem__") and hasattr(leaf, "dtype") and getattr(leaf, "shape", ())):
            raise ValueError(f"{function}: {name} is {leaf!r}, wanted an array whose first axis is the examples")
    first, examples = leaves[0][0], leaves[0][1].shape[0]
    for name, leaf in leaves:
        if leaf.shape[0] != examples:
            raise ValueError(f"{function}: {name} has {leaf.shape[0]} examples, {first} has {examples}")
    if examples == 0:
        raise ValueError(f"{function}: data has no examples ({first} {leaves[0][1].shape})")
    return examples


def take_examples(data: Any, rows: Integer[Array, " batch"]) -> Any:
    """Return the given rows, each of which must be in range, of every leaf."""
    return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds", wrap_negative_indices=False), data)
