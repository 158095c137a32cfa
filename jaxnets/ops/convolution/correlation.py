"""The convolutional layer.  Derivation: derivations/convolution.md.

A kernel slides over the image, which zeros pad; what networks call a convolution is a cross-correlation.  Along each
axis, with stride σ, dilation d and p zeros before the image; o runs over filters, c over the channels that o reads:

    (CV1) z_{n,r,s,o} = Σ_{i,j,c} x_{n, σr+di-p, σs+dj-p, c} w_{i,j,c,o} + b_o
    (CV2) x_bar_{n,a,b,c} = Σ_{i,j,o} Σ_{r,s: σr+di-p=a, σs+dj-p=b} z_bar_{n,r,s,o} w_{i,j,c,o}
    (CV3) w_bar_{i,j,c,o} = Σ_{n,r,s} x_{n, σr+di-p, σs+dj-p, c} z_bar_{n,r,s,o}
    (CV4) b_bar_o = Σ_{n,r,s} z_bar_{n,r,s,o}

(CV2) is a correlation of z_bar, with σ-1 zeros between its entries, with the kernel turned by 180° and its channels
and filters exchanged.  (CV3) is a correlation of the image with z_bar, in which the examples are what channels are in
(CV1); stride and dilation change places.

Sources: LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition; Dumoulin and Visin 2016, A
guide to convolution arithmetic for deep learning, relationships 1 to 14, for the sizes.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.kernels import images
from jaxnets.ops._geometry import Padding, Pair, Window, check_bias, window_of
from jaxnets.ops.convolution._cpu import kernel_for, splits
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """What (CV2) and (CV3) need: both factors; and whether there is a bias, which has a gradient then."""

    x: Float[Array, "batch height width channels"]
    w: Float[Array, "kernel_height kernel_width channels_per_group filters"]
    b: Float[Array, " filters"] | None


def conv2d_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "kernel_height kernel_width channels_per_group filters"],
    b: Float[Array, " filters"] | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Float[Array, "batch out_height out_width filters"], Residuals]:
    """Weighted input of a convolutional layer (CV1); the bias may be left out.

    Args:
      x: images, NHWC.
      w: kernels, HWIO.
      b: one bias a filter, or None.
      stride: σ, the steps of the kernel down and to the right.
      padding: zeros (before, after) the rows, and (before, after) the columns.  `same` gives those that keep the size.
      dilation: d, the distance of neighbouring kernel entries on the image.
      groups: the channels, and the filters, fall into this many groups of equal size, in order; a filter reads the
        channels of its own group.

    Returns:
      z, of size ⌊(size + before + after - d(kernel size - 1) - 1) / σ⌋ + 1 along each axis.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if a rank or the channels do not fit, groups does not divide them, the kernel is larger than the
        padded image, or a stride, dilation or padding is out of its range.
    """
    window = window_of("conv2d", x, w, stride, padding, dilation, groups)
    check_bias("conv2d", b, w.shape[3:], w.dtype)
    residuals = Residuals(x, w, b)
    return weighted_by_platform(residuals, window), residuals


def conv2d_backward(
    residuals: Residuals,
    z_bar: Float[Array, "batch out_height out_width filters"],
    *,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CV2) to (CV4)."""
    x, w, _ = residuals
    return cotangents_by_platform(residuals, z_bar, window_of("conv2d", x, w, stride, padding, dilation, groups))


conv2d = rule(conv2d_forward, conv2d_backward)


# Compiled functions of their own, so that calls outside of any `jit` do not trace and compile the branches each time.
@partial(jax.jit, static_argnames="window")
def weighted_by_platform(residuals: Residuals, window: Window) -> Array:
    """(CV1), on a CPU in the way that is fastest there."""
    if _is_plain(residuals, window):
        return _weighted(residuals, window)
    return jax.lax.platform_dependent(
        residuals, cpu=partial(_weighted_on_cpu, window=window), default=partial(_weighted, window=window)
    )


@partial(jax.jit, static_argnames="window")
def cotangents_by_platform(residuals: Residuals, z_bar: Array, window: Window) -> tuple[Array, Array, Array | None]:
    """(CV2) to (CV4), on a CPU in the way that is fastest there."""
    if _is_plain(residuals, window):
        return _cotangents(residuals, z_bar, window)
    return jax.lax.platform_dependent(
        residuals, z_bar, cpu=partial(_cotangents_on_cpu, window=window), default=partial(_cotangents, window=window)
    )


def _is_plain(residuals: Residuals, window: Window) -> bool:
    """Whether XLA's convolution is the fastest way everywhere."""
    x, w, _ = residuals
    return not splits(x, window) and kernel_for(x, w, window) is None


def _weighted(residuals: Residuals, window: Window) -> Array:
    x, w, b = residuals
    return images.with_bias(correlate(x, w, window), b)  # (CV1)


def _weighted_on_cpu(residuals: Residuals, window: Window) -> Array:
    x, w, b = residuals
    if splits(x, window):
        parts = [_weighted_on_cpu(part, window._replace(groups=1)) for part in _by_group(residuals, window.groups)]
        return jnp.concatenate(parts, 3)
    kernel = kernel_for(x, w, window)
    return _weighted(residuals, window) if kernel is None else kernel.forward(x, w, b)[0]


def _cotangents(residuals: Residuals, z_bar: Array, window: Window) -> tuple[Array, Array, Array | None]:
    x, w, b = residuals
    b_bar = None if b is None else z_bar.sum((0, 1, 2))  # (CV4)
    return input_cotangent(w, z_bar, window), kernel_cotangent(x, z_bar, window), b_bar


def _cotangents_on_cpu(residuals: Residuals, z_bar: Array, window: Window) -> tuple[Array, Array, Array | None]:
    x, w, b = residuals
    if splits(x, window):
        groups, bars = _by_group(residuals, window.groups), jnp.split(z_bar, window.groups, 3)
        parts = [_cotangents_on_cpu(*pair, window._replace(groups=1)) for pair in zip(groups, bars, strict=True)]
        x_bars, w_bars, b_bars = zip(*parts, strict=True)
        return jnp.concatenate(x_bars, 3), jnp.concatenate(w_bars, 3), None if b is None else jnp.concatenate(b_bars)
    kernel = kernel_for(x, w, window)
    return (
        _cotangents(residuals, z_bar, window) if kernel is None else kernel.backward(images.Residuals(x, w, b), z_bar)
    )


def _by_group(residuals: Residuals, groups: int) -> list[Residuals]:
    """The channels and the filters of each group."""
    x, w, b = residuals
    biases = [None] * groups if b is None else jnp.split(b, groups)
    return [Residuals(*part) for part in zip(jnp.split(x, groups, 3), jnp.split(w, groups, 3), biases, strict=True)]


def correlate(x: Float[Array, "n h w c"], w: Float[Array, "i j cg o"], window: Window) -> Float[Array, "n r s o"]:
    """(CV1) without its bias."""
    return jax.lax.conv_general_dilated(
        x,
        w,
        window.stride,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=window.groups,
    )  # (CV1)


def input_cotangent(
    w: Float[Array, "i j cg o"], z_bar: Float[Array, "n r s o"], window: Window
) -> Float[Array, "n h w c"]:
    """(CV2): the transposed convolution of z_bar."""
    return jax.lax.conv_general_dilated(
        z_bar,
        rotate180(exchanged(w, window.groups)),
        (1, 1),
        [
            (d * (kernel - 1) - before, size - 1 - step * (out - 1) + before)
            for d, kernel, (before, _), size, step, out in window.axes()
        ],
        lhs_dilation=window.stride,
        rhs_dilation=window.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=window.groups,
    )  # (CV2)


def kernel_cotangent(
    x: Float[Array, "n h w c"], z_bar: Float[Array, "n r s o"], window: Window
) -> Float[Array, "i j cg o"]:
    """(CV3): examples play the part of channels, and channels that of examples."""
    return jax.lax.conv_general_dilated(
        x,
        z_bar,
        window.dilation,
        [
            (before, d * (kernel - 1) + step * (out - 1) + 1 - size - before)
            for d, kernel, (before, _), size, step, out in window.axes()
        ],
        rhs_dilation=window.stride,
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=window.groups,
    )  # (CV3)


def rotate180(w: Float[Array, "i j *rest"]) -> Float[Array, "i j *rest"]:
    """The first two axes turned by 180°: what makes a convolution of a correlation, and the reverse."""
    return w[::-1, ::-1]


def exchanged(w: Float[Array, "i j cg o"], groups: int) -> Float[Array, "i j og c"]:
    """Channels and filters of each group exchanged."""
    i, j, channels, filters = w.shape
    by_group = w.reshape(i, j, channels, groups, filters // groups)
    return by_group.transpose(0, 1, 4, 3, 2).reshape(i, j, filters // groups, groups * channels)
