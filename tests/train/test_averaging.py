"""The mean of the parameters over the last steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.train import averaged, fit, gradient_step, init_averaged, init_state

OPTIMIZER = optax.sgd(0.1, momentum=0.9)
DATA = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)


def loss(params, batch):
    return jnp.mean((batch @ params["w"] - 1) ** 2)


STEP = gradient_step(loss, OPTIMIZER)


def start():
    return init_state({"w": jnp.ones(3)}, OPTIMIZER)


def test_the_parameters_are_trained_as_without_it_and_averaged():
    options = {"key": jax.random.key(0), "batch_size": 8}
    alone, _ = fit(STEP, start(), DATA, epochs=2, **options)
    state, _ = fit(averaged(STEP, 0.75), init_averaged(start(), 0.75), DATA, epochs=2, **options)
    np.testing.assert_array_equal(state.params.params["w"], alone.params["w"])

    seen = []

    def keep(state, batch):
        after, value = STEP(state, batch)
        jax.debug.callback(seen.append, after.params["w"], ordered=True)
        return after, value

    fit(keep, start(), DATA, epochs=2, **options)
    jax.effects_barrier()
    weights = 0.75 ** np.arange(6)[::-1]
    np.testing.assert_allclose(state.params.mean["w"], np.average(seen, axis=0, weights=weights), rtol=1e-6)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize("make", [lambda: averaged(STEP, 1.0), lambda: init_averaged(start(), 1.0)])
def test_a_decay_that_is_none(make):
    with pytest.raises(ValueError, match=r"averaged: decay is 1\.0, wanted at least 0 and less than 1"):
        make()
