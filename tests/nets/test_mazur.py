"""M. Mazur's worked example of backpropagation: every number, to float64, and which program printed the others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import mlp
from jaxnets.nets.mlp import Layer
from jaxnets.ops import losses
from jaxnets.ops.activations import sigmoid

pytestmark = pytest.mark.usefixtures("x64")

RATE = 0.5
OPTIONS = {"activations": (sigmoid, sigmoid), "cost": losses.quadratic}

close = functools.partial(np.testing.assert_allclose, rtol=1e-14)


@pytest.fixture
def start():
    """w1 ... w4 lead into h1, h1, h2, h2 and w5 ... w8 into o1, o1, o2, o2."""
    return (
        Layer(jnp.array([[0.15, 0.25], [0.20, 0.30]]), jnp.array([0.35, 0.35])),
        Layer(jnp.array([[0.40, 0.50], [0.45, 0.55]]), jnp.array([0.60, 0.60])),
    )


@pytest.fixture
def xt():
    return jnp.array([[0.05, 0.10]]), jnp.array([[0.01, 0.99]])


def error(params, xt):
    return mlp.loss(params, xt, **OPTIONS)


def gradient(params, xt):
    (bars, _), deltas = mlp.gradient(params, xt, **OPTIONS)
    return bars, deltas


def in_order(w):
    return w.T.ravel()


def test_forward(start, xt):
    net_h = xt[0] @ start[0].w + start[0].b[None]
    close(net_h[0], [0.3775, 0.39249999999999996])
    out_h = mlp.apply(start[:1], xt[0], activations=(sigmoid,))
    close(out_h[0], [0.59326999210718723, 0.59688437825976703])
    close((out_h @ start[1].w + start[1].b[None])[0], [1.10590596705977, 1.2249214040964653])
    out_o = mlp.apply(start, xt[0], activations=(sigmoid, sigmoid))
    close(out_o[0], [0.75136506955231575, 0.77292846532146253])
    close(0.5 * (xt[1] - out_o)[0] ** 2, [0.27481108317615499, 0.023560025583847746])
    close(error(start, xt), 0.29837110876000272)


def test_often_printed_sigmoid_would_give_other_outputs():
    close(1 / (1 - jnp.exp(-jnp.array([0.3775, 1.1059]))), [3.1803904916459769, 1.4945737852039744])


def test_backward(start, xt):
    out_o = mlp.apply(start, xt[0], activations=(sigmoid, sigmoid))[0]
    out_h = mlp.apply(start[:1], xt[0], activations=(sigmoid,))[0]
    bars, deltas = gradient(start, xt)
    close(out_o - xt[1][0], [0.74136506955231574, -0.21707153467853746])
    close(out_o * (1 - out_o), [0.18681560180895948, 0.17551005281727122])
    close(deltas["z2"][0], [0.13849856162855695, -0.038098236516556236])
    close(
        in_order(bars[1].w),
        [0.08216704056423077, 0.082667627847533245, -0.022602540477475071, -0.022740242215978222],
    )
    through_h1, through_h2 = deltas["z2"][0][None] * start[1].w
    close(through_h1, [0.055399424651422779, -0.019049118258278118])  # often printed as -0.019049119
    close(through_h2, [0.062324352732850627, -0.020954030084105933])
    close([through_h1.sum(), through_h2.sum()], [0.036350306393144662, 0.041370322648744698])
    close(out_h * (1 - out_h), [0.24130070857232525, 0.24061341724921839])
    close(deltas["z1"][0], [0.0087713546894869297, 0.0099542547052171963])
    close(
        in_order(bars[0].w),
        [0.00043856773447434653, 0.00087713546894869305, 0.00049771273526085988, 0.00099542547052171976],
    )
    close([bars[0].b.sum(), bars[1].b.sum()], [0.018725609394704128, 0.10040032511200071])


def simultaneous(params, xt):
    """All gradients from the old weights; biases stay."""
    bars, _ = gradient(params, xt)
    return tuple(p._replace(w=p.w - RATE * g.w) for p, g in zip(params, bars, strict=True))


def sequential(params, xt):
    """The hidden layer's gradients through the output weights as they are after their update."""
    bars, deltas = gradient(params, xt)
    output = params[1]._replace(w=params[1].w - RATE * bars[1].w)
    out_h = mlp.apply(params[:1], xt[0], activations=(sigmoid,))
    delta = (deltas["z2"] @ output.w.T) * out_h * (1 - out_h)
    return params[0]._replace(w=params[0].w - RATE * xt[0].T @ delta), output


def test_one_step(start, xt):
    after = simultaneous(start, xt)
    close(in_order(after[1].w), [0.35891647971788465, 0.4086661860762334, 0.5113012702387375, 0.56137012110798912])
    close(in_order(after[0].w), [0.14978071613276281, 0.19956143226552567, 0.24975114363236958, 0.29950228726473915])
    close(error(after, xt), 0.29102777369359933)


def test_the_printed_error_after_one_step_is_that_of_another_program(start, xt):
    after = sequential(start, xt)
    close(error(after, xt), 0.29102792390544197)
    close(in_order(after[0].w), [0.14981763856120295, 0.19963527712240592, 0.2497881851977662, 0.29957637039553237])


def test_one_step_with_biases_that_move(start, xt):
    bars, _ = gradient(start, xt)
    each = tuple(Layer(p.w - RATE * g.w, p.b - RATE * g.b) for p, g in zip(start, bars, strict=True))
    close(each[0].b, [0.34561432265525649, 0.3450228726473914])
    close(each[1].b, [0.53075071918572148, 0.61904911825827813])
    close(error(each, xt), 0.28047144679143016)
    shared = tuple(Layer(p.w - RATE * g.w, p.b - RATE * g.b.sum()) for p, g in zip(start, bars, strict=True))
    close([shared[0].b[0], shared[1].b[0]], [0.34063719530264791, 0.54979983744399963])
    close(error(shared, xt), 0.28575088669929649)


@pytest.mark.parametrize(
    ("update", "steps", "wanted", "outputs"),
    [
        (simultaneous, 10_000, 3.510187782978859e-05, (0.01591362044355068, 0.9840642735146238)),
        (sequential, 10_000, 3.5084786296312774e-05, (0.0159121963260343, 0.9840657344856291)),
        (simultaneous, 9_999, 3.510854812251261e-05, None),  # the error that the article prints, beside other outputs
    ],
)
def test_many_steps(start, xt, update, steps, wanted, outputs):
    after = jax.lax.fori_loop(0, steps, lambda _, params: update(params, xt), start)
    np.testing.assert_allclose(error(after, xt), wanted, rtol=1e-9)
    if outputs is not None:
        got = mlp.apply(after, xt[0], activations=(sigmoid, sigmoid))[0]
        np.testing.assert_allclose(got, outputs, rtol=1e-11)
