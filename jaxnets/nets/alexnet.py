"""AlexNet: eight layers, the network that won ILSVRC-2012.

Five convolutional layers with ReLU, of which the second, fourth and fifth read only one half of the channels (they were
on two GPUs); local response normalisation after the first two; overlapping max pools of 3×3 with stride 2 after the
first, second and fifth; two layers of 4096 units with dropout; the logits.  The equations of the pieces, forward and
backward, are in jaxnets.ops.

Source: Krizhevsky, Sutskever and Hinton 2012, ImageNet classification with deep convolutional neural networks,
sections 3 to 5.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxnets.ops.activations import relu
from jaxnets.ops.affine import affine
from jaxnets.ops.convolution import conv2d
from jaxnets.ops.dropout import dropout
from jaxnets.ops.normalization import local_response_norm
from jaxnets.ops.pooling import max_pool

WEIGHTS = initializers.normal(0.01)
"""Section 5 of the paper: N(0, 0.01²)."""


class Convolution(NamedTuple):
    """One convolutional layer: its sizes, and what follows it."""

    kernel: int
    filters: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    normalized: bool = False
    pooled: bool = False
    bias: float = 0.0
    """What its biases start at; 1 gives the ReLUs positive inputs from the beginning."""


class Architecture(NamedTuple):
    """The layers of the network."""

    convolutions: tuple[Convolution, ...]
    hidden: tuple[int, ...]
    """Units of the fully connected layers."""


def imagenet(width: float = 1.0, *, towers: int = 2) -> Architecture:
    """The network of the paper, for 227×227 images, with every layer `width` times as wide.

    Args:
      width: 1 is the paper's.  Numbers of filters are rounded to multiples of `towers`.
      towers: 2 as in the paper, 1 for one tower in which every layer reads all channels.

    Raises:
      ValueError: if width or towers is not positive.
    """
    if width <= 0 or towers < 1:
        raise ValueError(f"alexnet.imagenet: width is {width} and towers {towers}, wanted positive numbers")

    def wide(filters: int) -> int:
        return towers * max(1, round(filters * width / towers))

    return Architecture(
        (
            Convolution(11, wide(96), stride=4, normalized=True, pooled=True),
            Convolution(5, wide(256), padding=2, groups=towers, normalized=True, pooled=True, bias=1.0),
            Convolution(3, wide(384), padding=1),
            Convolution(3, wide(384), padding=1, groups=towers, bias=1.0),
            Convolution(3, wide(256), padding=1, groups=towers, pooled=True, bias=1.0),
        ),
        (wide(4096), wide(4096)),
    )


def small_images(width: float = 0.25) -> Architecture:
    """The same eight layers for images of 28×28 or 32×32: a first kernel of 5×5 with stride 1, small hidden layers."""
    (first, second, *rest), hidden = imagenet(width)
    convolutions = first._replace(kernel=5, stride=1, padding=2), second, *rest
    return Architecture(convolutions, tuple(max(1, units // 4) for units in hidden))


class Layer(NamedTuple):
    """Weights and biases of one layer."""

    w: Float[Array, "..."]
    b: Float[Array, " n_out"]


class Params(NamedTuple):
    """Everything that is trained."""

    convolutions: tuple[Layer, ...]
    dense: tuple[Layer, ...]


def init(
    key: Array,
    architecture: Architecture,
    image: tuple[int, int, int],
    *,
    classes: int = 1000,
    weights: initializers.Initializer = WEIGHTS,
    dtype: Any = jnp.float32,
) -> Params:
    """Random parameters for images (height, width, channels).

    Raises:
      ValueError: if the image is too small for the layers, or a size is not positive.
    """
    if min(*image, *architecture.hidden, classes) < 1:
        raise ValueError(
            f"alexnet.init: image is {image}, hidden {architecture.hidden}, classes {classes}, wanted positive numbers"
        )
    keys = iter(jax.random.split(key, sum(_counts(architecture))))
    convolutions, n_in = [], image[2]
    for layer in architecture.convolutions:
        shape = layer.kernel, layer.kernel, n_in // layer.groups, layer.filters
        convolutions.append(Layer(weights(next(keys), shape, dtype), jnp.full(layer.filters, layer.bias, dtype)))
        n_in = layer.filters
    x = jax.ShapeDtypeStruct((1, *image), dtype)
    features = jax.eval_shape(lambda ws, x: _features(ws, x, architecture), tuple(convolutions), x)
    widths = (features.shape[1] * features.shape[2] * features.shape[3], *architecture.hidden, classes)
    # The paper starts the biases of the hidden layers at 1 as well.
    starts = (*(1.0 for _ in architecture.hidden), 0.0)
    dense = tuple(
        Layer(weights(next(keys), (a, b), dtype), jnp.full(b, start, dtype))
        for a, b, start in zip(widths[:-1], widths[1:], starts, strict=True)
    )
    return Params(tuple(convolutions), dense)


def apply(
    params: Params,
    x: Float[Array, "batch height width channels"],
    *,
    architecture: Architecture,
    dropout_key: Array | None = None,
    rate: float = 0.5,
) -> Float[Array, "batch classes"]:
    """Logits.

    Args:
      params: as `init` makes them for the same architecture.
      x: images, NHWC, of the size that `init` was told.
      architecture: the layers.
      dropout_key: for training, in which the output of each unit of the hidden layers is dropped with probability
        `rate` (section 4.2 of the paper); None for evaluation.
      rate: of that dropout.

    Raises:
      ValueError: if the images, the parameters and the architecture do not fit.
    """
    found, wanted = (len(params.convolutions), len(params.dense)), _counts(architecture)
    if found != wanted:
        raise ValueError(
            f"alexnet: params have {found} layers, convolutional and fully connected, the architecture {wanted}"
        )
    a = _features(params.convolutions, x, architecture)
    a = lax.collapse(a, 1)
    keys = None if dropout_key is None else jax.random.split(dropout_key, len(params.dense) - 1)
    for number, layer in enumerate(params.dense[:-1]):
        a = relu(affine(a, layer.w, layer.b))
        a = a if keys is None else dropout(keys[number], a, rate=rate)
    return affine(a, params.dense[-1].w, params.dense[-1].b)


def _counts(architecture: Architecture) -> tuple[int, int]:
    """Of the convolutional and of the fully connected layers."""
    return len(architecture.convolutions), len(architecture.hidden) + 1


def _features(layers: tuple[Layer, ...], x: Array, architecture: Architecture) -> Array:
    a = x
    for layer, of in zip(layers, architecture.convolutions, strict=True):
        around = (of.padding, of.padding)
        a = relu(conv2d(a, layer.w, layer.b, stride=(of.stride, of.stride), padding=(around, around), groups=of.groups))
        a = local_response_norm(a) if of.normalized else a
        a = max_pool(a, window=(3, 3), stride=(2, 2)) if of.pooled else a
    return a
