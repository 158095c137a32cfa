"""The layers of examples/flax_layer.py: trained by hand-derived gradients, networks end where Flax's own layers do."""

import importlib.util
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxnets.ops.pooling import max_pool
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64", "flax_promotes")

PATH = Path(__file__).parents[2] / "examples" / "flax_layer.py"
STEPS, BATCH = 20, 4


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("flax_layer", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def batches():
    draw = np.random.default_rng(4)
    return [(draw.normal(size=(BATCH, 12, 12, 1)), draw.integers(0, 10, BATCH)) for _ in range(STEPS)]


@pytest.fixture
def start(batches):
    """Parameters of a network of 12 x 12 pixels."""
    shapes = {
        "Conv_0": {"kernel": (5, 5, 1, 6), "bias": (6,)},
        "Conv_1": {"kernel": (3, 3, 6, 8), "bias": (8,)},
        "Dense_0": {"kernel": (8, 10), "bias": (10,)},
    }
    draw = np.random.default_rng(5)
    is_shape = lambda entry: isinstance(entry, tuple)
    return jax.tree.map(lambda shape: jnp.asarray(0.3 * draw.normal(size=shape)), shapes, is_leaf=is_shape)


def assert_same_end(example, ours, theirs, params, batches):
    by_ours, by_flax = (example.trained(apply, params, batches, optax.adam(0.01)) for apply in (ours, theirs))
    moved = [jnp.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (by_ours, params)), strict=True)]
    assert min(moved) > 0.01
    for one, other in zip(jax.tree.leaves(by_ours), jax.tree.leaves(by_flax), strict=True):
        assert one.dtype == float
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_linen(example, start, batches):
    float64 = partial(partial, param_dtype=float)
    ours = example.Network(float64(example.Conv), float64(example.Dense))
    theirs = example.Network(float64(example.flax_conv), float64(nn.Dense), example.flax_pool)
    wanted = jax.tree.map(jnp.shape, {"params": start})
    for network in (ours, theirs):
        made = jax.eval_shape(network.init, jax.random.key(0), batches[0][0])
        assert jax.tree.map(jnp.shape, made) == wanted
    assert_same_end(example, ours.apply, theirs.apply, {"params": start}, batches)


def test_nnx(example, start, batches):
    class Small(nnx.Module):
        def __init__(self, conv, linear, pool):
            kwargs = {"param_dtype": float, "rngs": nnx.Rngs(0)}
            self.first, self.second = conv(1, 6, (5, 5), **kwargs), conv(6, 8, (3, 3), **kwargs)
            self.output, self.pool = linear(8, 10, **kwargs), pool

        __call__ = example.NnxNetwork.__call__

    def apply(*layers):
        graph = nnx.graphdef(nnx.eval_shape(lambda: Small(*layers)))
        return lambda state, x: nnx.merge(graph, state)(x)

    ours = example.NnxConv, example.NnxLinear, max_pool
    state = nnx.state(nnx.eval_shape(lambda: Small(*ours)))
    names = {"first": "Conv_0", "second": "Conv_1", "output": "Dense_0"}
    nnx.replace_by_pure_dict(state, {name: start[other] for name, other in names.items()})
    theirs = apply(example.flax_nnx_conv, nnx.Linear, example.flax_pool)
    assert_same_end(example, apply(*ours), theirs, state, batches)


def test_the_rules_are_inside(example, start, batches):
    """The gradient is that of the rules: autodiff has none of them left to take."""
    network = example.Network(partial(example.Conv, param_dtype=float), partial(example.Dense, param_dtype=float))
    run = lambda params: network.apply({"params": params}, batches[0][0]).sum()
    text = [str(jax.make_jaxpr(f)(start)) for f in (run, autodiff(run))]
    assert [found.count("custom_vjp_call") for found in text] == [5, 0]
