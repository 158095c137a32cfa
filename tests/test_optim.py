"""Update rules against Optax, against known trajectories, and what is said of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import optim

pytestmark = pytest.mark.usefixtures("x64")

RULES = {
    "gradient_descent": (optim.gradient_descent(0.1), optax.sgd(0.1), [0.9, 0.81, 0.729]),
    "momentum": (optim.momentum(0.1), optax.sgd(0.1, momentum=0.9), [0.9, 0.72, 0.486]),
    "nesterov": (
        optim.nesterov(0.1),
        optax.sgd(0.1, momentum=0.9, nesterov=True),
        [0.81, 0.5751, 0.32732100000000003],
    ),
    "adagrad": (optim.adagrad(0.1), None, [0.900000001, 0.83310352829392664, 0.78045618308938258]),
    "rmsprop": (
        optim.rmsprop(0.1),
        optax.rmsprop(0.1, decay=0.9),
        [0.68377224979454909, 0.49887062665476267, 0.36918057387599235],
    ),
    "adadelta": (
        optim.adadelta(),
        optax.adadelta(1.0, rho=0.95, eps=1e-6),
        [0.9955279087656892, 0.99100874814918538, 0.9864645648849506],
    ),
    "adam": (optim.adam(0.1), optax.adam(0.1), [0.90000000099999999, 0.80041222971233816, 0.70158627450441502]),
}
every_rule = pytest.mark.parametrize(("ours", "theirs", "known"), RULES.values(), ids=RULES)


def steps(optimizer, params, slope, count):
    """The parameters after each step."""
    state, found = optimizer.init(params), []
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic
        for _ in range(count):
            updates, state = optimizer.update(slope(params), state, params)
            params = optax.apply_updates(params, updates)
            found.append(params)
    return found


@every_rule
def test_known_trajectory(ours, theirs, known):
    """Down θ²/2 from 1."""
    np.testing.assert_allclose(steps(ours, jnp.float64(1), lambda p: p, 3), known, rtol=1e-14)


@pytest.mark.parametrize("name", sorted(RULES.keys() - {"adagrad"}))
def test_step_by_step_as_optax(name):
    ours, theirs, _ = RULES[name]
    keys = jax.random.split(jax.random.key(0), 2)
    params = {"w": jax.random.normal(keys[0], (3, 4)), "b": (jax.random.normal(keys[1], (2,)),)}

    def slope(params):
        return jax.tree.map(lambda p: jnp.sin(3 * p) + 0.1 * p, params)

    pairs = zip(steps(ours, params, slope, 20), steps(theirs, params, slope, 20), strict=True)
    for mine, other in pairs:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), mine, other)


def test_where_optax_has_another_adagrad():
    """ε inside the root: with none at all, and s from 0, they are the same."""
    ours = steps(optim.adagrad(0.1, eps=1e-300), jnp.float64(1), lambda p: p, 5)
    same = optax.adagrad(0.1, initial_accumulator_value=0.0, eps=0.0)
    np.testing.assert_allclose(ours, steps(same, jnp.float64(1), lambda p: p, 5), rtol=1e-14)
    inside = steps(optax.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-8), jnp.float64(1), lambda p: p, 3)
    np.testing.assert_allclose(inside, [0.90000000049999995, 0.83310352750201888, 0.78045618209660983], rtol=1e-14)


@pytest.mark.parametrize("name", RULES)
def test_in_a_compiled_loop_with_a_schedule_and_many_rates(name):
    make = getattr(optim, name)

    def run(rate):
        optimizer = make(optax.linear_schedule(1.0, 0.0, 10))
        scaled = optax.chain(optimizer, optax.scale(rate))
        params = jnp.ones(3)

        def step(carry, _):
            params, state = carry
            updates, state = scaled.update(params, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, scaled.init(params)), None, length=5)[0][0]

    with jax.numpy_dtype_promotion("standard"):
        rates = jnp.array([0.01, 0.1])
        many = jax.jit(jax.vmap(run))(rates)
        for rate, found in zip(rates, many, strict=True):
            np.testing.assert_allclose(found, run(rate), rtol=1e-12)


@every_rule
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_dtype_stays(ours, theirs, known, dtype):
    params = jnp.ones(3, dtype)
    (after,) = steps(ours, params, lambda p: p, 1)
    assert after.dtype == dtype
    assert all(leaf.dtype in (dtype, jnp.int32) for leaf in jax.tree.leaves(ours.init(params)))


def test_traced_hyperparameters():
    def run(mu):
        return steps(optim.momentum(0.1, mu=mu), jnp.float64(1), lambda p: p, 3)[-1]

    found = jax.jit(jax.vmap(run))(jnp.array([0.0, 0.9]))
    np.testing.assert_allclose(found, [0.729, 0.486], rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.momentum(0.1, mu=1.0), r"momentum: mu is 1\.0, wanted at least 0 and less than 1"),
        (lambda: optim.nesterov(0.1, mu=-0.1), r"nesterov: mu is -0\.1"),
        (lambda: optim.adagrad(0.1, eps=0.0), r"adagrad: eps is 0\.0, wanted a positive number"),
        (lambda: optim.rmsprop(0.1, rho=2), r"rmsprop: rho is 2"),
        (lambda: optim.adadelta(eps=-1), r"adadelta: eps is -1"),
        (lambda: optim.adam(0.1, beta_2=1), r"adam: beta_2 is 1"),
    ],
)
def test_what_is_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
