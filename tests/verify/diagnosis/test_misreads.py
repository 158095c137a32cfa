"""An equation that reads another value than it should, or takes the derivative of another function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

RNG = np.random.default_rng(0)
N, STEPS = 3, 3
X, W, T = RNG.normal(size=(5, N)), RNG.normal(size=(N, N)), RNG.normal(size=(5, N))


def loss(x, w, t):
    z = checkpoint_name(x @ w, "z")
    a = jnp.tanh(z)
    s = jax.nn.sigmoid(a * t)
    return jnp.sum((s - t) ** 2)


class Slips:
    """The equations of `loss`, to be replaced one at a time."""

    tanh_slope = staticmethod(lambda z, a: 1 - a**2)
    sigmoid_slope = staticmethod(lambda u, s: s * (1 - s))
    error = staticmethod(lambda s, t: s - t)
    factor = staticmethod(lambda t, a: t)
    weights = staticmethod(lambda w: w.T)
    inputs = staticmethod(lambda x, z: x)


def by_hand(x, w, t, deltas=True, **slips):
    use = {name: slips.get(name, getattr(Slips, name)) for name in dir(Slips) if not name.startswith("_")}
    x, w, t = map(np.asarray, (x, w, t))
    z = x @ w
    a = np.tanh(z)
    s = 1 / (1 + np.exp(-a * t))
    s_bar = 2 * use["error"](s, t)
    u_bar = s_bar * use["sigmoid_slope"](a * t, s)
    z_bar = u_bar * use["factor"](t, a) * use["tanh_slope"](z, a)
    bars = z_bar @ use["weights"](w), use["inputs"](x, z).T @ z_bar, u_bar * a - s_bar
    return (bars, {"z": z_bar}) if deltas else bars


TANH, SIGMOID, PRODUCT, AFFINE = "a = jnp.tanh(z)", "s = jax.nn.sigmoid", "s = jax.nn.sigmoid", "z = checkpoint_name"


@pytest.mark.parametrize("deltas", [True, False])
@pytest.mark.parametrize(
    ("slip", "row", "texts", "line"),
    [
        ({"tanh_slope": lambda z, a: 1.0}, "z", ["the derivative of `jnp.tanh(z)` is left out"], TANH),
        ({"tanh_slope": lambda z, a: 1 - z**2}, "z", ["1 - x² of its input, not of its output"], TANH),
        ({"tanh_slope": lambda z, a: 1 - a}, "z", ["1 - y of its output"], TANH),
        ({"tanh_slope": lambda z, a: a * (1 - a)}, "z", ["the sigmoid's"], TANH),
        ({"factor": lambda t, a: 1.0}, "z", ["the factor t is left out", "`a * t`"], PRODUCT),
        ({"factor": lambda t, a: a}, "z", ["`jnp.tanh(z)` is used", "t belongs", "`a * t`"], PRODUCT),
        ({"weights": lambda w: w}, "x", ["w is used transposed", "`x @ w`"], AFFINE),
        ({"inputs": lambda x, z: z}, "w", ["z is used", "x belongs", "`x @ w`"], AFFINE),
    ],
)
def test_each_misreading_is_said_with_its_line(slip, row, texts, line, deltas, best, place):
    found = best(loss, lambda *args: by_hand(*args, deltas=deltas, **slip), X, W, T, deltas=deltas)
    explanation = next(iter(found.values())) if not deltas else found[row]
    assert explanation is not None
    assert all(text in explanation.text for text in texts)
    assert place(loss, line) in explanation.source


def test_the_derivative_at_the_output_for_that_at_the_input_and_the_reverse(best):
    """sin' = cos(x), not cos(y); exp' = y, not x."""

    def f(x):
        return jnp.sum(jnp.sin(checkpoint_name(jnp.exp(x), "e")) * T)

    def hand(x, at_output, at_input):
        e = np.exp(np.asarray(x))
        e_bar = T * np.cos(np.sin(e) if at_output else e)
        return (e_bar * (np.asarray(x) if at_input else e),), {"e": e_bar}

    found = best(f, lambda x: hand(x, True, True), X)
    assert (
        found["e"].text
        == 'the derivative of `jnp.sin(checkpoint_name(jnp.exp(x), "e"))` is taken at its output instead of its input'
    )
    assert "the derivative of `jnp.exp(x)` taken to be its input" in found["x"].text


def cell(c, row, u):
    f = jax.nn.sigmoid(row @ u)
    return f * c + (1 - f) * jnp.tanh(row)


def scanned(u, x, start):
    def body(c, row):
        return checkpoint_name(cell(c, row, u), "c"), ()

    return jnp.sum(jax.lax.scan(body, start, x)[0] ** 2)


def unrolled(u, x, start):
    c = start
    for t in range(STEPS):
        c = checkpoint_name(cell(c, x[t], u), f"c_{t}")
    return jnp.sum(c**2)


def cell_by_hand(u, x, start, loop, previous=lambda c, t: c[t], gate=lambda f, t: f[t], inputs=lambda x, t: x[t]):
    """Of the recurrence; c[t] is the state before step t."""
    u, x = np.asarray(u), np.asarray(x)
    c = [np.asarray(start)]
    f = 1 / (1 + np.exp(-x @ u))
    for t in range(STEPS):
        c.append(f[t] * c[-1] + (1 - f[t]) * np.tanh(x[t]))
    carried = 2 * c[-1]
    u_bar, x_bar, c_bar = np.zeros_like(u), np.zeros_like(x), np.zeros_like(x)
    for t in reversed(range(STEPS)):
        c_bar[t] = carried
        z_bar = carried * (previous(c, t) - np.tanh(x[t])) * f[t] * (1 - f[t])
        u_bar += np.outer(inputs(x, t), z_bar)
        x_bar[t] = z_bar @ u.T + carried * (1 - f[t]) * (1 - np.tanh(x[t]) ** 2)
        carried = carried * gate(f, t)
    deltas = {f"c_{t}": c_bar[t] for t in range(STEPS)} if loop else {"c": c_bar}
    return (u_bar, x_bar, carried), deltas


RECURRENT = RNG.normal(size=(2, 2)), RNG.normal(size=(STEPS, 2)), RNG.normal(size=2)


@pytest.mark.parametrize(("f", "loop"), [(scanned, False), (unrolled, True)], ids=["scan", "loop"])
@pytest.mark.parametrize("deltas", [True, False])
def test_the_state_after_the_step_for_the_state_before_it(f, loop, deltas, best, place):
    """c_t for c_{t-1} in f's gradient."""

    def hand(*args):
        bars, given = cell_by_hand(*args, loop, previous=lambda c, t: c[t + 1])
        return (bars, given) if deltas else bars

    found = best(f, hand, *RECURRENT, deltas=deltas)
    assert list(found) == ["u", "x"]
    for explanation in found.values():
        assert "is used" in explanation.text
        assert "`f * c`" in explanation.text
        assert place(cell, "return f * c") in explanation.source


@pytest.mark.parametrize(("f", "loop"), [(scanned, False), (unrolled, True)], ids=["scan", "loop"])
def test_the_next_steps_gate_for_this_steps(f, loop, best, place):
    """f_{t+1} for f_t, where there is a next step."""

    def hand(*args):
        return cell_by_hand(*args, loop, gate=lambda f, t: f[min(t + 1, STEPS - 1)])

    found = best(f, hand, *RECURRENT)
    explanation = next(iter(found.values()))
    assert ("step after" if f is scanned else "next turn") in explanation.text
    assert place(cell, "return f * c") in explanation.source


@pytest.mark.parametrize(("f", "loop"), [(scanned, False), (unrolled, True)], ids=["scan", "loop"])
def test_the_previous_steps_input_for_this_steps(f, loop, best, place):
    def hand(*args):
        return cell_by_hand(*args, loop, inputs=lambda x, t: x[max(t - 1, 0)])

    found = best(f, hand, *RECURRENT)
    assert list(found) == ["u"]
    assert ("step before" if f is scanned else "previous turn") in found["u"].text
    assert place(cell, "row @ u") in found["u"].source


def test_a_loop_over_layers_of_different_widths(best, place):
    """The turns of the loop are one line of the program, and have different shapes."""
    weights = [RNG.normal(size=size) for size in ((3, 4), (4, 2))]

    def network(weights, x):
        for number, w in enumerate(weights):
            z = checkpoint_name(x @ w, f"z{number}")
            x = jnp.tanh(z)
        return jnp.sum(x**2)

    def hand(weights, x):
        w0, w1 = map(np.asarray, weights)
        a0 = np.tanh(x @ w0)
        a1 = np.tanh(a0 @ w1)
        z1_bar = 2 * a1 * (1 - a1**2)
        z0_bar = z1_bar @ w1.T  # and the slope of tanh
        return ([x.T @ z0_bar, a0.T @ z1_bar], z0_bar @ w0.T), {"z0": z0_bar, "z1": z1_bar}

    found = best(network, hand, weights, X)
    assert list(found) == ["z0"]
    assert found["z0"].text == "the derivative of `jnp.tanh(z)` is left out"
    assert place(network, "x = jnp.tanh(z)") in found["z0"].source


def test_what_nothing_explains_is_left_unexplained(best):
    slip = lambda z, a: 1 - a**2 + 0.1 * np.sin(17 * z) + 0.03
    assert best(loss, lambda *args: by_hand(*args, tanh_slope=slip), X, W, T) == {"z": None}
