"""The whole answer against autodiff's, at a random cotangent and at each one-hot one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.verify.checks.against_autodiff import against_autodiff

X = np.random.default_rng(0).normal(size=(2, 3))


def judge(f, hand, *args, level=verify.Level.QUICK):
    return verify.vjp(f, hand, *args, checks=(against_autodiff,), level=level)


def wrong(report):
    return [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]


def square(args, y_bar):
    return (2 * args[0] * y_bar,)


def test_a_row_for_each_leaf_and_one_for_the_one_hot_cotangents():
    report = judge(lambda x: x**2, square, X)
    report.check()
    assert [row.name for row in report.rows] == ["x", "one-hot cotangents"]


@pytest.mark.parametrize("part", [1e-6, 1e-8])
def test_a_small_error_in_one_entry_is_seen(part):
    def hand(args, y_bar):
        bar = square(args, y_bar)[0]
        return (bar.at[1, 2].multiply(1 + part),)

    report = judge(lambda x: x**2, hand, X)
    assert wrong(report) == ["x"]
    assert report.rows[0].worst == (1, 2)


def divides_by_the_cotangent(args, y_bar):
    """ȳ² / ȳ for ȳ: right wherever ȳ is not 0."""
    return (2 * args[0] * y_bar**2 / y_bar,)


def test_a_derivation_that_divides_by_the_cotangent_fails_at_one_hot_cotangents():
    report = judge(lambda x: x**2, divides_by_the_cotangent, X)
    assert report.rows[0].verdict is verify.Verdict.OK
    assert wrong(report)
    assert report.first_wrong is not None
    assert report.first_wrong.note == "with the cotangent of output 0 one-hot at [0, 0]"
    assert np.isnan(report.first_wrong.error)


def test_one_hot_cotangents_reach_every_output_of_a_tree():
    def f(x):
        return {"a": jnp.sum(x), "b": x[0, 0] ** 2, "n": jnp.int32(1)}

    def hand(args, y_bar):
        # Right but where "b" has a cotangent and "a" has none.
        only_b = (y_bar["a"] == 0.0) & (y_bar["b"] != 0.0)
        bar = (y_bar["a"] + 0 * args[0]).at[0, 0].add(2 * args[0][0, 0] * y_bar["b"])
        return (bar * jnp.where(only_b, 2.0, 1.0),)

    report = judge(f, hand, X)
    assert report.first_wrong is not None
    assert report.first_wrong.note == "with the cotangent of output 1 one-hot at []"


def test_many_outputs_are_tried_one_by_one_at_level_full_only():
    x = np.arange(1.0, 13.0)
    assert judge(lambda x: x**2, divides_by_the_cotangent, x).ok
    assert not judge(lambda x: x**2, divides_by_the_cotangent, x, level=verify.Level.FULL).ok


def test_a_loss_knows_one_cotangent_only():
    report = verify.gradient(lambda x: jnp.sum(x**2), lambda x: (2 * x,), X, checks=(against_autodiff,))
    assert [row.name for row in report.rows] == ["x"]


def test_zero_is_compared_exactly():
    f = lambda x: jnp.sum(jax.lax.stop_gradient(x) ** 2)
    assert judge(f, lambda args, y_bar: (0.0 * args[0],), X).ok
    assert wrong(judge(f, lambda args, y_bar: (0.0 * args[0] + 1e-300,), X)) == ["x"]


def test_wrong_shapes_are_wrong_rows():
    report = judge(lambda x: x**2, lambda args, y_bar: (square(args, y_bar)[0].T,), X)
    assert wrong(report) == ["x"]
    assert report.rows[0].note == "shape [3, 2], wanted [2, 3]"
    assert report.rows[0].error == np.inf


def test_an_empty_array_has_an_empty_gradient():
    def f(x, empty):
        return x * (1.0 + jnp.sum(empty))

    judge(f, lambda args, y_bar: (y_bar, jnp.zeros((0, 3))), X, np.zeros((0, 3))).check()


def test_complex_arguments_have_complex_cotangents():
    z = X + 1j * X[::-1]
    judge(lambda z: z**2, square, z).check()
    assert wrong(judge(lambda z: z**2, lambda args, y_bar: (jnp.conj(square(args, y_bar)[0]),), z)) == ["z"]
