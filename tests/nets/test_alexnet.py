"""AlexNet at full size by shapes, and a small one by values."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import alexnet
from jaxnets.rule import autodiff

KEY = jax.random.key(0)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("towers", "parameters"), [(2, 60_965_224), (1, 62_378_344)])
def test_parameters_of_the_paper(towers, parameters):
    architecture = alexnet.imagenet(towers=towers)
    params = jax.eval_shape(lambda: alexnet.init(KEY, architecture, (227, 227, 3)))
    assert count(params) == parameters
    assert params.dense[0].w.shape == (6 * 6 * 256, 4096)
    x = jax.ShapeDtypeStruct((2, 227, 227, 3), jnp.float32)
    logits = jax.eval_shape(lambda p, x: alexnet.apply(p, x, architecture=architecture), params, x)
    assert logits.shape == (2, 1000)


def test_width_scales_every_layer():
    half = alexnet.imagenet(0.5)
    assert [layer.filters for layer in half.convolutions] == [48, 128, 192, 192, 128]
    assert half.hidden == (2048, 2048)


@pytest.mark.usefixtures("x64")
def test_the_gradient_of_a_small_one():
    architecture = alexnet.small_images(1 / 64)
    params = alexnet.init(
        KEY, architecture, (28, 28, 1), classes=3, weights=jax.nn.initializers.he_normal(), dtype=float
    )
    x, c = jax.random.normal(jax.random.key(1), (2, 28, 28, 1)), jax.random.normal(jax.random.key(2), (2, 3))

    def loss(params):
        return jnp.sum(c * alexnet.apply(params, x, architecture=architecture, dropout_key=jax.random.key(3)))

    by_hand, true = jax.jit(jax.grad(loss))(params), jax.jit(jax.grad(autodiff(loss)))(params)
    assert all(jnp.any(leaf) for leaf in jax.tree.leaves(by_hand))
    for ours, theirs in zip(jax.tree.leaves(by_hand), jax.tree.leaves(true), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_dropout_is_for_training():
    architecture = alexnet.small_images(1 / 64)
    params = alexnet.init(KEY, architecture, (28, 28, 1), weights=jax.nn.initializers.he_normal())
    x = jax.random.normal(KEY, (2, 28, 28, 1))
    logits = jax.jit(lambda key: alexnet.apply(params, x, architecture=architecture, dropout_key=key))
    assert (logits(KEY) != logits(jax.random.key(1))).any()
    steady = jax.make_jaxpr(lambda: alexnet.apply(params, x, architecture=architecture))()
    assert "random" not in str(steady)


def test_what_is_dropped_are_the_outputs_of_the_hidden_layers():
    architecture = alexnet.small_images(1 / 64)
    params = alexnet.init(KEY, architecture, (28, 28, 1), classes=3)
    head = params.dense[-1]._replace(b=jnp.array([1.0, 2.0, 3.0]))
    params = params._replace(dense=(*params.dense[:-1], head))
    x = jax.random.normal(KEY, (2, 28, 28, 1))
    apply = jax.jit(partial(alexnet.apply, architecture=architecture, rate=1 - 1e-9))
    logits = apply(params, x, dropout_key=KEY)
    np.testing.assert_array_equal(logits, np.broadcast_to(head.b, (2, 3)))


def test_what_does_not_fit_is_named():
    architecture = alexnet.small_images(1 / 64)
    params = jax.eval_shape(lambda: alexnet.init(KEY, architecture, (28, 28, 1)))
    with pytest.raises(ValueError, match=r"params have \(4, 3\) layers, .* the architecture \(5, 3\)"):
        alexnet.apply(
            params._replace(convolutions=params.convolutions[1:]), jnp.ones((1, 28, 28, 1)), architecture=architecture
        )
    with pytest.raises(ValueError, match=r"alexnet\.init: .* classes 0, wanted positive numbers"):
        alexnet.init(KEY, architecture, (28, 28, 1), classes=0)
    with pytest.raises(ValueError, match=r"width is 0\.0 and towers 2, wanted positive numbers"):
        alexnet.imagenet(0.0)
    with pytest.raises(ValueError, match="does not fit"):
        alexnet.init(KEY, alexnet.imagenet(0.1), (28, 28, 1))
