"""On a GPU or TPU the same code gives the same training, to float32 rounding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.data import as_inputs, mnist_small, one_hot
from jaxnets.nets import mlp
from jaxnets.ops.activations import linear, sigmoid
from jaxnets.ops.losses import sigmoid_cross_entropy
from jaxnets.train import fit, gradient_step, init_state


@pytest.mark.accelerator
def test_training_is_the_same_as_on_the_cpu():
    assert jax.default_backend() != "cpu"
    digits = mnist_small()
    data = as_inputs(digits.train_images)[:1000], one_hot(digits.train_labels, 10)[:1000]
    loss = functools.partial(mlp.loss, activations=(sigmoid, linear), cost=sigmoid_cross_entropy)
    optimizer = optax.sgd(0.5)

    def train():
        params = mlp.init(jax.random.key(0), (784, 30, 10))
        with jax.default_matmul_precision("highest"):
            state, _ = fit(
                gradient_step(loss, optimizer),
                init_state(params, optimizer),
                data,
                key=jax.random.key(1),
                batch_size=10,
                epochs=2,
            )
        return jax.tree.map(np.asarray, state.params)

    here = train()
    with jax.default_device(jax.devices("cpu")[0]):
        there = train()
    for ours, theirs in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-3 * np.linalg.norm(theirs)
    assert jnp.isfinite(here[0].w).all()
