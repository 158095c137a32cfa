"""The windows of a pool on images NHWC: what they read of the images, and how they give back to them."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Integer

from jaxnets.ops._geometry import Padding, Pair, places, require_pairs


class Pool(NamedTuple):
    """How a window moves over an image.  Position q of a window is i k + j, for its row i and column j of k columns."""

    window: Pair
    size: Pair
    out: Pair
    stride: Pair
    padding: Padding


def pool_of(what: str, shape: tuple[int, ...], window: Pair, stride: Pair | None, padding: Padding) -> Pool:
    """The pool on images of this shape; None is the stride of windows side by side.  ValueError if there is none."""
    if len(shape) != 4:
        raise ValueError(f"{what}: wanted images NHWC, got x {shape}")
    stride = window if stride is None else stride
    require_pairs(what, padding, window=window, stride=stride)
    size = shape[1], shape[2]
    return Pool(window, size, places(what, size, window, stride, padding, called="window"), stride, padding)


def reads(padded: Float[Array, "n h w c"], pool: Pool) -> Iterator[tuple[int, Float[Array, "n r s c"]]]:
    """Each position of the windows, and what all of them read there."""
    n, _, _, channels = padded.shape
    for q in range(math.prod(pool.window)):
        start = divmod(q, pool.window[1])
        stop = [first + step * (out - 1) + 1 for first, step, out in zip(start, pool.stride, pool.out, strict=True)]
        yield q, lax.slice(padded, (0, *start, 0), (n, *stop, channels), (1, *pool.stride, 1))


def spread(
    y: Float[Array, "n r s c"], pool: Pool, switches: Integer[Array, "n r s c"] | None = None
) -> Float[Array, "n h w c"]:
    """The sum over all windows that hold a pixel of their y, or of those only whose switch points to that pixel.

    It is the transpose of the sum over the reads, without a scatter: pixel σu + φ, with 0 ≤ φ < σ, lies in the windows
    u - m, at their positions φ + σm.  So each m is one comparison of the switches with constants.
    """
    blocks = [-(-(size + pad[0]) // step) for size, pad, step in zip(pool.size, pool.padding, pool.stride, strict=True)]
    overlap = [-(-kernel // step) for kernel, step in zip(pool.window, pool.stride, strict=True)]
    x = None
    for back in np.ndindex(*overlap):
        margins = [(m, count - out - m, 0) for m, count, out in zip(back, blocks, pool.out, strict=True)]
        q = _positions(pool, back)
        held = jnp.asarray(q >= 0) if switches is None else _blocks(switches, margins) == jnp.asarray(q, switches.dtype)
        given = jnp.where(held, _blocks(y, margins), 0)
        x = given if x is None else x + given
    assert x is not None
    flat = x.reshape(y.shape[0], blocks[0] * pool.stride[0], blocks[1] * pool.stride[1], y.shape[3])
    (above, _), (left, _) = pool.padding
    return flat[:, above : above + pool.size[0], left : left + pool.size[1]]


def _positions(pool: Pool, back: tuple[int, ...]) -> np.ndarray:
    """Of the pixels of a block, in the window that is `back` blocks before; -1 where it does not reach so far."""
    i, j = (np.arange(step) + step * m for step, m in zip(pool.stride, back, strict=True))
    inside = (i < pool.window[0])[:, None] & (j < pool.window[1])[None, :]
    return np.where(inside, i[:, None] * pool.window[1] + j[None, :], -1)[None, None, :, None, :, None]


def _blocks(a: Any, margins: list[tuple[int, int, int]]) -> Any:
    """One entry for each block of pixels, to be broadcast over them."""
    moved = lax.pad(a, jnp.zeros((), a.dtype), [(0, 0, 0), *margins, (0, 0, 0)])
    return moved[:, :, None, :, None, :]
