"""Max pooling, and its way back.  Derivation: derivations/pooling.md.

A window of k rows and k' columns moves over the image with stride σ; q = i k' + j counts its positions row by row.
Along each axis p entries of -inf pad the image:

    (PL1) y_{n,r,s,c} = max_{i,j} x_{n,σr+i-p,σs+j-p,c},   q_{n,r,s,c} = the first i k' + j where x is that maximum
    (PL2) x_bar_{n,a,b,c} = Σ_{i,j} Σ_{r,s: σr+i-p=a, σs+j-p=b} [q_{n,r,s,c} = i k' + j] y_bar_{n,r,s,c}

The positions are the switches of a deconvolution network, which puts any y back where the maxima were:

    (PL3) x_{n,a,b,c} = Σ_{i,j} Σ_{r,s: σr+i-p=a, σs+j-p=b} [q_{n,r,s,c} = i k' + j] y_{n,r,s,c}
    (PL4) y_bar_{n,r,s,c} = Σ_{i,j} [q_{n,r,s,c} = i k' + j] x_bar_{n,σr+i-p,σs+j-p,c}

Ties: the first maximum in the order of q gets the whole cotangent, as by `jax.grad` of `jax.lax.reduce_window`.

Sources: Zhou and Chellappa 1988, Computation of optical flow using a neural network, for max pooling; Krizhevsky,
Sutskever and Hinton 2012, section 3.4, for windows that overlap; Zeiler and Fergus 2014, Visualizing and understanding
convolutional networks, section 2.1, for switches.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxnets.ops._floating import require_floating
from jaxnets.ops._geometry import Padding, Pair, require_pairs
from jaxnets.ops._materialized import materialized
from jaxnets.ops.pooling._windows import Pool, pool_of, reads, spread
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """What (PL2) needs: one byte for each maximum; and the size of the images, as that of an empty array."""

    switches: Integer[Array, "batch out_height out_width channels"]
    pixels: Float[Array, "height width 0"]


def max_pool_with_switches_forward(
    x: Float[Array, "batch height width channels"],
    *,
    window: Pair = (2, 2),
    stride: Pair | None = None,
    padding: Padding = ((0, 0), (0, 0)),
) -> tuple[
    tuple[
        Float[Array, "batch out_height out_width channels"],
        Integer[Array, "batch out_height out_width channels"],
    ],
    Residuals,
]:
    """The largest entry of each window, and at which position of the window it stands (PL1).

    Args and errors are those of `max_pool`.

    Returns:
      The maxima, and their positions i k' + j: int8, or int32 for windows of more than 128 entries.
    """
    pool = _pool("max_pool_with_switches", x, window, stride, padding)
    y, switches = _maxima(x, pool)
    return (y, switches), Residuals(switches, _pixels(x))


def max_pool_with_switches_backward(
    residuals: Residuals,
    bars: tuple[Float[Array, "batch out_height out_width channels"], object],
    *,
    window: Pair,
    stride: Pair | None,
    padding: Padding,
) -> tuple[Float[Array, "batch height width channels"]]:
    """Cotangent of x (PL2); the switches have none."""
    return max_pool_backward(residuals, bars[0], window=window, stride=stride, padding=padding)


def max_pool_forward(
    x: Float[Array, "batch height width channels"],
    *,
    window: Pair = (2, 2),
    stride: Pair | None = None,
    padding: Padding = ((0, 0), (0, 0)),
) -> tuple[Float[Array, "batch out_height out_width channels"], Residuals]:
    """The largest entry of each window (PL1).

    A window that holds NaN gives NaN, and its cotangent to the last of them.

    Args:
      x: images, NHWC.
      window: (k, k'), rows and columns of the window.
      stride: σ, the steps of the window down and to the right; None is the size of the window.
      padding: entries of -inf (before, after) the rows, and (before, after) the columns: they win against nothing.

    Returns:
      y, of size ⌊(size + before + after - k) / σ⌋ + 1 along each axis.  What is left over at the end is not read.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if x is no batch of images, the window does not fit into the padded image, a side's padding is as
        large as the window, or a stride or padding is out of its range.
    """
    y, switches = _maxima(x, _pool("max_pool", x, window, stride, padding))
    return y, Residuals(switches, _pixels(x))


def max_pool_backward(
    residuals: Residuals,
    y_bar: Float[Array, "batch out_height out_width channels"],
    *,
    window: Pair,
    stride: Pair | None,
    padding: Padding,
) -> tuple[Float[Array, "batch height width channels"]]:
    """Cotangent of x (PL2)."""
    switches, pixels = residuals
    shape = (y_bar.shape[0], *pixels.shape[:2], y_bar.shape[3])
    pool = pool_of("max_pool", shape, window, stride, padding)
    return (spread(y_bar, pool, materialized(switches)),)  # (PL2)


def unpool_forward(
    y: Float[Array, "batch out_height out_width channels"],
    switches: Integer[Array, "batch out_height out_width channels"],
    *,
    size: Pair,
    window: Pair = (2, 2),
    stride: Pair | None = None,
    padding: Padding = ((0, 0), (0, 0)),
) -> tuple[
    Float[Array, "batch height width channels"],
    Integer[Array, "batch out_height out_width channels"],
]:
    """Images that are zero but where the switches point, and there hold y, or the sum of all y that arrive (PL3).

    Args:
      y: one entry for each window.
      switches: as `max_pool_with_switches` gives them, for the same window, stride and padding; what has one that is
        no position of its window is left out.
      size: height and width of the images.
      window: of the pool.
      stride: of the pool.
      padding: of the pool.

    Raises:
      ValueError: if y and the switches differ in shape, the switches are no integers, or images of this size have
        another number of windows.
    """
    if y.shape != switches.shape:
        raise ValueError(f"unpool: y is {y.shape}, switches are {switches.shape}, wanted one shape")
    if not jnp.issubdtype(switches.dtype, jnp.integer):
        raise ValueError(f"unpool: switches are {switches.dtype}, wanted integers")
    return spread(y, _pool_back(y, size, window, stride, padding), switches), switches  # (PL3)


def unpool_backward(
    switches: Integer[Array, "batch out_height out_width channels"],
    x_bar: Float[Array, "batch height width channels"],
    *,
    size: Pair,
    window: Pair,
    stride: Pair | None,
    padding: Padding,
) -> tuple[Float[Array, "batch out_height out_width channels"], None]:
    """Cotangent of y (PL4)."""
    padded = jnp.pad(x_bar, ((0, 0), *padding, (0, 0)))
    y_bar = jnp.zeros(switches.shape, x_bar.dtype)
    for q, entry in reads(padded, pool_of("unpool", x_bar.shape, window, stride, padding)):
        y_bar = jnp.where(switches == q, entry, y_bar)  # (PL4)
    return y_bar, None


max_pool_with_switches = rule(max_pool_with_switches_forward, max_pool_with_switches_backward)
max_pool = rule(max_pool_forward, max_pool_backward)
unpool = rule(unpool_forward, unpool_backward)


def _maxima(x: Array, pool: Pool) -> tuple[Array, Array]:
    padded = jnp.pad(x, ((0, 0), *pool.padding, (0, 0)), constant_values=-jnp.inf)
    dtype = jnp.int8 if math.prod(pool.window) <= 128 else jnp.int32
    y = jnp.full((x.shape[0], *pool.out, x.shape[3]), -jnp.inf, x.dtype)
    switches = jnp.zeros(y.shape, dtype)
    for q, entry in reads(padded, pool):
        larger = (entry > y) | jnp.isnan(entry)
        y, switches = jnp.where(larger, entry, y), jnp.where(larger, jnp.asarray(q, dtype), switches)  # (PL1)
    return y, switches


def _pixels(x: Array) -> Array:
    return jnp.zeros((*x.shape[1:3], 0), x.dtype)


def _pool(what: str, x: Array, window: Pair, stride: Pair | None, padding: Padding) -> Pool:
    require_floating(what, x, "x")
    pool = pool_of(what, x.shape, window, stride, padding)
    if any(max(pad) >= length for pad, length in zip(padding, window, strict=True)):
        raise ValueError(f"{what}: padding is {padding}, wanted less than the window {window} on every side")
    return pool


def _pool_back(y: Array, size: Pair, window: Pair, stride: Pair | None, padding: Padding) -> Pool:
    require_pairs("unpool", padding, size=size)
    pool = pool_of("unpool", (*y.shape[:1], *size, *y.shape[3:]), window, stride, padding)
    if pool.out != y.shape[1:3]:
        raise ValueError(f"unpool: images {size} have {pool.out} windows, y has {y.shape[1:3]} (y {y.shape})")
    return pool
