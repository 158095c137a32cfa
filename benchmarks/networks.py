"""The networks that are compared whole, each described once, out of operations of JAX or of PyTorch.

A description takes the parameters of the network of the same name in `jaxnets.nets`, and gives its logits in training,
without dropout.  `Operations` says what is put in for its parts: `xla()` or `pytorch()`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch.nn import functional

from jaxnets.nets import alexnet, inception, resnet

Padding = tuple[tuple[int, int], tuple[int, int]]


class Operations(NamedTuple):
    """What networks are made of, for images NHWC in one library and NCHW in the other."""

    conv: Callable[..., Any]
    """(x, w, b or None, stride, padding, groups)"""
    max_pool: Callable[..., Any]
    """(x, window, stride, padding)"""
    relu: Callable[[Any], Any]
    response_norm: Callable[[Any], Any]
    batch_norm: Callable[[Any, Any, Any], Any]
    shortcut: Callable[[Any, int, int], Any]
    """(x, stride, channels): every so many pixels, and zeros as the channels that x has not"""
    stacked: Callable[[list[Any]], Any]
    mean: Callable[[Any], Any]
    flat: Callable[[Any], Any]
    affine: Callable[[Any, Any, Any], Any]


def alexnet_logits(ops: Operations, params: Any, x: Any, architecture: alexnet.Architecture) -> Any:
    a = x
    for (w, b), of in zip(params.convolutions, architecture.convolutions, strict=True):
        a = ops.relu(ops.conv(a, w, b, of.stride, of.padding, of.groups))
        a = ops.response_norm(a) if of.normalized else a
        a = ops.max_pool(a, 3, 2, 0) if of.pooled else a
    a = ops.flat(a)
    for w, b in params.dense[:-1]:
        a = ops.relu(ops.affine(a, w, b))
    return ops.affine(a, *params.dense[-1])


def resnet_logits(ops: Operations, params: Any, x: Any, architecture: resnet.Architecture) -> Any:
    """With identity shortcuts, for small images."""

    def normalized(layer: Any, x: Any, stride: int = 1) -> Any:
        return ops.batch_norm(ops.conv(x, layer.w, None, stride, 1, 1), layer.scale, layer.shift)

    a = ops.relu(normalized(params.stem, x))
    blocks = iter(params.blocks)
    for stage, (count, width) in enumerate(zip(architecture.blocks, architecture.widths, strict=True)):
        for number in range(count):
            first, second = next(blocks).layers
            stride = 2 if stage > 0 and number == 0 else 1
            f = normalized(second, ops.relu(normalized(first, a, stride)))
            a = ops.relu(f + ops.shortcut(a, stride, width))
    return ops.affine(ops.mean(a), *params.head)


def inception_logits(ops: Operations, params: Any, x: Any, architecture: inception.Architecture) -> Any:
    """For small images."""

    def same(layer: Any, x: Any, kernel: int) -> Any:
        return ops.relu(ops.conv(x, layer.w, layer.b, 1, kernel // 2, 1))

    a = same(params.stem[0], x, 3)
    modules = iter(params.modules)
    for index, stage in enumerate(architecture.stages):
        a = ops.max_pool(a, 3, 2, 1) if index > 0 else a
        for _ in stage:
            layers = next(modules)
            a = ops.stacked(
                [
                    same(layers.one, a, 1),
                    same(layers.three, same(layers.three_reduce, a, 1), 3),
                    same(layers.five, same(layers.five_reduce, a, 1), 5),
                    same(layers.pool, ops.max_pool(a, 3, 1, 1), 1),
                ]
            )
    return ops.affine(ops.mean(a), *params.head)


def xla() -> Operations:
    """As one would write them in JAX without this library."""

    def conv(x: Any, w: Any, b: Any, stride: int, padding: int, groups: int) -> jax.Array:
        around = ((padding, padding), (padding, padding))
        layout = ("NHWC", "HWIO", "NHWC")
        z = lax.conv_general_dilated(
            x, w, (stride, stride), around, dimension_numbers=layout, feature_group_count=groups
        )
        return z if b is None else z + b

    def max_pool(x: jax.Array, window: int, stride: int, padding: int) -> jax.Array:
        around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), around)

    def response_norm(x: jax.Array) -> jax.Array:
        near = lax.reduce_window(x**2, 0.0, lax.add, (1, 1, 1, 5), (1, 1, 1, 1), ((0, 0), (0, 0), (0, 0), (2, 2)))
        return x / (2 + 1e-4 * near) ** 0.75

    def batch_norm(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
        axes = (0, 1, 2)
        return (x - x.mean(axes)) * lax.rsqrt(x.var(axes) + 1e-5) * scale + shift

    def shortcut(x: jax.Array, stride: int, channels: int) -> jax.Array:
        return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[3])))

    return Operations(
        conv,
        max_pool,
        jax.nn.relu,
        response_norm,
        batch_norm,
        shortcut,
        lambda parts: jnp.concatenate(parts, 3),
        lambda x: x.mean((1, 2)),
        lambda x: x.reshape(len(x), -1),
        lambda x, w, b: x @ w + b,
    )


def pytorch() -> Operations:
    """The same by torch.nn.functional."""

    def conv(x: Any, w: Any, b: Any, stride: int, padding: int, groups: int) -> torch.Tensor:
        return functional.conv2d(x, w, b, stride, padding, 1, groups)

    def batch_norm(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(x, None, None, scale, shift, training=True)

    def shortcut(x: torch.Tensor, stride: int, channels: int) -> torch.Tensor:
        return functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, channels - x.shape[1]))

    return Operations(
        conv,
        functional.max_pool2d,
        functional.relu,
        # PyTorch divides the sum by the number of channels.
        lambda x: functional.local_response_norm(x, 5, 5e-4, 0.75, 2.0),
        batch_norm,
        shortcut,
        lambda parts: torch.cat(parts, 1),
        lambda x: x.mean((2, 3)),
        lambda x: x.permute(0, 2, 3, 1).flatten(1),
        lambda x, w, b: x @ w + b,
    )


def torch_parameters(params: Any, form: torch.memory_format) -> Any:
    """Tensors that require gradients, kernels OIHW, in the structure of `params`."""

    def converted(leaf: Any) -> torch.Tensor:
        array = np.asarray(leaf)
        if array.ndim == 4:
            return torch.tensor(array.transpose(3, 2, 0, 1)).contiguous(memory_format=form).requires_grad_()
        return torch.tensor(array, requires_grad=True)

    return jax.tree.map(converted, params)
