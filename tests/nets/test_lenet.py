"""LeNet-5, of the paper and of today: sizes, the table, codes and costs, and peers."""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.data import as_images, mnist_small, one_hot
from jaxnets.nets import lenet, lenet1998
from jaxnets.nets.rbf import digit_codes, map_criterion, mse_criterion, rbf
from jaxnets.ops.losses import softmax_cross_entropy
from jaxnets.rule import autodiff
from jaxnets.verify.checks.local import local

pytestmark = pytest.mark.usefixtures("x64")


def digits(n=2, dtype=float):
    data = mnist_small()
    images, labels = data.train_images[:n], data.train_labels[:n]
    return jnp.asarray(as_images(images), dtype), jnp.asarray(one_hot(labels, 10), dtype)


@pytest.fixture
def paper():
    """Parameters, and two images of the network of 1998."""
    x, t = digits()
    return jax.jit(partial(lenet1998.init, dtype=float))(jax.random.key(0)), (lenet1998.as_input(x), t)


@pytest.mark.parametrize(
    ("init", "layers", "all_parameters"),
    [
        (lenet1998.init, [156, 12, 1516, 32, 48120, 10164], 60_000),
        (lenet.init, [156, 2416, 48120, 10164, 850], 61_706),
    ],
)
def test_parameter_counts(init, layers, all_parameters):
    params = jax.eval_shape(init, jax.random.key(0))
    assert [sum(leaf.size for leaf in layer) for layer in params] == layers
    assert sum(layers) == all_parameters
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_the_table_is_that_of_the_paper():
    rows = "X...XXX..XXXX.XX XX...XXX..XXXX.X XXX...XXX..X.XXX .XXX..XXXX..X.XX ..XXX..XXXX.XX.X ...XXX..XXXX.XXX"
    mask = np.array([[mark == "X" for mark in row] for row in rows.split()])
    full = lenet1998.connected(jnp.ones((5, 5, 60)))
    np.testing.assert_array_equal(full, np.broadcast_to(mask, (5, 5, 6, 16)))
    assert mask.sum() == 60


def test_reading_the_connections_is_the_transpose_of_connecting():
    w, full = jax.random.normal(jax.random.key(1), (5, 5, 60)), jax.random.normal(jax.random.key(2), (5, 5, 6, 16))
    np.testing.assert_array_equal(lenet1998.connections(lenet1998.connected(w)), w)
    left, right = jnp.vdot(lenet1998.connected(w), full), jnp.vdot(w, lenet1998.connections(full))
    np.testing.assert_allclose(left, right, rtol=1e-13)


def test_initial_bounds_are_those_of_the_units():
    params = lenet1998.init(jax.random.key(3))
    for layer, bound in zip(params, (2.4 / 25, 2.4 / 4, 2.4 / 75, 2.4 / 4, 2.4 / 400, 2.4 / 120), strict=True):
        assert 0.9 * bound < max(jnp.abs(layer.w).max(), jnp.abs(layer.b).max()) <= bound
    # The last map of C3 reads all six maps.
    last = np.abs(lenet1998.connected(params.c3.w)[..., 15])
    assert 0.9 * 2.4 / 150 < last.max() <= 2.4 / 150


def test_a_wrong_delta_is_named(monkeypatch, paper):
    right = lenet1998.backpropagate

    def wrong(residuals, y_bar):
        params_bar, x_bar, delta = right(residuals, y_bar)
        return params_bar, x_bar, delta._replace(s2=delta.s2 * 1.0001)

    monkeypatch.setattr(lenet1998, "backpropagate", wrong)
    report = verify.gradient(lenet1998.loss, lenet1998.gradient, *paper, checks=(local,))
    assert report.first_wrong is not None
    assert report.first_wrong.name == "zS2"


@pytest.mark.parametrize("cost", [mse_criterion, map_criterion])
def test_the_written_gradient_is_that_of_the_rule_and_of_autodiff(cost, paper):
    loss = partial(lenet1998.loss, cost=cost)
    written, deltas = jax.jit(partial(lenet1998.gradient, cost=cost))(*paper)
    chex.assert_trees_all_close(written, jax.jit(jax.grad(loss, (0, 1)))(*paper), rtol=1e-11, atol=1e-14)
    chex.assert_trees_all_close(written, jax.jit(jax.grad(autodiff(loss), (0, 1)))(*paper), rtol=1e-9, atol=1e-12)
    assert set(deltas) == {"zC1", "zS2", "zC3", "zS4", "zC5", "zF6"}


def test_input_is_centred_and_padded():
    images = jnp.zeros((1, 28, 28, 1)).at[0, 0, 27].set(1.0)
    x = lenet1998.as_input(images)
    assert x.shape == (1, 32, 32, 1)
    assert x[0, 2, 29, 0] == pytest.approx(1.175)
    assert (x == -0.1).sum() == 32 * 32 - 1


def test_codes_are_digits_of_plus_and_minus_one():
    codes = digit_codes()
    assert codes.shape == (10, 84)
    assert set(codes.ravel().tolist()) == {-1, 1}
    unlike = (codes[:, None] != codes[None]).sum(-1)
    assert unlike[~np.eye(10, dtype=bool)].min() >= 5
    np.testing.assert_allclose(rbf(jnp.asarray(codes, float), jnp.asarray(codes, float)), 4.0 * unlike, atol=1e-12)


def test_the_map_criterion_is_a_posterior_among_the_classes_and_rubbish():
    y = jnp.array([[1.0, 3.0, 0.5], [2.0, 0.1, 7.0]])
    t = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    weights = np.exp(-np.concatenate([y, [[0.7], [0.7]]], 1))
    posterior = weights[[0, 1], [0, 2]] / weights.sum(1)
    np.testing.assert_allclose(map_criterion(y, t, j=0.7), -np.log(posterior).mean(), rtol=1e-13)
    np.testing.assert_allclose(map_criterion(y, t, j=700.0), softmax_cross_entropy(-y, t), rtol=1e-13)
    np.testing.assert_allclose(mse_criterion(y, t), (1.0 + 7.0) / 2, rtol=1e-15)


def test_the_map_criterion_neither_underflows_nor_overflows():
    y, t = jnp.array([[1e6, 2e6]]), jnp.array([[0.0, 1.0]])
    for j, value in ((1.0, 2e6 - 1), (1e9, 1e6)):
        cost = partial(map_criterion, j=j)
        np.testing.assert_allclose(cost(y, t), value, rtol=1e-12)
        assert np.isfinite(jax.grad(cost)(y, t)).all()


class Peer(nn.Module):
    """Today's network of Flax's layers."""

    @nn.compact
    def __call__(self, x):
        a = nn.max_pool(nn.relu(nn.Conv(6, (5, 5), padding=2, param_dtype=float)(x)), (2, 2), (2, 2))
        a = nn.max_pool(nn.relu(nn.Conv(16, (5, 5), padding=0, param_dtype=float)(a)), (2, 2), (2, 2))
        a = nn.relu(nn.Dense(120, param_dtype=float)(a.reshape(len(x), -1)))
        a = nn.relu(nn.Dense(84, param_dtype=float)(a))
        return nn.Dense(10, param_dtype=float)(a)


def test_flax_has_the_same_output_and_gradient():
    params, (x, t) = jax.jit(partial(lenet.init, dtype=float))(jax.random.key(4)), digits()
    names = "Conv_0", "Conv_1", "Dense_0", "Dense_1", "Dense_2"
    theirs = {name: {"kernel": layer.w, "bias": layer.b} for name, layer in zip(names, params, strict=True)}

    def their_loss(theirs):
        return softmax_cross_entropy(Peer().apply({"params": theirs}, x), t)

    value, bar = jax.jit(jax.value_and_grad(their_loss))(theirs)
    ours, our_bar = jax.jit(jax.value_and_grad(lenet.loss))(params, (x, t))
    np.testing.assert_allclose(ours, value, rtol=1e-13)
    for name, layer in zip(names, our_bar, strict=True):
        np.testing.assert_allclose(layer.w, bar[name]["kernel"], rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(layer.b, bar[name]["bias"], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("net", "prepare", "rate"), [(lenet, lambda x: x, 0.02), (lenet1998, lenet1998.as_input, 0.002)]
)
def test_a_few_steps_learn_some_digits(net, prepare, rate):
    x, t = digits(40, jnp.float32)
    batch = prepare(x), t

    @jax.jit
    def costs(key):
        def step(params, _):
            cost, bar = jax.value_and_grad(net.loss)(params, batch)
            return jax.tree.map(lambda p, g: p - rate * g, params, bar), cost

        return jax.lax.scan(step, net.init(key), None, length=15)[1]

    first, *_, last = costs(jax.random.key(5))
    assert last < 0.8 * first


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named(paper):
    params, (x, t) = paper
    with pytest.raises(ValueError, match=r"lenet1998: x has shape \(2, 28, 32, 1\), wanted \(batch, 32, 32, 1\)"):
        lenet1998.apply(params, x[:, 4:])
    with pytest.raises(ValueError, match=r"lenet1998: c3 has w \(5, 5, 59\) and b \(16,\), wanted \(5, 5, 60\)"):
        lenet1998.apply(params._replace(c3=params.c3._replace(w=params.c3.w[..., 1:])), x)
    with pytest.raises(ValueError, match=r"lenet: x has shape \(2, 32, 32, 1\), wanted \(batch, 28, 28, 1\)"):
        lenet.apply(lenet.init(jax.random.key(0), dtype=float), x)
    with pytest.raises(ValueError, match=r"rbf: wanted a \(batch, code\) and w \(classes, code\), got \(2, 3\)"):
        rbf(jnp.ones((2, 3)), jnp.ones((2, 4)))
    for criterion in (mse_criterion, map_criterion):
        with pytest.raises(ValueError, match=r"_criterion: y has shape \(2, 3\) and t \(2, 4\)"):
            criterion(jnp.ones((2, 3)), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="map_criterion: j is 0, wanted a positive number"):
        map_criterion(t, t, j=0)
