"""Convolutions against PyTorch's, forward and backward, with the same numbers (needs the bench extra)."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.ops.convolution import conv1d, conv2d, conv_transpose2d

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
