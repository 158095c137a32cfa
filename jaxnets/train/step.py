"""What one step of training is: a pure function from a state and a batch to the next state and its losses.

The loop (`fit`) asks nothing more of a step, so anything that trains can be one: a gradient step with an Optax
optimizer (`gradient_step`), contrastive divergence, or a kernel that runs several exact updates in one call.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array

from jaxnets.train.accumulation import value_and_grad_in_parts


class State(NamedTuple):
    """All that a step carries to the next one; each field is any pytree of arrays.

    A step that draws random numbers keeps its key in `opt_state` and splits it there.
    """

    params: Any
    opt_state: Any


Step = Callable[[State, Any], tuple[State, Array]]
"""`step(state, batch) -> (state, losses)`: `losses` is a scalar, or a vector of k of them, one for each k-th part of
the batch, in order."""


def init_state(params: Any, optimizer: optax.GradientTransformation) -> State:
    """Return the state in which training with `gradient_step(loss, optimizer)` starts."""
    with jax.numpy_dtype_promotion("standard"):
        return State(params, optimizer.init(params))


def gradient_step(
    loss: Callable[[Any, Any], Array], optimizer: optax.GradientTransformation, *, micro_batch: int | None = None
) -> Step:
    """Return the step that moves the parameters once along the optimizer's update of the gradient of `loss`.

    `loss(params, batch)` is a floating-point scalar, the mean over the examples of the batch. It is reported as it was
    before the update. The optimizer is given the parameters (weight decay needs them) and, if it takes extra
    arguments, `value`, `grad` and `value_fn` (line searches, L-BFGS, `reduce_on_plateau` need them).

    With `micro_batch` the gradient is taken of so many examples at a time and averaged: the same step, in less memory
    (see `value_and_grad_in_parts`, and its errors).
    """
    value_and_grad = jax.value_and_grad(loss) if micro_batch is None else value_and_grad_in_parts(loss, micro_batch)

    def step(state: State, batch: Any) -> tuple[State, Array]:
        value, grads = value_and_grad(state.params, batch)
        extra = {"value": value, "grad": grads, "value_fn": lambda params: loss(params, batch)}
        return State(*_moved(optimizer, state.params, state.opt_state, grads, extra)), value

    return step


class Stateful(NamedTuple):
    """The parameters of a network, and what it carries from batch to batch besides (running statistics)."""

    params: Any
    carried: Any


def init_stateful(params: Any, carried: Any, optimizer: optax.GradientTransformation, key: Array) -> State:
    """Return the state in which training with `stateful_step(loss, optimizer)` starts."""
    opt_state = init_state(params, optimizer).opt_state
    return State(Stateful(params, carried), (opt_state, key))


def stateful_step(
    loss: Callable[[Any, Any, Any, Array], tuple[Array, Any]], optimizer: optax.GradientTransformation
) -> Step:
    """Return the step for a network that carries something from batch to batch, or draws random numbers.

    As `gradient_step`, with `loss(params, carried, batch, key) -> (scalar, carried)`, whose key is another one in every
    step; `State.params` is a `Stateful`.
    """

    def step(state: State, batch: Any) -> tuple[State, Array]:
        (params, carried), (opt_state, key) = state
        key, step_key = jax.random.split(key)
        (value, moved), grads = jax.value_and_grad(loss, has_aux=True)(params, carried, batch, step_key)

        def value_fn(params: Any) -> Array:
            return loss(params, carried, batch, step_key)[0]

        extra = {"value": value, "grad": grads, "value_fn": value_fn}
        params, opt_state = _moved(optimizer, params, opt_state, grads, extra)
        return State(Stateful(params, moved), (opt_state, key)), value

    return step


class Estimating(NamedTuple):
    """What a step that estimates its direction carries besides the parameters."""

    opt_state: Any
    carried: Any
    key: Array


def init_estimating(params: Any, carried: Any, optimizer: optax.GradientTransformation, key: Array) -> State:
    """Return the state in which training with `estimating_step(estimate, optimizer)` starts."""
    return State(params, Estimating(init_state(params, optimizer).opt_state, carried, key))


def estimating_step(
    estimate: Callable[[Any, Any, Any, Array], tuple[Any, Any, Array]], optimizer: optax.GradientTransformation
) -> Step:
    """Return the step along a direction that need not be the gradient of anything.

    `estimate(params, carried, batch, key) -> (direction, carried, value)` draws with a key that is another one in every
    step.  The optimizer is given the direction where it is given the gradient otherwise, so the parameters go against
    it; `value` is what is reported.  What is carried (the states of Markov chains) is in `State.opt_state`, an
    `Estimating`.  An optimizer that asks for the loss at other parameters cannot be used.
    """

    def step(state: State, batch: Any) -> tuple[State, Array]:
        params, (opt_state, carried, key) = state
        key, step_key = jax.random.split(key)
        direction, carried, value = estimate(params, carried, batch, step_key)
        params, opt_state = _moved(optimizer, params, opt_state, direction, {"value": value})
        return State(params, Estimating(opt_state, carried, key)), value

    return step


def _moved(
    optimizer: optax.GradientTransformation, params: Any, opt_state: Any, grads: Any, extra: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The parameters and the optimizer's state after one update."""
    update = optax.with_extra_args_support(optimizer).update
    # Optax's own arithmetic mixes dtypes (a step count, a decay rate); the loss keeps the caller's setting.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = update(grads, opt_state, params, **extra)
        return optax.apply_updates(params, updates), opt_state
