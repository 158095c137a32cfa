"""Weight averaging: beside the parameters that are trained, their mean over the last steps, which is less noisy.

    step = averaged(gradient_step(loss, optimizer), 0.999)
    state, _ = fit(step, init_averaged(init_state(params, optimizer), 0.999), data, ...)
    state.params.mean

The mean is Optax's: with the decay ρ the parameters after each step count ρ times as much as those after the next one,
and the weights add up to 1 from the first step on.

Source: Polyak and Juditsky 1992, Acceleration of stochastic approximation by averaging, for means of all steps.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from .step import State, Step


class Averaged(NamedTuple):
    """The parameters that are trained, and their mean over the last steps; before the first step, themselves."""

    params: Any
    mean: Any


def init_averaged(state: State, decay: float) -> State:
    """Return the state in which training with `averaged(step, decay)` starts, for a step that starts in `state`.

    Raises:
      ValueError: if the decay is not in [0, 1).
    """
    return State(
        Averaged(state.params, state.params), (state.opt_state, _ema("init_averaged", decay).init(state.params))
    )


def averaged(step: Step, decay: float) -> Step:
    """Return the step that also averages; its `State.params` is an `Averaged`.

    Raises:
      ValueError: if the decay is not in [0, 1).
    """
    ema = _ema("averaged", decay)

    def averaging(state: State, batch: Any) -> tuple[State, Array]:
        opt_state, means = state.opt_state
        after, losses = step(State(state.params.params, opt_state), batch)
        with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic
            mean, means = ema.update(after.params, means)
        mean = jax.tree.map(lambda a, like: jnp.asarray(a, like.dtype), mean, after.params)
        return State(Averaged(after.params, mean), (after.opt_state, means)), losses

    return averaging


def _ema(function: str, decay: float) -> optax.GradientTransformation:
    if not 0 <= decay < 1:
        raise ValueError(f"{function}: decay is {decay}, wanted at least 0 and less than 1")
    return optax.ema(decay, debias=True)
