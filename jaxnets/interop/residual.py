"""The structure of a residual network's naming, whatever Flax calls its layers."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxnets.interop.places import Path, at
from jaxnets.nets.resnet import Block, BlockStatistics, ConvNorm, NetworkStatistics, Params
from jaxnets.ops.normalization import Statistics


class Normalized(NamedTuple):
    """Places of a convolution with its batch normalisation: what is trained, and the running statistics."""

    layer: Any
    statistics: Any


def normalized(kernel: Path, norm: Path, running: Path) -> Normalized:
    """Of the paths to the convolution, to the normalisation, and to the normalisation's running statistics."""
    layer: Any = ConvNorm
    statistics: Any = Statistics
    return Normalized(
        layer(at(*kernel, "kernel"), at(*norm, "scale"), at(*norm, "bias")),
        statistics(at(*running, "mean"), at(*running, "var")),
    )


def residual(
    params: Params,
    *,
    stem: Normalized,
    layer: Callable[[int, int], Normalized],
    projection: Callable[[int], Normalized],
    head: Any,
) -> tuple[Params, NetworkStatistics]:
    """Places of (parameters, statistics).

    Args:
      params: for the numbers of blocks and layers.
      stem: places of the first layer.
      layer: (number of the block, number of the layer in it) -> its places.
      projection: number of the block -> places of its projection, if it has one.
      head: places of the classifier.
    """
    blocks, known = [], []
    for number, block in enumerate(params.blocks):
        layers = [layer(number, n) for n in range(len(block.layers))]
        past = Normalized(None, None) if block.projection is None else projection(number)
        blocks.append(Block(tuple(found.layer for found in layers), past.layer))
        known.append(BlockStatistics(tuple(found.statistics for found in layers), past.statistics))
    return Params(stem.layer, tuple(blocks), head), NetworkStatistics(stem.statistics, tuple(known))
