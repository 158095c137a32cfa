"""Where the truth is rounding noise, a right derivation is not called wrong, nor a wrong one right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.verify import Verdict
from jaxnets.verify.checks.against_autodiff import against_autodiff

RNG = np.random.default_rng(0)
Q, K, V = (RNG.normal(size=size) for size in ((4, 3), (5, 3), (5, 2)))


def attention(q, k, v):
    return jax.nn.softmax(q @ k.T, -1) @ v


def attention_by_hand(args, y_bar, share=1.0):
    q, k, v = args
    p = jax.nn.softmax(q @ k.T, -1)
    p_bar = y_bar @ v.T
    s_bar = p * (p_bar - share * jnp.sum(p * p_bar, -1, keepdims=True))
    return s_bar @ k, s_bar.T @ q, p.T @ y_bar


def verdicts(hand, scale):
    report = verify.vjp(attention, hand, scale * Q, scale * K, scale * V, checks=(against_autodiff,))
    return [row.verdict for row in report.rows[:3]]


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_a_right_derivation_is_never_called_wrong_however_saturated(scale):
    assert Verdict.WRONG not in verdicts(attention_by_hand, scale)


def test_at_the_plain_input_there_is_power():
    assert verdicts(attention_by_hand, 1.0) == [Verdict.OK] * 3


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_a_wrong_derivation_is_never_called_right(scale):
    q, k, v = verdicts(lambda args, y_bar: attention_by_hand(args, y_bar, share=0.5), scale)
    assert {q, k} <= {Verdict.WRONG, Verdict.NO_POWER}
    assert v is Verdict.OK


@pytest.mark.parametrize("place", range(8))
def test_what_one_minus_y_loses_is_noise_wherever_it_stands(place):
    """A sigmoid rounds to 1 at one unit of eight; the slopes of all are far smaller than what its rounding does."""

    def loss(z):
        return 0.5 * jnp.sum(jnp.exp(-jnp.logaddexp(0.0, -z)) ** 2)

    def hand(z):
        y = 1 / (1 + jnp.exp(-z))
        return (y**2 * (1 - y),)

    z = np.full(8, -60.0)
    z[place] = 63.0
    (row,) = verify.gradient(loss, hand, z, checks=(against_autodiff,)).rows
    assert row.verdict is Verdict.NO_POWER


def test_without_power_the_report_is_not_ok_and_not_wrong():
    """sin²x + cos²x - 1: the truth is nothing but noise."""

    def f(x):
        return 1e3 * (jnp.sin(x) ** 2 + jnp.cos(x) ** 2) * x - 1e3 * x

    def hand(args, y_bar):
        return (0.0 * y_bar,)

    report = verify.vjp(f, hand, np.array([0.3, 1.1]), checks=(against_autodiff,))
    assert report.first_wrong is None
    assert [row.verdict for row in report.rows if not row.ok] == [Verdict.NO_POWER]
    with pytest.raises(AssertionError, match="no power here"):
        report.check()


def test_single_precision_inside_the_function_has_its_own_rounding():
    def f(x):
        return jnp.sin(x.astype(jnp.float32)).astype(x.dtype)

    right = verify.vjp(f, lambda args, y_bar: (y_bar * jnp.cos(args[0]),), Q[0], checks=(against_autodiff,))
    assert right.first_wrong is None
    off = verify.vjp(f, lambda args, y_bar: (y_bar * jnp.cos(args[0]) * 1.01,), Q[0], checks=(against_autodiff,))
    assert off.first_wrong is not None


def test_every_operation_can_be_perturbed():
    """Those that hold a computation of their own too, and loops and branches."""

    def f(x):
        y = x.at[0].multiply(3.0).at[1].min(5.0)
        y = jax.lax.reduce(y, 0.0, jax.lax.add, (0,)) + jax.lax.cumsum(y)
        y = jax.lax.cond(y[0] < 1e3, lambda y: jnp.sin(y), lambda y: y, y)
        y = jax.lax.scan(lambda c, row: (jax.checkpoint(jnp.cos)(c) + row, ()), y, y[:, None])[0]
        matrix = jnp.eye(3) * 4.0 + jnp.outer(x, x)
        return jnp.linalg.solve(matrix, y) + jnp.sort(x)

    def off(args, y_bar):
        bar = jax.vjp(f, *args)[1](y_bar)[0]
        return (bar * (1 + 1e-7),)

    report = verify.vjp(f, off, np.array([0.3, -0.7, 1.9]), checks=(against_autodiff,))
    assert report.first_wrong is not None
    assert report.first_wrong.error == pytest.approx(1e-7, rel=1e-3)
