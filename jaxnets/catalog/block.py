"""The SGD kernel as a derivation: where it ends says what the sum of the gradients along its path is."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.kernels.mlp_sgd import sgd_block
from jaxnets.nets import mlp
from jaxnets.ops import activations, losses
from jaxnets.rule import autodiff

SETTING: dict[str, Any] = {"activations": (activations.sigmoid, activations.tanh, activations.sigmoid), "l2": 0.1}
RATE, BATCH = 2.0, 4


def _minibatches(pixels: Array, labels: Array) -> tuple[Array, Array]:
    x, t = pixels / 255, jax.nn.one_hot(labels, 3)
    return x, t.astype(x.dtype)


def sample(key: Array) -> tuple[Any, ...]:
    """Integer images and labels: the kernel gives no gradient with respect to the data."""
    params_key, x_key, t_key = jax.random.split(key, 3)
    params = mlp.init(params_key, (30, 7, 5, 3), dtype=float)
    return params, jax.random.randint(x_key, (24, 30), 0, 256), jax.random.randint(t_key, (24,), 0, 3)


def sum_of_losses_along_the_path(params: mlp.Params, pixels: Array, labels: Array) -> Array:
    """A function of w_0 whose gradient is the sum of the gradients of all steps, each where that step is taken.

    The path w_0, w_1, ... of plain gradient descent, by autodiff, is held fixed relative to w_0.
    """
    x, t = _minibatches(pixels, labels)
    loss = autodiff(partial(mlp.loss, **SETTING, cost=losses.quadratic))
    offset, total = jax.tree.map(jnp.zeros_like, params), jnp.zeros((), x.dtype)
    for start in range(0, len(labels), BATCH):
        batch = x[start : start + BATCH], t[start : start + BATCH]
        here = jax.tree.map(jnp.add, params, offset)
        total = total + loss(here, batch)
        slope = jax.lax.stop_gradient(jax.grad(loss)(here, batch))
        offset = jax.tree.map(lambda d, g: d - RATE * g, offset, slope)
    return total


def gradient(params: mlp.Params, pixels: Array, labels: Array) -> tuple[Any, ...]:
    """The same sum, from where the kernel ends: (w_0 - w_k) / η.

    It says nothing of the losses, (MK4) and (MK6), which move no parameter: they have a test and a cell of their own.
    """
    after, _ = sgd_block(
        params,
        _minibatches(pixels, labels),
        **SETTING,
        cost=losses.quadratic,
        learning_rate=RATE,
        batch_size=BATCH,
        group=4,
    )
    return jax.tree.map(lambda before, end: (before - end) / RATE, params, after), None, None
