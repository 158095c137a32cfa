"""A convolution as matrix products with its patches, for a CPU.  Derivation: derivations/convolution-kernels.md.

P has a row for each place (n, r, s), which holds the patch that the kernel reads there; w is one column a filter:

    (CK3) P_{(n,r,s),(i,j,c)} = x_{n, σr+i-p, σs+j-p, c},   z = P w + b
    (CK4) w_bar = Pᵀ z_bar,   b_bar = Σ_{n,r,s} z_bar

The way back to x is computed for the pixels σu + φ - p, σv + ψ - p of each phase 0 ≤ φ, ψ < σ on their own.  Only the
entries φ + σm, ψ + σm' of the kernel meet them, so that no zeros are put between the entries of z_bar:

    (CK5) x_bar_{n, σu+φ-p, σv+ψ-p, c} = Σ_{m,m',o} z_bar_{n, u-m, v-m', o} w_{φ+σm, ψ+σm', c, o}

which is again a product with patches, of z_bar.  What it replaces is `jaxnets.ops.convolution.conv2d`, without
dilation or groups.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxnets.kernels.images import NO_PADDING, Padding, Pair, Residuals, accumulator, out_size, over_tiles, with_bias
from jaxnets.rule import rule

_ROWS = 512
"""About as many rows of P are made at a time."""


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
        return carry, z.reshape(images.shape[0], *out, w.shape[3])

    _, z = over_tiles(tile, None, (x,), _size(out))
    return with_bias(z, b), Residuals(x, w, b)


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
    wide = accumulator(w.dtype)

    def tile(w_bar: Array, images: Array, bars: Array) -> tuple[Array, Array]:
        read = _patches(_padded(images, padding), (w.shape[0], w.shape[1]), stride, out)
        contribution = lax.dot_general(
            read,
            bars.reshape(math.prod(bars.shape[:3]), bars.shape[3]),
            (((0,), (0,)), ((), ())),
            preferred_element_type=wide,
        )  # (CK4)
        return w_bar + contribution, _input_cotangent(w, bars, (x.shape[1], x.shape[2]), stride, padding)

    start = jnp.zeros((math.prod(w.shape[:3]), w.shape[3]), wide)
    w_bar, x_bar = over_tiles(tile, start, (x, z_bar), _size(out))
    return x_bar, w_bar.astype(w.dtype).reshape(w.shape), None if b is None else z_bar.sum((0, 1, 2))


patches = rule(patches_forward, patches_backward)


def _size(out: Pair) -> int:
    return max(1, _ROWS // (out[0] * out[1]))


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


def _input_cotangent(
    w: Float[Array, "i j c o"], z_bar: Float[Array, "n r s o"], size: Pair, stride: Pair, padding: Padding
) -> Float[Array, "n h w c"]:
    """(CK5)."""
    n, (height, width), channels = z_bar.shape[0], size, w.shape[2]
    blocks = [-(-(length + before) // step) for length, (before, _), step in zip(size, padding, stride, strict=True)]
    phases = []
    for phi in range(stride[0]):
        for psi in range(stride[1]):
            part = w[phi :: stride[0], psi :: stride[1]]
            if not part.size:
                phases.append(jnp.zeros((n, *blocks, channels), z_bar.dtype))
                continue
            reach = part.shape[0], part.shape[1]
            margins = [
                (m - 1, count - length) for m, count, length in zip(reach, blocks, z_bar.shape[1:3], strict=True)
            ]
            surrounded = lax.pad(z_bar, jnp.zeros((), z_bar.dtype), [(0, 0, 0), *((*m, 0) for m in margins), (0, 0, 0)])
            turned = part[::-1, ::-1].swapaxes(2, 3).reshape(-1, channels)
            product = _patches(surrounded, reach, (1, 1), (blocks[0], blocks[1])) @ turned  # (CK5)
            phases.append(product.reshape(n, *blocks, channels))
    if len(phases) == 1:
        flat = phases[0]
    else:
        grid = jnp.stack(phases).reshape(*stride, n, *blocks, channels).transpose(2, 3, 0, 4, 1, 5)
        flat = grid.reshape(n, blocks[0] * stride[0], blocks[1] * stride[1], channels)
    (above, _), (left, _) = padding
    return flat[:, above : above + height, left : left + width]
