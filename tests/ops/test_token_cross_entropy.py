"""Words in sequences of different lengths: what counts, and what does not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels, token_cross_entropy

pytestmark = pytest.mark.usefixtures("x64")

GENERATOR = np.random.default_rng(0)
NUMBERS = GENERATOR.normal(size=(3, 5, 7))
LABELS = jnp.asarray(GENERATOR.integers(0, 7, (3, 5)), jnp.int32)
LENGTHS = jnp.array([5, 2, 0], jnp.int32)


def logits():
    return jnp.asarray(NUMBERS)


def test_without_lengths_it_is_the_cross_entropy_of_all_rows():
    rows = softmax_cross_entropy_with_integer_labels(logits().reshape(-1, 7), LABELS.reshape(-1))
    np.testing.assert_allclose(token_cross_entropy(logits(), LABELS), rows, rtol=1e-14)


def test_every_word_counts_alike():
    each = optax.softmax_cross_entropy_with_integer_labels(logits(), LABELS)
    wanted = (each[0].sum() + each[1, :2].sum()) / 7
    np.testing.assert_allclose(token_cross_entropy(logits(), LABELS, LENGTHS), wanted, rtol=1e-14)


def test_what_stands_after_the_end_is_not_looked_at():
    beyond = np.arange(5)[None, :] >= np.asarray(LENGTHS)[:, None]
    labels = jnp.where(beyond, -3, LABELS)
    value, slope = jax.value_and_grad(token_cross_entropy)(logits(), labels, LENGTHS)
    same, also = jax.value_and_grad(token_cross_entropy)(jnp.where(beyond[..., None], 1e9, logits()), LABELS, LENGTHS)
    assert value == same
    np.testing.assert_array_equal(slope, also)
    np.testing.assert_array_equal(slope[beyond], 0.0)


def test_of_no_words_it_is_zero():
    value, slope = jax.value_and_grad(token_cross_entropy)(logits(), LABELS, jnp.zeros(3, jnp.int32))
    assert value == 0.0
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("wrong", [-1, 7])
def test_no_word(wrong):
    value, slope = jax.value_and_grad(token_cross_entropy)(logits(), LABELS.at[0, 1].set(wrong))
    assert np.isnan(value)
    assert np.isnan(slope[0, 1]).all()
    assert np.isfinite(slope[1:]).all()


def test_uniform_guessing_costs_the_logarithm_of_the_words():
    np.testing.assert_allclose(token_cross_entropy(jnp.zeros((3, 5, 7)), LABELS, LENGTHS), np.log(7), rtol=1e-15)


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"^token_cross_entropy: logits are \(3, 7\)"):
        token_cross_entropy(logits()[:, 0], LABELS)
    with pytest.raises(ValueError, match=r"lengths is float64\[3\], wanted 3 integers"):
        token_cross_entropy(logits(), LABELS, jnp.ones(3))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8])
def test_lengths_of_eight_bits(dtype):
    """They hold the lengths, but not the number of the last word."""
    logits, labels = jax.random.normal(jax.random.key(0), (2, 300, 3)), jnp.zeros((2, 300), int)
    lengths = jnp.array([3, 100])
    cost = jax.value_and_grad(lambda logits, lengths: token_cross_entropy(logits, labels, lengths))
    jax.tree.map(np.testing.assert_array_equal, cost(logits, lengths.astype(dtype)), cost(logits, lengths))
