"""Residual networks.  Derivation: derivations/resnet.md.

A block computes y = max(F(x) + S(x), 0): F is two convolutions of 3×3, or three of 1×1, 3×3 and 1×1 (bottleneck), each
with batch normalisation and all but the last with ReLU; S is the identity, a projection, or nothing (the plain network
of the same depth, for comparison).  The equations of the pieces are in jaxnets.ops.

Source: He, Zhang, Ren and Sun 2016, Deep residual learning for image recognition, sections 3.3, 4.1, 4.2, table 1.
"""

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxnets.ops.activations import relu
from jaxnets.ops.affine import affine
from jaxnets.ops.convolution import conv2d, same
from jaxnets.ops.normalization import Statistics, batch_norm_inference, batch_norm_training
from jaxnets.ops.pooling import global_mean_pool, max_pool
from jaxnets.ops.residual import identity_shortcut, residual_sum

HE = initializers.he_normal()


class Shortcut(enum.Enum):
    """What leads past the layers of a block."""

    IDENTITY = enum.auto()
    """The input itself; where the block changes the shape, every second pixel and zeros (option A of the paper)."""
    PROJECTION = enum.auto()
    """The input itself; where the block changes the shape, a strided 1×1 convolution of it (option B)."""
    NONE = enum.auto()
    """Nothing: the plain network."""


class Architecture(NamedTuple):
    """What a residual network is made of."""

    blocks: tuple[int, ...]
    """How many blocks each stage has; every stage but the first halves the image."""
    widths: tuple[int, ...]
    """The channels of the 3×3 convolutions of each stage."""
    bottleneck: bool
    """Whether a block is 1×1, 3×3, 1×1 with four times as many channels at its end, or two 3×3."""
    large_images: bool
    """Whether the stem is a 7×7 convolution of stride 2 and a 3×3 max pool of stride 2, or one 3×3 convolution."""
    shortcut: Shortcut

    @property
    def depth(self) -> int:
        """The number of layers with weights, projections not counted."""
        return (3 if self.bottleneck else 2) * sum(self.blocks) + 2


def small_images(depth: int, shortcut: Shortcut = Shortcut.IDENTITY) -> Architecture:
    """The networks of section 4.2 for 32×32 images: depth 6 n + 2 (20, 32, 44, 56, 110), widths 16, 32 and 64.

    Raises:
      ValueError: if the depth is not 6 n + 2 with n ≥ 1.
    """
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        raise ValueError(f"resnet.small_images: depth is {depth}, wanted 6 n + 2, such as 20, 56 or 110")
    return Architecture((n, n, n), (16, 32, 64), False, False, shortcut)


_WIDTHS = (64, 128, 256, 512)
RESNET18 = Architecture((2, 2, 2, 2), _WIDTHS, False, True, Shortcut.PROJECTION)
RESNET50 = Architecture((3, 4, 6, 3), _WIDTHS, True, True, Shortcut.PROJECTION)
"""Table 1 of the paper, for 224×224 images; stride 2 is in the first convolution of a block."""


class ConvNorm(NamedTuple):
    """A convolution without bias, and the scale and shift of the batch normalisation after it."""

    w: Float[Array, "kernel kernel n_in n_out"]
    scale: Float[Array, " n_out"]
    shift: Float[Array, " n_out"]


class Block(NamedTuple):
    """The layers of F, and the projection of S where there is one."""

    layers: tuple[ConvNorm, ...]
    projection: ConvNorm | None


class Head(NamedTuple):
    """The classifier."""

    w: Float[Array, "n_in classes"]
    b: Float[Array, " classes"]


class Params(NamedTuple):
    """Everything that is trained."""

    stem: ConvNorm
    blocks: tuple[Block, ...]
    head: Head


class BlockStatistics(NamedTuple):
    """The running statistics of a block, in the places of its `ConvNorm`s."""

    layers: tuple[Statistics, ...]
    projection: Statistics | None


class NetworkStatistics(NamedTuple):
    """All running statistics."""

    stem: Statistics
    blocks: tuple[BlockStatistics, ...]


class _Plan(NamedTuple):
    """The sizes of one block."""

    n_in: int
    width: int
    n_out: int
    stride: int


def init(
    key: Array, architecture: Architecture, *, channels: int = 3, classes: int = 10, dtype: Any = jnp.float32
) -> tuple[Params, NetworkStatistics]:
    """Random parameters, He's normal weights and scales of 1, and statistics that change nothing (mean 0, variance 1).

    Raises:
      ValueError: if there is not one width a stage, or a number is not positive.
    """
    _check(architecture, channels, classes)
    stem_key, head_key, *keys = jax.random.split(key, 2 + sum(architecture.blocks))
    stem = _conv_norm(stem_key, 7 if architecture.large_images else 3, channels, architecture.widths[0], dtype)
    blocks = tuple(
        _init_block(k, plan, architecture, dtype) for k, plan in zip(keys, _plans(architecture), strict=True)
    )
    n_last = _plans(architecture)[-1].n_out
    head = Head(initializers.lecun_normal()(head_key, (n_last, classes), dtype), jnp.zeros(classes, dtype))
    statistics = NetworkStatistics(
        _at_rest(stem),
        tuple(
            BlockStatistics(tuple(map(_at_rest, block.layers)), block.projection and _at_rest(block.projection))
            for block in blocks
        ),
    )
    return Params(stem, blocks, head), statistics


def apply(
    params: Params,
    statistics: NetworkStatistics,
    x: Float[Array, "batch height width channels"],
    *,
    architecture: Architecture,
    training: bool,
) -> tuple[Float[Array, "batch classes"], NetworkStatistics]:
    """Logits, and the running statistics after this batch.

    In training a batch is normalised by its own mean and variance, which also move the running ones; otherwise by the
    running ones, which stay.

    Raises:
      ValueError: if the images, the parameters, the statistics and the architecture do not fit.
    """
    found, known, wanted = len(params.blocks), len(statistics.blocks), sum(architecture.blocks)
    if not found == known == wanted:
        raise ValueError(f"resnet: params have {found} blocks, statistics {known}, the architecture {wanted}")
    a, stem = _normalized(params.stem, statistics.stem, x, 2 if architecture.large_images else 1, training)
    a = relu(a)
    if architecture.large_images:
        a = max_pool(a, window=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)))
    moved = []
    for block, known, plan in zip(params.blocks, statistics.blocks, _plans(architecture), strict=True):
        a, found = _apply_block(block, known, a, plan, architecture.shortcut, training)
        moved.append(found)
    pooled = global_mean_pool(a)
    return affine(pooled, params.head.w, params.head.b), NetworkStatistics(stem, tuple(moved))


def _apply_block(
    block: Block, statistics: BlockStatistics, x: Array, plan: _Plan, shortcut: Shortcut, training: bool
) -> tuple[Array, BlockStatistics]:
    f, found = x, []
    for number, (layer, known) in enumerate(zip(block.layers, statistics.layers, strict=True)):
        f, moved = _normalized(layer, known, f, plan.stride if number == 0 else 1, training)
        found.append(moved)
        f = relu(f) if number < len(block.layers) - 1 else f
    if shortcut is Shortcut.NONE:
        return relu(f), BlockStatistics(tuple(found), None)
    if block.projection is None or statistics.projection is None:
        s = identity_shortcut(x, stride=plan.stride, channels=plan.n_out)
        return residual_sum(f, s), BlockStatistics(tuple(found), None)
    s, projected = _normalized(block.projection, statistics.projection, x, plan.stride, training)
    return residual_sum(f, s), BlockStatistics(tuple(found), projected)


def _normalized(
    layer: ConvNorm, statistics: Statistics, x: Array, stride: int, training: bool
) -> tuple[Array, Statistics]:
    height, width = layer.w.shape[:2]
    z = conv2d(x, layer.w, stride=(stride, stride), padding=same((height, width)))
    if training:
        return batch_norm_training(z, layer.scale, layer.shift, statistics)
    return batch_norm_inference(z, layer.scale, layer.shift, statistics), statistics


def _plans(architecture: Architecture) -> list[_Plan]:
    plans, n_in = [], architecture.widths[0]
    for stage, (count, width) in enumerate(zip(architecture.blocks, architecture.widths, strict=True)):
        n_out = 4 * width if architecture.bottleneck else width
        for number in range(count):
            plans.append(_Plan(n_in, width, n_out, 2 if stage > 0 and number == 0 else 1))
            n_in = n_out
    return plans


def _init_block(key: Array, plan: _Plan, architecture: Architecture, dtype: Any) -> Block:
    kernels = (1, 3, 1) if architecture.bottleneck else (3, 3)
    widths = (plan.n_in, *(plan.width,) * (len(kernels) - 1), plan.n_out)
    projection_key, *keys = jax.random.split(key, 1 + len(kernels))
    layers = tuple(
        _conv_norm(k, kernel, n_in, n_out, dtype)
        for k, kernel, n_in, n_out in zip(keys, kernels, widths[:-1], widths[1:], strict=True)
    )
    changes = plan.stride > 1 or plan.n_in != plan.n_out
    projected = architecture.shortcut is Shortcut.PROJECTION and changes
    return Block(layers, _conv_norm(projection_key, 1, plan.n_in, plan.n_out, dtype) if projected else None)


def _conv_norm(key: Array, kernel: int, n_in: int, n_out: int, dtype: Any) -> ConvNorm:
    return ConvNorm(HE(key, (kernel, kernel, n_in, n_out), dtype), jnp.ones(n_out, dtype), jnp.zeros(n_out, dtype))


def _at_rest(layer: ConvNorm) -> Statistics:
    return Statistics(jnp.zeros_like(layer.shift), jnp.ones_like(layer.scale))


def _check(architecture: Architecture, channels: int, classes: int) -> None:
    if len(architecture.blocks) != len(architecture.widths) or not architecture.blocks:
        raise ValueError(
            f"resnet: blocks are {architecture.blocks} and widths {architecture.widths}, wanted one of each a stage"
        )
    if min(*architecture.blocks, *architecture.widths, channels, classes) < 1:
        raise ValueError(f"resnet: {architecture}, channels {channels} and classes {classes} must be positive")
