"""What the losses are to each other, and the numbers that the document works out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.ops import losses
from jaxnets.ops.losses import Reduction
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(4)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape))


def test_binary_cross_entropy_needs_its_brackets():
    y, predicted = jnp.array([1.0, 0.0]), jnp.array([0.8, 0.3])
    np.testing.assert_allclose(losses.binary_cross_entropy(predicted, y), 0.2899092476264711, rtol=1e-15)
    without_them = -jnp.mean(y * jnp.log(predicted)) + jnp.mean((1 - y) * jnp.log(1 - predicted))
    np.testing.assert_allclose(without_them, -0.06676569631226137, rtol=1e-14)
    assert without_them < 0  # no cross entropy is


NEURON = [
    (losses.quadratic, (0.6, 0.9), 0.81757447619364365, 0.093955694863647243),
    (losses.quadratic, (2.0, 2.0), 0.98201379003790845, 0.20284842426777649),
    (losses.binary_cross_entropy, (0.6, 0.9), 0.81757447619364365, 0.011638208968903722),
    (losses.binary_cross_entropy, (2.0, 2.0), 0.98201379003790845, 0.012008741510817504),
]


@pytest.mark.parametrize(("cost", "start", "first", "last"), NEURON)
def test_cross_entropy_mends_the_slow_start_of_a_saturated_neuron(cost, start, first, last):
    x, y = jnp.ones(1), jnp.zeros(1)

    def output(params):
        return jax.nn.sigmoid(params[0] * x + params[1])

    step = jax.jit(lambda params: params - 0.15 * jax.grad(lambda params: cost(output(params), y))(params))
    params = jnp.array(start)
    np.testing.assert_allclose(output(params)[0], first, rtol=1e-15)
    params = jax.lax.fori_loop(0, 300, lambda _, params: step(params), params)
    np.testing.assert_allclose(output(params)[0], last, rtol=1e-13)


def third_derivative(cost):
    return jax.grad(jax.grad(jax.grad(cost)))


def test_cross_entropy_is_no_square_loss():
    y = jnp.ones(1)
    assert third_derivative(lambda a: losses.quadratic(a[None], y))(0.3) == 0
    np.testing.assert_allclose(
        third_derivative(lambda a: losses.binary_cross_entropy(a[None], y))(0.3), -2 / 0.3**3, rtol=1e-13
    )
    s = 1 / (1 + np.exp(-0.4))
    np.testing.assert_allclose(
        third_derivative(lambda z: losses.sigmoid_cross_entropy(z[None], y))(0.4),
        s * (1 - s) * (1 - 2 * s),
        rtol=1e-13,
    )


def test_the_gradient_of_the_mean_is_the_mean_of_the_gradients():
    w, x, t = normal(3, 2), normal(6, 3), normal(6, 2)

    def risk(w, x, t, reduction=Reduction.MEAN):
        return losses.quadratic(jnp.tanh(x @ w), t, reduction=reduction)

    each = jax.vmap(jax.grad(risk), (None, 0, 0))(w, x[:, None], t[:, None])
    np.testing.assert_allclose(jax.grad(risk)(w, x, t), each.mean(0), rtol=1e-12, atol=1e-15)
    total = jax.grad(functools.partial(risk, reduction=Reduction.SUM))(w, x, t)
    np.testing.assert_allclose(total, each.sum(0), rtol=1e-12, atol=1e-15)


def test_the_four_scales_of_the_quadratic_cost():
    a, t = normal(5, 3), normal(5, 3)
    square = np.sum(np.square(a - t))
    scales = [
        (losses.quadratic(a, t, reduction=Reduction.SUM), square / 2),
        (losses.quadratic(a, t), square / (2 * 5)),
        (losses.squared_error(a, t), square / 5),
        (losses.quadratic(a[:1], t[:1], variance=3.0), np.sum(np.square(a[0] - t[0])) / (2 * 3)),
    ]
    for ours, theirs in scales:
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def test_the_reconstruction_error_is_the_quadratic_cost_of_the_data():
    x, v = normal(7, 4), normal(4, 2)
    reconstructed = x @ v @ v.T
    np.testing.assert_allclose(
        losses.quadratic(reconstructed, x), np.sum(np.square(x - reconstructed)) / (2 * 7), rtol=1e-14
    )
    np.testing.assert_allclose(jax.grad(losses.quadratic)(reconstructed, x), (reconstructed - x) / 7, rtol=1e-12)


def test_gaussian_likelihood_is_least_squares():
    x = jnp.stack([jnp.ones(20), normal(20)], axis=1)
    y = x @ jnp.array([0.5, -1.5]) + 0.3 * normal(20)

    def negative_log_likelihood(beta, variance):
        variances = jnp.broadcast_to(variance, y.shape)
        return losses.gaussian_negative_log_likelihood(x @ beta, variances, y, reduction=Reduction.SUM)

    beta, (residual_sum,), *_ = np.linalg.lstsq(x, y, rcond=None)
    beta_bar, variance_bar = jax.grad(negative_log_likelihood, (0, 1))(jnp.asarray(beta), residual_sum / 20)
    np.testing.assert_allclose(beta_bar, 0, atol=1e-11)
    np.testing.assert_allclose(variance_bar, 0, atol=1e-11)

    elsewhere, variance = jnp.array([0.2, 0.1]), jnp.asarray(0.7)
    e = y - x @ elsewhere
    beta_bar, variance_bar = jax.grad(negative_log_likelihood, (0, 1))(elsewhere, variance)
    np.testing.assert_allclose(beta_bar, -x.T @ e / 0.7, rtol=1e-13)
    np.testing.assert_allclose(variance_bar, 20 / (2 * 0.7) - jnp.sum(e * e) / (2 * 0.7**2), rtol=1e-13)
    least_squares = jax.grad(lambda b: losses.quadratic(x @ b, y, variance=0.7, reduction=Reduction.SUM))
    np.testing.assert_allclose(beta_bar, least_squares(elsewhere), rtol=1e-12)
    log_density = jnp.sum(jax.scipy.stats.norm.logpdf(y, x @ elsewhere, jnp.sqrt(variance)))
    np.testing.assert_allclose(negative_log_likelihood(elsewhere, variance), -log_density, rtol=1e-13)


def test_the_same_cross_entropy_in_all_its_forms():
    z, labels = normal(5, 3), jnp.array([0, 2, 1, 1, 0])
    p = jax.nn.one_hot(labels, 3)
    value, z_bar = jax.value_and_grad(losses.softmax_cross_entropy)(z, p)
    for other in (
        lambda z: losses.cross_entropy(jax.nn.softmax(z), p),
        lambda z: losses.softmax_cross_entropy_with_integer_labels(z, labels),
        lambda z: losses.kl_divergence(p, jax.nn.softmax(z)),
    ):
        other_value, other_bar = jax.value_and_grad(other)(z)
        np.testing.assert_allclose(other_value, value, rtol=1e-13)
        np.testing.assert_allclose(other_bar, z_bar, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(z_bar, (jax.nn.softmax(z) - p) / 5, rtol=1e-12)


def test_the_same_binary_cross_entropy_in_all_its_forms():
    z, y = normal(6), jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    value, z_bar = jax.value_and_grad(losses.sigmoid_cross_entropy)(z, y)
    two = jnp.stack([jnp.zeros(6), z], axis=1)
    for other, scale in (
        (lambda z: losses.binary_cross_entropy(jax.nn.sigmoid(z), y), 1),
        (lambda z: losses.logistic(z, 2 * y - 1), 1),
        (lambda z: losses.softmax_cross_entropy_with_integer_labels(two.at[:, 1].set(z), y.astype(int)), 1),
    ):
        other_value, other_bar = jax.value_and_grad(other)(z)
        np.testing.assert_allclose(other_value, scale * value, rtol=1e-13)
        np.testing.assert_allclose(other_bar, scale * z_bar, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(z_bar, (jax.nn.sigmoid(z) - y) / 6, rtol=1e-12)


def test_targets_that_do_not_sum_to_one_scale_the_prediction():
    z, p = normal(4, 3), jnp.asarray(RNG.uniform(size=(4, 3)))
    truth = jax.grad(autodiff(losses.softmax_cross_entropy))(z, p)
    np.testing.assert_allclose(jax.grad(losses.softmax_cross_entropy)(z, p), truth, rtol=1e-12, atol=1e-15)
    assert np.max(np.abs(truth - (jax.nn.softmax(z) - p) / 4)) > 0.01


def test_the_least_quantile_loss_is_at_the_quantile():
    t = jnp.asarray(np.sort(RNG.normal(size=101)))
    cost = jax.vmap(lambda a: losses.quantile(jnp.full(101, a), t, tau=0.2))(t)
    assert jnp.argmin(cost) == 20
    np.testing.assert_allclose(t[20], np.quantile(t, 0.2), rtol=1e-13)


def test_the_negative_elbo_is_its_two_parts():
    logits, x, mu, log_variance = normal(5, 4), jnp.asarray(RNG.uniform(size=(5, 4))), normal(5, 2), normal(5, 2)
    elbo_bars = jax.grad(losses.bernoulli_negative_elbo, (0, 2, 3))(logits, x, mu, log_variance)
    np.testing.assert_allclose(elbo_bars[0], (jax.nn.sigmoid(logits) - x) / 5, rtol=1e-12)
    np.testing.assert_allclose(elbo_bars[1], mu / 5, rtol=1e-14)
    np.testing.assert_allclose(elbo_bars[2], (jnp.exp(log_variance) - 1) / 10, rtol=1e-12)


def test_the_minimax_generator_starves_where_the_other_learns():
    losing = jnp.array([-20.0])
    assert -1e-8 < jax.grad(losses.gan_generator_minimax_loss)(losing)[0] < 0
    np.testing.assert_allclose(jax.grad(losses.gan_generator_loss)(losing), -1, rtol=1e-8)
