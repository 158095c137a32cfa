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
are summed there, and turned back into a kernel once.  The images are transformed along their columns and then along
their rows, by sums over the few entries of A and B that are not 0.

On small integers all is exact.  Otherwise the factors up to 8 cost digits: in float32 results are within 2e-5 of their
largest entry, where a direct sum is within about 1e-6.

What it replaces is `jaxnets.ops.convolution.conv2d` for 3 x 3 kernels at stride 1.

Source: Lavin and Gray 2016, Fast algorithms for convolutional neural networks, section 4.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
    with_bias,
)
from jaxnets.kernels.parts import accumulator, added
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

_PRODUCTS = 2**21
"""About as many multiplications are in each of the 36 products of a tile, of 128 to 512 blocks."""


class _Blocks(NamedTuple):
    """How the blocks of 4 x 4 outputs lie on the images."""

    count: Pair
    size: Pair
    out: Pair
    padding: Padding
    channels: int
    """The more of channels and filters."""

    def examples(self) -> int:
        """Of a tile."""
        blocks = min(max(_PRODUCTS // self.channels**2, 128), 512)
        return max(4, blocks // (self.count[0] * self.count[1]))

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
    return _weighted(x, w, b, _blocks(x, w, out, padding)), Residuals(x, w, b)


def winograd_backward(
    residuals: Residuals, z_bar: Float[Array, "batch out_height out_width filters"], *, padding: Padding
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CK8) to (CK10); V is computed again."""
    x, w, b = residuals
    return _cotangents(x, w, b, z_bar, _blocks(x, w, (z_bar.shape[1], z_bar.shape[2]), padding))


winograd = rule(winograd_forward, winograd_backward)


Six = list[Float[Array, "6 blocks channels"]]
"""36 arrays, a list of six for the rows of a block, each with six for its columns: products of the six run side by
side."""


# Compiled functions of their own, which keep the matrices: in a rule, constant arrays are inputs of it like others.
@partial(jax.jit, static_argnames="blocks")
def _weighted(x: Array, w: Array, b: Array | None, blocks: _Blocks) -> Array:
    u = _kernels(w)

    def tile(carry: None, images: Array) -> tuple[None, Array]:
        m = [v @ u for v, u in zip(_pixels(images, blocks), u, strict=True)]
        return carry, _outputs(m, b, images.shape[0], blocks).astype(x.dtype)

    _, z = over_tiles(tile, None, (x,), blocks.examples())
    return z


@partial(jax.jit, static_argnames="blocks")
def _cotangents(
    x: Array, w: Array, b: Array | None, z_bar: Array, blocks: _Blocks
) -> tuple[Array, Array, Array | None]:
    u = _kernels(w)

    def tile(totals: tuple[Six, Array | None], images: Array, bars: Array) -> tuple[tuple[Six, Array | None], Array]:
        v, m_bar = _pixels(images, blocks), _output_cotangents(bars, blocks)
        u_bar = [lax.dot_general(*pair, (((1,), (1,)), ((0,), (0,)))) for pair in zip(v, m_bar, strict=True)]
        v_bar = [lax.dot_general(*pair, (((2,), (2,)), ((0,), (0,)))) for pair in zip(m_bar, u, strict=True)]
        x_bar = _pixel_cotangents(v_bar, images.shape[0], blocks).astype(x.dtype)
        return added(totals, (u_bar, bias_cotangent(bars, b))), x_bar

    start = [jnp.zeros_like(row) for row in u], None if b is None else jnp.zeros(b.shape, accumulator(b.dtype))
    (u_bar, b_bar), x_bar = over_tiles(tile, start, (x, z_bar), blocks.examples())
    w_bar = _both_ways(G.T, jnp.stack(u_bar).reshape(36, math.prod(w.shape[2:]))).reshape(w.shape) / SCALE  # (CK9)
    return x_bar, w_bar.astype(w.dtype), None if b_bar is None else b_bar.astype(w.dtype)


def _blocks(x: Array, w: Array, out: Pair, padding: Padding) -> _Blocks:
    count = -(-out[0] // 4), -(-out[1] // 4)
    return _Blocks(count, (x.shape[1], x.shape[2]), out, padding, max(1, *w.shape[2:]))


def _kernels(w: Float[Array, "3 3 c o"]) -> Six:
    """U of (CK6)."""
    wide = w.astype(accumulator(w.dtype))
    return list(_both_ways(G, wide.reshape(9, math.prod(w.shape[2:]))).reshape(6, 6, *w.shape[2:]))  # (CK6)


def _pixels(x: Float[Array, "n h w c"], blocks: _Blocks) -> Six:
    """V of (CK6)."""
    padded = jnp.pad(x.astype(accumulator(x.dtype)), ((0, 0), *blocks.margins(), (0, 0)))
    return _taken_apart(B_T, padded, blocks.count)  # (CK6)


def _outputs(m: Six, b: Float[Array, " o"] | None, n: int, blocks: _Blocks) -> Float[Array, "n r s o"]:
    """(CK7), and the bias."""
    z = _put_together(A_T.T, m, n, blocks.count)
    # The bias comes before the division: after it the compiler would fuse both, with a rounded 1/576.
    biased = with_bias(z, None if b is None else SCALE * b.astype(z.dtype))
    return biased[:, : blocks.out[0], : blocks.out[1]] / SCALE  # (CK7)


def _output_cotangents(z_bar: Float[Array, "n r s o"], blocks: _Blocks) -> Six:
    """(CK8)."""
    missing = [(0, 4 * count - out) for count, out in zip(blocks.count, blocks.out, strict=True)]
    whole = jnp.pad(z_bar.astype(accumulator(z_bar.dtype)), ((0, 0), *missing, (0, 0)))
    return _taken_apart(A_T.T, whole, blocks.count)  # (CK8)


def _pixel_cotangents(v_bar: Six, n: int, blocks: _Blocks) -> Float[Array, "n h w c"]:
    """(CK10)."""
    x_bar = _put_together(B_T, v_bar, n, blocks.count) / SCALE  # (CK10)
    (above, _), (left, _) = blocks.padding
    return x_bar[:, above : above + blocks.size[0], left : left + blocks.size[1]]


def _taken_apart(matrix: np.ndarray, a: Float[Array, "n h w c"], count: Pair) -> Six:
    """`matrix block matrixᵀ` for all blocks of an image, each 4 further than the one before it."""

    def along(a: Array, axis: int, count: int) -> list[Array]:
        entries = [lax.slice_in_dim(a, i, i + 4 * count - 3, 4, axis=axis) for i in range(matrix.shape[1])]
        return [_combined(row, entries) for row in matrix]

    # Without the barrier, here and below, the compiler would sum over both axes at once.
    columns = lax.optimization_barrier(jnp.stack(along(a, 2, count[1])))
    return [lax.collapse(part, 1, 4) for part in along(columns, 2, count[0])]


def _put_together(matrix: np.ndarray, v: Six, n: int, count: Pair) -> Float[Array, "n h w c"]:
    """The adjoint of `_taken_apart`: where blocks overlap, rows 4 and 5 of one are rows 0 and 1 of the next."""

    def along(parts: list[Array], axis: int) -> Array:
        entries = [_combined(column, parts) for column in matrix.T]
        if len(entries) == 6:
            before, after = [(0, 0)] * parts[0].ndim, [(0, 0)] * parts[0].ndim
            before[axis], after[axis] = (1, 0), (0, 1)
            entries, next_ones = [jnp.pad(a, after) for a in entries[:4]], [jnp.pad(a, before) for a in entries[4:]]
            entries[:2] = [here + there for here, there in zip(entries[:2], next_ones, strict=True)]
        whole = jnp.stack(entries, axis + 1)
        return lax.collapse(whole, axis, axis + 2)

    grid = [part.reshape(6, n, *count, part.shape[2]) for part in v]
    rows = lax.optimization_barrier(along(grid, 2))
    return along(list(rows), 2)


def _combined(factors: np.ndarray, arrays: list[Array]) -> Array:
    """The sum of the arrays times their factors."""
    first, *others = [float(factor) * a for factor, a in zip(factors, arrays, strict=True) if factor]
    return sum(others, first)


def _both_ways(matrix: np.ndarray, a: Float[Array, "entries rest"]) -> Float[Array, "results rest"]:
    """`matrix a matrixᵀ` as one product with the Kronecker square of the matrix."""
    return jnp.asarray(np.kron(matrix, matrix), a.dtype) @ a
