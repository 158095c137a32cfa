"""Winograd's convolution with 3 x 3 kernels, forward and backward, for a CPU.

Derivation: derivations/convolution-kernels.md.  The output falls into blocks of 4 x 4, each of which reads 6 x 6 pixels
x of the padded image.  With the matrices A, B and G below (Winograd's F(4, 3), G times 24 to hold integers), for every
block, and ⊙ for 36 products at once, one for each of the 36 entries, in which matrices multiply over the channels c:

    (CK6) U = G w Gᵀ,   V = Bᵀ x B
    (CK7) z = Aᵀ (Σ_c V ⊙ U) A / 576
    (CK8) M_bar = A z_bar Aᵀ
    (CK9) w_bar = Gᵀ (Σ_blocks V ⊙ M_bar) G / 576
    (CK10) x_bar = Σ_blocks B (Σ_o M_bar ⊙ U) Bᵀ / 576        blocks overlap in two rows and columns

A block takes 36 products in place of 144.  The backward pass stays among the 36 entries: the blocks of the whole batch
are summed there, and turned back into a kernel once.  The transformations of x, z and z_bar are themselves products
with the Kronecker squares of B and A, which is much faster than adding up slices.

On small integers all is exact.  Otherwise the factors up to 8 cost digits: in float32 results are within 2e-5 of their
largest entry, where a direct sum is within about 1e-6.

What it replaces is `jaxnets.ops.convolution.conv2d` for 3 x 3 kernels at stride 1.

Source: Lavin and Gray 2016, Fast algorithms for convolutional neural networks, section 4.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxnets.kernels.images import NO_PADDING, Padding, Pair, Residuals, accumulator, out_size, over_tiles, with_bias
from jaxnets.rule import rule

A_T = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
"""Aᵀ."""

B_T = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
"""Bᵀ."""

G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]])
"""24 times the G of Lavin and Gray."""

SCALE = 576
"""What two factors G are too large by: 24²."""

_BLOCKS = 128
"""About as many blocks, and at least four examples, are transformed at a time."""


class _Blocks(NamedTuple):
    """How the blocks of 4 x 4 outputs lie on the images."""

    count: Pair
    size: Pair
    out: Pair
    padding: Padding

    def examples(self) -> int:
        """Of a tile."""
        return max(4, _BLOCKS // (self.count[0] * self.count[1]))

    def margins(self) -> list[Pair]:
        """Zeros around the image so that the blocks read all of it and nothing else."""
        return [
            (before, 4 * count + 2 - size - before)
            for count, size, (before, _) in zip(self.count, self.size, self.padding, strict=True)
        ]


def winograd_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "3 3 channels filters"],
    b: Float[Array, " filters"] | None = None,
    *,
    padding: Padding = NO_PADDING,
) -> tuple[Float[Array, "batch out_height out_width filters"], Residuals]:
    """Weighted input of a layer of 3 x 3 kernels: (CK6), (CK7); the bias may be left out.

    Computed in float32 where the inputs are narrower.

    Args:
      x: images, NHWC, of any size; one that is no multiple of 4 is filled up with zeros.
      w: kernels, HWIO.
      b: one bias a filter, or None.
      padding: zeros (before, after) the rows, and (before, after) the columns.

    Raises:
      ValueError: if the kernels are not 3 x 3, ranks, channels or dtypes do not fit, the padded image is smaller than
        the kernel, or a padding is negative.
    """
    out = out_size("winograd", x, w, b, padding)
    if w.shape[:2] != (3, 3):
        raise ValueError(f"winograd: w has kernels {w.shape[:2]}, wanted (3, 3)")
    z = _weighted(x, w, _blocks(x, out, padding))
    return with_bias(z, b), Residuals(x, w, b)


def winograd_backward(
    residuals: Residuals, z_bar: Float[Array, "batch out_height out_width filters"], *, padding: Padding
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CK8) to (CK10); V is computed again."""
    x, w, b = residuals
    x_bar, w_bar = _cotangents(x, w, z_bar, _blocks(x, (z_bar.shape[1], z_bar.shape[2]), padding))
    return x_bar, w_bar, None if b is None else z_bar.sum((0, 1, 2))


winograd = rule(winograd_forward, winograd_backward)


# Compiled functions of their own, which keep the matrices: in a rule, constant arrays are inputs of it like others.
@partial(jax.jit, static_argnames="blocks")
def _weighted(x: Array, w: Array, blocks: _Blocks) -> Array:
    u = _kernels(w)

    def tile(carry: None, images: Array) -> tuple[None, Array]:
        m = jnp.matmul(_pixels(images, blocks), u)
        return carry, _outputs(m, images.shape[0], blocks).astype(x.dtype)

    _, z = over_tiles(tile, None, (x,), blocks.examples())
    return z


@partial(jax.jit, static_argnames="blocks")
def _cotangents(x: Array, w: Array, z_bar: Array, blocks: _Blocks) -> tuple[Array, Array]:
    u = _kernels(w)

    def tile(u_bar: Array, images: Array, bars: Array) -> tuple[Array, Array]:
        v, m_bar = _pixels(images, blocks), _output_cotangents(bars, blocks)
        u_bar = u_bar + lax.dot_general(v, m_bar, (((1,), (1,)), ((0,), (0,))))
        v_bar = lax.dot_general(m_bar, u, (((2,), (2,)), ((0,), (0,))))
        return u_bar, _pixel_cotangents(v_bar, images.shape[0], blocks).astype(x.dtype)

    u_bar, x_bar = over_tiles(tile, jnp.zeros_like(u), (x, z_bar), blocks.examples())
    g = jnp.asarray(G, u.dtype)
    w_bar = jnp.einsum("fi,fgco,gj->ijco", g, u_bar.reshape(6, 6, *w.shape[2:]), g) / SCALE  # (CK9)
    return x_bar, w_bar.astype(w.dtype)


def _blocks(x: Array, out: Pair, padding: Padding) -> _Blocks:
    return _Blocks((-(-out[0] // 4), -(-out[1] // 4)), (x.shape[1], x.shape[2]), out, padding)


def _kernels(w: Float[Array, "3 3 c o"]) -> Float[Array, "36 c o"]:
    """U of (CK6)."""
    wide = w.astype(accumulator(w.dtype))
    g = jnp.asarray(G, wide.dtype)
    return jnp.einsum("fi,ijco,gj->fgco", g, wide, g).reshape(36, *w.shape[2:])  # (CK6)


def _pixels(x: Float[Array, "n h w c"], blocks: _Blocks) -> Float[Array, "36 blocks c"]:
    """V of (CK6)."""
    (n, _, _, channels), (rows, columns) = x.shape, blocks.count
    padded = jnp.pad(x.astype(accumulator(x.dtype)), ((0, 0), *blocks.margins(), (0, 0)))
    read = jnp.stack(
        [
            lax.slice(padded, (0, i, j, 0), (n, i + 4 * rows - 3, j + 4 * columns - 3, channels), (1, 4, 4, 1))
            for i in range(6)
            for j in range(6)
        ]
    )
    return _transformed(B_T, read.reshape(36, n * rows * columns, channels))  # (CK6)


def _outputs(m: Float[Array, "36 blocks o"], n: int, blocks: _Blocks) -> Float[Array, "n r s o"]:
    """(CK7)."""
    rows, columns = blocks.count
    z = _transformed(A_T, m).reshape(4, 4, n, rows, columns, m.shape[2]) / SCALE  # (CK7)
    whole = z.transpose(2, 3, 0, 4, 1, 5).reshape(n, 4 * rows, 4 * columns, m.shape[2])
    return whole[:, : blocks.out[0], : blocks.out[1]]


def _output_cotangents(z_bar: Float[Array, "n r s o"], blocks: _Blocks) -> Float[Array, "36 blocks o"]:
    """(CK8)."""
    (n, _, _, filters), (rows, columns) = z_bar.shape, blocks.count
    missing = [(0, 4 * count - out) for count, out in zip(blocks.count, blocks.out, strict=True)]
    whole = jnp.pad(z_bar.astype(accumulator(z_bar.dtype)), ((0, 0), *missing, (0, 0)))
    entries = whole.reshape(n, rows, 4, columns, 4, filters).transpose(2, 4, 0, 1, 3, 5)
    return _transformed(A_T.T, entries.reshape(16, n * rows * columns, filters))  # (CK8)


def _pixel_cotangents(v_bar: Float[Array, "36 blocks c"], n: int, blocks: _Blocks) -> Float[Array, "n h w c"]:
    """(CK10): rows 4 and 5 of a block's pixels are rows 0 and 1 of the next one's, and so are columns."""
    rows, columns = blocks.count
    channels = v_bar.shape[2]
    x_bar = _transformed(B_T.T, v_bar).reshape(6, 6, n, rows, columns, channels)
    zero = jnp.zeros((), v_bar.dtype)

    def placed(i: int, j: int) -> Array:
        """Of the pixels, those in this block (0) or in the next (1), down and to the right, on a grid of 4 x 4."""
        part = x_bar[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        margins = [(0, 2 * i), (0, 2 * j), (0, 0), (i, 1 - i), (j, 1 - j), (0, 0)]
        return lax.pad(part, zero, [(*m, 0) for m in margins])

    grid = (placed(0, 0) + placed(1, 0) + placed(0, 1) + placed(1, 1)) / SCALE  # (CK10)
    whole = grid.transpose(2, 3, 0, 4, 1, 5).reshape(n, 4 * rows + 4, 4 * columns + 4, channels)
    (above, _), (left, _) = blocks.padding
    return whole[:, above : above + blocks.size[0], left : left + blocks.size[1]]


def _transformed(matrix: np.ndarray, a: Float[Array, "entries blocks c"]) -> Float[Array, "all blocks c"]:
    """The product `matrix a matrixᵀ`, for every block and channel: one with the Kronecker square of the matrix."""
    square = jnp.asarray(np.kron(matrix, matrix), a.dtype)
    return (square @ a.reshape(a.shape[0], -1)).reshape(-1, *a.shape[1:])
