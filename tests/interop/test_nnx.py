"""Parameters to flax.nnx and back: NNX modules, filled with ours, compute what our networks compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnets.interop import modules, to_flax
from jaxnets.interop import nnx as names
from jaxnets.nets import gru, lstm, rnn

pytestmark = pytest.mark.usefixtures("x64")


def float64():
    return {"param_dtype": float, "rngs": nnx.Rngs(0)}


def undrawn():
    """Of layers that are filled anyway: drawing takes longer than all else here."""
    return float64() | {"kernel_init": nnx.initializers.zeros}


def linear(n_in, n_out):
    return nnx.Linear(n_in, n_out, **undrawn())


def conv(n_in, n_out, kernel, padding=0, **kwargs):
    return nnx.Conv(n_in, n_out, kernel, padding=padding, **undrawn(), **kwargs)


class MLP(nnx.Module):
    def __init__(self):
        self.layers = nnx.List([linear(4, 5), linear(5, 2)])

    def __call__(self, x):
        return self.layers[1](nnx.relu(self.layers[0](x)))


class CNN(nnx.Module):
    def __init__(self):
        self.filters, self.output = conv(2, 3, (3, 3)), linear(18, 4)

    def __call__(self, x):
        a = nnx.max_pool(nnx.sigmoid(self.filters(x)), (2, 2), (2, 2))
        return nnx.sigmoid(self.output(a.reshape(len(x), -1)))


class LeNet(nnx.Module):
    def __init__(self):
        self.c1, self.c3 = conv(1, 6, (5, 5), 2), conv(6, 16, (5, 5))
        self.c5, self.f6, self.output = linear(400, 120), linear(120, 84), linear(84, 10)

    def __call__(self, x):
        a = nnx.max_pool(nnx.relu(self.c1(x)), (2, 2), (2, 2))
        a = nnx.max_pool(nnx.relu(self.c3(a)), (2, 2), (2, 2))
        a = nnx.relu(self.c5(a.reshape(len(x), -1)))
        return self.output(nnx.relu(self.f6(a)))


class TextCNN(nnx.Module):
    def __init__(self):
        self.table = nnx.Embed(7, 4, **float64())
        self.filters = nnx.List([conv(4, 3, (width,)) for width in (2, 4)])
        self.head = linear(6, 2)

    def __call__(self, tokens):
        x = self.table(tokens)
        return self.head(jnp.concatenate([nnx.relu(layer(x)).max(1) for layer in self.filters], 1))


def undrawn_cell(cell, n_in, n):
    return cell(n_in, n, dtype=jnp.dtype(float), recurrent_kernel_init=nnx.initializers.zeros, **undrawn())


class Recurrent(nnx.Module):
    def __init__(self, cell, n_out=2):
        self.layers = nnx.List([nnx.RNN(undrawn_cell(cell, *sizes)) for sizes in ((5, 3), (3, 4))])
        self.head = linear(4, n_out)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class LanguageModel(nnx.Module):
    def __init__(self, cell):
        self.table, self.network = nnx.Embed(7, 5, **float64()), Recurrent(cell, 7)

    def __call__(self, tokens):
        return self.network(self.table(tokens))


class ConvNorm(nnx.Module):
    def __init__(self, n_in, n_out, kernel=3, stride=1):
        self.conv = conv(n_in, n_out, (kernel, kernel), kernel // 2, strides=(stride, stride), use_bias=False)
        self.norm = nnx.BatchNorm(n_out, momentum=0.9, use_fast_variance=False, **float64())

    def __call__(self, x):
        return self.norm(self.conv(x))


class Block(nnx.Module):
    def __init__(self, n_in, n_out, stride):
        self.layers = nnx.List([ConvNorm(n_in, n_out, stride=stride), ConvNorm(n_out, n_out)])
        self.projection = ConvNorm(n_in, n_out, 1, stride) if n_in != n_out else None

    def __call__(self, x):
        y = self.layers[1](nnx.relu(self.layers[0](x)))
        return nnx.relu(y + (x if self.projection is None else self.projection(x)))


class ResNet(nnx.Module):
    def __init__(self):
        self.stem, self.head = ConvNorm(3, 2), linear(3, 4)
        self.blocks = nnx.List([Block(2, 2, 1), Block(2, 3, 2)])

    def __call__(self, x):
        a = nnx.relu(self.stem(x))
        for block in self.blocks:
            a = block(a)
        return self.head(a.mean((1, 2)))


def without_b_n(params):
    """Parameters that NNX's GRU cell can have too."""
    clear = lambda part: part._replace(b_n=0 * part.b_n) if isinstance(part, gru.Layer) else part
    return jax.tree.map(clear, params, is_leaf=lambda part: isinstance(part, gru.Layer))


@pytest.mark.parametrize(
    ("network", "naming", "make"),
    [
        ("mlp", names.mlp, MLP),
        ("cnn", names.cnn, CNN),
        ("lenet", names.lenet, LeNet),
        ("textcnn", names.textcnn, TextCNN),
        ("embedding", names.embedding, lambda: nnx.Embed(7, 3, **float64())),
        ("rnn", names.recurrent, lambda: Recurrent(nnx.SimpleCell)),
        ("lstm", names.recurrent, lambda: Recurrent(nnx.OptimizedLSTMCell)),
        ("gru", names.recurrent, lambda: Recurrent(nnx.GRUCell)),
        ("words by lstm", names.language_model, lambda: LanguageModel(nnx.OptimizedLSTMCell)),
    ],
    indirect=["network"],
)
@pytest.mark.usefixtures("flax_promotes")
def test_the_module_computes_the_same(network, naming, make, there_and_back):
    params, ours, x = without_b_n(network.params), network.ours, network.x
    module = modules.filled(nnx.jit(make)(), params, naming)
    theirs = nnx.jit(lambda module, x: module(x))(module, x)
    np.testing.assert_allclose(theirs, jax.jit(ours)(params, x), rtol=1e-12, atol=1e-13)
    again = modules.parameters_of(module, params, naming)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    there_and_back(params, naming)


@pytest.mark.parametrize("network", ["residual", "residual, training"], indirect=True)
@pytest.mark.usefixtures("flax_promotes")
def test_residual_networks_and_their_statistics(network, request, there_and_back):
    params, ours, x = network
    module = modules.filled(nnx.jit(ResNet)(), params, names.resnet)
    if "training" not in request.node.name:
        module.eval()
    wanted, moved = jax.jit(ours)(params, x)
    theirs = nnx.jit(lambda module, x: module(x))(module, x)
    np.testing.assert_allclose(theirs, wanted, rtol=1e-12, atol=1e-13)
    _, after = modules.parameters_of(module, params, names.resnet)
    for one, other in zip(jax.tree.leaves(moved), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    there_and_back(params, names.resnet)


@pytest.mark.parametrize(
    ("net", "naming", "cell"),
    [
        (rnn, names.elman, nnx.SimpleCell),
        (lstm, names.lstm, nnx.OptimizedLSTMCell),
        (lstm, names.lstm_by_gates, nnx.LSTMCell),
        (gru, names.gru, nnx.GRUCell),
    ],
)
@pytest.mark.usefixtures("flax_promotes")
def test_a_cell_and_its_carry(net, naming, cell, drawn, there_and_back):
    layer = without_b_n(drawn(jax.eval_shape(lambda: net.init(jax.random.key(0), 3, 4, float))))
    state, x = drawn(net.start(layer, 2)), drawn(jnp.zeros((2, 1, 3)))
    swapped = lambda state: (state.c, state.h) if net is lstm else state

    module = undrawn_cell(cell, 3, 4)
    h, last = jax.jit(net.CELL.run)(layer, x, state, None)
    carry, theirs = modules.filled(module, layer, naming)(swapped(state), x[:, 0])
    np.testing.assert_allclose(h[:, 0], theirs, rtol=1e-12)
    for one, other in zip(jax.tree.leaves(swapped(last)), jax.tree.leaves(carry), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    there_and_back(layer, naming)


@pytest.mark.parametrize("network", ["mlp"], indirect=True)
def test_a_module_is_filled_without_having_been_drawn(network):
    """And the one that was given stays as it is."""
    empty = nnx.eval_shape(MLP)
    module = modules.filled(empty, network.params, names.mlp)
    np.testing.assert_allclose(module(network.x), network.ours(network.params, network.x), rtol=1e-12)
    assert isinstance(empty.layers[0].kernel.get_value(), jax.ShapeDtypeStruct)


@pytest.mark.parametrize("network", ["mlp"], indirect=True)
def test_a_module_of_other_sizes_is_refused(network):
    """NNX itself would take any array in the place of any other."""
    module = nnx.eval_shape(MLP)
    module.layers[1] = linear(5, 3)
    with pytest.raises(ValueError, match=r"layers/1/kernel has shape \(5, 3\), wanted \(5, 2\) for \[1\].w"):
        modules.filled(module, network.params, names.mlp)


@pytest.mark.parametrize("network", ["words by gru"], indirect=True)
def test_the_gru_of_nnx_has_no_second_bias(network):
    with pytest.raises(ValueError, match=r"to_flax: .network.layers\[0\].b_n is not zero, and Flax has no such array"):
        to_flax(network.params, names.language_model)
