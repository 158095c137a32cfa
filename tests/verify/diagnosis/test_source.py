"""The line of the forward pass, found through everything that JAX wraps around it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.rule import rule

X = np.random.default_rng(0).normal(size=(4, 3))


def squares(x):
    y = jnp.exp(x)
    return y * x


def through_jit(x):
    return jax.jit(squares)(x)


def through_vmap(x):
    return jax.vmap(squares)(x)


def through_remat(x):
    return jax.checkpoint(squares)(x)


def through_scan(x):
    return jax.lax.scan(lambda c, row: (c, squares(row)), 0.0, x)[1]


def through_rule(x):
    return rule(lambda x: (squares(x), x), lambda x, y_bar: (y_bar * 0,))(x)


@pytest.mark.parametrize("f", [squares, through_jit, through_vmap, through_remat, through_scan, through_rule])
def test_the_expression_and_its_line(f, best, place):
    """The term through exp is forgotten."""
    found = best(lambda x: jnp.sum(f(x)), lambda x: (np.exp(x),), X, deltas=False)
    assert found["x"] is not None
    assert "is missing" in found["x"].text
    assert "`jnp.exp(x)`" in found["x"].text or "`y * x`" in found["x"].text
    assert place(squares, "y = jnp.exp") in found["x"].source or place(squares, "y * x") in found["x"].source


def test_an_expression_of_several_lines_after_a_letter_of_two_bytes(best, place):
    def f(x):
        σ = jnp.sin(x)
        y = σ * jnp.exp(
            x
        )  # fmt: skip
        return jnp.sum(y)

    found = best(f, lambda x: (np.cos(x) * np.exp(x),), X, deltas=False)
    assert found["x"].text == "the term through `jnp.exp( x )` (exp) is missing"
    assert found["x"].source == f"{place(f, 'jnp.exp(')}18"  # columns count bytes, from 1


def test_complex_values_between_real_ones(best):
    """The diagnosis must pass a Fourier transform, whatever it finds."""
    mistake = np.random.default_rng(1).normal(size=X.shape)

    def f(x):
        return jnp.sum(jnp.abs(jnp.fft.fft(jnp.tanh(x))) ** 2)

    assert best(f, lambda x: (mistake,), X, deltas=False) == {"x": None}


def test_single_precision_between_double_ones(best):
    mistake = np.random.default_rng(1).normal(size=X.shape)

    def f(x):
        return jnp.sum((jnp.sin(x.astype(jnp.float32)) ** 2).astype(jnp.float64) * x)

    assert best(f, lambda x: (mistake,), X, deltas=False) == {"x": None}
