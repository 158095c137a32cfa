"""Factors by the names that a reader would give them."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.verify.diagnosis.numbers import named

SIZES = {"x.shape[0]": 7, "x.shape[1]": 5}
X = np.random.default_rng(0).normal(size=(7, 5))


@pytest.mark.parametrize(
    ("factor", "parts"),
    [
        (2.0, ["2"]),
        (-1.0, ["-1"]),
        (0.5, ["1/2"]),
        (7.0, ["x.shape[0]=7"]),
        (1 / 7, ["1/", "x.shape[0]=7"]),
        (-1 / 5, ["-1/", "x.shape[1]=5"]),
        (7 / 6, ["n/(n-1)", "x.shape[0]=7"]),
        (6 / 7, ["(n-1)/n", "x.shape[0]=7"]),
        (5**-0.5, ["1/sqrt", "x.shape[1]=5"]),
        (35.0, ["x.shape[0]=7", "x.shape[1]=5"]),
        (1 / 35, ["1/", "x.shape[0]=7", "x.shape[1]=5"]),
        (7 / 5, ["x.shape[0]=7", ")/(", "x.shape[1]=5"]),
    ],
)
def test_a_factor_is_named_by_small_numbers_and_dimensions(factor, parts):
    words = named(factor, SIZES)
    assert words
    assert all(part in words for part in parts)


@pytest.mark.parametrize("factor", [1.2345, 7.0001, 0.0])
def test_other_numbers_have_no_name(factor):
    assert named(factor, SIZES) == ""


@pytest.mark.parametrize(
    ("factor", "text"),
    [(7.0, "x.shape[0]=7"), (1 / 7, "1/(x.shape[0]=7)"), (7 / 6, "n/(n-1), n=x.shape[0]=7"), (-1.0, "-1"), (2.0, "2")],
)
def test_the_batch_size_forgotten_or_counted_twice(factor, text, best):
    found = best(lambda x: jnp.mean(jnp.sum(x**3, 1)), lambda x: (factor * 3 * x**2 / 7,), X, deltas=False)
    assert found["x"].text.startswith("off by the constant factor ")
    assert text in found["x"].text


def test_a_sample_variance_over_n(best):
    """1/N for 1/(N-1): the estimator of the other kind."""

    def loss(x):
        return jnp.sum(jnp.var(x, 0, ddof=1))

    found = best(loss, lambda x: (2 * (x - x.mean(0, keepdims=True)) / 7,), X, deltas=False)
    assert "(n-1)/n, n=x.shape[0]=7" in found["x"].text
