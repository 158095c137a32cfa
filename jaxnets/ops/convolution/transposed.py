"""The transposed convolution, which deconvolution networks call deconvolution.  Derivation: derivations/convolution.md.

It is the adjoint of the convolution with the same kernels: ⟨conv(y, w), x⟩ = ⟨y, conv_transpose(x, w)⟩ for all x and y.
With the letters of (CV1), where the image is now what comes out, and o runs over the channels that go in:

    (CV8) y_{n,a,b,c} = Σ_{i,j,o} Σ_{r,s: σr+di-p=a, σs+dj-p=b} x_{n,r,s,o} w_{i,j,c,o} + b_c
    (CV9) x_bar_{n,r,s,o} = Σ_{i,j,c} y_bar_{n, σr+di-p, σs+dj-p, c} w_{i,j,c,o}
    (CV10) w_bar_{i,j,c,o} = Σ_{n,r,s} y_bar_{n, σr+di-p, σs+dj-p, c} x_{n,r,s,o}
    (CV11) b_bar_c = Σ_{n,a,b} y_bar_{n,a,b,c}

It is the way back of that convolution, and its way back is that convolution: on a CPU both are the kernels of `conv2d`.

Sources: Zeiler, Krishnan, Taylor and Fergus 2010, Deconvolutional networks; Dumoulin and Visin 2016, A guide to
convolution arithmetic for deep learning, chapter 4.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.kernels import images
from jaxnets.ops._floating import require_floating
from jaxnets.ops._geometry import Padding, Pair, Window, check_bias, check_groups, places, require_pairs, size_of
from jaxnets.ops.convolution.correlation import Residuals, cotangents_by_platform, weighted_by_platform
from jaxnets.rule import rule


def conv_transpose2d_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "kernel_height kernel_width filters_per_group channels"],
    b: Float[Array, " filters"] | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    size: Pair | None = None,
) -> tuple[Float[Array, "batch out_height out_width filters"], Residuals]:
    """Spread every entry of x over the image, weighted by the kernel (CV8).

    Args:
      x: what goes in, NHWC.
      w: the kernels of the convolution whose adjoint this is, HWIO: its filters are the channels of x.
      b: one bias for each channel of the result, or None.
      stride: σ of that convolution, the distance on the result of neighbouring entries of x.
      padding: of that convolution: this much is cut off the result.
      dilation: d of that convolution.
      groups: of that convolution.
      size: of the result.  At a stride above 1 several sizes have a convolution of the size of x; None is the least,
        σ(size - 1) + d(kernel size - 1) + 1 less the padding.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if a rank or the channels do not fit, the result would be empty, or no convolution of an image of this
        size has the size of x.
    """
    window = _window(x, w, size, stride, padding, dilation, groups)
    check_bias("conv_transpose2d", b, (w.shape[2] * groups,), w.dtype)
    return images.with_bias(_spread(x, w, window), b), Residuals(x, w, b)  # (CV8)


def conv_transpose2d_backward(
    residuals: Residuals,
    y_bar: Float[Array, "batch out_height out_width filters"],
    *,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    size: Pair | None,
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CV9) to (CV11)."""
    x, w, b = residuals
    window = _window(x, w, size_of(y_bar), stride, padding, dilation, groups)
    x_bar, w_bar = _pulled_back(x, w, y_bar, window)
    return x_bar, w_bar, None if b is None else y_bar.sum((0, 1, 2))  # (CV11)


conv_transpose2d = rule(conv_transpose2d_forward, conv_transpose2d_backward)


# Compiled functions of their own, in which nothing is computed of the cotangents that are not wanted.
@partial(jax.jit, static_argnames="window")
def _spread(x: Array, w: Array, window: Window) -> Array:
    """The cotangent of an image, of which only the shape matters."""
    image = jnp.zeros((x.shape[0], *window.size, w.shape[2] * window.groups), x.dtype)
    return cotangents_by_platform(Residuals(image, w, None), x, window)[0]  # (CV8)


@partial(jax.jit, static_argnames="window")
def _pulled_back(x: Array, w: Array, y_bar: Array, window: Window) -> tuple[Array, Array]:
    """The convolution of y_bar, and the cotangent of the kernels of that convolution for x."""
    of = Residuals(y_bar, w, None)
    return weighted_by_platform(of, window), cotangents_by_platform(of, x, window)[1]  # (CV9) (CV10)


def _least(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    rows, columns = (
        step * (n - 1) + d * (k - 1) + 1 - sum(pad)
        for n, k, step, pad, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    return rows, columns


def _window(x: Any, w: Any, size: Pair | None, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Window:
    what = "conv_transpose2d"
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"{what}: wanted x NHWC and kernels HWIO, got x {x.shape} and w {w.shape}")
    if x.shape[3] != w.shape[3]:
        raise ValueError(f"{what}: x has {x.shape[3]} channels, w expects {w.shape[3]} (x {x.shape}, w {w.shape})")
    check_groups(what, groups, f"the {w.shape[3]} channels of x", w.shape[3])
    if x.dtype != w.dtype:
        raise ValueError(f"{what}: x is {x.dtype}, w is {w.dtype}, wanted one dtype")
    require_floating(what, x, "x")
    out, kernel = size_of(x), (w.shape[0], w.shape[1])
    require_pairs(what, padding, stride=stride, dilation=dilation)
    size = size or _least(out, kernel, stride, padding, dilation)
    require_pairs(what, padding, size=size)
    if min(size) < 1:
        raise ValueError(f"{what}: the result would have size {size} (x {x.shape}, w {w.shape}, padding {padding})")
    if (made := places(what, size, kernel, stride, padding, dilation)) != out:
        raise ValueError(f"{what}: an image of size {size} is convolved to {made}, x has size {out}")
    return Window(kernel, size, out, stride, padding, dilation, groups)
