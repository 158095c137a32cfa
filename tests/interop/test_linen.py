"""Parameters to flax.linen and back: Flax's own modules, given ours, compute what our networks compute."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.interop import from_flax, linen, to_flax
from jaxnets.nets import gru, lstm, rnn

pytestmark = pytest.mark.usefixtures("x64")

Dense = partial(nn.Dense, param_dtype=float)
Conv = partial(nn.Conv, param_dtype=float)
Embed = partial(nn.Embed, param_dtype=float)


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        a = nn.relu(Dense(5)(x))
        return Dense(2)(a)


class CNN(nn.Module):
    @nn.compact
    def __call__(self, x):
        a = nn.max_pool(nn.sigmoid(Conv(3, (3, 3), padding="VALID")(x)), (2, 2), (2, 2))
        return nn.sigmoid(Dense(4)(a.reshape(len(x), -1)))


class LeNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        a = nn.max_pool(nn.relu(Conv(6, (5, 5))(x)), (2, 2), (2, 2))
        a = nn.max_pool(nn.relu(Conv(16, (5, 5), padding="VALID")(a)), (2, 2), (2, 2))
        a = nn.relu(Dense(120)(a.reshape(len(x), -1)))
        a = nn.relu(Dense(84)(a))
        return Dense(10)(a)


class TextCNN(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = Embed(7, 4)(tokens)
        found = [nn.relu(Conv(3, (width,), padding="VALID")(x)).max(1) for width in (2, 4)]
        return Dense(2)(jnp.concatenate(found, 1))


class Recurrent(nn.Module):
    cell: type[nn.RNNCellBase]

    @nn.compact
    def __call__(self, x):
        for n in (3, 4):
            x = nn.RNN(self.cell(n, param_dtype=float))(x)
        return Dense(2)(x)


class LanguageModel(nn.Module):
    cell: type[nn.RNNCellBase]

    @nn.compact
    def __call__(self, tokens):
        x = Embed(7, 5)(tokens)
        for n in (3, 4):
            x = nn.RNN(self.cell(n, param_dtype=float))(x)
        return Dense(7)(x)


def shapes(tree):
    return jax.tree.map(jnp.shape, tree)


@pytest.mark.parametrize(
    ("network", "naming", "module"),
    [
        ("mlp", linen.mlp, MLP()),
        ("cnn", linen.cnn, CNN()),
        ("lenet", linen.lenet, LeNet()),
        ("textcnn", linen.textcnn, TextCNN()),
        ("embedding", linen.embedding, Embed(7, 3)),
        ("rnn", linen.recurrent, Recurrent(nn.SimpleCell)),
        ("lstm", linen.recurrent, Recurrent(nn.OptimizedLSTMCell)),
        ("gru", linen.recurrent, Recurrent(nn.GRUCell)),
        ("words by gru", linen.language_model, LanguageModel(nn.GRUCell)),
        ("words by lstm", partial(linen.language_model, lstm_cell="LSTMCell"), LanguageModel(nn.LSTMCell)),
    ],
    indirect=["network"],
)
@pytest.mark.usefixtures("flax_promotes")
def test_the_module_computes_the_same(network, naming, module, there_and_back):
    params, ours, x = network
    variables = to_flax(params, naming)
    assert shapes(jax.eval_shape(module.init, jax.random.key(0), x)) == shapes(variables)
    theirs = jax.jit(module.apply)(variables, x)
    np.testing.assert_allclose(theirs, jax.jit(ours)(params, x), rtol=1e-12, atol=1e-13)
    there_and_back(params, naming)


class ResNetBlock(nn.Module):
    """Two 3×3, or 1×1, 3×3 and 1×1, by the names of Flax's example, padded and strided as the paper has it."""

    width: int
    stride: int
    kernels: tuple[int, ...]
    training: bool

    @nn.compact
    def __call__(self, x):
        norm = partial(nn.BatchNorm, not self.training, momentum=0.9, use_fast_variance=False, param_dtype=float)
        widths, y = (self.width, self.width, 4 * self.width)[: len(self.kernels)], x
        for number, (width, kernel) in enumerate(zip(widths, self.kernels, strict=True)):
            stride = self.stride if number == 0 else 1
            y = norm()(Conv(width, (kernel, kernel), (stride, stride), padding=kernel // 2, use_bias=False)(y))
            y = nn.relu(y) if number < len(widths) - 1 else y
        if y.shape != x.shape:
            x = Conv(widths[-1], (1, 1), (self.stride,) * 2, padding=0, use_bias=False, name="conv_proj")(x)
            x = norm(name="norm_proj")(x)
        return nn.relu(x + y)


class BottleneckResNetBlock(ResNetBlock):
    pass


class ResNet(nn.Module):
    block: type[ResNetBlock]
    kernels: tuple[int, ...]
    training: bool

    @nn.compact
    def __call__(self, x):
        a = Conv(2, (3, 3), padding=1, use_bias=False, name="conv_init")(x)
        norm = partial(nn.BatchNorm, momentum=0.9, use_fast_variance=False, param_dtype=float, name="bn_init")
        a = nn.relu(norm(not self.training)(a))
        for width, stride in ((2, 1), (3, 2)):
            a = self.block(width, stride, self.kernels, self.training)(a)
        return Dense(4)(a.mean((1, 2)))


@pytest.mark.parametrize(
    ("network", "module"),
    [
        ("residual", ResNet(ResNetBlock, (3, 3), False)),
        ("residual, training", ResNet(ResNetBlock, (3, 3), True)),
        ("bottlenecks", ResNet(BottleneckResNetBlock, (1, 3, 1), False)),
        ("bottlenecks, training", ResNet(BottleneckResNetBlock, (1, 3, 1), True)),
    ],
    indirect=["network"],
)
@pytest.mark.usefixtures("flax_promotes")
def test_residual_networks_and_their_statistics(network, module, there_and_back):
    params, ours, x = network
    variables = to_flax(params, linen.resnet)
    assert shapes(jax.eval_shape(module.init, jax.random.key(0), x)) == shapes(variables)
    wanted, moved = jax.jit(ours)(params, x)
    theirs, state = jax.jit(partial(module.apply, mutable=["batch_stats"]))(variables, x)
    np.testing.assert_allclose(theirs, wanted, rtol=1e-12, atol=1e-13)
    _, after = from_flax({"params": variables["params"], **state}, params, linen.resnet)
    for one, other in zip(jax.tree.leaves(moved), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    there_and_back(params, linen.resnet)


@pytest.mark.parametrize(
    ("net", "naming", "cell"),
    [
        (rnn, linen.elman, nn.SimpleCell),
        (lstm, linen.lstm, nn.OptimizedLSTMCell),
        (lstm, linen.lstm, nn.LSTMCell),
        (gru, linen.gru, nn.GRUCell),
    ],
)
@pytest.mark.usefixtures("flax_promotes")
def test_a_cell_and_its_carry(net, naming, cell, drawn, there_and_back):
    layer = drawn(jax.eval_shape(lambda: net.init(jax.random.key(0), 3, 4, float)))
    state = drawn(net.start(layer, 2))
    x = drawn(jnp.zeros((2, 1, 3)))
    swapped = lambda state: (state.c, state.h) if net is lstm else state

    h, last = jax.jit(net.CELL.run)(layer, x, state, None)
    carry, theirs = jax.jit(cell(4, param_dtype=float).apply)(to_flax(layer, naming), swapped(state), x[:, 0])
    np.testing.assert_allclose(h[:, 0], theirs, rtol=1e-12)
    for one, other in zip(jax.tree.leaves(swapped(last)), jax.tree.leaves(carry), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    there_and_back(layer, naming)


def test_layers_are_numbered_as_they_are_made():
    """Not as they are called: one reason to give every layer its own line."""

    class Nested(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Dense(2)(nn.relu(Dense(5)(x)))

    variables = jax.eval_shape(Nested().init, jax.random.key(0), jnp.zeros((3, 4)))
    assert variables["params"]["Dense_1"]["kernel"].shape == (4, 5)
