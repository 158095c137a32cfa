"""Members that are trained together become what they would have become alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.train import fit, gradient_step, init_state, member, sweep

ORDER, KEYS = jax.random.key(7), jax.random.split(jax.random.key(1), 3)
RATES, DECAYS = jnp.array([0.1, 0.02, 0.3]), jnp.array([0.0, 0.1, 0.01])
X = np.random.default_rng(0).normal(size=(13, 4)).astype(np.float32)
DATA = X, X @ np.array([1.0, -2.0, 0.5, 3.0], np.float32)


def loss(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2)


def optimizer(setting):
    rate, decay = setting
    return optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=0.9))


def step_of(setting):
    return gradient_step(loss, optimizer(setting))


def init(key, setting):
    first, second = jax.random.split(key)
    params = {"w": jax.random.normal(first, (4, 5)), "v": jax.random.normal(second, (5,)) / 5}
    return init_state(params, optimizer(setting))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("own_order", [False, True])
def test_every_member_is_as_if_trained_alone(own_order):
    order = jax.random.split(ORDER, 3) if own_order else ORDER
    data, settings = jax.tree.map(lambda a: jnp.asarray(a, float), (DATA, (RATES, DECAYS)))
    options = {"batch_size": 5, "epochs": 3, "evaluate": lambda params: {"error": loss(params, data)}}
    states, history = sweep(step_of, init, data, settings=settings, keys=KEYS, order=order, **options)
    assert all(epoch.finite.all() for epoch in history)
    for number, key in enumerate(KEYS):
        setting = jax.tree.map(lambda a, number=number: a[number], settings)
        alone, epochs = fit(
            step_of(setting), init(key, setting), data, key=order[number] if own_order else order, **options
        )
        for ours, theirs in zip(jax.tree.leaves(member(states, number)), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11)
        np.testing.assert_allclose([epoch.loss[number] for epoch in history], [e.loss for e in epochs], rtol=1e-11)
        found = [epoch.metrics["error"][number] for epoch in history]
        np.testing.assert_allclose(found, [e.metrics["error"] for e in epochs], rtol=1e-11)


def test_a_member_that_diverges_stops_no_other():
    rates = RATES.at[1].set(1e12)
    options = {"keys": KEYS, "order": ORDER, "batch_size": 5, "epochs": 2}
    _, history = sweep(step_of, init, DATA, settings=(rates, DECAYS), **options)
    assert [epoch.finite.tolist() for epoch in history][-1] == [True, False, True]
    assert np.isfinite(history[-1].loss[[0, 2]]).all()


def test_nothing_loops_over_the_members():
    def program(count):
        seen = []

        def counted(setting):
            seen.append(setting)
            return step_of(setting)

        keys = jax.random.split(jax.random.key(1), count)
        settings = jnp.full(count, 0.1), jnp.zeros(count)
        sweep(counted, init, DATA, settings=settings, keys=keys, order=ORDER, batch_size=13, epochs=1)
        return len(seen)

    assert program(1) == program(4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keys": ORDER}, ValueError, r"sweep: keys has shape \(\), wanted a vector of keys"),
        ({"order": jnp.zeros(3)}, TypeError, r"sweep: order is float32 array of shape \(3,\), wanted a typed key"),
        ({"settings": (RATES, DECAYS[:2])}, ValueError, r"one entry for each member, got .*'settings\[1\]': 2"),
        ({"settings": (RATES, 0.1)}, ValueError, r"one entry for each member, got .*'settings\[1\]': 0"),
        ({"order": KEYS[:2]}, ValueError, r"one entry for each member, got .*'order': 2"),
        ({"batch_size": 14}, ValueError, r"sweep: batch_size is 14, but data has 13 examples"),
    ],
)
@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named(change, error, message):
    options = {"settings": (RATES, DECAYS), "keys": KEYS, "order": ORDER, "batch_size": 5, "epochs": 1} | change
    with pytest.raises(error, match=message):
        sweep(step_of, init, DATA, **options)
