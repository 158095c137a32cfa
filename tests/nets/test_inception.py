"""The inception module and GoogLeNet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import inception
from jaxnets.nets.inception import GOOGLENET, Widths
from jaxnets.ops.convolution import conv2d
from jaxnets.rule import autodiff

KEY = jax.random.key(0)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_first_module_of_the_paper():
    widths = GOOGLENET.stages[0][0]
    params = jax.eval_shape(lambda: inception.init_module(KEY, 192, widths))
    assert widths.out == 256
    assert (count([layer.w for layer in params]), count([layer.b for layer in params])) == (163_328, 368)
    y = jax.eval_shape(inception.module, params, jax.ShapeDtypeStruct((2, 28, 28, 192), jnp.float32))
    assert y.shape == (2, 28, 28, 256)


def test_googlenet():
    params = jax.eval_shape(lambda: inception.init(KEY, GOOGLENET))
    assert [module.pool.w.shape[3] for module in params.modules] == [32, 64, 64, 64, 64, 64, 128, 128, 128]
    assert count(params._replace(auxiliary=())) == 6_998_552
    x = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    logits = jax.eval_shape(lambda p, x: inception.apply(p, x, architecture=GOOGLENET, dropout_key=KEY), params, x)
    assert [y.shape for y in (logits.final, *logits.auxiliary)] == [(2, 1000)] * 3
    without = jax.eval_shape(lambda p, x: inception.apply(p, x, architecture=GOOGLENET), params, x)
    assert without.auxiliary == ()


@pytest.mark.usefixtures("x64")
def test_the_branches_stand_side_by_side():
    params = inception.init_module(KEY, 5, Widths(2, 3, 4, 2, 3, 1), dtype=float)
    x = jax.random.normal(KEY, (2, 6, 7, 5))
    y = jax.jit(inception.module)(params, x)
    assert y.shape == (2, 6, 7, 10)
    np.testing.assert_allclose(y[..., :2], jnp.maximum(conv2d(x, *params.one), 0), rtol=1e-12)
    three = conv2d(jnp.maximum(conv2d(x, *params.three_reduce), 0), *params.three, padding=((1, 1), (1, 1)))
    np.testing.assert_allclose(y[..., 2:6], jnp.maximum(three, 0), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_gradient_of_a_module():
    params = inception.init_module(KEY, 3, Widths(2, 2, 3, 1, 2, 2), dtype=float)
    x, c = jax.random.normal(KEY, (2, 5, 6, 3)), jax.random.normal(jax.random.key(1), (2, 5, 6, 9))

    def loss(params, x):
        return jnp.sum(c * inception.module(params, x))

    by_hand, true = jax.jit(jax.grad(loss, (0, 1)))(params, x), jax.jit(jax.grad(autodiff(loss), (0, 1)))(params, x)
    for ours, theirs in zip(jax.tree.leaves(by_hand), jax.tree.leaves(true), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_a_small_network_for_small_images():
    architecture = inception.small_images(8)
    params = jax.eval_shape(lambda: inception.init(KEY, architecture, channels=1, classes=10))
    x = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)
    logits = jax.eval_shape(lambda p, x: inception.apply(p, x, architecture=architecture), params, x)
    assert logits.final.shape == (2, 10)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"inception\.small_images: width is 2, wanted a positive multiple of 4"):
        inception.small_images(2)
    with pytest.raises(ValueError, match=r"inception\.init: channels is 3 and classes 0, wanted positive numbers"):
        inception.init(KEY, inception.small_images(4), classes=0)
    params = jax.eval_shape(lambda: inception.init(KEY, inception.small_images(4)))
    with pytest.raises(ValueError, match=r"inception: params have \(1, 4, 0\) .* the architecture \(3, 9, 2\)"):
        inception.apply(params, jnp.ones((1, 28, 28, 3)), architecture=GOOGLENET)
