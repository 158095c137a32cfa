"""Gaussian visible units: densities by integration, gradients, and learning."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.nets import contrastive_divergence as cd
from jaxnets.nets import gaussian_rbm
from jaxnets.nets.gaussian_rbm import GAUSSIAN
from jaxnets.rule import autodiff
from jaxnets.train import fit

pytestmark = pytest.mark.usefixtures("x64")


def machine(visible=4, hidden=3):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (visible, hidden), (visible,), (hidden,), (visible,)
    w, b, c, z = (0.7 * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))
    return gaussian_rbm.Params(w, b, c, z)


def test_a_density_that_is_integrated_is_1():
    params = machine(1, 2)
    v = jnp.linspace(-20, 20, 4001)
    log_p = -gaussian_rbm.free_energy(params, v[:, None]) - gaussian_rbm.log_partition(params)
    np.testing.assert_allclose(np.trapezoid(np.exp(log_p), v), 1, rtol=1e-10)


def test_conditionals_are_those_of_the_energy():
    params, v = machine(), jax.random.normal(jax.random.key(1), (5, 4))
    on, off = (jnp.zeros((5, 3)).at[:, 1].set(value) for value in (1.0, 0.0))
    gap = gaussian_rbm.energy(params, v, off) - gaussian_rbm.energy(params, v, on)
    np.testing.assert_allclose(gaussian_rbm.hidden_probabilities(params, v)[:, 1], jax.nn.sigmoid(gap), rtol=1e-12)
    # As a function of v the energy is least at the mean, and its curvature is the inverse of the variance.
    h = jax.random.bernoulli(jax.random.key(2), 0.5, (1, 3)).astype(float)
    energy = autodiff(lambda v: gaussian_rbm.energy(params, v[None], h)[0])
    mean = gaussian_rbm.visible_means(params, h)[0]
    np.testing.assert_allclose(jax.jit(jax.grad(energy))(mean), jnp.zeros(4), atol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.hessian(energy))(mean), jnp.diag(jnp.exp(-params.z)), atol=1e-12)


def test_draws_have_the_means_and_the_variances():
    params, n = machine(), 40_000
    means = jnp.tile(jnp.arange(4.0), (n, 1))
    v = gaussian_rbm.sample_visible(params, means, jax.random.key(3))
    np.testing.assert_allclose(v.mean(0), jnp.arange(4.0), atol=5 * np.exp(params.z.max() / 2) / n**0.5)
    np.testing.assert_allclose(v.var(0), jnp.exp(params.z), rtol=5 * (2 / n) ** 0.5)


def test_the_gradient_of_the_likelihood():
    params, v = machine(), jax.random.normal(jax.random.key(1), (5, 4))
    both = jax.jit(lambda f, p, v: jax.value_and_grad(f, (0, 1))(p, v), static_argnums=0)
    mine, true = both(gaussian_rbm.log_likelihood, params, v), both(autodiff(gaussian_rbm.log_likelihood), params, v)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(true), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_statistics_are_the_slopes_of_the_energy():
    params, v = machine(), jax.random.normal(jax.random.key(1), (5, 4))
    h = jax.random.uniform(jax.random.key(4), (5, 3))
    true = jax.jit(jax.grad(autodiff(lambda p: -gaussian_rbm.energy(p, v, h).mean())))(params)
    for mine, wanted in zip(gaussian_rbm.statistics(params, v, h), true, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("persistent", [False, True])
def test_it_learns_a_mixture_of_gaussians(persistent):
    """Two clouds on a diagonal, which one Gaussian with independent coordinates cannot tell from four."""
    at_key, noise_key = jax.random.split(jax.random.key(5))
    side = jax.random.rademacher(at_key, (400, 1), float)
    v = side * jnp.array([[1.0, 1.0]]) + 0.3 * jax.random.normal(noise_key, (400, 2))
    params = gaussian_rbm.init(jax.random.key(6), 2, 4, scale=0.1, dtype=float)
    optimizer = optax.sgd(0.02)
    step, state = cd.cd_step(optimizer, machine=GAUSSIAN), cd.init_cd(params, optimizer, jax.random.key(7))
    if persistent:
        step = cd.pcd_step(optimizer, machine=GAUSSIAN)
        state = cd.init_pcd(params, v[:100], optimizer, jax.random.key(7))
    state, _ = fit(step, state, v, key=jax.random.key(8), batch_size=100, epochs=150)
    reached = jax.jit(gaussian_rbm.log_likelihood)(state.params, v)
    independent = -0.5 * (2 * np.log(2 * np.pi) + np.log(v.var(0)).sum() + 2)
    assert reached > independent + 0.5, (reached, independent)
    assert (state.params.z < -0.7).all()  # from variance 1 towards 0.09


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    params = machine()
    with pytest.raises(ValueError, match=r"gaussian_rbm\.free_energy: v has shape \(5, 3\), wanted \(batch, 4\)"):
        gaussian_rbm.free_energy(params, jnp.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"gaussian_rbm\.energy: z has shape \(3,\), wanted that of b, \(4,\)"):
        gaussian_rbm.energy(params._replace(z=jnp.zeros(3)), jnp.zeros((5, 4)), jnp.zeros((5, 3)))
    with pytest.raises(ValueError, match="log_partition: the hidden layer has 21 units, wanted at most 20"):
        gaussian_rbm.log_partition(machine(2, 21))
    with pytest.raises(ValueError, match=r"gaussian_rbm\.init: got 0 visible and 3 hidden"):
        gaussian_rbm.init(jax.random.key(0), 0, 3)
