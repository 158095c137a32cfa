"""The transposed convolution, which deconvolution networks call deconvolution.  Derivation: derivations/convolution.md.

It is the adjoint of the convolution with the same kernels: ⟨conv(y, w), x⟩ = ⟨y, conv_transpose(x, w)⟩ for all x and y.
With the letters of (CV1), where the image is now what comes out, and o runs over the channels that go in:

    (CV8) y_{n,a,b,c} = Σ_{i,j,o} Σ_{r,s: σr+di-p=a, σs+dj-p=b} x_{n,r,s,o} w_{i,j,c,o} + b_c
    (CV9) x_bar_{n,r,s,o} = Σ_{i,j,c} y_bar_{n, σr+di-p, σs+dj-p, c} w_{i,j,c,o}
    (CV10) w_bar_{i,j,c,o} = Σ_{n,r,s} y_bar_{n, σr+di-p, σs+dj-p, c} x_{n,r,s,o}
    (CV11) b_bar_c = Σ_{n,a,b} y_bar_{n,a,b,c}

All platforms run it by XLA's own convolution, which inside a loop on a CPU takes many times as long as outside of it.

Sources: Zeiler, Krishnan, Taylor and Fergus 2010, Deconvolutional networks; Dumoulin and Visin 2016, A guide to
convolution arithmetic for deep learning, chapter 4.
"""

from typing import Any

from jaxtyping import Array, Float

from jaxnets.ops._geometry import Padding, Pair, Window, check_bias, out_size, require_pairs, size_of
from jaxnets.ops.convolution.correlation import Residuals, correlate, input_cotangent, kernel_cotangent
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
      ValueError: if a rank or the channels do not fit, or no convolution of an image of this size has the size of x.
    """
    window = _window(x, w, size, stride, padding, dilation, groups)
    check_bias("conv_transpose2d", b, (w.shape[2] * groups,), w.dtype)
    y = input_cotangent(w, x, window)
    return y if b is None else y + b[None, None, None, :], Residuals(x, w, b)  # (CV8)


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
    x_bar = correlate(y_bar, w, window)  # (CV9)
    w_bar = kernel_cotangent(y_bar, x, window)  # (CV10)
    return x_bar, w_bar, None if b is None else y_bar.sum((0, 1, 2))  # (CV11)


conv_transpose2d = rule(conv_transpose2d_forward, conv_transpose2d_backward)


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
    if groups < 1 or w.shape[3] % groups:
        raise ValueError(f"{what}: groups is {groups}, which must divide the {w.shape[3]} channels of x")
    if x.dtype != w.dtype:
        raise ValueError(f"{what}: x is {x.dtype}, w is {w.dtype}, wanted one dtype")
    out, kernel = size_of(x), (w.shape[0], w.shape[1])
    require_pairs(what, padding, stride=stride, dilation=dilation)
    size = size or _least(out, kernel, stride, padding, dilation)
    require_pairs(what, padding, size=size)
    if (made := out_size(what, size, kernel, stride, padding, dilation)) != out:
        raise ValueError(f"{what}: an image of size {size} is convolved to {made}, x has size {out}")
    return Window(kernel, size, out, stride, padding, dilation, groups)
