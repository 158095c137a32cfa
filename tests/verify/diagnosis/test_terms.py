"""A gradient is a sum over the places where a value is read: a term that is missing, or has another factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))


def loss(x, w):
    y = jnp.exp(x)
    z = checkpoint_name(x * w, "z")
    return jnp.sum(y * w) + jnp.sum(jnp.sin(z) * x)


def by_hand(x, w, through_y=1.0, through_x=1.0, through_z=1.0):
    z_bar = np.cos(x * w) * x
    x_bar = through_y * np.exp(x) * w + through_z * z_bar * w + through_x * np.sin(x * w)
    return (x_bar, np.exp(x) + z_bar * x), {"z": z_bar}


@pytest.mark.parametrize("deltas", [True, False])
@pytest.mark.parametrize(
    ("factors", "text", "line"),
    [
        ({"through_y": 0.0}, "the term through `jnp.exp(x)` (exp) is missing", "y = jnp.exp(x)"),
        ({"through_y": -1.0}, "the term through `jnp.exp(x)` (exp) has the factor -1", "y = jnp.exp(x)"),
        ({"through_z": 0.0}, "the term through `x * w` (mul) is missing", "z = checkpoint_name"),
        ({"through_x": 0.0}, "the term through `jnp.sin(z) * x` (mul) is missing", "return jnp.sum"),
        ({"through_x": 2.0}, "the term through `jnp.sin(z) * x` (mul) has the factor 2", "return jnp.sum"),
    ],
)
def test_one_term(factors, text, line, deltas, best, place):
    def hand(x, w):
        bars, given = by_hand(np.asarray(x), np.asarray(w), **factors)
        return (bars, given) if deltas else bars

    found = best(loss, hand, X, W, deltas=deltas)
    assert list(found) == ["x"]
    assert found["x"].text.startswith(text)
    assert place(loss, line) in found["x"].source


def test_a_sum_over_the_batch_that_stays_in_layer_norm(best, place):
    """The two terms through the mean and through the deviation, forgotten one at a time."""

    def norm(x):
        mean = jnp.mean(x, -1, keepdims=True)
        centred = x - mean
        deviation = jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True))
        return jnp.sum(W * centred / deviation)

    def hand(x, through_mean=1.0, through_deviation=1.0):
        x = np.asarray(x)
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt(np.mean(centred**2, -1, keepdims=True))
        normal = centred / deviation
        bar = W - through_deviation * normal * np.mean(W * normal, -1, keepdims=True)
        return ((bar - through_mean * np.mean(bar, -1, keepdims=True)) / deviation,)

    found = best(norm, lambda x: hand(x, through_mean=0.0), X, deltas=False)
    assert "is missing" in found["x"].text
    assert place(norm, "mean = jnp.mean(x") in found["x"].source or place(norm, "centred = x") in found["x"].source
    found = best(norm, lambda x: hand(x, through_deviation=0.0), X, deltas=False)
    assert "is missing" in found["x"].text
    assert place(norm, "deviation = ") in found["x"].source or place(norm, "return") in found["x"].source


def test_two_terms_at_once(best):
    found = best(loss, lambda x, w: by_hand(np.asarray(x), np.asarray(w), through_y=0.0, through_x=0.0), X, W)
    assert found["x"].text.count("is missing") == 2
    assert "jnp.exp(x)" in found["x"].text
    assert "jnp.sin(z) * x" in found["x"].text


def test_a_recurrence_that_forgets_its_carry(best, place):
    steps = RNG.normal(size=(3, 2))

    def body(c, row):
        c = checkpoint_name(0.5 * c + jnp.tanh(c * row), "c")
        return c, ()

    def scanned(x):
        return jnp.sum(jax.lax.scan(body, jnp.ones(2), x)[0] ** 2)

    def hand(x):
        x = np.asarray(x)
        states = [np.ones(2)]
        for row in x:
            states.append(0.5 * states[-1] + np.tanh(states[-1] * row))
        c_bar, x_bar = np.zeros((3, 2)), np.zeros((3, 2))
        carried = 2 * states[-1]
        for t in (2, 1, 0):
            c_bar[t] = carried
            slope = 1 - np.tanh(states[t] * x[t]) ** 2
            x_bar[t] = c_bar[t] * slope * states[t]
            carried = c_bar[t] * slope * x[t]  # and not 0.5 c_bar
        return (x_bar,), {"c": c_bar}

    found = best(scanned, hand, steps)
    assert list(found) == ["c"]
    assert found["c"].text.startswith("the term through `0.5 * c` (mul) is missing")
    assert place(body, "0.5 * c") in found["c"].source
