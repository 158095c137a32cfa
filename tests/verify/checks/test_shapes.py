"""The check of shapes: the smallest sizes at which a derivation is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.verify.checks.shapes import shapes

X = np.random.default_rng(0).normal(size=(1, 3))


def mean_of_squares(x):
    return jnp.sum(x**2) / x.shape[0]


def right(x):
    return (2 * x / x.shape[0],)


def without_the_batch_size(x):
    return (2 * x,)


def sampler(key, *, batch=range(1, 4), features=3):
    return (jax.random.normal(key, (batch, features)),)


def test_a_right_derivation_is_right_at_every_size():
    report = verify.gradient(mean_of_squares, right, X, checks=(shapes,), sampler=sampler)
    report.check()
    assert report.rows[0].name == "3 sizes"


def test_the_smallest_sizes_at_which_it_is_wrong_are_named():
    assert verify.gradient(mean_of_squares, without_the_batch_size, X, checks=(verify.BATTERY[3],)).ok
    report = verify.gradient(mean_of_squares, without_the_batch_size, X, checks=(shapes,), sampler=sampler)
    assert report.first_wrong is not None
    assert report.first_wrong.name == "x"
    assert "smallest: batch=2" in report.first_wrong.note
    assert "2 or x.shape[0]=2" in report.first_wrong.diagnosis[0].text


def of_any_keywords(key, **sizes):
    return (X,)


@pytest.mark.parametrize("given", [None, lambda key: (X,), of_any_keywords])
def test_without_sizes_to_draw_it_does_not_apply(given):
    report = verify.gradient(mean_of_squares, right, X, checks=(shapes,), sampler=given)
    assert not report.rows
    assert [check for check, _ in report.not_applicable] == ["shapes"]


def test_sizes_that_the_function_refuses_are_passed_over():
    def at_least_two(x):
        if x.shape[0] < 2:
            raise ValueError("too few")
        return mean_of_squares(x)

    two = np.ones((2, 3))
    report = verify.gradient(at_least_two, right, two, checks=(shapes,), sampler=sampler)
    report.check()
    assert "passed over" in report.rows[0].note
