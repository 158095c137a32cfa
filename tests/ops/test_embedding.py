"""Rows of a table, and what flows back into it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.ops.embedding import embed

TOKENS = jnp.array([[0, 3, 3, 1], [3, 0, 2, 2]])


@pytest.fixture
def table(x64):
    return jax.random.normal(jax.random.key(0), (7, 3))


def test_as_flax_computes_it(table):
    layer = nn.Embed(7, 3)
    np.testing.assert_array_equal(embed(table, TOKENS), layer.apply({"params": {"embedding": table}}, TOKENS))


def test_repeated_words_add_up(table):
    x_bar = jax.random.normal(jax.random.key(1), (2, 4, 3))
    (table_bar,) = jax.vjp(lambda t: embed(t, TOKENS), table)[1](x_bar)
    wanted = np.zeros((7, 3))
    for place in np.ndindex(2, 4):
        wanted[TOKENS[place]] += x_bar[place]
    np.testing.assert_allclose(table_bar, wanted, rtol=1e-14)
    verify.rules(embed, table, TOKENS).check()


@pytest.mark.parametrize("stranger", [7, 100, -1])
def test_a_word_outside_the_table_is_not_another_word(table, stranger):
    x, pull_back = jax.vjp(lambda t: embed(t, jnp.array([2, stranger])), table)
    assert jnp.isfinite(x[0]).all()
    assert jnp.isnan(x[1]).all()
    assert (pull_back(jnp.ones((2, 3)))[0].sum(1) == jnp.zeros(7).at[2].set(3.0)).all()


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named(table):
    with pytest.raises(ValueError, match=r"embed: wanted a matrix and integers, got table \(7, 3\), tokens float64"):
        embed(table, jnp.ones(3))
