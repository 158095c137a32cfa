"""Layers against PyTorch, both ways, with the same numbers (needs the bench extra)."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import birnn, recurrent
from jaxnets.nets import lstm as lstm_layer
from jaxnets.ops.convolution import conv1d, conv2d, conv_transpose2d
from jaxnets.ops.normalization import batch_norm, layer_norm, local_response_norm
from jaxnets.ops.pooling import max_pool, max_pool_with_switches, mean_pool, unpool
from jaxnets.ops.recurrence import LSTMState, elman, gru, lstm

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("x64")]

WINDOWS = [
    {},
    {"stride": (2, 1), "padding": ((1, 1), (2, 2))},
    {"dilation": (1, 2), "groups": 2},
    {"stride": (3, 2), "padding": ((2, 2), (0, 0)), "dilation": (2, 1), "groups": 4},
]


@pytest.fixture(scope="module")
def torch():
    return importlib.import_module("torch")


def normal(seed, *shapes):
    return tuple(np.random.default_rng(seed).normal(size=shape) for shape in shapes)


def channels_first(array):
    return np.moveaxis(array, -1, 1)


def kernel_first(w):
    """HWIO as OIHW."""
    return np.moveaxis(w, (-1, -2), (0, 1))


def assert_the_same(torch, ours, theirs, arrays, layouts, y_layout):
    """`ours(*arrays)` and `theirs` of the arrays in PyTorch's layouts: values, and cotangents for the same y_bar."""
    y, pull_back = jax.vjp(ours, *map(jnp.asarray, arrays))
    (y_bar,) = normal(9, y.shape)
    tensors = [
        torch.tensor(np.ascontiguousarray(layout(a)), requires_grad=True)
        for a, layout in zip(arrays, layouts, strict=True)
    ]
    peer = theirs(*tensors)
    np.testing.assert_allclose(y_layout(y), peer.detach().numpy(), rtol=1e-12, atol=1e-12)
    peer.backward(torch.tensor(np.ascontiguousarray(y_layout(y_bar))))
    for bar, layout, tensor in zip(pull_back(jnp.asarray(y_bar)), layouts, tensors, strict=True):
        np.testing.assert_allclose(layout(np.asarray(bar)), tensor.grad.numpy(), rtol=1e-11, atol=1e-11)


def torch_window(window):
    options = {key: value for key, value in window.items() if key != "padding"}
    return {**options, "padding": tuple(before for before, _ in window.get("padding", ((0, 0), (0, 0))))}


@pytest.mark.parametrize("window", WINDOWS)
def test_conv2d(torch, window):
    arrays = normal(0, (3, 11, 10, 8), (3, 2, 8 // window.get("groups", 1), 12), (12,))
    assert_the_same(
        torch,
        lambda x, w, b: conv2d(x, w, b, **window),
        lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **torch_window(window)),
        arrays,
        (channels_first, kernel_first, np.asarray),
        channels_first,
    )


@pytest.mark.parametrize("window", WINDOWS)
def test_conv_transpose2d(torch, window):
    arrays = normal(1, (3, 4, 5, 8), (3, 2, 12 // window.get("groups", 1), 8), (12,))
    assert_the_same(
        torch,
        lambda x, w, b: conv_transpose2d(x, w, b, **window),
        lambda x, w, b: torch.nn.functional.conv_transpose2d(x, w, b, **torch_window(window)),
        arrays,
        (channels_first, kernel_first, np.asarray),
        channels_first,
    )


def test_conv1d(torch):
    arrays = normal(2, (3, 11, 4), (3, 4, 5), (5,))
    assert_the_same(
        torch,
        lambda x, w, b: conv1d(x, w, b, stride=2, padding=(1, 1), dilation=2),
        lambda x, w, b: torch.nn.functional.conv1d(x, w, b, stride=2, padding=1, dilation=2),
        arrays,
        (channels_first, kernel_first, np.asarray),
        channels_first,
    )


IMAGES = (3, 9, 8, 5)


@pytest.mark.parametrize(("window", "stride", "pad"), [((2, 2), (2, 2), 0), ((3, 3), (2, 2), 1), ((3, 2), (1, 3), 1)])
def test_pools(torch, window, stride, pad):
    padding = ((pad, pad), (pad, pad))
    functional = torch.nn.functional
    pairs = [
        (lambda x: max_pool(x, window=window, stride=stride, padding=padding), functional.max_pool2d),
        (lambda x: mean_pool(x, window=window, stride=stride, padding=padding), functional.avg_pool2d),
    ]
    for ours, theirs in pairs:
        assert_the_same(
            torch,
            ours,
            lambda x, theirs=theirs: theirs(x, window, stride, pad),
            normal(3, IMAGES),
            (channels_first,),
            channels_first,
        )


def test_unpooling(torch):
    (x,) = normal(4, IMAGES)
    (y, switches), _ = max_pool_with_switches.forward(jnp.asarray(x))
    tensor = torch.tensor(np.ascontiguousarray(channels_first(x)))
    peer, indices = torch.nn.functional.max_pool2d(tensor, 2, return_indices=True)
    size = x.shape[1:3]
    back = unpool(y, switches, size=size)
    theirs = torch.nn.functional.max_unpool2d(peer, indices, 2, output_size=size)
    np.testing.assert_array_equal(channels_first(np.asarray(back)), theirs.numpy())


def test_batch_norm(torch):
    assert_the_same(
        torch,
        lambda x, scale, shift: batch_norm(x, scale, shift, eps=1e-3),
        lambda x, scale, shift: torch.nn.functional.batch_norm(x, None, None, scale, shift, training=True, eps=1e-3),
        normal(5, IMAGES, (5,), (5,)),
        (channels_first, np.asarray, np.asarray),
        channels_first,
    )


def test_layer_norm(torch):
    assert_the_same(
        torch,
        lambda x, scale, shift: layer_norm(x, scale, shift, eps=1e-3),
        lambda x, scale, shift: torch.nn.functional.layer_norm(x, (5,), scale, shift, eps=1e-3),
        normal(6, IMAGES, (5,), (5,)),
        (np.asarray, np.asarray, np.asarray),
        np.asarray,
    )


def test_local_response_norm(torch):
    assert_the_same(
        torch,
        lambda x: local_response_norm(x, size=3, k=2.0, alpha=0.1, beta=0.75),
        # PyTorch divides the sum of squares by their number.
        lambda x: torch.nn.functional.local_response_norm(x, 3, 0.3, 0.75, 2.0),
        normal(7, IMAGES),
        (channels_first,),
        channels_first,
    )


def recurrent_peer(torch, kind, shapes, layers=1, bidirectional=False):
    """PyTorch's module in float64, with weights drawn from N(0, 1)."""
    module = kind(*shapes, num_layers=layers, bidirectional=bidirectional, batch_first=True, dtype=torch.float64)
    generator = np.random.default_rng(5)
    with torch.no_grad():
        for weights in module.parameters():
            weights.copy_(torch.tensor(generator.normal(size=tuple(weights.shape))))
    return module


def peer_weights(module, suffix="l0"):
    """w_x, w_h and both biases."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_x, w_h, *biases = (getattr(module, f"{name}_{suffix}") for name in names)
    return w_x, w_h, *biases


def assert_same_gradients(outputs, inputs, hand, arguments):
    """Of the sum of the sines of all outputs."""
    sum(output.sin().sum() for output in outputs).backward()

    def value(*args):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(hand(*args)))

    for theirs, ours in zip(inputs, jax.grad(value, range(len(inputs)))(*arguments), strict=True):
        np.testing.assert_allclose(ours, theirs.grad, rtol=1e-11, atol=1e-12)


def test_elman(torch):
    module = recurrent_peer(torch, torch.nn.RNN, (3, 5))
    x, h_0 = (torch.tensor(a, requires_grad=True) for a in normal(0, (4, 7, 3), (1, 4, 5)))
    w_x, w_h, b_x, b_h = peer_weights(module)
    h, last = module(x, h_0)

    def hand(x, h_0, w_x, w_h, b):
        return elman(x, w_x.T, w_h.T, b, h_0[0])

    numbers = [jnp.asarray(a.detach().numpy()) for a in (x, h_0, w_x, w_h, b_x + b_h)]
    np.testing.assert_allclose(hand(*numbers)[0], h.detach(), rtol=1e-12)
    assert_same_gradients((h, last), (x, h_0, w_x, w_h, b_x), hand, numbers)


def test_lstm(torch):
    module = recurrent_peer(torch, torch.nn.LSTM, (3, 5))
    x = torch.tensor(normal(0, (4, 7, 3))[0], requires_grad=True)
    h_0, c_0 = (torch.tensor(a) for a in normal(1, (1, 4, 5), (1, 4, 5)))
    w_x, w_h, b_x, b_h = peer_weights(module)
    h, (last, cell) = module(x, (h_0, c_0))
    state = LSTMState(jnp.asarray(h_0[0].numpy()), jnp.asarray(c_0[0].numpy()))

    def hand(x, w_x, w_h, b):
        return lstm(x, w_x.T, w_h.T, b, state)

    numbers = [jnp.asarray(a.detach().numpy()) for a in (x, w_x, w_h, b_x + b_h)]
    np.testing.assert_allclose(hand(*numbers)[0], h.detach(), rtol=1e-12)
    assert_same_gradients((h, last, cell), (x, w_x, w_h, b_x), hand, numbers)


def test_gru(torch):
    """PyTorch has two biases for each gate; those of n are different ones."""
    module = recurrent_peer(torch, torch.nn.GRU, (3, 5))
    x = torch.tensor(normal(0, (4, 7, 3))[0], requires_grad=True)
    h_0 = torch.tensor(normal(1, (1, 4, 5))[0])
    w_x, w_h, b_x, b_h = peer_weights(module)
    h, last = module(x, h_0)

    def hand(x, w_x, w_h, b_x, b_h):
        b = b_x + jnp.concatenate([b_h[:10], jnp.zeros(5)])
        return gru(x, w_x.T, w_h.T, b, b_h[10:], jnp.asarray(h_0[0].numpy()))

    numbers = [jnp.asarray(a.detach().numpy()) for a in (x, w_x, w_h, b_x, b_h)]
    np.testing.assert_allclose(hand(*numbers)[0], h.detach(), rtol=1e-12)
    assert_same_gradients((h, last), (x, w_x, w_h, b_x, b_h), hand, numbers)


def test_lengths_are_packed_sequences(torch):
    module = recurrent_peer(torch, torch.nn.LSTM, (3, 5))
    (x,) = normal(0, (4, 7, 3))
    lengths = np.array([7, 1, 4, 6])
    rnn = torch.nn.utils.rnn
    packed = rnn.pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    h, (last, cell) = module(packed)
    h, _ = rnn.pad_packed_sequence(h, batch_first=True)
    w_x, w_h, b_x, b_h = (jnp.asarray(a.detach().numpy()) for a in peer_weights(module))
    zeros = jnp.zeros((4, 5))
    ours, state = lstm(jnp.asarray(x), w_x.T, w_h.T, b_x + b_h, LSTMState(zeros, zeros), jnp.asarray(lengths))
    np.testing.assert_allclose(ours, h.detach(), rtol=1e-12)
    np.testing.assert_allclose(state.h, last[0].detach(), rtol=1e-12)
    np.testing.assert_allclose(state.c, cell[0].detach(), rtol=1e-12)


def test_deep_bidirectional_lstm(torch):
    """PyTorch's second layer reads both directions of the first: Between.JOINED."""
    module = recurrent_peer(torch, torch.nn.LSTM, (3, 5), layers=2, bidirectional=True)
    (x,) = normal(0, (4, 7, 3))

    def layer(suffix):
        w_x, w_h, b_x, b_h = (jnp.asarray(a.detach().numpy()) for a in peer_weights(module, suffix))
        return lstm_layer.Layer(w_x.T, w_h.T, b_x + b_h)

    layers = tuple(birnn.Directions(layer(f"l{k}"), layer(f"l{k}_reverse")) for k in range(2))
    head = recurrent.Head(jnp.zeros((10, 1)), jnp.zeros(1))
    params, x = birnn.Params(layers, head), jnp.asarray(x)
    h, ends = birnn.states(params, recurrent.Sequences(x), cell=lstm_layer.CELL)
    inputs = torch.tensor(np.array(x), requires_grad=True)
    theirs, (last, _) = module(inputs)
    np.testing.assert_allclose(h, theirs.detach(), rtol=1e-12)
    np.testing.assert_allclose(ends, np.concatenate(list(last[2:].detach().numpy()), -1), rtol=1e-12)

    def hand(x, *layers):
        return birnn.states(birnn.Params(layers, head), recurrent.Sequences(x), cell=lstm_layer.CELL)[0]

    def value(*args):
        return jnp.sum(jnp.sin(hand(*args)))

    theirs.sin().sum().backward()
    x_bar, *bars = jax.grad(value, (0, 1, 2))(x, *layers)
    np.testing.assert_allclose(x_bar, inputs.grad, rtol=1e-10, atol=1e-12)
    for k, (forward, backward) in enumerate(bars):
        for bar, suffix in ((forward, f"l{k}"), (backward, f"l{k}_reverse")):
            w_x, w_h, b_x, _ = (weights.grad.numpy() for weights in peer_weights(module, suffix))
            for ours, peer in ((bar.w_x, w_x.T), (bar.w_h, w_h.T), (bar.b, b_x)):
                np.testing.assert_allclose(ours, peer, rtol=1e-10, atol=1e-12)
