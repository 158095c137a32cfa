"""Parameters to the nested dictionaries of Flax, and back.

>>> variables = to_flax(params, linen.lenet)
>>> params = from_flax(variables, jax.eval_shape(lenet.init, jax.random.key(0)), linen.lenet)
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets.interop.places import Naming, Path, Place


class _Leaf(NamedTuple):
    """One array of ours, and its place there."""

    name: str
    array: Any
    place: Place


def to_flax(params: Any, naming: Naming) -> dict[Any, Any]:
    """The variables of the Flax module with these parameters.

    Args:
      params: of the network; of networks with running statistics, (parameters, statistics).
      naming: such as `jaxnets.interop.linen.mlp`.

    Returns:
      For linen the dictionary that `module.apply` takes, {"params": ...} and perhaps "batch_stats"; for NNX the pure
      dictionary of the module's state, which `jaxnets.interop.modules.filled` puts into a module.

    Raises:
      ValueError: if an array cannot be laid out as Flax does; it is named.
    """
    found: dict[Path, Any] = {}
    for name, array, place in _leaves("to_flax", params, naming):
        for path, theirs in zip(place.paths, _split("to_flax", name, place.split, array), strict=True):
            if path in found:
                raise ValueError(f"to_flax: the naming has two arrays at {_name(path)}, one of them {name}")
            found[path] = theirs
    return _nested(found)


def from_flax(variables: Mapping[Any, Any], like: Any, naming: Naming) -> Any:
    """The parameters that a Flax module's variables are: what `to_flax` makes these variables of.

    Args:
      variables: nested dictionaries of arrays, as `to_flax` makes them, with nothing besides.  Dtypes stay as they are:
        Flax has running statistics in float32 whatever its parameters are.
      like: parameters of the wanted structure and shapes, such as `jax.eval_shape` of the network's `init`.
      naming: the one given to `to_flax`.

    Raises:
      ValueError: if an array is missing, is left over, or has another shape; it is named as Flax names it.
    """
    given = dict(_flat(variables))
    ours = []
    for leaf in _leaves("from_flax", like, naming):
        wanted = _split("from_flax", leaf.name, partial(jax.eval_shape, leaf.place.split), leaf.array)
        parts = [_taken(given, path, part, leaf.name) for path, part in zip(leaf.place.paths, wanted, strict=True)]
        ours.append(leaf.place.join(parts, jax.ShapeDtypeStruct(leaf.array.shape, leaf.array.dtype)))
    if given:
        left = ", ".join(map(_name, given))
        raise ValueError(f"from_flax: the parameters have no place for {left}")
    return jax.tree.unflatten(jax.tree.structure(like), ours)


def _leaves(who: str, params: Any, naming: Naming) -> list[_Leaf]:
    arrays, structure = jax.tree_util.tree_flatten_with_path(params)
    named = naming(params)
    try:
        places = structure.flatten_up_to(named)
    except ValueError as error:
        raise ValueError(f"{who}: the naming has another structure than the parameters: {error}") from None
    names = [jax.tree_util.keystr(path) or "the array" for path, _ in arrays]
    for name, place in zip(names, places, strict=True):
        if not isinstance(place, Place):
            raise ValueError(f"{who}: the naming has {place!r} for {name}, wanted a Place")
    return [_Leaf(name, array, place) for name, (_, array), place in zip(names, arrays, places, strict=True)]


def _split(who: str, name: str, split: Callable[[Any], tuple[Any, ...]], array: Any) -> tuple[Any, ...]:
    try:
        return split(array)
    except ValueError as error:
        raise ValueError(f"{who}: {name} {error}") from None


def _taken(given: dict[Path, Any], path: Path, wanted: Any, name: str) -> Any:
    """The array at a path, out of those given."""
    if path not in given:
        raise ValueError(f"from_flax: {_name(path)} is missing, wanted {wanted.shape} for {name}")
    theirs = given.pop(path)
    if not isinstance(theirs, jax.Array | np.ndarray):
        raise ValueError(f"from_flax: {_name(path)} is a {type(theirs).__name__}, wanted an array for {name}")
    if theirs.shape != wanted.shape:
        raise ValueError(f"from_flax: {_name(path)} has shape {theirs.shape}, wanted {wanted.shape} for {name}")
    return theirs


def _flat(tree: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    if not isinstance(tree, Mapping):
        yield above, tree
        return
    for key, below in tree.items():
        yield from _flat(below, (*above, key))


def _nested(flat: Mapping[Path, Any]) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for path, array in flat.items():
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = array
    return tree


def _name(path: Path) -> str:
    return "/".join(map(str, path))
