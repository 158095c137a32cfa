"""Mean pooling, and LeCun's subsampling with two parameters a channel.  Derivation: derivations/pooling.md.

Windows of k rows and k' columns move with stride σ over images with p zeros before them along each axis, which count:

    (PL5) y_{n,r,s,c} = 1/(k k') Σ_{i,j} x_{n,σr+i-p,σs+j-p,c}
    (PL6) x_bar_{n,a,b,c} = 1/(k k') Σ_{i,j} Σ_{r,s: σr+i-p=a, σs+j-p=b} y_bar_{n,r,s,c}

The layers S2 and S4 of LeNet-5 scale and shift the sums m of windows side by side, with a and b of their own channel:

    (PL7) z_{n,r,s,c} = a_c m_{n,r,s,c} + b_c,   m_{n,r,s,c} = Σ_{i,j} x_{n,kr+i,k's+j,c}
    (PL8) x_bar_{n,kr+i,k's+j,c} = a_c z_bar_{n,r,s,c}
    (PL9) a_bar_c = Σ_{n,r,s} z_bar_{n,r,s,c} m_{n,r,s,c}        (PL10) b_bar_c = Σ_{n,r,s} z_bar_{n,r,s,c}

Source: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition, section II.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops._floating import require_floating, widened
from jaxnets.ops._geometry import Padding, Pair
from jaxnets.ops.pooling._windows import Pool, pool_of, reads, spread
from jaxnets.rule import rule

_NO_PADDING: Padding = ((0, 0), (0, 0))


def mean_pool_forward(
    x: Float[Array, "batch height width channels"],
    *,
    window: Pair = (2, 2),
    stride: Pair | None = None,
    padding: Padding = ((0, 0), (0, 0)),
) -> tuple[Float[Array, "batch out_height out_width channels"], Float[Array, "height width 0"]]:
    """The mean of each window (PL5), always over its full size: zeros of the padding lower it.

    With the size of the image as the window it is the global mean, of height and width 1.

    Args:
      x: images, NHWC.
      window: (k, k'), rows and columns of the window.
      stride: σ, the steps of the window down and to the right; None is the size of the window.
      padding: zeros (before, after) the rows, and (before, after) the columns.

    Returns:
      y, of size ⌊(size + before + after - k) / σ⌋ + 1 along each axis.  What is left over at the end is not read.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if x is no batch of images, the window does not fit into the padded image, or a stride or padding is
        out of its range.
    """
    require_floating("mean_pool", x, "x")
    pool = pool_of("mean_pool", x.shape, window, stride, padding)
    mean = _sums(widened(x), pool) / math.prod(window)  # (PL5)
    return mean.astype(x.dtype), jnp.zeros((*pool.size, 0), x.dtype)


def mean_pool_backward(
    pixels: Float[Array, "height width 0"],
    y_bar: Float[Array, "batch out_height out_width channels"],
    *,
    window: Pair,
    stride: Pair | None,
    padding: Padding,
) -> tuple[Float[Array, "batch height width channels"]]:
    """Cotangent of x (PL6)."""
    shape = (y_bar.shape[0], *pixels.shape[:2], y_bar.shape[3])
    return (spread(y_bar / math.prod(window), pool_of("mean_pool", shape, window, stride, padding)),)  # (PL6)


mean_pool = rule(mean_pool_forward, mean_pool_backward)


def global_mean_pool(x: Float[Array, "batch height width channels"]) -> Float[Array, "batch channels"]:
    """The mean of each map: `mean_pool` with a single window.

    TypeError if x is no floating-point array, ValueError if it is no batch of images.
    """
    if x.ndim != 4:
        raise ValueError(f"global_mean_pool: wanted images NHWC, got x {x.shape}")
    return mean_pool(x, window=(x.shape[1], x.shape[2]))[:, 0, 0]


class Residuals(NamedTuple):
    """What (PL8) and (PL9) need; and the size of the images, as that of an empty array."""

    sums: Float[Array, "batch out_height out_width channels"]
    a: Float[Array, " channels"]
    pixels: Float[Array, "height width 0"]


def subsample_forward(
    x: Float[Array, "batch height width channels"],
    a: Float[Array, " channels"],
    b: Float[Array, " channels"],
    *,
    window: Pair = (2, 2),
) -> tuple[Float[Array, "batch out_height out_width channels"], Residuals]:
    """Weighted input of a subsampling layer: a times the sum of each window, plus b (PL7).

    Windows lie side by side; rows and columns left over at the end are not read.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if x is no batch of images, the window does not fit into it, or a or b has not one entry a channel.
    """
    require_floating("subsample", x, "x")
    pool = pool_of("subsample", x.shape, window, None, _NO_PADDING)
    for name, given in (("a", a), ("b", b)):
        if (given.shape, given.dtype) != (x.shape[3:], x.dtype):
            wanted = f"{x.dtype}{list(x.shape[3:])} (x {x.shape})"
            raise ValueError(f"subsample: {name} is {given.dtype}{list(given.shape)}, wanted {wanted}")
    sums = _sums(widened(x), pool)
    z = widened(a)[None, None, None, :] * sums + widened(b)[None, None, None, :]  # (PL7)
    return z.astype(x.dtype), Residuals(sums, a, jnp.zeros((*pool.size, 0), x.dtype))


def subsample_backward(
    residuals: Residuals, z_bar: Float[Array, "batch out_height out_width channels"], *, window: Pair
) -> tuple[Float[Array, "batch height width channels"], Float[Array, " channels"], Float[Array, " channels"]]:
    """Cotangents of x, a and b: (PL8) to (PL10)."""
    sums, a, pixels = residuals
    shape = (z_bar.shape[0], *pixels.shape[:2], z_bar.shape[3])
    pool = pool_of("subsample", shape, window, None, _NO_PADDING)
    x_bar = spread(a[None, None, None, :] * z_bar, pool)  # (PL8)
    a_bar = (widened(z_bar) * sums).sum((0, 1, 2)).astype(a.dtype)  # (PL9)
    return x_bar, a_bar, z_bar.sum((0, 1, 2))  # (PL10)


subsample = rule(subsample_forward, subsample_backward)


def _sums(x: Array, pool: Pool) -> Array:
    """Of each window: along its columns first, then along its rows."""
    padded = jnp.pad(x, ((0, 0), *pool.padding, (0, 0)))
    (rows, columns), (down, right) = pool.window, pool.stride
    _, height, width, _ = padded.shape
    across = Pool((1, columns), (height, width), (height, pool.out[1]), (1, right), _NO_PADDING)
    along = Pool((rows, 1), (height, pool.out[1]), pool.out, (down, 1), _NO_PADDING)
    return _total(_total(padded, across), along)


def _total(x: Array, pool: Pool) -> Array:
    (_, first), *others = reads(x, pool)
    for _, entry in others:
        first = first + entry
    return first
