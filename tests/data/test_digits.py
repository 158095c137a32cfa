"""The tiny digits: how many, how different, and that the networks of the book learn them."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.data import digits_4x3, digits_6x6, one_hot

SETS = [(digits_4x3, 2, (4, 3)), (digits_6x6, 3, (6, 6))]


@pytest.mark.parametrize(("function", "classes", "shape"), SETS)
def test_counts_and_types(function, classes, shape):
    images, labels = function()
    assert images.shape == (32 * classes, *shape)
    assert images.dtype == np.float32
    assert labels.dtype == np.uint8
    assert set(np.unique(images)) == {0.0, 1.0}
    assert np.bincount(labels).tolist() == [32] * classes


@pytest.mark.parametrize(("function", "classes", "shape"), SETS)
def test_the_classes_take_turns(function, classes, shape):
    assert function().labels[: 2 * classes].tolist() == [*range(classes), *range(classes)]


@pytest.mark.parametrize(("function", "classes", "shape"), SETS)
def test_no_picture_stands_twice(function, classes, shape):
    """Neither in one class nor in two; those of two classes differ in at least two pixels."""
    images, labels = function()
    different = (images[:, None] != images).sum((2, 3))
    assert (different + np.eye(len(images)) > 0).all()
    assert (different[labels[:, None] != labels] >= 2).all()


@pytest.mark.parametrize(("function", "classes", "shape"), SETS)
def test_the_same_every_time(function, classes, shape):
    first, second = function(), function()
    np.testing.assert_array_equal(first.images, second.images)
    first.images[:] = 0.5
    np.testing.assert_array_equal(function().images, second.images)


@pytest.mark.parametrize(
    ("function", "start"), [(digits_4x3, "32f3ea2d725b"), (digits_6x6, "1d8f6784e775")], ids=["4x3", "6x6"]
)
def test_the_same_in_every_version(function, start):
    """Results that were published with these pictures can be had again."""
    assert hashlib.sha256(function().images.tobytes()).hexdigest().startswith(start)


def drawn(image):
    return ["".join(".#"[int(pixel)] for pixel in row) for row in image]


def test_pictures_by_hand():
    """One of each step of the procedure: a drawing, a drawing moved to the right, one with a pixel turned over."""
    zeros, ones = (digits_4x3().images[label::2] for label in (0, 1))
    assert drawn(zeros[0]) == ["###", "#.#", "#.#", "###"]
    assert drawn(ones[0]) == [".#.", ".#.", ".#.", ".#."]
    assert drawn(ones[8]) == ["..#", "..#", "..#", "..#"]
    assert drawn(zeros[10]) == ["#.#", "#.#", "#.#", "###"]
    one, two, three = digits_6x6().images[:3]
    assert drawn(one) == ["...#.."] * 6
    assert drawn(two) == [".####.", ".....#", "..###.", ".#....", "#.....", "######"]
    assert drawn(three) == [".####.", ".....#", "..###.", ".....#", "#....#", ".####."]


def dense(params, x):
    """12-3-2, all sigmoid."""
    (w, b), (v, c) = params
    return jax.nn.sigmoid(jax.nn.sigmoid(x.reshape(len(x), -1) @ w + b[None]) @ v + c[None])


def convolutional(params, x):
    """Three filters of 3 x 3, sigmoid, the largest of 2 x 2, three sigmoid outputs."""
    (w, b), (v, c) = params
    maps = jax.lax.conv_general_dilated(x[..., None], w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    maps = jax.nn.sigmoid(maps + b[None, None, None])
    pooled = maps.reshape(len(x), 2, 2, 2, 2, 3).max((2, 4))
    return jax.nn.sigmoid(pooled.reshape(len(x), -1) @ v + c[None])


@pytest.mark.parametrize(
    ("function", "network", "shapes", "classes"),
    [
        (digits_4x3, dense, ((12, 3), (3, 2)), 2),
        (digits_6x6, convolutional, ((3, 3, 1, 3), (12, 3)), 3),
    ],
)
def test_the_networks_of_the_book_learn_them(function, network, shapes, classes):
    images, labels = function()
    x, t = jnp.asarray(images), jnp.asarray(one_hot(labels, classes))
    keys = jax.random.split(jax.random.key(1), 2)
    params = [(jax.random.normal(key, shape), jnp.zeros(shape[-1])) for key, shape in zip(keys, shapes, strict=True)]

    @jax.jit
    def train(params):
        def step(params, _):
            gradient = jax.grad(lambda params: ((network(params, x) - t) ** 2).sum(1).mean())(params)
            return jax.tree.map(lambda p, g: p - 2.0 * g, params, gradient), None

        return jax.lax.scan(step, params, length=1000)[0]

    answers = np.asarray(network(train(params), x).argmax(1))
    np.testing.assert_array_equal(answers, labels)
