"""What made this feature fire?  A feature map projected back to the pixels.  Derivation: derivations/deconvnet.md.

Layer l = 1 ... L of a convolutional network, a⁰ = x, with the positions s^l of the maxima that its pool keeps:

    (DN1) (a^l, s^l) = pool(max(a^{l-1} * w^l + b^l, 0))
    (DN2) r^{l-1} = conv_transpose(max(unpool(r^l, s^l), 0), w^l)

The projection (DN2) goes back with the switches of this image from a chosen r^l, such as a^l with all but one entry set
to zero.  It is the pull-back of (DN1) but for one thing: the gradient passes a ReLU where its *input* was positive, the
projection where what comes *back* is positive.

Sources: Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, section 2.1; Zeiler, Taylor and
Fergus 2011, Adaptive deconvolutional networks for mid and high level feature learning, for the switches.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Float, Int8

from jaxnets.ops.activations import relu
from jaxnets.ops.convolution import conv2d, conv_transpose2d
from jaxnets.ops.pooling import max_pool_with_switches, unpool

HE = initializers.he_normal()
POOL = (2, 2)


class Layer(NamedTuple):
    """One convolution, with a 2×2 max pool after its ReLU."""

    w: Float[Array, "kernel kernel n_in n_out"]
    b: Float[Array, " n_out"]


Params = tuple[Layer, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Features:
    """What a layer makes of an image, and what the way back needs."""

    a: Float[Array, "batch height width n_out"]
    switches: Int8[Array, "batch height width n_out"]
    unpooled: tuple[int, int] = field(metadata={"static": True})
    """The size before the pool."""
    size: tuple[int, int] = field(metadata={"static": True})
    """The size of the layer's input."""


def init(
    key: Array, kernels: tuple[int, ...], filters: tuple[int, ...], *, channels: int = 1, dtype: Any = jnp.float32
) -> Params:
    """Random parameters (He et al. 2015) of a stack of layers with these kernels and numbers of filters, biases zero.

    Raises:
      ValueError: if there is not one kernel for each number of filters, or a number is not positive.
    """
    if len(kernels) != len(filters) or not kernels:
        raise ValueError(f"deconvnet.init: kernels are {kernels} and filters {filters}, wanted as many of both")
    if min(*kernels, *filters, channels) < 1:
        raise ValueError(
            f"deconvnet.init: kernels are {kernels}, filters {filters}, channels {channels}, wanted positive numbers"
        )
    n_ins = channels, *filters[:-1]
    return tuple(
        Layer(HE(k, (size, size, n_in, n_out), dtype), jnp.zeros(n_out, dtype))
        for k, size, n_in, n_out in zip(jax.random.split(key, len(kernels)), kernels, n_ins, filters, strict=True)
    )


def features(params: Params, x: Float[Array, "batch height width channels"]) -> tuple[Features, ...]:
    """The maps and switches of every layer (DN1)."""
    found, a = [], x
    for layer in params:
        size = a.shape[1], a.shape[2]
        z = conv2d(a, layer.w, layer.b)
        a, switches = max_pool_with_switches(relu(z), window=POOL)  # (DN1)
        found.append(Features(a, switches, (z.shape[1], z.shape[2]), size))
    return tuple(found)


def project(
    params: Params, found: tuple[Features, ...], chosen: Float[Array, "batch height width n_out"]
) -> Float[Array, "batch image_height image_width channels"]:
    """The image of a chosen part of the last layer of `found` (DN2).

    Args:
      params: the whole stack.
      found: `features(params, x)[:l]`, for a feature of layer l.
      chosen: r^l, of the shape of that layer's maps.

    Raises:
      ValueError: if `chosen` has another shape.
    """
    if not found or chosen.shape != found[-1].a.shape:
        wanted = found[-1].a.shape if found else "the maps of at least one layer"
        raise ValueError(f"deconvnet.project: chosen has shape {chosen.shape}, wanted {wanted}")
    r = chosen
    for layer, of in reversed(list(zip(params, found, strict=False))):
        spread = unpool(r, of.switches, size=of.unpooled, window=POOL)
        r = conv_transpose2d(relu(spread), layer.w, size=of.size)  # (DN2)
    return r


def strongest(a: Float[Array, "batch height width n"], channel: int) -> Float[Array, "batch height width n"]:
    """The largest activation of one channel, the first of equal ones, for each image, and zeros everywhere else.

    Raises:
      ValueError: if there is no such channel.
    """
    if not 0 <= channel < a.shape[3]:
        raise ValueError(f"deconvnet.strongest: channel is {channel}, there are {a.shape[3]}")
    flat: Any = lax.collapse(a[..., channel], 1)
    peak = flat == flat.max(1, keepdims=True)
    first = peak & (jnp.cumsum(peak, 1) == 1)
    kept = jnp.where(first, flat, 0).reshape(a.shape[:3])
    return jnp.zeros_like(a).at[..., channel].set(kept)
