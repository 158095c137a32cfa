"""A convolution as matrix products with its patches, for a CPU.  Derivation: derivations/convolution-kernels.md.

P has a row for each place (n, r, s), which holds the patch that the kernel reads there; w is one column a filter:

    (CK3) P_{(n,r,s),(i,j,c)} = x_{n, σr+i-p, σs+j-p, c},   z = P w + b
    (CK4) w_bar = Pᵀ z_bar,   b_bar = Σ_{n,r,s} z_bar

On the way back each row of the cotangent of P goes where its patch was read.  Pixel σu + φ - p, with 0 ≤ φ < σ, is
entry φ + σm of the patch at place u - m, for every m, and likewise along the other axis:

    (CK5) P_bar = z_bar wᵀ,   x_bar_{n, σu+φ-p, σv+ψ-p, c} = Σ_{m,m'} P_bar_{(n, u-m, v-m'), (φ+σm, ψ+σm', c)}

No zeros are put between the entries of z_bar, as they are where x_bar is a convolution of it.  What this replaces is
`jaxnets.ops.convolution.conv2d`, without dilation or groups.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxnets.kernels.images import (
    NO_PADDING,
    Padding,
    Pair,
    Residuals,
    bias_cotangent,
    out_size,
    over_tiles,
    overlapped,
    with_bias,
)
from jaxnets.kernels.parts import accumulator, added
from jaxnets.rule import rule

_ENTRIES = 2**20
"""About as many entries of P, in at most 4096 rows, are made at a time."""


def patches_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "kernel_height kernel_width channels filters"],
    b: Float[Array, " filters"] | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
) -> tuple[Float[Array, "batch out_height out_width filters"], Residuals]:
    """Weighted input of a convolutional layer (CK3); the bias may be left out.

    Args:
      x: images, NHWC.
      w: kernels, HWIO.
      b: one bias a filter, or None.
      stride: σ, the steps of the kernel down and to the right.
      padding: zeros (before, after) the rows, and (before, after) the columns.

    Raises:
      ValueError: if ranks, channels or dtypes do not fit, the kernel is larger than the padded image, or a stride or
        padding is out of its range.
    """
    out = out_size("patches", x, w, b, padding, stride)
    matrix = w.reshape(math.prod(w.shape[:3]), w.shape[3])

    def tile(carry: None, images: Array) -> tuple[None, Array]:
        z = _patches(_padded(images, padding), (w.shape[0], w.shape[1]), stride, out) @ matrix  # (CK3)
        return carry, with_bias(z.reshape(images.shape[0], *out, w.shape[3]), b)

    _, z = over_tiles(tile, None, (x,), _examples(out, matrix))
    return z, Residuals(x, w, b)


def patches_backward(
    residuals: Residuals,
    z_bar: Float[Array, "batch out_height out_width filters"],
    *,
    stride: Pair,
    padding: Padding,
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CK4), (CK5)."""
    x, w, b = residuals
    out = z_bar.shape[1], z_bar.shape[2]
    wide, matrix = accumulator(w.dtype), w.reshape(math.prod(w.shape[:3]), w.shape[3])

    def tile(
        totals: tuple[Array, Array | None], images: Array, bars: Array
    ) -> tuple[tuple[Array, Array | None], Array]:
        read = _patches(_padded(images, padding), (w.shape[0], w.shape[1]), stride, out)
        rows = bars.reshape(math.prod(bars.shape[:3]), bars.shape[3])
        w_bar = lax.dot_general(read, rows, (((0,), (0,)), ((), ())), preferred_element_type=wide)  # (CK4)
        p_bar = (rows @ matrix.T).reshape(*bars.shape[:3], *w.shape[:3])
        x_bar = _overlapped(p_bar, (x.shape[1], x.shape[2]), stride, padding)  # (CK5)
        return added(totals, (w_bar, bias_cotangent(bars, b))), x_bar

    start = jnp.zeros((math.prod(w.shape[:3]), w.shape[3]), wide), None if b is None else jnp.zeros(b.shape, wide)
    (w_bar, b_bar), x_bar = over_tiles(tile, start, (x, z_bar), _examples(out, matrix))
    return x_bar, w_bar.astype(w.dtype).reshape(w.shape), None if b_bar is None else b_bar.astype(w.dtype)


patches = rule(patches_forward, patches_backward)


def _examples(out: Pair, matrix: Array) -> int:
    """Of a tile."""
    rows = min(_ENTRIES // max(matrix.shape[0], 1), 4096)
    return max(1, rows // (out[0] * out[1]))


def _padded(x: Array, padding: Sequence[Pair]) -> Array:
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _patches(padded: Float[Array, "n h w c"], kernel: Pair, stride: Pair, out: Pair) -> Float[Array, "places entries"]:
    """One row for each place, of a padded image."""
    n, _, _, channels = padded.shape
    reads = [
        lax.slice(
            padded,
            (0, i, j, 0),
            (n, i + stride[0] * (out[0] - 1) + 1, j + stride[1] * (out[1] - 1) + 1, channels),
            (1, *stride, 1),
        )
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    return jnp.concatenate(reads, 3).reshape(n * out[0] * out[1], kernel[0] * kernel[1] * channels)


def _overlapped(
    p_bar: Float[Array, "n r s i j c"], size: Pair, stride: Pair, padding: Padding
) -> Float[Array, "n h w c"]:
    """What (CK5) sums, along the rows and then along the columns."""
    (above, _), (left, _) = padding
    narrow = overlapped(p_bar, entry=3, place=1, step=stride[0], start=above, length=size[0])
    # Without the barrier the compiler would make one loop of both, which is slower.
    narrow = lax.optimization_barrier(narrow)
    return overlapped(narrow, entry=3, place=2, step=stride[1], start=left, length=size[1])
