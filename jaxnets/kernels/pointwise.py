"""A convolution with 1 x 1 kernels as three matrix products, for a CPU.

Derivation: derivations/convolution-kernels.md.

Such a kernel mixes the channels of each pixel on its own.  With a row of x for every pixel of every example, and
likewise of z:

    (CK1) z = x w + b
    (CK2) x_bar = z_bar wᵀ,   w_bar = xᵀ z_bar,   b_bar = Σ_pixels z_bar

What it replaces is `jaxnets.ops.convolution.conv2d` at stride 1, without padding.
"""

from jaxtyping import Array, Float

from jaxnets.kernels.images import Residuals, out_size, with_bias
from jaxnets.rule import rule


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
    z = (_rows(x) @ w[0, 0]).reshape(*x.shape[:3], w.shape[3])  # (CK1)
    return with_bias(z, b), Residuals(x, w, b)


def pointwise_backward(
    residuals: Residuals, z_bar: Float[Array, "batch height width filters"]
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b (CK2)."""
    x, w, b = residuals
    rows = _rows(z_bar)
    x_bar, w_bar = rows @ w[0, 0].T, _rows(x).T @ rows  # (CK2)
    return x_bar.reshape(x.shape), w_bar.reshape(w.shape), None if b is None else rows.sum(0)


pointwise = rule(pointwise_forward, pointwise_backward)


def _rows(a: Float[Array, "n h w c"]) -> Float[Array, "pixels c"]:
    n, height, width, channels = a.shape
    return a.reshape(n * height * width, channels)
