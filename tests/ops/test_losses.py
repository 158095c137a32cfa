"""Every loss: its gradient against autodiff, its reductions, dtypes and errors."""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.ops import losses
from jaxnets.ops.losses import Reduction
from jaxnets.rule import autodiff


def values(seed, *shape):
    """Entries on both sides of every kink, some of them far out, none on one."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * 1.7)


def probabilities(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.05, 0.95, size=shape))


def signs(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], size=shape))


def pair(shape):
    return values(0, *shape), values(1, *shape)


def margin(shape):
    return values(0, *shape), signs(1, *shape)


def codes(shape):
    return values(2, shape[0], 4), values(3, shape[0], 4)


# Targets that do not sum to one and labels between -1 and 1 tell more derivations apart than proper ones do.
CASES = {
    "quadratic": (losses.quadratic, pair),
    "quadratic, variance 3": (functools.partial(losses.quadratic, variance=3.0), pair),
    "squared_error": (losses.squared_error, pair),
    "absolute_error": (losses.absolute_error, pair),
    "huber": (functools.partial(losses.huber, delta=0.7), pair),
    "log_cosh": (losses.log_cosh, pair),
    "epsilon_insensitive": (functools.partial(losses.epsilon_insensitive, epsilon=0.4), pair),
    "quantile": (functools.partial(losses.quantile, tau=0.2), pair),
    "perceptron": (losses.perceptron, margin),
    "hinge": (losses.hinge, margin),
    "squared_hinge": (losses.squared_hinge, margin),
    "logistic": (losses.logistic, margin),
    "exponential": (losses.exponential, margin),
    "modified_huber": (losses.modified_huber, margin),
    "modified_huber, any label": (losses.modified_huber, pair),
    "cross_entropy": (losses.cross_entropy, lambda shape: (probabilities(0, *shape, 5), probabilities(1, *shape, 5))),
    "softmax_cross_entropy": (
        losses.softmax_cross_entropy,
        lambda shape: (values(0, *shape, 5), probabilities(1, *shape, 5)),
    ),
    "softmax_cross_entropy_with_integer_labels": (
        losses.softmax_cross_entropy_with_integer_labels,
        lambda shape: (values(0, *shape, 5), jnp.asarray(np.random.default_rng(1).integers(0, 5, shape))),
    ),
    "binary_cross_entropy": (
        losses.binary_cross_entropy,
        lambda shape: (probabilities(0, *shape), probabilities(1, *shape)),
    ),
    "sigmoid_cross_entropy": (losses.sigmoid_cross_entropy, lambda shape: (values(0, *shape), values(1, *shape))),
    "gaussian_negative_log_likelihood": (
        losses.gaussian_negative_log_likelihood,
        lambda shape: (values(0, *shape), probabilities(1, *shape), values(2, *shape)),
    ),
    "kl_divergence": (losses.kl_divergence, lambda shape: (probabilities(0, *shape, 5), probabilities(1, *shape, 5))),
    "gaussian_kl": (losses.gaussian_kl, codes),
    "bernoulli_negative_elbo": (
        losses.bernoulli_negative_elbo,
        lambda shape: (values(0, *shape), probabilities(1, *shape), *codes(shape)),
    ),
    "gan_discriminator_loss": (losses.gan_discriminator_loss, pair),
    "gan_generator_minimax_loss": (losses.gan_generator_minimax_loss, lambda shape: (values(0, *shape),)),
    "gan_generator_loss": (losses.gan_generator_loss, lambda shape: (values(0, *shape),)),
}
SHAPES = [(7,), (1, 3), (3, 2, 4)]
each_loss = pytest.mark.parametrize(("loss", "sample"), CASES.values(), ids=CASES)


def assert_same_cotangents(problems):
    """Of each (function, arguments): values and cotangents by hand are those of autodiff, at random cotangents."""

    def solve(problems):
        solutions = []
        for f, args in problems:
            y, pull_back = jax.vjp(f, *args)
            y_bar = jnp.asarray(np.random.default_rng(9).normal(size=y.shape))
            solutions.append((y, *pull_back(y_bar)))
        return solutions

    functions, arguments = zip(*problems, strict=True)
    stripped = [autodiff(f) for f in functions]
    by_hand, truth = jax.jit(
        lambda arguments: [solve(zip(side, arguments, strict=True)) for side in (functions, stripped)]
    )(arguments)
    for args, ours, theirs in zip(arguments, by_hand, truth, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-13)
        for arg, bar, true_bar in zip(args, ours[1:], theirs[1:], strict=True):
            if jnp.issubdtype(arg.dtype, jnp.floating):
                assert bar.shape == arg.shape
                assert np.any(bar != 0)
                np.testing.assert_allclose(bar, true_bar, rtol=1e-11, atol=1e-13)


def test_every_public_loss_is_checked_here():
    public = {name for name, value in vars(losses).items() if callable(value) and name != "Reduction"}
    assert public - {"zero_one", "l2_penalty", "token_cross_entropy"} == {name.partition(",")[0] for name in CASES}


@each_loss
def test_gradient_is_autodiffs_for_every_reduction_and_shape(x64, loss, sample):
    reductions = [(functools.partial(loss, reduction=reduction), sample((6, 3))) for reduction in Reduction]
    assert_same_cotangents([*reductions, *((loss, sample(shape)) for shape in SHAPES)])


@each_loss
def test_reductions_are_the_mean_the_sum_and_the_examples(x64, loss, sample):
    args = sample((4, 3))
    costs = loss(*args, reduction=Reduction.NONE)
    assert costs.shape == (4,)
    for i in range(4):
        example = [arg[i : i + 1] for arg in args]
        np.testing.assert_allclose(loss(*example), costs[i], rtol=1e-13)
    np.testing.assert_allclose(loss(*args, reduction=Reduction.SUM), np.sum(costs), rtol=1e-13)
    np.testing.assert_allclose(loss(*args, reduction=Reduction.MEAN), np.mean(costs), rtol=1e-13)
    np.testing.assert_allclose(loss(*args), np.mean(costs), rtol=1e-13)


@each_loss
def test_jit_and_vmap_change_nothing(x64, loss, sample):
    args = sample((4, 3))
    gradient = jax.value_and_grad(loss)
    expected = gradient(*args)
    np.testing.assert_allclose(jax.jit(gradient)(*args)[1], expected[1], rtol=1e-12, atol=1e-14)
    stacked = [jnp.stack([arg, arg[::-1]]) for arg in args]
    values, gradients = jax.vmap(gradient)(*stacked)
    np.testing.assert_allclose(values, [expected[0]] * 2, rtol=1e-12)
    np.testing.assert_allclose(gradients[1][::-1], expected[1], rtol=1e-12, atol=1e-14)


@each_loss
def test_second_derivative_is_autodiffs(x64, loss, sample):
    first, *rest = sample((2, 2))

    def curvature(f, a):
        return jax.grad(lambda a: jnp.sum(jnp.sin(jax.grad(f)(a, *rest))))(a)

    by_hand, truth = jax.jit(lambda a: (curvature(loss, a), curvature(autodiff(loss), a)))(first)
    np.testing.assert_allclose(by_hand, truth, rtol=1e-10, atol=1e-12)


@each_loss
def test_value_and_gradient_keep_the_dtype(x64, loss, sample):
    def cast(dtype):
        return [arg.astype(dtype) if jnp.issubdtype(arg.dtype, jnp.floating) else arg for arg in sample((4, 3))]

    def value_and_cotangents(args):
        y, pull_back = jax.vjp(loss, *args)
        return y, pull_back(jnp.ones_like(y))

    narrow, single, (exact, _) = jax.jit(lambda all: [value_and_cotangents(args) for args in all])(
        [cast(jnp.bfloat16), cast(jnp.float32), cast(jnp.float64)]
    )
    for dtype, (y, bars) in ((jnp.bfloat16, narrow), (jnp.float32, single)):
        assert y.dtype == dtype
        np.testing.assert_allclose(np.float64(y), exact, rtol=8 * float(jnp.finfo(dtype).eps))
        assert all(bar.dtype in (dtype, jax.dtypes.float0) for bar in bars)


def test_zero_one_counts_wrong_decisions_and_has_gradient_zero():
    f, y = jnp.array([2.0, -0.1, 0.0, 3.0]), jnp.array([1.0, 1.0, 1.0, -1.0])
    np.testing.assert_array_equal(losses.zero_one(f, y, reduction=Reduction.NONE), [0.0, 1.0, 1.0, 1.0])
    assert losses.zero_one(f, y) == 0.75
    f_bar, y_bar = jax.grad(losses.zero_one, (0, 1))(f, y)
    np.testing.assert_array_equal(f_bar, np.zeros(4))
    np.testing.assert_array_equal(y_bar, np.zeros(4))


def test_l2_penalty_sums_over_the_tree_and_differentiates_both_arguments(x64):
    w = {"first": values(0, 3, 2), "rest": [values(1, 2), values(2, 2, 4, 1)]}
    penalty, (w_bar, coefficient_bar) = jax.value_and_grad(losses.l2_penalty, (0, 1))(w, 0.3)
    square = sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(w))
    np.testing.assert_allclose(penalty, 0.3 * square, rtol=1e-14)
    np.testing.assert_allclose(coefficient_bar, square, rtol=1e-14)
    for leaf, bar in zip(jax.tree.leaves(w), jax.tree.leaves(w_bar), strict=True):
        np.testing.assert_allclose(bar, 2 * 0.3 * leaf, rtol=1e-14)
    truth = jax.vjp(autodiff(losses.l2_penalty), w, jnp.asarray(0.3))[1](jnp.asarray(-1.7))
    ours = jax.vjp(losses.l2_penalty, w, jnp.asarray(0.3))[1](jnp.asarray(-1.7))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-13), ours, truth)


def test_l2_penalty_sweeps_its_coefficient_and_keeps_the_weights_dtype():
    w = jnp.full((3, 2), 2.0, jnp.bfloat16)
    swept = jax.vmap(jax.grad(losses.l2_penalty), (None, 0))(w, jnp.array([0.0, 0.5, 1.0]))
    assert swept.dtype == jnp.bfloat16
    np.testing.assert_array_equal(swept.astype(jnp.float32), np.full((3, 3, 2), [[[0.0]], [[2.0]], [[4.0]]]))
    assert jax.grad(losses.l2_penalty, 1)(w, jnp.float32(0.5)).dtype == jnp.float32


A, WIDE, LABELS = jnp.ones((4, 3)), jnp.ones((4, 1)), jnp.zeros(4, jnp.int32)
OF_TWO = [
    name
    for name, loss in vars(losses).items()
    if callable(loss)
    and list(inspect.signature(loss).parameters.values())[-1].name == "reduction"
    and name not in ("softmax_cross_entropy_with_integer_labels", "gaussian_negative_log_likelihood")
    and sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in inspect.signature(loss).parameters.values()) == 2
]


@pytest.mark.parametrize("name", OF_TWO)
def test_a_pair_that_does_not_match_is_refused(own_errors, name):
    loss = getattr(losses, name)
    first, second = list(inspect.signature(loss).parameters)[:2]
    for args, message in [
        ((A, WIDE), f"{name}: {second} has shape (4, 1), {first} has (4, 3), wanted the same shape"),
        ((A, A[0]), f"{name}: {second} has shape (3,), "),
        ((A, A.astype(int)), f"{name}: {second} is int32, wanted floating-point numbers"),
        ((A.astype(int), A), f"{name}: {first} is int32, wanted floating-point numbers"),
        ((A, A.astype(jnp.bfloat16)), f"{name}: {second} is bfloat16, {first} is float32, wanted the same dtype"),
        ((A[0, 0], A[0, 0]), f"{name}: {first} has shape (), wanted (batch, ..."),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            jax.jit(loss)(*args)


def test_the_table_of_pairs_is_not_empty():
    assert len(OF_TWO) == 21


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.quadratic(A, A, variance=0.0), "quadratic: variance is 0.0, wanted a number above 0"),
        (lambda: losses.huber(A, A, delta=-1.0), "huber: delta is -1.0, wanted a number above 0"),
        (lambda: losses.huber(A, A, delta=float("nan")), "huber: delta is nan, wanted a number above 0"),
        (lambda: losses.epsilon_insensitive(A, A, epsilon=-0.1), "epsilon_insensitive: epsilon is -0.1, wanted 0 or"),
        (lambda: losses.quantile(A, A, tau=1.0), "quantile: tau is 1.0, wanted a number between 0 and 1"),
        (lambda: losses.quantile(A, A, tau=0.0), "quantile: tau is 0.0, wanted a number between 0 and 1"),
        (
            lambda: losses.softmax_cross_entropy(A[0], A[0]),
            "softmax_cross_entropy: logits has shape (3,), wanted (batch, ..., classes)",
        ),
        (
            lambda: losses.softmax_cross_entropy_with_integer_labels(A, LABELS.astype(float)),
            "softmax_cross_entropy_with_integer_labels: labels are float32, wanted integers",
        ),
        (
            lambda: losses.softmax_cross_entropy_with_integer_labels(A, LABELS[:, None]),
            "labels have shape (4, 1), wanted (4,) (logits have shape (4, 3))",
        ),
        (
            lambda: losses.softmax_cross_entropy_with_integer_labels(A[0], LABELS[0]),
            "logits has shape (3,), wanted (batch, ..., classes)",
        ),
        (
            lambda: losses.gaussian_negative_log_likelihood(A, WIDE, A),
            "gaussian_negative_log_likelihood: variance has shape (4, 1), mean has (4, 3)",
        ),
        (
            lambda: losses.gaussian_negative_log_likelihood(A, A, WIDE),
            "gaussian_negative_log_likelihood: y has shape (4, 1), mean has (4, 3)",
        ),
        (
            lambda: losses.bernoulli_negative_elbo(A, A, A[:2], A[:2]),
            "bernoulli_negative_elbo: logits are float32 (4, 3), mu is float32 (2, 3), wanted the same batch size",
        ),
        (lambda: losses.gan_generator_loss(LABELS), "gan_generator_loss: fake_logits is int32, wanted floating-point"),
        (lambda: losses.l2_penalty({}, 0.1), "l2_penalty: w has the dtypes [], wanted arrays of one floating-point"),
        (lambda: losses.l2_penalty([A, LABELS], 0.1), "l2_penalty: w has the dtypes ['float32', 'int32']"),
        (lambda: losses.l2_penalty(LABELS, 0.1), "l2_penalty: w has the dtypes ['int32']"),
        (lambda: losses.l2_penalty(A, jnp.ones(2)), "l2_penalty: coefficient has shape (2,), wanted a scalar"),
    ],
)
def test_bad_arguments_are_refused(own_errors, call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_a_reduction_by_name_is_refused(own_errors):
    with pytest.raises(TypeError, match=r"reduction is 'mean', wanted Reduction\.MEAN"):
        losses.quadratic(A, A, reduction="mean")
