"""Slopes and orders of functions of one number."""

import math

import numpy as np
import pytest

from jaxnets.verify.remainder import order, slope


@pytest.mark.parametrize(
    ("g", "wanted"),
    [
        (lambda t: math.exp(t + 0.3), math.exp(0.3)),
        (lambda t: math.sin(7 * t), 7.0),
        (lambda t: math.log(0.01 + t) if t > -0.01 else math.nan, 100.0),  # long steps leave its domain
        (lambda t: 3 * t + max(t - 1e-3, 0) * 50, 3.0),  # long steps cross a kink
        (lambda t: 4.0, 0.0),
    ],
)
def test_slope_with_an_error_that_it_knows(g, wanted):
    found = slope(g, 1e-9 * abs(wanted))
    assert abs(found.value - wanted) <= 1e-9 * abs(wanted)
    assert abs(found.value - wanted) <= 10 * found.error + 1e-13 * abs(wanted)


def test_noise_shows_in_the_error():
    generator = np.random.default_rng(0)
    found = slope(lambda t: t + 1e-6 * generator.normal(), 1e-9)
    assert 1e-7 < found.error < 1e-2
    assert abs(found.value - 1) < 20 * found.error


def test_nothing_finite_is_an_infinite_error():
    assert slope(lambda t: math.nan, 1e-9).error == math.inf


def test_order_of_the_remainder():
    assert order(lambda t: math.exp(t), 1.0) == pytest.approx(2, abs=0.05)
    assert order(lambda t: math.exp(t), 1.0001) == pytest.approx(1, abs=0.05)
    assert order(lambda t: math.exp(t) if t < 0.01 else math.nan, 1.0) == pytest.approx(2, abs=0.05)
    assert order(lambda t: abs(t), 0.0) == pytest.approx(1, abs=0.05)
    assert order(lambda t: 3 + 2 * t, 2.0) is None
    assert order(lambda t: math.nan, 2.0) is None
    assert order(lambda t: 1 + (1e-13 if t == 1 / 8 else 0), 0.0) is None  # a single remainder has no order
