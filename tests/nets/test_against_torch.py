"""Whole networks against the same written in PyTorch, logits and every gradient (needs the bench extra)."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import alexnet, inception, resnet

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("x64")]

KEY, HE = jax.random.key(0), resnet.HE


@pytest.fixture
def networks(monkeypatch):
    """The descriptions that the benchmarks compare with."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("networks")


def small_alexnet():
    architecture = alexnet.small_images(1 / 16)
    params = alexnet.init(KEY, architecture, (28, 28, 1), weights=HE, dtype=float)
    return architecture, params, lambda params, x: alexnet.apply(params, x, architecture=architecture)


def resnet20():
    architecture = resnet.small_images(20)
    params, statistics = resnet.init(KEY, architecture, channels=1, dtype=float)
    apply = lambda params, x: resnet.apply(params, statistics, x, architecture=architecture, training=True)[0]
    return architecture, params, apply


def inception_modules():
    architecture = inception.small_images(8)
    params = inception.init(KEY, architecture, channels=1, classes=10, dtype=float)
    return architecture, params, lambda params, x: inception.apply(params, x, architecture=architecture).final


@pytest.mark.parametrize(
    ("network", "description"),
    [(small_alexnet, "alexnet_logits"), (resnet20, "resnet_logits"), (inception_modules, "inception_logits")],
)
def test_a_whole_network(networks, network, description):
    torch = networks.torch
    architecture, params, apply = network()
    x = np.random.default_rng(0).uniform(size=(4, 28, 28, 1))
    logits, pull_back = jax.vjp(jax.jit(apply), params, jnp.asarray(x))
    z_bar = np.random.default_rng(1).normal(size=logits.shape)
    bars, x_bar = pull_back(jnp.asarray(z_bar))

    peers = networks.torch_parameters(params, torch.contiguous_format)
    images = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    theirs = getattr(networks, description)(networks.pytorch(), peers, images, architecture)
    theirs.backward(torch.tensor(z_bar))
    np.testing.assert_allclose(logits, theirs.detach().numpy(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(np.moveaxis(x_bar, -1, 1), images.grad.numpy(), rtol=1e-7, atol=1e-10)
    for (path, ours), peer in zip(jax.tree_util.tree_leaves_with_path(bars), jax.tree.leaves(peers), strict=True):
        ours = np.transpose(ours, (3, 2, 0, 1)) if ours.ndim == 4 else ours
        scale = np.abs(peer.grad.numpy()).max()
        np.testing.assert_allclose(
            ours, peer.grad.numpy(), rtol=1e-7, atol=1e-9 * scale, err_msg=jax.tree_util.keystr(path)
        )
