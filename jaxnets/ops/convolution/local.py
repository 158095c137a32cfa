"""The locally connected layer: a convolution whose kernel differs from place to place.

Derivation: derivations/convolution.md.

    (CV16) z_{n,r,s,o} = Σ_{i,j,c} x_{n, σr+i-p, σs+j-p, c} w_{r,s,i,j,c,o} + b_{r,s,o}
    (CV17) x_bar_{n,a,b,c} = Σ_{i,j,o} Σ_{r,s: σr+i-p=a, σs+j-p=b} z_bar_{n,r,s,o} w_{r,s,i,j,c,o}
    (CV18) w_bar_{r,s,i,j,c,o} = Σ_n x_{n, σr+i-p, σs+j-p, c} z_bar_{n,r,s,o}
    (CV19) b_bar_{r,s,o} = Σ_n z_bar_{n,r,s,o}

With one w for all places, the sum of (CV18) over them is (CV3).

Sources: LeCun 1989, Generalization and network design strategies; Taigman, Yang, Ranzato and Wolf 2014, DeepFace.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxnets.kernels.parts import accumulator
from jaxnets.ops._floating import require_floating
from jaxnets.ops._geometry import Padding, Pair, check_bias, places, size_of
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """What (CV17) and (CV18) need: the image with its zeros, and the kernels."""

    padded: Float[Array, "batch padded_height padded_width channels"]
    w: Float[Array, "out_height out_width kernel_height kernel_width channels filters"]
    b: Float[Array, "out_height out_width filters"] | None


def local2d_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "out_height out_width kernel_height kernel_width channels filters"],
    b: Float[Array, "out_height out_width filters"] | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
) -> tuple[Float[Array, "batch out_height out_width filters"], Residuals]:
    """Weighted input of a locally connected layer (CV16); the biases may be left out.

    Sums are kept in float32 where x is narrower.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if a rank, the channels, the number of places or the dtypes do not fit.
    """
    if x.ndim != 4 or w.ndim != 6:
        raise ValueError(f"local2d: wanted x of rank 4 and w of rank 6, got {x.shape} and {w.shape}")
    if x.shape[3] != w.shape[4]:
        raise ValueError(f"local2d: x has {x.shape[3]} channels, w expects {w.shape[4]} (x {x.shape}, w {w.shape})")
    if x.dtype != w.dtype:
        raise ValueError(f"local2d: x is {x.dtype}, w is {w.dtype}, wanted one dtype")
    require_floating("local2d", x, "x")
    if (out := places("local2d", size_of(x), (w.shape[2], w.shape[3]), stride, padding)) != w.shape[:2]:
        raise ValueError(f"local2d: w has kernels for {w.shape[:2]} places, the image has {out} (x {x.shape})")
    check_bias("local2d", b, (*out, w.shape[5]), w.dtype)
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    wide = accumulator(x.dtype)
    z = jnp.zeros((x.shape[0], *out, w.shape[5]), wide)
    for i, j, start, stop, step in _reads(padded.shape, w.shape, stride):
        read = lax.slice(padded, start, stop, step)
        z += jnp.einsum("nrsc,rsco->nrso", read, w[:, :, i, j], preferred_element_type=wide)  # (CV16)
    z = z.astype(x.dtype)
    return z if b is None else z + b[None], Residuals(padded, w, b)


def local2d_backward(
    residuals: Residuals, z_bar: Float[Array, "batch out_height out_width filters"], *, stride: Pair, padding: Padding
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CV17) to (CV19)."""
    padded, w, b = residuals
    wide = accumulator(padded.dtype)
    padded_bar, w_bar = jnp.zeros(padded.shape, wide), jnp.zeros_like(w)
    for i, j, start, stop, step in _reads(padded.shape, w.shape, stride):
        spread = jnp.einsum("nrso,rsco->nrsc", z_bar, w[:, :, i, j], preferred_element_type=wide)
        margins = [(lo, n - hi, d - 1) for lo, hi, n, d in zip(start, stop, padded.shape, step, strict=True)]
        padded_bar += lax.pad(spread, jnp.zeros((), spread.dtype), margins)  # (CV17)
        read = lax.slice(padded, start, stop, step)
        w_bar = w_bar.at[:, :, i, j].set(jnp.einsum("nrsc,nrso->rsco", read, z_bar))  # (CV18)
    (above, below), (left, right) = padding
    x_bar = padded_bar[:, above : padded.shape[1] - below, left : padded.shape[2] - right].astype(padded.dtype)
    return x_bar, w_bar, None if b is None else z_bar.sum(0)  # (CV19)


local2d = rule(local2d_forward, local2d_backward)

_Index = tuple[int, int, int, int]


def _reads(
    image: tuple[int, ...], w: tuple[int, ...], stride: Pair
) -> Iterator[tuple[int, int, _Index, _Index, _Index]]:
    """(i, j), and the start, stop and step of what all places read of the padded image there in their kernels."""
    rows, columns, height, width = w[:4]
    for i in range(height):
        for j in range(width):
            stop = (image[0], i + stride[0] * (rows - 1) + 1, j + stride[1] * (columns - 1) + 1, image[3])
            yield i, j, (0, i, j, 0), stop, (1, *stride, 1)
