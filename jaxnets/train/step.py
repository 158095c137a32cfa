"""What one step of training is: a pure function from a state and a batch to the next state and its losses.

The loop (`fit`) asks nothing more of a step, so anything that trains can be one: a gradient step with an Optax
optimizer (`gradient_step`), contrastive divergence, or a kernel that runs several exact updates in one call.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array


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


def gradient_step(loss: Callable[[Any, Any], Array], optimizer: optax.GradientTransformation) -> Step:
    """Return the step that moves the parameters once along the optimizer's update of the gradient of `loss`.

    `loss(params, batch)` is a floating-point scalar, the mean over the examples of the batch. It is reported as it was
    before the update. The optimizer is given the parameters (weight decay needs them) and, if it takes extra
    arguments, `value`, `grad` and `value_fn` (line searches, L-BFGS, `reduce_on_plateau` need them).
    """
    update = optax.with_extra_args_support(optimizer).update

    def step(state: State, batch: Any) -> tuple[State, Array]:
        value, grads = jax.value_and_grad(loss)(state.params, batch)
        # Optax's own arithmetic mixes dtypes (a step count, a decay rate); the loss above keeps the caller's setting.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = update(
                grads,
                state.opt_state,
                state.params,
                value=value,
                grad=grads,
                value_fn=lambda params: loss(params, batch),
            )
            return State(optax.apply_updates(state.params, updates), opt_state), value

    return step
