"""Rules as layers of Flax models, for flax.linen and for flax.nnx: backpropagation by hand inside a network of Flax.

A rule is a JAX function, so that a layer of it is a module that holds its parameters and calls it.  The modules here
have the names and the parameters of Flax's own: each network below is trained twice, with these layers and with
Flax's, from the same parameters, and the parameters stay the same but for rounding.
"""

from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxnets.data import as_images, mnist_small
from jaxnets.ops.affine import affine
from jaxnets.ops.convolution import conv2d
from jaxnets.ops.pooling import max_pool

KERNEL, BIAS = nn.initializers.lecun_normal(), nn.initializers.zeros_init()


class Conv(nn.Module):
    """`nn.Conv`, without padding, by `conv2d`."""

    features: int
    kernel_size: tuple[int, int]
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Call the rule with this module's parameters."""
        w = self.param("kernel", KERNEL, (*self.kernel_size, x.shape[-1], self.features), self.param_dtype)
        return conv2d(x, w, self.param("bias", BIAS, (self.features,), self.param_dtype))


class Dense(nn.Module):
    """`nn.Dense` by `affine`."""

    features: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Call the rule with this module's parameters."""
        w = self.param("kernel", KERNEL, (x.shape[-1], self.features), self.param_dtype)
        return affine(x, w, self.param("bias", BIAS, (self.features,), self.param_dtype))


class Network(nn.Module):
    """Two convolutions, each with ReLU and pooling, and the logits."""

    conv: Callable[..., Any] = Conv
    dense: Callable[..., Any] = Dense
    pool: Callable[..., Any] = max_pool

    @nn.compact
    def __call__(self, x):
        """Logits of images."""
        a = self.pool(nn.relu(self.conv(6, (5, 5))(x)))
        a = self.pool(nn.relu(self.conv(8, (3, 3))(a)))
        return self.dense(10)(a.reshape(len(x), -1))


class NnxConv(nnx.Module):
    """`nnx.Conv`, without padding, by `conv2d`."""

    def __init__(self, n_in, n_out, kernel_size, *, param_dtype=jnp.float32, rngs):
        self.kernel = nnx.Param(KERNEL(rngs.params(), (*kernel_size, n_in, n_out), param_dtype))
        self.bias = nnx.Param(BIAS(rngs.params(), (n_out,), param_dtype))

    def __call__(self, x):
        """Call the rule with this module's parameters."""
        return conv2d(x, self.kernel[...], self.bias[...])


class NnxLinear(nnx.Module):
    """`nnx.Linear` by `affine`."""

    def __init__(self, n_in, n_out, *, param_dtype=jnp.float32, rngs):
        self.kernel = nnx.Param(KERNEL(rngs.params(), (n_in, n_out), param_dtype))
        self.bias = nnx.Param(BIAS(rngs.params(), (n_out,), param_dtype))

    def __call__(self, x):
        """Call the rule with this module's parameters."""
        return affine(x, self.kernel[...], self.bias[...])


class NnxNetwork(nnx.Module):
    """The same network, for images of 28 x 28 pixels."""

    def __init__(self, conv: Any = NnxConv, linear: Any = NnxLinear, pool: Any = max_pool, *, rngs):
        self.first, self.second = conv(1, 6, (5, 5), rngs=rngs), conv(6, 8, (3, 3), rngs=rngs)
        self.output, self.pool = linear(200, 10, rngs=rngs), pool

    def __call__(self, x):
        """Logits of images."""
        a = self.pool(nnx.relu(self.first(x)))
        a = self.pool(nnx.relu(self.second(a)))
        return self.output(a.reshape(len(x), -1))


def flax_pool(x):
    """Pooling of Flax, with the window that `max_pool` has unless told."""
    return nn.max_pool(x, (2, 2), (2, 2))


def flax_conv(*args, **kwargs):
    """`nn.Conv` without padding."""
    return nn.Conv(*args, padding="VALID", **kwargs)


def flax_nnx_conv(*args, **kwargs):
    """`nnx.Conv` without padding."""
    return nnx.Conv(*args, padding="VALID", **kwargs)


def trained(apply: Callable[..., Any], params: Any, batches: Iterable[Any], optimizer: Any) -> Any:
    """The parameters after a step of the optimizer for each batch (x, labels) of logits `apply(params, x)`."""

    def loss(params, x, labels):
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), labels).mean()

    @jax.jit
    def step(params, state, x, labels):
        updates, state = optimizer.update(jax.grad(loss)(params, x, labels), state, params)
        return optax.apply_updates(params, updates), state

    state = jax.jit(optimizer.init)(params)
    for x, labels in batches:
        params, state = step(params, state, x, labels)
    return params


def of_linen(params):
    """Parameters for the network of flax.linen, and its logits(params, x): by our layers, by Flax's."""
    return {"params": params}, Network().apply, Network(flax_conv, nn.Dense, flax_pool).apply


def of_nnx(params):
    """The same of flax.nnx, whose modules name their layers themselves."""
    state = nnx.state(nnx.eval_shape(lambda: NnxNetwork(rngs=nnx.Rngs(0))))
    names = {"first": "Conv_0", "second": "Conv_1", "output": "Dense_0"}
    nnx.replace_by_pure_dict(state, {ours: params[theirs] for ours, theirs in names.items()})

    def logits(*layers):
        graph = nnx.graphdef(nnx.eval_shape(lambda: NnxNetwork(*layers, rngs=nnx.Rngs(0))))
        return lambda state, x: nnx.merge(graph, state)(x)

    return state, logits(), logits(flax_nnx_conv, nnx.Linear, flax_pool)


def main():
    """Train both networks on the embedded part of MNIST, each with our layers and with Flax's."""
    digits = mnist_small()
    rows = np.random.default_rng(0).permutation(len(digits.train_images)).reshape(-1, 50)[:60]
    images, labels = as_images(digits.train_images), digits.train_labels.astype(np.int32)
    batches = [(images[chosen], labels[chosen]) for chosen in rows]
    optimizer = optax.sgd(0.05, momentum=0.9)
    start = jax.jit(Network().init)(jax.random.key(0), images[:1])["params"]
    for name, network in (("flax.linen", of_linen), ("flax.nnx", of_nnx)):
        params, by_ours, by_flax = network(start)
        ours, theirs = (trained(logits, params, batches, optimizer) for logits in (by_ours, by_flax))
        right = np.mean(jax.jit(by_ours)(ours, as_images(digits.test_images)).argmax(1) == digits.test_labels)
        apart = max(jnp.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True))
        print(f"{name}: {right:.1%} of the test images; {apart:.1e} between the parameters after {len(batches)} steps")
        assert right > 0.8
        assert apart < 1e-3


if __name__ == "__main__":
    main()
