"""The right numbers times a factor, in other places, or summed over the wrong axes."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 4))
CUBE = RNG.normal(size=(2, 3, 4))
SQUARES = {"w": W, "cube": CUBE}


def loss(w):
    return jnp.sum(checkpoint_name(jnp.sin(w), "y") ** 2)


def of_array(mistake, at=W, best=None):
    """The explanation of ∂/∂x Σ x³ put through a mistake."""
    found = best(lambda x: jnp.sum(x**3), lambda x: (mistake(3 * np.asarray(x) ** 2),), at, deltas=False)
    return found["x"]


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (lambda g: 0 * g, "identically zero: this gradient is missing"),
        (lambda g: -g, "off by the constant factor -1"),
        (lambda g: 2.345678 * g, "off by the constant factor 2.34568"),
        (lambda g: g.T, "transposed: the right value with its axes in the order [1, 0]"),
        (lambda g: g[::-1], "flipped: the right value in reverse order along axis 0"),
        (lambda g: g[::-1, ::-1], "flipped: the right value in reverse order along axis [0, 1]"),
        (lambda g: np.roll(g, 2, 0), "rolled: the right value moved by 2 along axis 0"),
        (
            lambda g: np.vstack([0 * g[:1], g[:-1]]),
            "off by one step: each entry along axis 0 holds the value of the one before",
        ),
        (
            lambda g: np.vstack([g[1:], 0 * g[:1]]),
            "off by one step: each entry along axis 0 holds the value of the one after",
        ),
        (
            lambda g: np.vstack([g[2:4], g[:2], g[4:]]),
            "permuted: the right value with its 3 blocks along axis 0 in the order [1, 0, 2]",
        ),
        (lambda g: np.broadcast_to(g.sum(0), g.shape), "summed over axis 0, which has to stay"),
        (lambda g: np.broadcast_to(g.mean(1, keepdims=True), g.shape), "averaged over axis 1, which has to stay"),
        (lambda g: g.sum(1), "summed over axis 1, which has to stay"),
        (lambda g: np.stack([g / 4, g / 4, g / 2]), "not summed over axis 0"),
    ],
)
def test_each_arrangement_is_said_in_words(mistake, text, best):
    assert of_array(mistake, best=best).text.startswith(text)


def test_axes_of_an_image_in_another_order(best):
    explanation = of_array(lambda g: np.transpose(g, (2, 0, 1)), CUBE, best)
    assert explanation.text == "transposed: the right value with its axes in the order [2, 0, 1]"


def test_a_constant_array_is_not_called_rolled_or_flipped(best):
    """Each of these leaves it as it is: what is wrong is one entry."""
    found = best(lambda x: jnp.sum(x), lambda x: (np.ones(4) + np.eye(4)[2],), RNG.normal(size=4), deltas=False)
    assert "rolled" not in found["x"].text
    assert "flipped" not in found["x"].text


def test_deltas_are_explained_too(best):
    def hand(w):
        y_bar = 2 * np.sin(w)
        return (-y_bar[::-1] * np.cos(w),), {"y": y_bar[::-1]}

    found = best(loss, hand, W)
    assert found["y"].text.startswith("flipped: the right value in reverse order along axis 0")
    assert found["w"].text == "off by the constant factor -1"  # given the delta that it was made of


def test_what_nothing_explains_is_left_unexplained(best):
    noise = RNG.normal(size=W.shape)
    assert of_array(lambda g: g + 0.1 * noise, best=best) is None
