"""A convolution, its rectifier and a 2 x 2 max pool at once, for a CPU.

Derivation: derivations/convolution-kernels.md.

A pooled output looks at (k + 1) x (k' + 1) pixels of the padded image, and computes in it the four outputs q = 2a + b,
0 ≤ a, b ≤ 1, whose maximum it takes.  So one product with a block-Toeplitz matrix T makes four slabs, one for each q,
that are compared entry by entry.  It reads (k + 1)(k' + 1) / 4 pixels for an output in place of k k':

    (CK11) T_{(q,o),(i,j,c)} = w_{i-a, j-b, c, o}                           0 where that is outside of the kernel
    (CK12) Q_{(i,j,c),(r,s,n)} = x_{n, 2r+i-p, 2s+j-p, c},   z_q = (T Q)_q,   y = max(0, max_q z_q + b)
    (CK13) d_q = [q is the first of the largest and y > 0] y_bar
    (CK14) w_bar_{i,j,c,o} = Σ_{a,b} (d Qᵀ)_{(2a+b,o),(i+a,j+b,c)},   b_bar = Σ_{q,n,r,s} d_q
    (CK15) x_bar_{n, 2u+φ-p, 2v+ψ-p, c} = Σ_{m,m'} (Tᵀ d)_{(φ+2m, ψ+2m', c), (u-m, v-m', n)}

Which q has won is one byte for a pooled output, and the only mask: 4 where none has, since the rectifier is off.  The
examples are the last axis inside, along which a processor works on many at once.

What it replaces is `jaxnets.ops.convolution.pooled.conv_relu_pool`.  Ties go to the first q.  Where a window holds NaN,
so does y, and there is no cotangent.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int8

from jaxnets.kernels.images import NO_PADDING, Padding, Pair, out_size, over_tiles, overlapped
from jaxnets.kernels.parts import accumulator
from jaxnets.rule import rule

_EXAMPLES = 128
"""The most examples of a tile."""

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""(a, b) in the order of q."""

NONE = 4
"""The switch of an output that the rectifier holds at 0."""


class Residuals(NamedTuple):
    """What (CK14) and (CK15) need: both factors, and the winner of each pooled output, from 0 to 3, or 4 for none."""

    x: Float[Array, "batch height width channels"]
    w: Float[Array, "kernel_height kernel_width channels filters"]
    switches: Int8[Array, "batch out_height out_width filters"]


def conv_relu_pool_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "kernel_height kernel_width channels filters"],
    b: Float[Array, " filters"],
    *,
    padding: Padding = NO_PADDING,
) -> tuple[Float[Array, "batch out_height out_width filters"], Residuals]:
    """Convolution at stride 1, rectified, and the maximum of every 2 x 2 of it: (CK11), (CK12).

    Args:
      x: images, NHWC.
      w: kernels, HWIO.
      b: one bias a filter.
      padding: zeros (before, after) the rows, and (before, after) the columns.

    Returns:
      y, of size ⌊(size + before + after - kernel size + 1) / 2⌋ along each axis: an odd row or column is left out.

    Raises:
      ValueError: if ranks, channels or dtypes do not fit, there are no 2 x 2 outputs, or a padding is negative.
    """
    out = pooled_size("conv_relu_pool", x, w, b, padding)
    t = _toeplitz(w)

    def tile(carry: None, images: Array) -> tuple[None, tuple[Array, Array]]:
        slabs = (t @ _patches(images, (w.shape[0], w.shape[1]), padding, out)).reshape(
            4, w.shape[3], *out, images.shape[0]
        )
        largest, first = slabs[0], jnp.zeros(slabs.shape[1:], jnp.int8)
        for q in range(1, 4):
            larger = (slabs[q] > largest) | jnp.isnan(slabs[q])
            largest, first = jnp.where(larger, slabs[q], largest), jnp.where(larger, jnp.int8(q), first)
        z = largest + b[:, None, None, None]
        y = jnp.where(z <= 0, 0, z)
        switches = jnp.where(y > 0, first, jnp.int8(NONE))
        return carry, (_examples_first(y), _examples_first(switches))  # (CK12)

    _, (y, switches) = over_tiles(tile, None, (x,), _EXAMPLES)
    return y, Residuals(x, w, switches)


def conv_relu_pool_backward(
    residuals: Residuals, y_bar: Float[Array, "batch out_height out_width filters"], *, padding: Padding
) -> tuple[Array, Array, Array]:
    """Cotangents of x, w and b: (CK13) to (CK15); Q is computed again."""
    x, w, switches = residuals
    out = y_bar.shape[1], y_bar.shape[2]
    t = _toeplitz(w)
    wide = accumulator(w.dtype)

    def tile(t_bar: Array, images: Array, bars: Array, winners: Array) -> tuple[Array, Array]:
        bars, winners = _examples_last(bars), _examples_last(winners)
        d = jnp.stack([jnp.where(winners == q, bars, 0) for q in range(4)])  # (CK13)
        d = d.reshape(4 * w.shape[3], math.prod(bars.shape[1:]))
        read = _patches(images, (w.shape[0], w.shape[1]), padding, out)
        # d Qᵀ, the other way round: the product of a processor's kernels is faster with the longer factor first.
        product = lax.dot_general(read, d, (((1,), (1,)), ((), ())), preferred_element_type=wide)
        spread = (t.T @ d).reshape(w.shape[0] + 1, w.shape[1] + 1, w.shape[2], *out, images.shape[0])
        return t_bar + product, _overlapped(spread, (x.shape[1], x.shape[2]), padding)

    start = jnp.zeros((t.shape[1], t.shape[0]), wide)
    t_bar, x_bar = over_tiles(tile, start, (x, y_bar, switches), _EXAMPLES)
    b_bar = jnp.where(switches == NONE, 0, y_bar).sum((0, 1, 2))
    return x_bar, _kernel_cotangent(t_bar, w).astype(w.dtype), b_bar


conv_relu_pool = rule(conv_relu_pool_forward, conv_relu_pool_backward)


def pooled_size(what: str, x: Array, w: Array, b: Array, padding: Padding) -> Pair:
    """The number of pooled outputs along each axis.  ValueError, in the name of `what`, if the arguments do not fit."""
    rows, columns = out_size(what, x, w, b, padding)
    if min(rows, columns) < 2:
        raise ValueError(f"{what}: the convolution has outputs {(rows, columns)}, wanted at least (2, 2) to pool")
    return rows // 2, columns // 2


def _toeplitz(w: Float[Array, "i j c o"]) -> Float[Array, "slabs entries"]:
    """T of (CK11)."""
    moved = [jnp.pad(w, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0))) for a, b in _PHASES]
    t = jnp.stack(moved).transpose(0, 4, 1, 2, 3)  # (CK11)
    return t.reshape(4 * w.shape[3], (w.shape[0] + 1) * (w.shape[1] + 1) * w.shape[2])


def _kernel_cotangent(t_bar: Float[Array, "entries slabs"], w: Array) -> Float[Array, "i j c o"]:
    """(CK14), of (d Qᵀ)ᵀ."""
    height, width, channels, filters = w.shape
    grid = t_bar.reshape(height + 1, width + 1, channels, 4, filters)
    moved = [grid[a : a + height, b : b + width, :, q] for q, (a, b) in enumerate(_PHASES)]
    return jnp.stack(moved).sum(0)  # (CK14)


def _patches(x: Float[Array, "n h w c"], kernel: Pair, padding: Padding, out: Pair) -> Float[Array, "entries places"]:
    """Q of (CK12), in two steps: first along the columns, then along the rows."""
    n, _, _, channels = x.shape
    image = jnp.pad(_examples_last(x), ((0, 0), *padding, (0, 0)))
    rows, columns = (length - 1 for length in out)
    height = image.shape[1]
    along_columns = jnp.stack(
        [
            lax.slice(image, (0, 0, j, 0), (channels, height, j + 2 * columns + 1, n), (1, 1, 2, 1))
            for j in range(kernel[1] + 1)
        ]
    )
    # Without the barrier the compiler would make one loop of both, which is slower.
    along_columns = lax.optimization_barrier(along_columns)
    q = jnp.stack(
        [lax.slice_in_dim(along_columns, i, i + 2 * rows + 1, 2, axis=2) for i in range(kernel[0] + 1)]
    )  # (CK12)
    return q.reshape((kernel[0] + 1) * (kernel[1] + 1) * channels, out[0] * out[1] * n)


def _overlapped(spread: Float[Array, "i j c r s n"], size: Pair, padding: Padding) -> Float[Array, "n h w c"]:
    """Of Tᵀ d, what (CK15) sums, along the columns and then along the rows."""
    (above, _), (left, _) = padding
    narrow = overlapped(spread, entry=1, place=4, step=2, start=left, length=size[1])
    narrow = lax.optimization_barrier(narrow)
    return overlapped(narrow, entry=0, place=2, step=2, start=above, length=size[0]).transpose(3, 1, 2, 0)  # (CK15)


def _examples_last(a: Array) -> Array:
    """(n, h, w, c) as (c, h, w, n)."""
    return a.transpose(3, 1, 2, 0)


_examples_first = _examples_last
"""The exchange is its own inverse."""
