"""Annealed importance sampling against sums over all states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import annealed_importance as ais
from jaxnets.nets import rbm

pytestmark = pytest.mark.usefixtures("x64")


def machine(visible=8, hidden=6):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = (visible, hidden), (visible,), (hidden,)
    return rbm.Params(*(1.5 * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)))


def run(params, betas, chains):
    """Estimates from many keys at once."""
    a = jnp.linspace(-0.5, 0.5, len(params.b))
    path = ais.of_rbm(params, a)
    return jax.jit(jax.vmap(lambda key: ais.estimate(path, betas, key, chains=chains)))


def test_the_estimate_and_its_error_against_enumeration():
    params = machine()
    exact = float(rbm.log_partition(params))
    found = run(params, ais.temperatures((1.0, 300), dtype=float), 100)(jax.random.split(jax.random.key(1), 40))
    off = (np.asarray(found.log_z) - exact) / np.asarray(found.standard_error)
    assert np.abs(off).max() < 4
    # The error that is stated is the one that is made: standard scores have variance 1.
    assert 0.5 < off.std() < 1.6
    inside = (np.asarray(found.low) < exact) & (exact < np.asarray(found.high))
    assert inside.mean() >= 0.95
    assert (found.effective > 10).all()


def test_the_estimate_of_z_itself_has_no_bias_with_any_temperatures():
    params = machine(4, 3)
    exact = float(rbm.log_partition(params))
    few = run(params, ais.temperatures((1.0, 3), dtype=float), 20)(jax.random.split(jax.random.key(2), 4000))
    ratio = np.exp(np.asarray(few.log_z) - exact)
    error = ratio.std() / len(ratio) ** 0.5
    assert error < 0.05
    assert abs(ratio.mean() - 1) < 4 * error, (ratio.mean(), error)
    # Its logarithm is too low on average.
    assert np.asarray(few.log_z).mean() < exact


def test_more_temperatures_make_the_weights_more_alike():
    params = machine()
    keys = jax.random.split(jax.random.key(3), 10)
    few, many = (run(params, ais.temperatures((1.0, n), dtype=float), 50)(keys) for n in (10, 300))
    assert many.standard_error.mean() < 0.5 * few.standard_error.mean()


def test_moves_leave_the_distributions_between_as_they_are():
    """The transition is Gibbs sampling of f_β: a long chain has its frequencies."""
    params, beta = machine(3, 2), jnp.asarray(0.6)
    path = ais.of_rbm(params, jnp.linspace(-0.5, 0.5, 3))
    v = path.start(jax.random.key(4), 20_000)
    keys = jax.random.split(jax.random.key(5), 40)
    v, _ = jax.lax.scan(lambda v, key: (path.move(v, beta, key), None), v, keys)
    every = jnp.asarray([[i >> k & 1 for k in range(3)] for i in range(8)], float)
    p = jax.nn.softmax(path.log_f(every, beta))
    counts = np.bincount(np.asarray(v @ jnp.array([1.0, 2.0, 4.0])).astype(int), minlength=8) / len(v)
    assert (np.abs(counts - p) / np.sqrt(p * (1 - p) / len(v))).max() < 4.5


def test_the_base_is_the_machine_without_weights():
    params = machine()
    a = jnp.linspace(-0.5, 0.5, 8)
    path = ais.of_rbm(params, a)
    base = rbm.Params(jnp.zeros_like(params.w), a, jnp.zeros_like(params.c))
    np.testing.assert_allclose(path.log_z, rbm.log_partition(base), rtol=1e-13)
    v = path.start(jax.random.key(6), 5)
    np.testing.assert_allclose(path.log_f(v, jnp.zeros(())), -rbm.free_energy(base, v), rtol=1e-12)
    np.testing.assert_allclose(path.log_f(v, jnp.ones(())), -rbm.free_energy(params, v), rtol=1e-12)


def test_weights_of_any_size_are_averaged():
    log_weights = jnp.log(jnp.array([1.0, 2.0, 3.0, 6.0]))
    for shift in (0.0, -5000.0, 5000.0):
        found = ais.of_weights(log_weights + shift, jnp.asarray(1.0))
        np.testing.assert_allclose(found.log_z, 1 + shift + np.log(3), rtol=1e-12)
        relative = np.array([1, 2, 3, 6]) / 3
        np.testing.assert_allclose(found.standard_error, relative.std(ddof=1) / 2, rtol=1e-9)
        assert found.low == -jnp.inf
        np.testing.assert_allclose(found.high - found.log_z, np.log1p(1.5 * relative.std(ddof=1)), rtol=1e-6)
    alike = ais.of_weights(jnp.full(7, -300.0), jnp.asarray(0.0))
    assert (alike.log_z, alike.low, alike.high, alike.effective) == (-300, -300, -300, 7)


def test_temperatures_are_those_of_the_paper():
    betas = ais.temperatures((0.5, 500), (0.9, 4000), (1.0, 10_000))
    assert betas.shape == (14_501,)
    assert (betas[0], betas[500], betas[4500], betas[-1]) == (0, 0.5, jnp.float32(0.9), 1)
    assert (jnp.diff(betas) > 0).all()


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    path = ais.of_rbm(machine(), jnp.zeros(8))
    with pytest.raises(ValueError, match="wanted \\(end, steps\\) with ends that rise to 1"):
        ais.temperatures((0.5, 10), (0.9, 10))
    with pytest.raises(ValueError, match="wanted \\(end, steps\\) with ends that rise to 1"):
        ais.temperatures((1.0, 0))
    with pytest.raises(ValueError, match="got 1 chains"):
        ais.estimate(path, ais.temperatures((1.0, 3)), jax.random.key(0), chains=1)
    for wrong in ([0.5, 1.0], [0.0, 0.9], [0.0, 0.6, 0.5, 1.0]):
        with pytest.raises(ValueError, match=r"betas go from 0\.\d to (1\.0|0\.9), wanted a rise from 0 to 1"):
            ais.estimate(path, jnp.array(wrong), jax.random.key(0), chains=2)
    with pytest.raises(ValueError, match=r"a has shape \(7,\), wanted that of the visible biases, \(8,\)"):
        ais.of_rbm(machine(), jnp.zeros(7))
