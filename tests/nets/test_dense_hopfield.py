"""Dense associative memory: the energy falls, one step is attention, and very many patterns are stored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxnets.nets import dense_hopfield as dense
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")


def normal(seed, *shapes):
    generator = np.random.default_rng(seed)
    return [jnp.asarray(generator.normal(size=shape)) for shape in shapes]


@jax.jit
def steps(x, xi):
    """Energies of the first states."""
    energies = [dense.energy(x, xi, beta=2.0)]
    for _ in range(4):
        xi = dense.update(x, xi, beta=2.0)
        energies.append(dense.energy(x, xi, beta=2.0))
    return jnp.stack(energies)


numbers = st.floats(-4, 4, width=16)


@given(hnp.arrays(float, (6, 3), elements=numbers), hnp.arrays(float, (4, 3), elements=numbers))
@settings(max_examples=100, deadline=None)
def test_the_energy_never_rises_and_is_never_negative(x, xi):
    with jax.enable_x64():
        energies = np.asarray(steps(jnp.asarray(x), jnp.asarray(xi)))
        assert (np.diff(energies, axis=0) <= 1e-13 * (1 + np.abs(energies[:-1]))).all()
        assert (energies >= -1e-12).all()


def test_the_energy_by_its_formula_and_the_update_as_a_step_against_its_slope():
    x, xi = normal(0, (5, 3), (4, 3))
    beta = 1.3

    def by_formula(state):
        scores = [np.exp(beta * float(pattern @ state)) for pattern in x]
        longest = max(float(pattern @ pattern) for pattern in x)
        return -np.log(sum(scores)) / beta + float(state @ state) / 2 + np.log(5) / beta + longest / 2

    np.testing.assert_allclose(dense.energy(x, xi, beta=beta), [by_formula(state) for state in xi], rtol=1e-12)
    slope = jax.grad(lambda xi: dense.energy(x, xi, beta=beta).sum())(xi)
    np.testing.assert_allclose(dense.update(x, xi, beta=beta), xi - slope, rtol=1e-12)
    hand, auto = (
        jax.grad(lambda *a, f=f: f(*a, beta=beta).sum(), (0, 1))(x, xi) for f in (dense.energy, autodiff(dense.energy))
    )
    for ours, theirs in zip(hand, auto, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_patterns_of_one_length_share_the_gradient_of_the_longest():
    x = jnp.array([[3.0, 4.0], [5.0, 0.0], [1.0, 1.0]])
    (xi,) = normal(1, (2, 2))
    hand, auto = (jax.grad(lambda x, f=f: f(x, xi, beta=1.0).sum())(x) for f in (dense.energy, autodiff(dense.energy)))
    np.testing.assert_allclose(hand, auto, rtol=1e-12)


def test_one_step_is_attention():
    x, xi = normal(2, (7, 4), (5, 4))
    with jax.numpy_dtype_promotion("standard"):  # it computes in float32
        wanted = jax.nn.dot_product_attention(xi[None, :, None], x[None, :, None], x[None, :, None], scale=0.7)
    np.testing.assert_allclose(dense.update(x, xi, beta=0.7), wanted[0, :, 0], rtol=1e-6)


def test_a_hundred_times_the_capacity_of_the_binary_network_is_recalled_in_one_step():
    generator = np.random.default_rng(3)
    x = jnp.asarray(generator.choice([-1.0, 1.0], (1000, 64)))
    noisy = jnp.where(jnp.asarray(generator.random(x.shape) < 0.1), -x, x)
    once = dense.update(x, noisy, beta=1.0)
    assert np.mean(np.abs(once - x).max(1) < 0.01) > 0.99
    run = dense.recall(x, noisy[:50], beta=1.0)
    assert run.converged.all()
    assert int(run.steps) < 10
    np.testing.assert_array_equal(jnp.sign(run.xi), x[:50])


def test_at_a_high_temperature_all_patterns_become_one():
    x, xi = normal(4, (6, 3), (4, 3))
    run = dense.recall(x, xi, beta=0.01)
    assert run.converged.all()
    assert np.abs(np.asarray(run.xi) - np.asarray(x.mean(0))).max() < 0.05
    assert not dense.recall(x, xi, beta=0.01, max_steps=1).converged.any()


@pytest.mark.usefixtures("own_errors")
def test_errors():
    x, xi = normal(5, (6, 3), (4, 2))
    with pytest.raises(ValueError, match=r"dense_hopfield: wanted x \(patterns, features\) .* got \(6, 3\) and \(4, 2"):
        dense.energy(x, xi, beta=1.0)
    with pytest.raises(ValueError, match=r"dense_hopfield: beta is 0\.0"):
        dense.update(x, x, beta=0.0)
    with pytest.raises(ValueError, match="dense_hopfield: max_steps is 0"):
        dense.recall(x, x, beta=1.0, max_steps=0)
