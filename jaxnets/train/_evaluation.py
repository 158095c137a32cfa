"""What is measured after an epoch: the caller's function of the parameters, compiled once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array

from .placement import Placement

Evaluate = Callable[[Any], Mapping[str, Array]]
"""From the parameters to named scalars."""


def compiled_evaluate(
    function: str,
    evaluate: Evaluate | None,
    params: Any,
    *,
    members: bool = False,
    placement: Placement | None = None,
) -> Callable[[Any], dict[str, Any]]:
    """Return params -> the metrics as floats; of many members, stacked, as arrays.

    The arrays that `evaluate` closes over (a test set) are passed as arguments: as constants they would be written
    into the compiled program, seconds of compiling for 60,000 images.

    Args:
      function: that errors are raised in the name of.
      evaluate: None measures nothing.
      params: of one member.
      members: whether what is returned is given the parameters of many.
      placement: on which the parameters are.
    """
    if evaluate is None:
        return lambda params: {}
    closed, shapes = jax.make_jaxpr(evaluate, return_shape=True)(params)
    if not isinstance(shapes, Mapping):
        raise TypeError(f"{function}: evaluate returned {type(shapes).__name__}, wanted a dict of named scalars")
    for name, metric in shapes.items():
        if metric.shape != ():
            raise ValueError(f"{function}: evaluate returned {name} of shape {metric.shape}, wanted a scalar")
    structure = jax.tree.structure(shapes)
    consts = closed.consts if placement is None else placement.whole(closed.consts)

    def of_one(consts: Any, leaves: Any) -> Any:
        return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, consts))(*leaves)

    results = None if placement is None else placement.everywhere()
    run = jax.jit(jax.vmap(of_one, in_axes=(None, 0)) if members else of_one, out_shardings=results)

    def metrics_of(params: Any) -> dict[str, Any]:
        values = jax.tree.unflatten(structure, run(consts, jax.tree.leaves(params)))
        return {name: np.asarray(value, float) if members else float(value) for name, value in values.items()}

    return metrics_of
