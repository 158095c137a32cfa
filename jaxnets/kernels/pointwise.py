"""A convolution with 1 x 1 kernels as three matrix products, for a CPU.

Derivation: derivations/convolution-kernels.md.

Such a kernel mixes the channels of each pixel on its own.  With a row of x for every pixel of every example, and
likewise of z:

    (CK1) z = x w + b
    (CK2) x_bar = z_bar wᵀ,   w_bar = xᵀ z_bar,   b_bar = Σ_pixels z_bar

A large batch is walked through in tiles, so that the products and the sum of the way back find their rows in the cache.
What it replaces is `jaxnets.ops.convolution.conv2d` at stride 1, without padding.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxnets.kernels.images import Residuals, bias_cotangent, out_size, over_tiles, with_bias
from jaxnets.kernels.parts import accumulator, added
from jaxnets.rule import rule

_ROWS = 4096
"""About as many pixels of a large batch are multiplied at a time."""

_LARGE = 2**23
"""Entries of x or z, 32 MiB of float32: from there on the C library has new pages mapped for each such array."""


def pointwise_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "1 1 channels filters"],
    b: Float[Array, " filters"] | None = None,
) -> tuple[Float[Array, "batch height width filters"], Residuals]:
    """Weighted input of a layer of 1 x 1 kernels (CK1); the bias may be left out.

    Raises:
      ValueError: if the kernels are larger, or ranks, channels or dtypes do not fit.
    """
    out_size("pointwise", x, w, b)
    if w.shape[:2] != (1, 1):
        raise ValueError(f"pointwise: w has kernels {w.shape[:2]}, wanted (1, 1)")

    def tile(carry: None, images: Array) -> tuple[None, Array]:
        z = (_rows(images) @ w[0, 0]).reshape(*images.shape[:3], w.shape[3])
        return carry, with_bias(z, b)  # (CK1)

    _, z = over_tiles(tile, None, (x,), _examples(x, w))
    return z, Residuals(x, w, b)


def pointwise_backward(
    residuals: Residuals, z_bar: Float[Array, "batch height width filters"]
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b (CK2)."""
    x, w, b = residuals
    wide = accumulator(w.dtype)

    def tile(
        totals: tuple[Array, Array | None], images: Array, bars: Array
    ) -> tuple[tuple[Array, Array | None], Array]:
        rows = _rows(bars)
        w_bar = lax.dot_general(_rows(images), rows, (((0,), (0,)), ((), ())), preferred_element_type=wide)
        x_bar = (rows @ w[0, 0].T).reshape(images.shape)
        return added(totals, (w_bar, bias_cotangent(bars, b))), x_bar  # (CK2)

    start = jnp.zeros(w.shape[2:], wide), None if b is None else jnp.zeros(b.shape, wide)
    (w_bar, b_bar), x_bar = over_tiles(tile, start, (x, z_bar), _examples(x, w))
    return x_bar, w_bar.astype(w.dtype).reshape(w.shape), None if b_bar is None else b_bar.astype(w.dtype)


pointwise = rule(pointwise_forward, pointwise_backward)


def _examples(x: Array, w: Array) -> int:
    """Of a tile."""
    n, height, width, _ = x.shape
    large = n * height * width * max(w.shape[2:]) >= _LARGE
    return max(1, _ROWS // (height * width)) if large else n


def _rows(a: Float[Array, "n h w c"]) -> Float[Array, "pixels c"]:
    n, height, width, channels = a.shape
    return a.reshape(n * height * width, channels)
