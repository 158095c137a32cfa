"""Parameters into NNX modules, and out of them."""

from functools import partial
from typing import Any, TypeVar

import jax
from flax import nnx

from jaxnets.interop.places import Naming
from jaxnets.interop.variables import from_flax, to_flax

M = TypeVar("M", bound=nnx.Module)


def filled(module: M, params: Any, naming: Naming) -> M:
    """A module like this one, with these parameters; this one stays as it is.

    Args:
      module: one of the right structure and shapes; `nnx.eval_shape` of its constructor will do.
      params: as for `jaxnets.interop.to_flax`.
      naming: such as `jaxnets.interop.nnx.mlp`.

    Raises:
      ValueError: if the module has other parameters than these, or of other shapes.
    """
    graph, kept, rest = nnx.split(module, (nnx.Param, nnx.BatchStat), ...)
    # NNX itself takes an array of any shape in the place of another.
    jax.eval_shape(partial(from_flax, like=params, naming=naming), nnx.to_pure_dict(kept))
    nnx.replace_by_pure_dict(kept, to_flax(params, naming))
    return nnx.merge(graph, kept, rest)


def parameters_of(module: nnx.Module, like: Any, naming: Naming) -> Any:
    """The parameters of a module, and its running statistics, as ours.

    Args:
      module: every `nnx.Param` and `nnx.BatchStat` in it must be one of ours.
      like: as for `jaxnets.interop.from_flax`.
      naming: such as `jaxnets.interop.nnx.mlp`.

    Raises:
      ValueError: as `jaxnets.interop.from_flax`.
    """
    return from_flax(nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat))), like, naming)
