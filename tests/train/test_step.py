"""Gradient steps with Optax: right update, right state, every kind of transformation, every precision."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.train import State, estimating_step, fit, gradient_step, init_estimating, init_state

OPTIMIZERS = {
    "a plain transformation": optax.GradientTransformation(
        lambda params: (), lambda grads, state, params=None: (jax.tree.map(lambda g: -0.2 * g, grads), state)
    ),
    "sgd": optax.sgd(0.2),
    "momentum": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "adam with a schedule": optax.adam(optax.cosine_decay_schedule(0.1, 300)),
    "clipping, then sgd": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.2)),
    "injected": optax.inject_hyperparams(optax.sgd)(learning_rate=0.2),
    "plateau, which needs the loss": optax.chain(optax.sgd(0.2), optax.contrib.reduce_on_plateau(patience=200)),
}


def regression(n=60, dtype=jnp.float32):
    """Noisy data for y = x w + b, and the weights (w, b) of least squares."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.7 + 0.1 * rng.normal(size=n)
    best = np.linalg.lstsq(np.column_stack([x, np.ones(n)]), y, rcond=None)[0]
    return {"x": jnp.asarray(x, dtype), "y": jnp.asarray(y, dtype)}, best


def squared_error(params, batch):
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)


def zeros(dtype=jnp.float32):
    return {"w": jnp.zeros(3, dtype), "b": jnp.zeros((), dtype)}


def flat(params):
    return np.append(np.asarray(params["w"], np.float64), np.float64(params["b"]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_reaches_least_squares(name):
    data, best = regression()
    optimizer = OPTIMIZERS[name]
    state, history = fit(
        gradient_step(squared_error, optimizer),
        init_state(zeros(), optimizer),
        data,
        key=jax.random.key(1),
        batch_size=60,
        epochs=300,
    )
    np.testing.assert_allclose(flat(state.params), best, atol=2e-4)
    assert history[-1].loss < history[0].loss / 50


def test_a_line_search_is_given_the_value_and_the_function():
    data, best = regression()
    optimizer = optax.lbfgs()
    step = gradient_step(squared_error, optimizer)
    state, _ = fit(step, init_state(zeros(), optimizer), data, key=jax.random.key(0), batch_size=60, epochs=15)
    np.testing.assert_allclose(flat(state.params), best, atol=1e-5)


def test_one_step_is_the_update_by_hand_and_reports_the_loss_before_it():
    data, _ = regression()
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.5))
    params = {"w": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array(-1.0)}
    after, loss = gradient_step(squared_error, optimizer)(init_state(params, optimizer), data)

    error = np.asarray(data["x"]) @ [1.0, 2.0, 3.0] - 1.0 - np.asarray(data["y"])
    w_bar = 2 * np.asarray(data["x"]).T @ error / 60
    b_bar = 2 * error.mean()
    np.testing.assert_allclose(loss, (error**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(after.params["w"], [1, 2, 3] - 0.5 * (w_bar + 0.1 * np.array([1, 2, 3])), rtol=1e-5)
    np.testing.assert_allclose(after.params["b"], -1 - 0.5 * (b_bar - 0.1), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_parameters_and_optimizer_keep_their_precision(dtype):
    with jax.enable_x64(dtype == jnp.float64), jax.numpy_dtype_promotion("strict"):
        data, best = regression(dtype=dtype)
        optimizer = optax.adam(0.05)
        state, history = fit(
            gradient_step(squared_error, optimizer),
            init_state(zeros(dtype), optimizer),
            data,
            key=jax.random.key(0),
            batch_size=16,
            epochs=100,
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(dtype)}
        assert {leaf.dtype for leaf in jax.tree.leaves(state.opt_state)} == {jnp.dtype(dtype), jnp.dtype("int32")}
        assert isinstance(history[-1].loss, float)
        np.testing.assert_allclose(flat(state.params), best, atol=0.02)


def test_strict_promotion_still_holds_inside_the_loss():
    def mixed(params, batch):
        return squared_error(params, batch) * jnp.ones((), jnp.bfloat16)

    data, _ = regression()
    optimizer = optax.adam(0.1)
    with jax.numpy_dtype_promotion("strict"), pytest.raises(jax.dtypes.TypePromotionError):
        gradient_step(mixed, optimizer)(init_state(zeros(), optimizer), data)


def test_init_state_holds_the_parameters_and_the_optimizers_own_state():
    optimizer = optax.adam(0.1)
    params = zeros()
    state = init_state(params, optimizer)
    assert isinstance(state, State)
    assert state.params is params
    assert jax.tree.structure(state.opt_state) == jax.tree.structure(optimizer.init(params))


def test_a_step_goes_against_a_direction_that_is_no_gradient():
    """Around the origin: a field whose Jacobian is antisymmetric, what is carried, and another key in every step."""

    def estimate(params, carried, batch, key):
        return jnp.array([-params[1], params[0]]), (carried[0] + 1, jax.random.uniform(key)), jnp.mean(batch)

    optimizer = optax.sgd(0.1)
    state = init_estimating(jnp.array([1.0, 0.0]), (0, jnp.zeros(())), optimizer, jax.random.key(0))
    step, drawn = estimating_step(estimate, optimizer), []
    for number in range(3):
        state, value = step(state, jnp.array([1.0, 3.0]))
        drawn.append(float(state.opt_state.carried[1]))
        np.testing.assert_allclose(jnp.linalg.norm(state.params), 1.01 ** ((number + 1) / 2), rtol=1e-6)
    assert state.params[1] < 0
    assert value == 2
    assert state.opt_state.carried[0] == 3
    assert len(set(drawn)) == 3
