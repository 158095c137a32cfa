"""Residual networks: shapes and counts, the gradient, running statistics, and what the shortcut is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import resnet
from jaxnets.nets.resnet import RESNET18, RESNET50, Architecture, Shortcut
from jaxnets.rule import autodiff

KEY = jax.random.key(0)
TINY = Architecture((1, 1), (3, 4), False, False, Shortcut.IDENTITY)


@pytest.mark.parametrize(
    ("architecture", "size", "classes", "count"),
    [
        (resnet.small_images(20), 32, 10, 269_722),
        (resnet.small_images(56), 32, 10, 853_018),
        (resnet.small_images(110), 32, 10, 1_727_962),
        (RESNET18, 224, 1000, 11_689_512),
        (RESNET50, 224, 1000, 25_557_032),
    ],
)
def test_shapes_and_counts(architecture, size, classes, count):
    params, statistics = jax.eval_shape(lambda: resnet.init(KEY, architecture, classes=classes))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    logits, moved = jax.eval_shape(
        lambda p, s, x: resnet.apply(p, s, x, architecture=architecture, training=True), params, statistics, x
    )
    assert logits.shape == (2, classes)
    assert jax.tree.structure(moved) == jax.tree.structure(statistics)


def test_depth_is_the_number_of_layers_with_weights():
    assert [resnet.small_images(depth).depth for depth in (20, 56, 110)] == [20, 56, 110]
    assert (RESNET18.depth, RESNET50.depth) == (18, 50)
    with pytest.raises(ValueError, match="depth is 21, wanted 6 n"):
        resnet.small_images(21)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("architecture", [TINY, TINY._replace(shortcut=Shortcut.PROJECTION, bottleneck=True)])
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient(architecture, training):
    params, statistics = resnet.init(KEY, architecture, channels=2, classes=3, dtype=float)
    x, c = jax.random.normal(jax.random.key(1), (3, 6, 6, 2)), jax.random.normal(jax.random.key(2), (3, 3))

    def loss(params, x):
        return jnp.sum(c * resnet.apply(params, statistics, x, architecture=architecture, training=training)[0])

    by_hand = jax.jit(jax.grad(loss, (0, 1)))(params, x)
    true = jax.jit(jax.grad(autodiff(loss), (0, 1)))(params, x)
    for ours, theirs in zip(jax.tree.leaves(by_hand), jax.tree.leaves(true), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_statistics_move_in_training_only():
    params, statistics = resnet.init(KEY, TINY, channels=2)
    x = 3 + jax.random.normal(jax.random.key(1), (4, 8, 8, 2))
    run = jax.jit(resnet.apply, static_argnames=("architecture", "training"))
    _, moved = run(params, statistics, x, architecture=TINY, training=True)
    _, kept = run(params, statistics, x, architecture=TINY, training=False)
    changed = [bool((a != b).any()) for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(statistics), strict=True)]
    assert all(changed)
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(statistics), strict=True))


def test_a_plain_network_has_the_same_layers():
    plain, residual = (resnet.small_images(20, shortcut) for shortcut in (Shortcut.NONE, Shortcut.IDENTITY))
    counts = [
        sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda a=a: resnet.init(KEY, a)[0])))
        for a in (plain, residual)
    ]
    assert counts[0] == counts[1]


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="wanted one of each a stage"):
        resnet.init(KEY, TINY._replace(widths=(3,)))
    with pytest.raises(ValueError, match="must be positive"):
        resnet.init(KEY, TINY, classes=0)
    params, statistics = jax.eval_shape(lambda: resnet.init(KEY, TINY))
    with pytest.raises(ValueError, match="resnet: params have 2 blocks, statistics 2, the architecture 9"):
        resnet.apply(params, statistics, jnp.ones((1, 8, 8, 3)), architecture=resnet.small_images(20), training=False)
