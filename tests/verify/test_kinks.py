"""At a kink every subgradient is right, and nothing else is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.verify import Verdict
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.local import local

AT_ZERO = np.array([0.0, 1.5, -2.0])
TIED = np.array([[2.0, 2.0, -1.0], [0.0, 1.0, 3.0]])
SIGNS = np.array([1.3, -0.7, 2.0])


def judged(f, hand, x):
    """The verdicts on `hand(x, y_bar)` as a vector-Jacobian product of f, and as a gradient of a loss."""

    def loss(x):
        return jnp.vdot(SIGNS[: f(x).size], f(x))

    reports = [
        verify.vjp(f, lambda args, y_bar: (hand(*args, y_bar),), x, checks=(against_autodiff,)),
        verify.gradient(loss, lambda x: (hand(x, SIGNS[: f(x).size]),), x, checks=(against_autodiff,)),
    ]
    assert all(report.ok == (report.rows[0].verdict is not Verdict.WRONG) for report in reports)
    return [report.rows[0].verdict for report in reports]


def relu_with_slope(at_zero):
    return lambda x, y_bar: y_bar * jnp.where(x == 0.0, at_zero, jnp.where(x > 0, 1.0, 0.0))


@pytest.mark.parametrize(
    ("at_zero", "verdict"),
    [
        (0.0, Verdict.OK),
        (0.5, Verdict.SUBGRADIENT),
        (1.0, Verdict.SUBGRADIENT),
        (5.0, Verdict.WRONG),
        (-1.0, Verdict.WRONG),
    ],
)
def test_the_slope_of_relu_at_zero(at_zero, verdict):
    assert judged(jax.nn.relu, relu_with_slope(at_zero), AT_ZERO) == [verdict] * 2


def test_one_output_at_a_time_shows_the_corners_of_the_hull():
    """A slope of 1.2 is outside; a sum over several kinks alone could not say so."""
    x = np.array([0.0, 0.0])
    assert judged(jax.nn.relu, relu_with_slope(1.2), x)[0] is Verdict.WRONG


def rowwise_max(x):
    return jnp.max(x, -1)


def to_the_first(x, y_bar):
    return y_bar[:, None] * jax.nn.one_hot(jnp.argmax(x, -1), x.shape[-1], dtype=x.dtype)


def to_each_of_them(x, y_bar):
    return y_bar[:, None] * (x == jnp.max(x, -1, keepdims=True)).astype(x.dtype)


def shared(x, y_bar):
    tied = to_each_of_them(x, jnp.ones_like(y_bar))
    return y_bar[:, None] * tied / jnp.sum(tied, -1, keepdims=True)


def to_the_last_entry(x, y_bar):
    return jnp.zeros_like(x).at[:, -1].set(y_bar)


@pytest.mark.parametrize(
    ("hand", "verdict"),
    [
        (shared, Verdict.OK),
        (to_the_first, Verdict.SUBGRADIENT),
        (to_each_of_them, Verdict.WRONG),
        (to_the_last_entry, Verdict.WRONG),
    ],
)
def test_where_the_maximum_is_tied(hand, verdict):
    assert judged(rowwise_max, hand, TIED) == [verdict] * 2


@pytest.mark.parametrize("factor", [1.01, -1.0, 0.0])
def test_what_is_wrong_everywhere_is_no_subgradient(factor):
    """Within the box of the slopes 0 and 1 at the kinks, and wrong between them."""
    x = np.array([0.0, 0.0, 1.5])
    assert judged(jax.nn.relu, lambda x, y_bar: factor * relu_with_slope(1.0)(x, y_bar), x) == [Verdict.WRONG] * 2


def test_what_is_a_subgradient_at_the_kink_and_wrong_beside_it_is_wrong():
    """A smoothed step: 1/2 at 0, where the slopes are 0 and 1, and 1/2 beside it too."""
    assert judged(jax.nn.relu, lambda x, y_bar: y_bar * jax.nn.sigmoid(x), np.zeros(2)) == [Verdict.WRONG] * 2


def test_a_single_entry_has_a_hull_too():
    x = np.zeros(1)
    assert judged(jax.nn.relu, relu_with_slope(1.0), x) == [Verdict.SUBGRADIENT] * 2
    assert judged(jax.nn.relu, relu_with_slope(5.0), x) == [Verdict.WRONG] * 2


def test_a_wrong_equation_is_not_excused_by_the_kink_of_another():
    """The kink is in x, the mistake in w."""

    def loss(x, w):
        return jnp.sum(jax.nn.relu(x) * w)

    def hand(x, w):
        return relu_with_slope(1.0)(x, w), 2 * jax.nn.relu(x)

    report = verify.gradient(loss, hand, AT_ZERO, SIGNS, checks=(against_autodiff,))
    assert [row.verdict for row in report.rows] == [Verdict.SUBGRADIENT, Verdict.WRONG]


def test_deltas_at_a_kink():
    def loss(x):
        a = checkpoint_name(jax.nn.relu(x), "a")
        return jnp.vdot(SIGNS, a**2 + a)

    def hand(x, at_zero):
        a_bar = SIGNS * (2 * jax.nn.relu(x) + 1)
        return (relu_with_slope(at_zero)(x, a_bar),), {"a": a_bar}

    def verdicts(at_zero):
        return [row.verdict for row in verify.gradient(loss, lambda x: hand(x, at_zero), AT_ZERO, checks=(local,)).rows]

    assert verdicts(1.0) == [Verdict.OK, Verdict.SUBGRADIENT]
    assert verdicts(5.0) == [Verdict.OK, Verdict.WRONG]


def test_the_note_says_so():
    report = verify.vjp(
        jax.nn.relu, lambda args, y_bar: (relu_with_slope(1.0)(*args, y_bar),), AT_ZERO, checks=(against_autodiff,)
    )
    report.check()
    assert report.rows[0].note == "at a kink: a valid subgradient, another convention than JAX's"
    assert "another subgradient" in str(report)
