"""Sentences of any length, classified by what stands in them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.nets import textcnn
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.rule import autodiff

KEY = jax.random.key(0)


def sentences(seed, count):
    """Random words; the label says whether word 1 directly precedes word 2 somewhere."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(3, 20, (count, 9))
    labels = rng.integers(0, 2, count)
    places = rng.integers(0, 7, count)
    rows = np.arange(count)
    tokens[rows, places] = np.where(labels, 1, 2)
    tokens[rows, places + 1] = np.where(labels, 2, 1)
    return jnp.asarray(tokens), jnp.asarray(labels)


@pytest.mark.usefixtures("x64")
def test_the_gradient():
    params = textcnn.init(KEY, 20, features=4, widths=(2,), filters=5, dtype=float)
    tokens, labels = sentences(0, 6)

    def loss(params):
        return softmax_cross_entropy_with_integer_labels(textcnn.apply(params, tokens, dropout_key=KEY), labels)

    by_hand, true = jax.jit(jax.grad(loss))(params), jax.jit(jax.grad(autodiff(loss)))(params)
    for ours, theirs in zip(jax.tree.leaves(by_hand), jax.tree.leaves(true), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_phrase_is_found_wherever_it_stands():
    """The order of two words cannot be told from which words there are: only a filter over both can."""
    params = textcnn.init(KEY, 20, features=8, widths=(2,), filters=8)
    optimizer = optax.sgd(0.3, momentum=0.9)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, batch):
        def loss(params):
            return softmax_cross_entropy_with_integer_labels(textcnn.apply(params, batch[0]), batch[1])

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for seed in range(60):
        params, state = step(params, state, sentences(seed, 64))
    tokens, labels = sentences(1000, 500)
    assert jnp.mean(textcnn.apply(params, tokens).argmax(1) == labels) > 0.98


def test_the_paper_has_360_thousand_parameters_besides_its_words():
    params = jax.eval_shape(lambda: textcnn.init(KEY, 10))
    rest = sum(leaf.size for leaf in jax.tree.leaves(params._replace(table=())))
    assert rest == 300 * 100 * (3 + 4 + 5) + 300 + 300 * 2 + 2


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="wanted positive numbers"):
        textcnn.init(KEY, 0)
    params = jax.eval_shape(lambda: textcnn.init(KEY, 20, features=4, widths=(5,), filters=3))
    with pytest.raises(ValueError, match="does not fit"):
        jax.eval_shape(textcnn.apply, params, jnp.zeros((2, 4), int))
