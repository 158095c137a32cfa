"""What the losses are worth: Optax, scikit-learn and SciPy as oracles, the kinks, and inputs far out in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from sklearn import metrics
from sklearn.linear_model import _sgd_fast as sgd

from jaxnets.ops import losses
from jaxnets.ops.losses import Reduction

RNG = np.random.default_rng(0)
A, T = RNG.normal(size=(2, 5, 3)) * 2
P, Q = RNG.dirichlet(np.ones(3), size=(2, 5))
Y = RNG.integers(0, 2, size=(5, 3)).astype(float)
SIGNS = 2 * Y - 1
CLASSES = RNG.integers(0, 3, size=5)
NONE = {"reduction": Reduction.NONE}


@pytest.mark.parametrize(
    ("loss", "args", "oracle"),
    [
        (losses.quadratic, (A, T), lambda a, t: optax.losses.l2_loss(a, t).sum(-1)),
        (losses.squared_error, (A, T), lambda a, t: optax.losses.squared_error(a, t).sum(-1)),
        (
            functools.partial(losses.huber, delta=0.8),
            (A, T),
            lambda a, t: optax.losses.huber_loss(a, t, delta=0.8).sum(-1),
        ),
        (losses.log_cosh, (A, T), lambda a, t: optax.losses.log_cosh(a, t).sum(-1)),
        (losses.perceptron, (A, SIGNS), lambda f, y: optax.losses.perceptron_loss(f, y).sum(-1)),
        (losses.hinge, (A, SIGNS), lambda f, y: optax.losses.hinge_loss(f, y).sum(-1)),
        (losses.softmax_cross_entropy, (A, P), optax.losses.softmax_cross_entropy),
        (
            losses.softmax_cross_entropy_with_integer_labels,
            (A, CLASSES),
            optax.losses.softmax_cross_entropy_with_integer_labels,
        ),
        (losses.sigmoid_cross_entropy, (A, Y), lambda z, y: optax.losses.sigmoid_binary_cross_entropy(z, y).sum(-1)),
        (losses.logistic, (A, SIGNS), lambda f, y: optax.losses.sigmoid_binary_cross_entropy(f, (y + 1) / 2).sum(-1)),
        (losses.kl_divergence, (P, Q), lambda p, q: optax.losses.kl_divergence(jnp.log(q), p)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_value_and_gradient_are_optaxs(x64, loss, args, oracle):
    args = [jnp.asarray(arg) for arg in args]
    np.testing.assert_allclose(loss(*args, **NONE), oracle(*args), rtol=1e-12)
    np.testing.assert_allclose(
        jax.grad(loss)(*args), jax.grad(lambda *args: oracle(*args).mean())(*args), rtol=1e-11, atol=1e-14
    )


@pytest.mark.parametrize(
    ("loss", "oracle", "args"),
    [
        (losses.perceptron, sgd.Hinge(0.0), (A, SIGNS)),
        (losses.hinge, sgd.Hinge(1.0), (A, SIGNS)),
        (losses.squared_hinge, sgd.SquaredHinge(1.0), (A, SIGNS)),
        (losses.modified_huber, sgd.ModifiedHuber(), (A, SIGNS)),
        (functools.partial(losses.epsilon_insensitive, epsilon=0.5), sgd.EpsilonInsensitive(0.5), (A, T)),
    ],
    ids=["perceptron", "hinge", "squared_hinge", "modified_huber", "epsilon_insensitive"],
)
def test_value_and_slope_are_scikit_learns_also_at_the_kinks(x64, loss, oracle, args):
    at_kinks = np.array([[-1.0, 0.0, 1.0], [-0.5, 0.5, 2.0]]), np.array([[1.0, 1.0, 1.0], [0.0, 0.0, -1.0]])
    if loss in (losses.perceptron, losses.hinge, losses.squared_hinge, losses.modified_huber):
        at_kinks = at_kinks[0], np.where(at_kinks[1] > 0, 1.0, -1.0)
    first, second = (np.concatenate(both) for both in zip(args, at_kinks, strict=True))
    value = np.vectorize(oracle.py_loss)(first, second)
    slope = np.vectorize(oracle.py_dloss)(first, second)
    first, second = jnp.asarray(first), jnp.asarray(second)
    np.testing.assert_allclose(loss(first, second, **NONE), value.sum(-1), rtol=1e-14)
    np.testing.assert_allclose(jax.grad(functools.partial(loss, reduction=Reduction.SUM))(first, second), slope)


def test_means_are_scikit_learns_metrics(x64):
    a, t, y, signs = (jnp.asarray(array[:, 0]) for array in (A, T, Y, SIGNS))
    np.testing.assert_allclose(losses.squared_error(a, t), metrics.mean_squared_error(t, a), rtol=1e-14)
    np.testing.assert_allclose(losses.absolute_error(a, t), metrics.mean_absolute_error(t, a), rtol=1e-14)
    pinball = metrics.mean_pinball_loss(t, a, alpha=0.2)
    np.testing.assert_allclose(losses.quantile(a, t, tau=0.2), pinball, rtol=1e-14)
    np.testing.assert_allclose(losses.hinge(a, signs), metrics.hinge_loss(signs, a), rtol=1e-14)
    np.testing.assert_allclose(losses.zero_one(a, signs), metrics.zero_one_loss(signs, np.sign(a)), rtol=1e-14)
    probability = jax.nn.sigmoid(a)
    for loss in (losses.binary_cross_entropy(probability, y), losses.sigmoid_cross_entropy(a, y)):
        np.testing.assert_allclose(loss, metrics.log_loss(y, probability), rtol=1e-12)
    one_hot = jax.nn.one_hot(CLASSES, 3)
    truth = metrics.log_loss(CLASSES, Q, labels=[0, 1, 2])
    np.testing.assert_allclose(losses.cross_entropy(jnp.asarray(Q), one_hot), truth, rtol=1e-12)


def test_the_squared_error_sums_over_outputs_where_scikit_learn_averages(x64):
    a, t = jnp.asarray(A), jnp.asarray(T)
    mean_over_outputs = metrics.mean_squared_error(T, A)
    np.testing.assert_allclose(losses.squared_error(a, t), 3 * mean_over_outputs, rtol=1e-14)
    np.testing.assert_allclose(losses.quadratic(a, t, variance=3.0), mean_over_outputs / 2, rtol=1e-14)


def test_densities_are_scipys(x64):
    variance = np.exp(T)
    nll = losses.gaussian_negative_log_likelihood(*map(jnp.asarray, (A, variance, T)), **NONE)
    np.testing.assert_allclose(nll, -scipy.stats.norm.logpdf(T, A, np.sqrt(variance)).sum(-1), rtol=1e-13)
    np.testing.assert_allclose(
        losses.kl_divergence(*map(jnp.asarray, (P, Q)), **NONE), scipy.stats.entropy(P, Q, axis=-1), rtol=1e-12
    )
    mu, log_variance = 0.7, -0.4
    grid = np.linspace(-12, 12, 200_001)
    density = scipy.stats.norm(mu, np.exp(log_variance / 2))
    integral = np.trapezoid(density.pdf(grid) * (density.logpdf(grid) - scipy.stats.norm.logpdf(grid)), grid)
    ours = losses.gaussian_kl(jnp.array([mu]), jnp.array([log_variance]))
    np.testing.assert_allclose(ours, integral, rtol=1e-10)


def test_the_gan_losses_are_the_cross_entropies_of_their_labels(x64):
    real, fake = jnp.asarray(A), jnp.asarray(T)
    ones, zeros = jnp.ones_like(real), jnp.zeros_like(fake)
    cross_entropy = losses.sigmoid_cross_entropy
    as_labels = cross_entropy(real, ones, **NONE) + cross_entropy(fake, zeros, **NONE)
    np.testing.assert_allclose(losses.gan_discriminator_loss(real, fake, **NONE), as_labels, rtol=1e-14)
    np.testing.assert_allclose(losses.gan_generator_loss(fake), cross_entropy(fake, ones), rtol=1e-14)
    np.testing.assert_allclose(losses.gan_generator_minimax_loss(fake), -cross_entropy(fake, zeros), rtol=1e-14)


SLOPES_AT_KINKS = {
    "absolute_error": (losses.absolute_error, 0.0, 0.0, 0.0),
    "epsilon_insensitive, upper wall": (functools.partial(losses.epsilon_insensitive, epsilon=0.5), 0.5, 0.0, 0.0),
    "epsilon_insensitive, lower wall": (functools.partial(losses.epsilon_insensitive, epsilon=0.5), -0.5, 0.0, 0.0),
    "quantile": (functools.partial(losses.quantile, tau=0.2), 0.0, 0.0, 0.0),
    "huber, upper joint": (functools.partial(losses.huber, delta=0.5), 0.5, 0.0, 0.5),
    "huber, lower joint": (functools.partial(losses.huber, delta=0.5), -0.5, 0.0, -0.5),
    "perceptron": (losses.perceptron, 0.0, 1.0, -1.0),
    "hinge": (losses.hinge, 1.0, 1.0, -1.0),
    "hinge, other class": (losses.hinge, -1.0, -1.0, 1.0),
    "squared_hinge": (losses.squared_hinge, 1.0, 1.0, 0.0),
    "modified_huber, upper joint": (losses.modified_huber, 1.0, 1.0, 0.0),
    "modified_huber, lower joint": (losses.modified_huber, -1.0, 1.0, -4.0),
}


@pytest.mark.parametrize(("loss", "first", "second", "slope"), SLOPES_AT_KINKS.values(), ids=SLOPES_AT_KINKS)
def test_slope_at_the_kink(loss, first, second, slope):
    assert jax.grad(loss)(jnp.array([first]), jnp.array([second])) == slope


def test_a_perceptron_that_starts_from_zero_learns():
    x, y = jnp.array([[1.0, 2.0], [-1.0, 0.5]]), jnp.array([1.0, -1.0])
    gradient = jax.grad(lambda w: losses.perceptron(x @ w, y))
    np.testing.assert_array_equal(gradient(jnp.zeros(2)), -(x * y[:, None]).mean(0))


FAR = [1e4, -1e4]
"""Each pair of far values, as (batch,) or, where classes are needed, as the logits of two classes."""


@pytest.mark.parametrize("second", [*FAR, 0.0, 1.0, -1.0])
@pytest.mark.parametrize("first", FAR)
def test_far_inputs_stay_finite_in_float32(first, second):
    for loss in (
        losses.quadratic,
        losses.squared_error,
        losses.absolute_error,
        losses.huber,
        losses.log_cosh,
        losses.epsilon_insensitive,
        losses.quantile,
        losses.zero_one,
        losses.perceptron,
        losses.hinge,
        losses.squared_hinge,
        losses.logistic,
        losses.modified_huber,
        losses.sigmoid_cross_entropy,
        losses.gan_discriminator_loss,
    ):
        value, gradients = jax.value_and_grad(loss, (0, 1))(jnp.array([first]), jnp.array([second]))
        assert np.isfinite(value)
        assert np.isfinite(gradients).all()


def test_far_logits_give_the_exact_costs_and_gradients_in_float32():
    far = jnp.array([1e4, -1e4])
    np.testing.assert_array_equal(losses.sigmoid_cross_entropy(far, jnp.array([1.0, 0.0]), **NONE), [0, 0])
    np.testing.assert_array_equal(losses.sigmoid_cross_entropy(far, jnp.array([0.0, 1.0]), **NONE), [1e4, 1e4])
    np.testing.assert_array_equal(losses.logistic(far, jnp.ones(2), **NONE), [0, 1e4])
    np.testing.assert_array_equal(
        losses.log_cosh(far, jnp.zeros(2), **NONE), np.float32([1e4, 1e4]) - np.float32(np.log(2))
    )
    np.testing.assert_array_equal(losses.gan_generator_loss(far, **NONE), [0, 1e4])
    np.testing.assert_array_equal(losses.gan_generator_minimax_loss(far, **NONE), [-1e4, 0])
    np.testing.assert_array_equal(jax.grad(losses.gan_generator_loss)(far), [0, -0.5])
    np.testing.assert_array_equal(jax.grad(losses.gan_generator_minimax_loss)(far), [-0.5, 0])
    logits = jnp.array([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4]])
    labels, wanted = jnp.array([1, 2]), [2e4, 0]
    hard = jax.nn.one_hot(labels, 3)
    np.testing.assert_array_equal(losses.softmax_cross_entropy(logits, hard, **NONE), wanted)
    by_label = losses.softmax_cross_entropy_with_integer_labels
    np.testing.assert_array_equal(by_label(logits, labels, **NONE), wanted)
    gradient = np.array([[0.5, -0.5, 0], [0, 0, 0]])
    np.testing.assert_array_equal(jax.grad(losses.softmax_cross_entropy)(logits, hard), gradient)
    np.testing.assert_array_equal(jax.grad(by_label)(logits, labels), gradient)


def test_small_costs_keep_their_digits_in_float32():
    sure = jnp.array([15.0])
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(sure, jnp.ones(1)), np.log1p(np.exp(-15.0)), rtol=1e-6)
    np.testing.assert_allclose(losses.logistic(sure, jnp.ones(1)), np.log1p(np.exp(-15.0)), rtol=1e-6)
    unlikely = jnp.array([1e-9])
    np.testing.assert_allclose(losses.binary_cross_entropy(unlikely, jnp.zeros(1)), 1e-9, rtol=1e-6)
    near = jnp.array([1e-5])
    np.testing.assert_allclose(losses.gaussian_kl(jnp.zeros(1), near), 0.5 * (np.expm1(1e-5) - 1e-5), atol=1e-12)


def test_the_exponential_loss_leaves_float32_with_the_right_sign_and_without_nan():
    f, y = jnp.array([-1e4, 1e4, 1e4, -1e4]), jnp.array([1.0, -1.0, 1.0, -1.0])
    np.testing.assert_array_equal(losses.exponential(f, y, **NONE), [np.inf, np.inf, 0, 0])
    f_bar, y_bar = jax.grad(losses.exponential, (0, 1))(f, y)
    np.testing.assert_array_equal(f_bar, [-np.inf, np.inf, 0, 0])
    np.testing.assert_array_equal(y_bar, [np.inf, -np.inf, 0, 0])


def test_the_gaussian_kl_is_infinite_only_where_the_variance_is():
    mu, log_variance = jnp.array([1e4, 0.0, 0.0]), jnp.array([0.0, -1e4, 1e4])
    np.testing.assert_array_equal(losses.gaussian_kl(mu, log_variance, **NONE), [5e7, 4999.5, np.inf])
    mu_bar, log_variance_bar = jax.grad(functools.partial(losses.gaussian_kl, reduction=Reduction.SUM), (0, 1))(
        mu, log_variance
    )
    np.testing.assert_array_equal(mu_bar, [1e4, 0, 0])
    np.testing.assert_array_equal(log_variance_bar, [0, -0.5, np.inf])


def test_what_is_impossible_and_absent_costs_nothing():
    q, p = jnp.array([[0.0, 0.25, 0.75]]), jnp.array([[0.0, 0.0, 1.0]])
    np.testing.assert_allclose(losses.cross_entropy(q, p), np.log(4 / 3), rtol=1e-6)
    q_bar, p_bar = jax.grad(losses.cross_entropy, (0, 1))(q, p)
    np.testing.assert_allclose(q_bar, [[0, 0, -4 / 3]], rtol=1e-6)
    np.testing.assert_allclose(p_bar, [[0, np.log(4), np.log(4 / 3)]], rtol=1e-6)
    np.testing.assert_allclose(losses.kl_divergence(p, q), np.log(4 / 3), rtol=1e-6)
    p_bar, q_bar = jax.grad(losses.kl_divergence, (0, 1))(p, q)
    np.testing.assert_allclose(p_bar, [[0, np.log(4), 1 + np.log(4 / 3)]], rtol=1e-6)
    np.testing.assert_allclose(q_bar, [[0, 0, -4 / 3]], rtol=1e-6)
    a = jnp.array([0.0, 1.0])
    assert losses.binary_cross_entropy(a, a) == 0
    a_bar, y_bar = jax.grad(losses.binary_cross_entropy, (0, 1))(a, a)
    np.testing.assert_array_equal(a_bar, [0.5, -0.5])
    np.testing.assert_array_equal(y_bar, [0, 0])


def test_what_was_called_impossible_and_happens_costs_infinity():
    q, p = jnp.array([[0.0, 1.0]]), jnp.array([[0.5, 0.5]])
    assert losses.cross_entropy(q, p) == losses.kl_divergence(p, q) == np.inf
    np.testing.assert_array_equal(jax.grad(losses.cross_entropy)(q, p), [[-np.inf, -0.5]])
    a, y = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0])
    np.testing.assert_array_equal(losses.binary_cross_entropy(a, y, **NONE), [np.inf, np.inf])
    np.testing.assert_array_equal(jax.grad(losses.binary_cross_entropy)(a, y), [-np.inf, np.inf])


def test_a_logit_of_minus_infinity_removes_its_class():
    kept, p = jnp.array([[0.3, -1.2]]), jnp.array([[0.6, 0.4]])
    logits, p_and_none = jnp.array([[0.3, -jnp.inf, -1.2]]), jnp.array([[0.6, 0.0, 0.4]])
    value, (z_bar, p_bar) = jax.value_and_grad(losses.softmax_cross_entropy, (0, 1))(kept, p)
    wide, (wide_z_bar, wide_p_bar) = jax.value_and_grad(losses.softmax_cross_entropy, (0, 1))(logits, p_and_none)
    np.testing.assert_allclose(wide, value, rtol=1e-6)
    np.testing.assert_allclose(wide_p_bar, jnp.insert(p_bar, 1, 0, axis=1), rtol=1e-6)
    np.testing.assert_allclose(wide_z_bar, jnp.insert(z_bar, 1, 0, axis=1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8])
def test_a_label_that_is_no_class_makes_its_example_nan(dtype):
    logits = jnp.asarray(RNG.normal(size=(3, 300)), jnp.float32)
    loss = losses.softmax_cross_entropy_with_integer_labels
    labels = jnp.array([3, 100, 7]).astype(dtype)
    assert np.isfinite(loss(logits, labels))
    if dtype == jnp.uint8:
        logits, labels = logits[:, :200], labels.at[1].set(200)
    else:
        labels = labels.at[1].set(-1)
    np.testing.assert_array_equal(np.isnan(loss(logits, labels, **NONE)), [False, True, False])
    assert np.isnan(loss(logits, labels))
    gradient = jax.grad(loss)(logits, labels)
    np.testing.assert_array_equal(np.isnan(gradient).all(1), [False, True, False])
    np.testing.assert_array_equal(np.isnan(gradient).any(1), [False, True, False])
