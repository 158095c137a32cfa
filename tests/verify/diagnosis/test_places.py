"""Wrong in some places only: where an index repeats, in a region of a value, in some rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

RNG = np.random.default_rng(0)
TABLE, INDEX = RNG.normal(size=(6, 2)), np.array([4, 1, 4, 0])
X, WEIGHTS = RNG.permutation(np.linspace(-9.0, 10.0, 12)).reshape(4, 3), RNG.normal(size=(4, 3))


def test_a_repeated_index_that_is_overwritten(best):
    def loss(table, index):
        return jnp.sum(jnp.sin(table[index]) * jnp.arange(1.0, 9.0).reshape(4, 2))

    def hand(table, index):
        table_bar = np.zeros((6, 2))
        table_bar[np.asarray(index)] = np.cos(table)[np.asarray(index)] * np.arange(1.0, 9.0).reshape(4, 2)
        return table_bar, None

    text = best(loss, hand, TABLE, INDEX, deltas=False)["table"].text
    assert "wrong exactly at the indices along axis 0 that index repeats, [4]" in text
    assert "overwritten, not added" in text


@pytest.mark.parametrize(
    ("f", "slope", "words"),
    [
        (jax.nn.relu6, lambda x: x > 0, "x > "),
        (lambda x: jnp.clip(x, -4.0, 4.0), lambda x: x == x, "|x| > "),
        (lambda x: jnp.where(x > -2.0, x**2, x), lambda x: 2 * x, "x < "),
    ],
)
def test_a_region_of_an_argument(f, slope, words, best):
    """A slope that forgets to end."""
    found = best(lambda x: jnp.sum(f(x) * WEIGHTS), lambda x: (WEIGHTS * slope(np.asarray(x)),), X, deltas=False)
    assert f"wrong only where {words}" in found["x"].text


def test_a_region_of_a_named_value(best):
    def loss(x, w):
        z = checkpoint_name(x * w, "z")
        return jnp.sum(jnp.where(z > 1.0, z**2, jnp.sin(z)))

    def hand(x, w):
        z = np.asarray(x * w)
        z_bar = np.where(z > 1.0, -1.0, np.cos(z))
        return (z_bar * w, z_bar * x), {"z": z_bar}

    found = best(loss, hand, X, RNG.normal(size=X.shape))
    assert list(found) == ["z"]
    assert "wrong only where z > " in found["z"].text


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (lambda g: g.at[1].add(jnp.asarray([0.3, -0.2, 0.7])), "axis 0 in [1] (3 of 12 entries)"),
        (lambda g: g.at[:, 0].add(jnp.asarray([0.3, -0.2, 0.7, 0.1])), "axis 1 in [0] (4 of 12 entries)"),
        (lambda g: g.at[2, 1].add(0.3), "axis 0 in [2], axis 1 in [1] (1 of 12 entries)"),
        (lambda g: g.at[-1].set(0.0), "axis 0 in [3]"),
    ],
)
def test_a_set_of_indices(mistake, text, best):
    found = best(lambda x: jnp.sum(WEIGHTS * x**2), lambda x: (mistake(2 * WEIGHTS * x),), X, deltas=False)
    assert text in found["x"].text
