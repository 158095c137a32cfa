"""An epoch, compiled, over data that lies on the device."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Integer, Key

from ._epoch import Batching, NonFinite, batches_function, finite_leaves, order_in_shares
from .placement import Placement
from .step import State, Step

RunEpoch = Callable[[State, int], tuple[State, list[Array], list[Array], Array]]
"""(state, number) -> (state, losses, flags, ends): what `batches_function` returns, in parts that follow each other,
and whether each leaf of the parameters is finite after the epoch.  The state is donated."""


def compiled_epoch(
    step: Step,
    state: State,
    data: Any,
    key: Key[Array, ""],
    batching: Batching,
    non_finite: NonFinite,
    placement: Placement | None,
) -> RunEpoch:
    """Compile an epoch as one function, for a state and data where they lie."""
    run = batches_function(step, batching.shares, non_finite)
    if placement is not None:
        key = placement.whole(key)

    def epoch(state: State, data: Any, key: Key[Array, ""], number: Integer[Array, ""]) -> Any:
        order = order_in_shares(key, number, batching.examples, batching.shares)
        state, losses, flags = run(state, data, *batching.rows(order))
        return state, losses, flags, finite_leaves(state.params)

    compiled = compile_for(epoch, (state, data, key, np.uint32(1)), placement, results=4)

    def run_epoch(state: State, number: int) -> tuple[State, list[Array], list[Array], Array]:
        return compiled(state, data, key, np.uint32(number))

    return run_epoch


def compile_for(
    function: Callable[..., Any], arguments: tuple[Any, ...], placement: Placement | None, *, results: int
) -> Callable[..., Any]:
    """Compile a function from a state and more to a state and more, which is given the state away.

    The state goes into the next call, so it comes out as it went in; what else comes out can be read everywhere.
    """
    out = None
    if placement is not None:
        shardings = jax.tree.map(lambda leaf: leaf.sharding, arguments[0])
        out = (shardings, *(results - 1) * [placement.everywhere()])
    # An argument that is not kept has no sharding to tell, and a step may ignore part of its state.
    jitted = jax.jit(function, donate_argnums=0, keep_unused=True, out_shardings=out)
    compiled = jitted.lower(*arguments).compile()
    shardings = compiled.input_shardings[0][0]

    def call(state: State, *others: Any) -> Any:
        return compiled(jax.tree.map(_place, state, shardings), *others)

    return call


def _place(leaf: Array, sharding: jax.sharding.Sharding) -> Array:
    """Move it to where the compiled function takes it: on a mesh a leaf may come out laid out otherwise."""
    return leaf if leaf.sharding.is_equivalent_to(sharding, leaf.ndim) else jax.device_put(leaf, sharding)
