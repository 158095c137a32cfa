"""Learning rules: what they converge to, which of them are gradients, and which are not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.decomposition import PCA
from sklearn.linear_model import Perceptron

from jaxnets.ops import learning_rules as rules
from jaxnets.ops import losses
from jaxnets.ops.learning_rules import learn

pytestmark = pytest.mark.usefixtures("x64")


def normal(seed, *shapes):
    generator = np.random.default_rng(seed)
    return [jnp.asarray(generator.normal(size=shape)) for shape in shapes]


def asymmetry(update, w):
    """How far the Jacobian of an update is from symmetric: 0 for every gradient, by Schwarz."""
    n = w.size
    jacobian = np.asarray(jax.jacfwd(update)(w)).reshape(n, n)
    return np.abs(jacobian - jacobian.T).max() / np.abs(jacobian).max()


UPDATES = {
    "unsupervised": lambda w, x, t: rules.hebb_unsupervised(w, x),
    "supervised": rules.hebb_supervised,
    "delta": rules.delta_rule,
    "perceptron": lambda w, x, t: rules.perceptron_rule(w, x, (t > 0).astype(t.dtype)),
    "oja": lambda w, x, t: rules.oja(w, x),
    "general, of an output": lambda w, x, t: rules.hebb_general(x, jnp.tanh(x @ w), f=jnp.sin, g=jnp.cos),
    "general, with x itself": lambda w, x, t: rules.hebb_general(x, jnp.tanh(x @ w), f=jnp.sin, g=lambda x: 2 * x),
}


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_a_batch_is_the_sum_of_those_of_its_rows(name):
    w, x, t = normal(0, (3, 2), (5, 3), (5, 2))
    one_by_one = sum(UPDATES[name](w, x[q : q + 1], t[q : q + 1]) for q in range(5))
    np.testing.assert_allclose(UPDATES[name](w, x, t), one_by_one, rtol=1e-13)


def test_the_rules_by_loops():
    w, x, t = normal(1, (3, 2), (1, 3), (1, 2))
    a = [sum(x[0, i] * w[i, j] for i in range(3)) for j in range(2)]

    def table(entry):
        return [[float(entry(i, j)) for j in range(2)] for i in range(3)]

    wanted = {
        "unsupervised": table(lambda i, j: a[j] * x[0, i]),
        "supervised": table(lambda i, j: t[0, j] * x[0, i]),
        "delta": table(lambda i, j: (t[0, j] - a[j]) * x[0, i]),
        "perceptron": table(lambda i, j: (float(t[0, j] > 0) - float(a[j] > 0)) * x[0, i]),
        "oja": table(lambda i, j: a[j] * (x[0, i] - sum(w[i, k] * a[k] for k in range(2)))),
        "general, of an output": table(lambda i, j: np.sin(np.tanh(a[j])) * np.cos(x[0, i])),
    }
    for name, values in wanted.items():
        np.testing.assert_allclose(UPDATES[name](w, x, t), values, rtol=1e-13, err_msg=name)


@pytest.mark.parametrize(
    ("name", "is_gradient"),
    [
        ("unsupervised", True),
        ("supervised", True),
        ("delta", True),
        ("general, with x itself", True),
        ("oja", False),
        ("general, of an output", False),
    ],
)
def test_which_rules_are_gradients_of_something(name, is_gradient):
    w, x, t = normal(2, (3, 2), (5, 3), (5, 2))
    if name == "supervised":  # linear in w: its Jacobian is zero
        assert not np.any(jax.jacfwd(lambda w: UPDATES[name](w, x, t))(w))
        return
    error = asymmetry(lambda w: UPDATES[name](w, x, t), w)
    assert error < 1e-14 if is_gradient else error > 0.05


def test_ojas_rule_is_not_even_a_gradient_of_the_mean_over_the_data_but_is_one_on_the_sphere():
    w, x = normal(3, (4, 1), (50, 4))
    assert asymmetry(lambda w: rules.oja(w, x), w) > 0.02
    w = w / jnp.linalg.norm(w)
    slope = jax.grad(lambda w: 0.5 * jnp.sum((x @ w) ** 2))(w)
    np.testing.assert_allclose(rules.oja(w, x), slope - w * (w.T @ slope), rtol=1e-12)


def test_the_perceptron_rule_is_a_subgradient_of_its_loss_also_at_the_kink():
    w, x = normal(4, (3, 2), (5, 3))
    t = jnp.asarray(np.random.default_rng(4).integers(0, 2, (5, 2)), float)
    step = rules.perceptron_rule(w, x, t)

    def loss(w):
        return losses.perceptron(x @ w, 2 * t - 1, reduction=losses.Reduction.SUM)

    np.testing.assert_allclose(step, -jax.grad(loss)(w), rtol=1e-13)
    # At w = 0 every unit is at its kink.  A subgradient supports the loss from below, wherever one goes.
    zero = jnp.zeros_like(w)
    at_zero = -rules.perceptron_rule(zero, x, t)
    assert np.any(at_zero)
    for to in normal(5, *[(3, 2)] * 50):
        assert loss(to) >= loss(zero) + jnp.sum(at_zero * to) - 1e-12
    # The loss by hand has another one there: a score of 0 is wrong for either target.
    assert not np.allclose(at_zero, jax.grad(loss)(zero))


def test_hebbs_rule_alone_diverges():
    w, x = normal(6, (3, 2), (20, 3))
    run = learn(rules.hebb_unsupervised, w, (x,), learning_rate=0.01, epochs=50, batch_size=20)
    # A step multiplies the component along an eigenvector of xᵀ x by 1 + η times its eigenvalue.
    eigenvalues, q = np.linalg.eigh(x.T @ x)
    grown = ((1 + 0.01 * eigenvalues) ** 50)[:, None] * (q.T @ w)
    np.testing.assert_allclose(q.T @ run.params, grown, rtol=1e-10)
    energies = [
        rules.output_energy(learn(rules.hebb_unsupervised, w, (x,), learning_rate=0.1, epochs=n).params, x)
        for n in (1, 2)
    ]
    assert rules.output_energy(w, x) < energies[0] < energies[1]


def test_ojas_rule_finds_the_first_principal_component():
    (x,) = normal(7, (200, 5))
    turn = np.linalg.qr(np.random.default_rng(8).normal(size=(5, 5)))[0]
    x = x * jnp.array([[4.0, 2.0, 1.0, 0.5, 0.3]]) @ turn
    x = x - x.mean(0, keepdims=True)
    components = PCA(2).fit(x).components_
    rate = 0.2 / np.linalg.eigvalsh(x.T @ x)[-1]
    (start,) = normal(9, (5, 1))
    run = learn(rules.oja, 0.1 * start, (x,), learning_rate=rate, epochs=3000, batch_size=200)
    w = run.params[:, 0]
    np.testing.assert_allclose(w * np.sign(w @ components[0]), components[0], atol=1e-9)
    # Two units: orthonormal, in the plane of the first two components.
    (start,) = normal(10, (5, 2))
    w = learn(rules.oja, 0.1 * start, (x,), learning_rate=rate, epochs=3000, batch_size=200).params
    np.testing.assert_allclose(w.T @ w, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(w @ w.T, components.T @ components, atol=1e-7)


def test_ojas_rule_one_example_after_the_other_comes_near():
    (x,) = normal(11, (500, 3))
    x = x * jnp.array([[3.0, 1.0, 0.5]])
    run = learn(rules.oja, jnp.full((3, 1), 0.3), (x,), learning_rate=0.002, epochs=20)
    direction = np.abs(run.params[:, 0]) / np.linalg.norm(run.params)
    first = np.abs(np.linalg.eigh(x.T @ x)[1][:, -1])
    assert direction @ first > 0.999
    assert np.linalg.norm(run.params) == pytest.approx(1, abs=0.05)


def test_adaline_reaches_least_squares_and_diverges_beyond_the_critical_rate():
    x, t = normal(12, (20, 3), (20, 2))
    best = np.linalg.lstsq(x, t, rcond=None)[0]
    critical = 2 / np.linalg.eigvalsh(x.T @ x)[-1]
    train = jax.jit(
        lambda rate: (
            learn(rules.delta_rule, jnp.zeros((3, 2)), (x, t), learning_rate=rate, epochs=2000, batch_size=20).params
        )
    )
    np.testing.assert_allclose(train(0.9 * critical), best, rtol=1e-10)
    assert np.linalg.norm(train(1.02 * critical)) > 1e6
    # One example after the other comes near, the nearer the smaller the rate.
    online = [
        np.linalg.norm(
            learn(rules.delta_rule, jnp.zeros((3, 2)), (x, t), learning_rate=rate, epochs=1000).params - best
        )
        for rate in (0.02, 0.005)
    ]
    assert online[1] < online[0] / 3 < 0.1


def test_adaline_cancels_noise():
    """Widrow's use: a filter learns to predict the hum from its source, and what it cannot predict is the signal."""
    time = jnp.arange(4000.0)
    (signal,) = normal(13, (4000,))
    source = jnp.sin(2 * np.pi * time / 20)
    heard = 0.1 * signal + 0.8 * jnp.sin(2 * np.pi * time / 20 + 1.1)
    taps = jnp.stack([source, jnp.roll(source, 5)], 1)
    run = learn(rules.delta_rule, jnp.zeros((2, 1)), (taps, heard[:, None]), learning_rate=0.005, epochs=2)
    left = heard - (taps @ run.params)[:, 0]
    assert np.var(heard) > 0.3
    assert np.var(left - 0.1 * signal) < 1e-3


HAGAN_X = jnp.array([[0.5, -0.5, 0.5, -0.5], [0.5, 0.5, -0.5, -0.5]])
HAGAN_T = jnp.array([[1.0, -1.0], [1.0, 1.0]])


def test_the_associator_of_the_book():
    x, t = HAGAN_X.astype(float), HAGAN_T.astype(float)
    w = rules.hebb_matrix(x, t)
    np.testing.assert_array_equal(w.T, [[1, 0, 0, -1], [0, 1, -1, 0]])
    np.testing.assert_array_equal(x @ w, t)
    np.testing.assert_array_equal(rules.recall_error(x, t), np.zeros((2, 2)))
    np.testing.assert_allclose(rules.pseudo_inverse_matrix(x, t), w, atol=1e-15)
    online = learn(rules.hebb_supervised, jnp.zeros((4, 2)), (x, t), learning_rate=1.0, epochs=1)
    np.testing.assert_array_equal(online.params, w)


def test_the_error_of_an_associator_is_its_crosstalk_and_the_pseudo_inverse_has_none():
    x, t = normal(14, (4, 6), (4, 3))
    w = rules.hebb_matrix(x, t)
    np.testing.assert_allclose(x @ w - t, rules.recall_error(x, t), rtol=1e-12)
    for k in range(4):
        crosstalk = sum((x[k] @ x[q]) * t[q] for q in range(4) if q != k) + (x[k] @ x[k] - 1) * t[k]
        np.testing.assert_allclose(rules.recall_error(x, t)[k], crosstalk, rtol=1e-12)
    exact = rules.pseudo_inverse_matrix(x, t)
    np.testing.assert_allclose(x @ exact, t, rtol=1e-10)
    # More patterns than inputs: least squares.
    x, t = normal(15, (9, 4), (9, 2))
    np.testing.assert_allclose(rules.pseudo_inverse_matrix(x, t), np.linalg.lstsq(x, t, rcond=None)[0], rtol=1e-10)


@functools.partial(jax.jit, static_argnames="epochs")
def mistakes(x, t, epochs):
    run = learn(rules.perceptron_rule, jnp.zeros((x.shape[1], 1)), (x, t), learning_rate=1.0, epochs=epochs)
    return run.changes, run.params


MARGIN, EPOCHS = 0.25, 130
"""At most R²/γ² < 129 mistakes are possible below, and every epoch but the last makes one."""


@given(
    hnp.arrays(float, (12, 3), elements=st.floats(-1, 1, width=16)),
    hnp.arrays(float, (3,), elements=st.floats(-1, 1, width=16)),
)
@settings(max_examples=60, deadline=None)
def test_a_perceptron_makes_no_more_mistakes_than_novikoff_allows(x, direction):
    if np.linalg.norm(direction) < 0.1:
        direction = np.array([1.0, 0.0, 0.0])
    with jax.enable_x64():
        direction = direction / np.linalg.norm(direction)
        # Whatever lies near the plane is pushed out of the margin, to the side that it is on.
        t = x @ direction > 0
        x = x + np.where(t, 1, -1)[:, None] * MARGIN * direction
        radius, margin = np.linalg.norm(x, axis=1).max(), np.abs(x @ direction).min()
        changes, w = mistakes(jnp.asarray(x), jnp.asarray(t[:, None], float), EPOCHS)
        assert int(changes.sum()) <= (radius / margin) ** 2 * (1 + 1e-12)
        assert int(changes[-1]) == 0
        np.testing.assert_array_equal(x @ w > 0, t[:, None])


def test_the_perceptron_rule_moves_as_scikit_learns_does():
    (x,) = normal(16, (30, 3))
    t = (x @ jnp.array([[1.0], [-2.0], [0.5]]) + 0.2 * jnp.sin(7 * x[:, :1]) > 0).astype(float)
    t = t.at[0].set(1.0)
    ours = learn(
        rules.perceptron_rule,
        jnp.zeros((4, 1)),
        (jnp.concatenate([x, jnp.ones((30, 1))], 1), t),
        learning_rate=1.0,
        epochs=7,
    )
    theirs = Perceptron(shuffle=False, max_iter=7, tol=None).fit(x, t[:, 0])
    # At a score of 0, where only the first example stands, theirs is wrong about either class: hence its class 1.
    np.testing.assert_allclose(ours.params[:, 0], np.append(theirs.coef_[0], theirs.intercept_), rtol=1e-10)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w, x, t: rules.oja(w, x[:, :2]), ValueError, r"oja: wanted x .* got x \(5, 2\), w \(3, 2\)"),
        (lambda w, x, t: rules.hebb_unsupervised(w[0], x), ValueError, r"hebb_unsupervised: wanted x .* w \(2,\)"),
        (lambda w, x, t: rules.delta_rule(w, x, t[:1]), ValueError, r"delta_rule: t has shape \(1, 2\), wanted \(5, 2"),
        (lambda w, x, t: rules.perceptron_rule(w, x, t.astype(jnp.float32)), TypeError, "t is float32, wanted float64"),
        (lambda w, x, t: rules.hebb_supervised(w, x > 0, t), TypeError, "hebb_supervised: x is bool, wanted float64"),
        (lambda w, x, t: rules.oja(w > 0, x), TypeError, "oja: w is bool, wanted a floating-point array"),
        (lambda w, x, t: rules.hebb_matrix(x, t[:3]), ValueError, r"hebb_matrix: .* got x \(5, 3\), t \(3, 2\)"),
        (lambda w, x, t: rules.pseudo_inverse_matrix(x, t[0]), ValueError, "pseudo_inverse_matrix: wanted x"),
        (lambda w, x, t: rules.recall_error(x > 0, t), TypeError, "recall_error: x is bool"),
        (lambda w, x, t: rules.hebb_general(x, t[1:], f=jnp.tanh, g=jnp.tanh), ValueError, "hebb_general: wanted x"),
        (
            lambda w, x, t: learn(rules.delta_rule, w, (x, t[:3]), learning_rate=1.0, epochs=1),
            ValueError,
            r"learn: the arrays of data have \[3, 5\] rows",
        ),
        (
            lambda w, x, t: learn(rules.delta_rule, w, (x, t), learning_rate=1.0, epochs=1, batch_size=2),
            ValueError,
            "learn: batch_size is 2, wanted a divisor of the 5 rows",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(*normal(17, (3, 2), (5, 3), (5, 2)))


def test_float32_stays_float32_and_changes_are_counted():
    x, t = jnp.eye(3, dtype=jnp.float32), jnp.array([[1.0], [0.0], [1.0]], jnp.float32)
    run = learn(rules.perceptron_rule, jnp.zeros((3, 1), jnp.float32), (x, t), learning_rate=0.5, epochs=3)
    assert run.params.dtype == jnp.float32
    assert run.changes.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(run.params[:, 0], [0.5, 0, 0.5])
