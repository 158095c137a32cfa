"""Steps of training that are measured at several sizes, each in a compiled loop."""

from functools import partial
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.nets import lenet, mlp
from jaxnets.ops.activations import linear, relu
from jaxnets.ops.losses import softmax_cross_entropy
from jaxnets.train import State, Step, gradient_step, init_state
from jaxnets.train.profile import repeated

OPTIMIZER = optax.sgd(0.01)


class Point(NamedTuple):
    """One step that is measured."""

    series: str
    size: int
    """What grows in the series."""
    step: Step
    state: State
    batch: Any


def mlp_point(series: str, size: int, batch: int, width: int) -> Point:
    loss = partial(mlp.loss, activations=(relu, relu, linear), cost=softmax_cross_entropy)
    params = mlp.init(jax.random.key(0), (784, width, width, 10), weights=mlp.HE)
    return Point(series, size, gradient_step(loss, OPTIMIZER), init_state(params, OPTIMIZER), examples(batch, (784,)))


def lenet_point(batch: int) -> Point:
    state = init_state(lenet.init(jax.random.key(0)), OPTIMIZER)
    step = gradient_step(lenet.loss, OPTIMIZER)
    return Point("LeNet-5, by batch", batch, step, state, examples(batch, (28, 28, 1)))


def examples(batch: int, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(batch, *shape)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(np.eye(10, dtype=np.float32)[rng.integers(0, 10, batch)])


def variant_of(point: Point, least_s: float = 0.01) -> harness.Variant:
    """As many steps in one call as hide the time of the call."""
    run = jax.jit(repeated(point.step), donate_argnums=0).lower(point.state, point.batch, np.int32(1)).compile()
    latest = [jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), point.state)]

    def steps(turns: int) -> None:
        latest[0], _ = jax.block_until_ready(run(latest[0], point.batch, np.int32(turns)))

    steps(1)
    turns = 1
    while harness.seconds_of(partial(steps, turns)) < least_s:
        turns *= 2
    return harness.Variant(partial(steps, turns), turns, run)
