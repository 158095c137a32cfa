"""Many networks trained at once: one compiled program, mapped over parameters and hyperparameters.

    def step_of(rate):
        return gradient_step(loss, optax.sgd(rate))

    def init(key, rate):
        return init_state(mlp.init(key, sizes), optax.sgd(rate))

    states, history = sweep(step_of, init, data, settings=rates, keys=keys, order=order, batch_size=10, epochs=30)

The members differ in their keys and settings; there is no loop over them.  With one order for all they see the same
batches, which are then read once for all of them.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from ._arguments import check_key, check_sizes
from ._batches import take_examples
from ._epoch import checked_step, epoch_order, finite_leaves
from ._evaluation import Evaluate, compiled_evaluate
from .step import State, Step


class MembersEpoch(NamedTuple):
    """What an epoch came to, for each member; `loss` and `metrics` as those of `Epoch`, `seconds` for all together."""

    epoch: int
    loss: Float[np.ndarray, " members"]
    metrics: Mapping[str, Float[np.ndarray, " members"]]
    seconds: float
    finite: Bool[np.ndarray, " members"]
    """Whether all losses and parameters were, in this epoch.  A member of which they are not stops no other."""


def sweep(
    step_of: Callable[[Any], Step],
    init: Callable[[Key[Array, ""], Any], State],
    data: Any,
    *,
    settings: Any,
    keys: Key[Array, " members"],
    order: Key[Array, "*members"],
    batch_size: int,
    epochs: int,
    evaluate: Evaluate | None = None,
    on_epoch: Callable[[MembersEpoch], object] | None = None,
) -> tuple[State, tuple[MembersEpoch, ...]]:
    """Train all members for some epochs; return their last states, stacked, and the history.

    A member ends as `fit(step_of(setting), init(key, setting), data, key=order, ...)` does, but for rounding.

    Args:
      step_of: from one member's setting, a tree of scalars that are traced, to its step.
      init: from one member's key and setting to the state in which it starts.
      data: for all members, as for `fit`.
      settings: a tree of arrays whose first axis is the members.
      keys: one for each member, for `init`.
      order: what `fit` calls `key`: one for all members, or one for each.
      evaluate: as for `fit`, of the parameters of one member.
      on_epoch: called after each epoch.

    Raises:
      ValueError, TypeError: as `fit`; or if settings, keys and orders are not for as many members.
    """
    history: list[MembersEpoch] = []
    states = None
    for trained, epoch in sweep_by_epoch(
        step_of,
        init,
        data,
        settings=settings,
        keys=keys,
        order=order,
        batch_size=batch_size,
        epochs=epochs,
        evaluate=evaluate,
    ):
        states = trained
        history.append(epoch)
        if on_epoch is not None:
            on_epoch(epoch)
    return jax.vmap(init)(keys, settings) if states is None else states, tuple(history)


def sweep_by_epoch(
    step_of: Callable[[Any], Step],
    init: Callable[[Key[Array, ""], Any], State],
    data: Any,
    *,
    settings: Any,
    keys: Key[Array, " members"],
    order: Key[Array, "*members"],
    batch_size: int,
    epochs: int,
    evaluate: Evaluate | None = None,
) -> Iterator[tuple[State, MembersEpoch]]:
    """Train as `sweep` does, yielding the stacked states and the `MembersEpoch` after each epoch."""
    examples = check_sizes("sweep", data, batch_size, epochs)
    _check_members(settings, keys, order)
    return _epochs(step_of, init, data, settings, keys, order, examples, batch_size, epochs, evaluate)


def _epochs(
    step_of: Callable[[Any], Step],
    init: Callable[[Key[Array, ""], Any], State],
    data: Any,
    settings: Any,
    keys: Any,
    order: Any,
    examples: int,
    batch_size: int,
    epochs: int,
    evaluate: Evaluate | None,
) -> Iterator[tuple[State, MembersEpoch]]:
    axes = jax.tree.map(_axis, jax.eval_shape(init, keys[0], jax.tree.map(lambda a: a[0], settings)))
    data = jax.tree.map(jnp.asarray, data)
    state = jax.jit(jax.vmap(init, out_axes=axes))(keys, settings)
    run = jax.jit(_epoch_of_all(step_of, axes, examples, batch_size), donate_argnums=1, keep_unused=True)
    compiled = run.lower(settings, state, data, order, np.uint32(1)).compile()
    metrics_of = compiled_evaluate("sweep", evaluate, member(_stacked(state, axes), 0).params, members=True)
    for number in range(1, epochs + 1):
        begin = time.perf_counter()
        state, losses, finite = jax.block_until_ready(compiled(settings, state, data, order, np.uint32(number)))
        seconds = time.perf_counter() - begin
        loss = _mean_over_examples(losses, examples, batch_size)
        good = np.isfinite(loss) & np.asarray(finite)
        states = _stacked(state, axes)
        yield states, MembersEpoch(number, loss, metrics_of(states.params), seconds, good)


def member(states: State, number: int) -> State:
    """One of stacked states."""
    return jax.tree.map(lambda a: a[number], states)


def _axis(leaf: jax.ShapeDtypeStruct) -> int:
    """Where the axis of the members stands in the loop: before the last one of each array.

    The kernels of all members side by side are one matrix, so that the product of a batch with all of them is one
    product.  With the members first, the compiler would turn the kernels around in every step.
    """
    return max(leaf.ndim - 1, 0)


def _stacked(state: State, axes: Any) -> State:
    """The members first."""
    return jax.tree.map(lambda a, axis: jnp.moveaxis(a, axis, 0), state, axes)


def _epoch_of_all(step_of: Callable[[Any], Step], axes: Any, examples: int, batch_size: int) -> Callable[..., Any]:
    """Return epoch(settings, state, data, order, number) -> (state, losses, which members are finite).

    Of the whole and of the rest batches the losses are (steps, members, losses of a step).
    """
    steps = examples // batch_size

    def one(setting: Any, state: State, batch: Any) -> Any:
        return checked_step("fit", step_of(setting), state, batch)

    def epoch(settings: Any, state: State, data: Any, order: Any, number: Any) -> Any:
        own = order.ndim == 1
        every = jax.vmap(one, in_axes=(0, axes, 0 if own else None), out_axes=(axes, 0))

        def body(state: State, rows: Array) -> Any:
            batch = jax.vmap(take_examples, (None, 0))(data, rows) if own else take_examples(data, rows)
            return every(settings, state, batch)

        def orders(key: Any) -> Array:
            return epoch_order(key, number, examples)

        rows = jax.vmap(orders, out_axes=1)(order) if own else orders(order)
        whole, rest = jnp.split(rows, [steps * batch_size])
        whole = whole.reshape(steps, batch_size, *rows.shape[1:])
        if own:
            whole, rest = whole.swapaxes(1, 2), rest.T
        state, each = jax.lax.scan(body, state, whole)
        losses = [each]
        if rest.size:
            state, last = body(state, rest)
            losses.append(last[None])
        # Once an epoch: what is not finite does not become so again, and to look at all parameters takes time.
        return state, losses, jax.vmap(finite_leaves)(_stacked(state, axes).params).all(1)

    return epoch


def _mean_over_examples(losses: list[Array], examples: int, batch_size: int) -> np.ndarray:
    """Of each member; a batch counts by its examples."""
    each = (np.asarray(part, np.float64) for part in losses)
    whole, *rest = (part.reshape(*part.shape[:2], -1).mean(axis=(0, 2)) for part in each)
    share = examples // batch_size * batch_size / examples
    return share * whole + (1 - share) * rest[0] if rest else whole


def _check_members(settings: Any, keys: Any, order: Any) -> None:
    check_key("sweep", order, called="order", ndims=(0, 1))
    check_key("sweep", keys, called="keys", ndims=(1,))
    sizes = {"keys": keys.shape[0]} | ({"order": order.shape[0]} if order.ndim else {})
    for path, leaf in jax.tree.leaves_with_path(settings):
        sizes["settings" + jax.tree_util.keystr(path)] = np.shape(leaf)[0] if np.ndim(leaf) else 0
    if len(set(sizes.values())) != 1 or not keys.shape[0]:
        raise ValueError(f"sweep: wanted one entry for each member, got {sizes}")
