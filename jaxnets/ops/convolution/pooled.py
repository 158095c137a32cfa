"""The convolutional layer of the classic networks in one: convolution, rectifier, 2 x 2 max pool.

Derivation: derivations/convolution.md, derivations/activations.md and derivations/pooling.md, one after the other:

    z = x ⋆ w + b as in (CV1),    a as in (AC22),    y as in (PL1)

The way back is theirs in reverse, and needs of z and of a only which entry of a window has won, one byte for each y,
where y > 0.  On a CPU the same is computed by `jaxnets.kernels.conv_relu_pool`, from the same residuals.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from jaxnets.kernels import conv_relu_pool as kernel
from jaxnets.ops._geometry import Padding, check_bias, window_of
from jaxnets.ops.activations import relu
from jaxnets.ops.convolution import correlation
from jaxnets.ops.pooling import max_pool_with_switches, maximum
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """Both factors, and the winner of each window, from 0 to 3, or 4 where the rectifier is off for all of them."""

    x: Float[Array, "batch height width channels"]
    w: Float[Array, "kernel_height kernel_width channels filters"]
    switches: Int8[Array, "batch out_height out_width filters"]


def conv_relu_pool_forward(
    x: Float[Array, "batch height width channels"],
    w: Float[Array, "kernel_height kernel_width channels filters"],
    b: Float[Array, " filters"],
    *,
    padding: Padding = ((0, 0), (0, 0)),
) -> tuple[Float[Array, "batch out_height out_width filters"], Residuals]:
    """`max_pool(relu(conv2d(x, w, b, padding=padding)))`, with windows of 2 x 2.

    Slope 0 at the kink of the rectifier; the first of several largest entries of a window gets the whole cotangent.

    Args:
      x: images, NHWC.
      w: kernels, HWIO.
      b: one bias a filter.
      padding: zeros (before, after) the rows, and (before, after) the columns.

    Returns:
      y, of size ⌊(size + before + after - kernel size + 1) / 2⌋ along each axis: an odd row or column is left out.

    Raises:
      ValueError: if ranks, channels or dtypes do not fit, the convolution has less than 2 x 2 outputs, or a padding is
        negative.
    """
    window = window_of("conv_relu_pool", x, w, (1, 1), padding, (1, 1), 1)
    check_bias("conv_relu_pool", b, w.shape[3:], w.dtype)
    if min(window.out) < 2:
        raise ValueError(f"conv_relu_pool: the convolution has outputs {window.out}, wanted at least (2, 2) to pool")
    y, switches = _forward_by_platform(x, w, b, padding)
    return y, Residuals(x, w, switches)


def conv_relu_pool_backward(
    residuals: Residuals, y_bar: Float[Array, "batch out_height out_width filters"], *, padding: Padding
) -> tuple[Array, Array, Array]:
    """Cotangents of x, w and b."""
    return _backward_by_platform(residuals, y_bar, padding)


conv_relu_pool = rule(conv_relu_pool_forward, conv_relu_pool_backward)


# Compiled functions of their own, so that calls outside of any `jit` do not trace and compile the branches each time.
@partial(jax.jit, static_argnames="padding")
def _forward_by_platform(x: Array, w: Array, b: Array, padding: Padding) -> tuple[Array, Array]:
    def plain(x: Array, w: Array, b: Array) -> tuple[Array, Array]:
        z, _ = correlation.conv2d.forward(x, w, b, padding=padding)
        a, _ = relu.forward(z)
        (y, switches), _ = max_pool_with_switches.forward(a)
        return y, jnp.where(y > 0, switches, jnp.int8(kernel.NONE))

    def fused(x: Array, w: Array, b: Array) -> tuple[Array, Array]:
        y, residuals = kernel.conv_relu_pool_forward(x, w, b, padding=padding)
        return y, residuals.switches

    if x.dtype != jnp.float32:
        return plain(x, w, b)
    return jax.lax.platform_dependent(x, w, b, cpu=fused, default=plain)


@partial(jax.jit, static_argnames="padding")
def _backward_by_platform(residuals: Residuals, y_bar: Array, padding: Padding) -> tuple[Array, Array, Array]:
    def plain(residuals: Residuals, y_bar: Array) -> tuple[Array, Array, Array]:
        x, w, switches = residuals
        window = window_of("conv_relu_pool", x, w, (1, 1), padding, (1, 1), 1)
        b = jnp.zeros(w.shape[3:], w.dtype)
        pixels = jnp.zeros((*window.out, 0), w.dtype)
        # A window whose rectifiers are off has a switch that no entry of it has: neither pass needs a mask of its own.
        (z_bar,) = maximum.max_pool.backward(maximum.Residuals(switches, pixels), y_bar)
        return correlation.conv2d.backward(correlation.Residuals(x, w, b), z_bar, padding=padding)

    def fused(residuals: Residuals, y_bar: Array) -> tuple[Array, Array, Array]:
        return kernel.conv_relu_pool_backward(kernel.Residuals(*residuals), y_bar, padding=padding)

    if y_bar.dtype != jnp.float32:
        return plain(residuals, y_bar)
    return jax.lax.platform_dependent(residuals, y_bar, cpu=fused, default=plain)
