"""Which convolutions a CPU does faster by one of `jaxnets.kernels` than by XLA's own."""

from typing import Any

import jax.numpy as jnp

from jaxnets.kernels.patches import patches
from jaxnets.kernels.pointwise import pointwise
from jaxnets.kernels.winograd import winograd
from jaxnets.ops._geometry import Window
from jaxnets.rule import Rule, fix

_WIDE = 32
"""The least number of channels, and of filters, for which a matrix product pays for what is done around it."""

_BLOCKS = 32
"""The least number of 4 x 4 blocks that the outputs of a batch must fall into for Winograd's products to be so."""


_GROUPS = 8
"""The most groups that are convolved one after the other; XLA takes up to thirty times as long for them at once."""


def splits(x: Any, window: Window) -> bool:
    """Whether the groups of a convolution are faster one by one."""
    return x.dtype == jnp.float32 and 1 < window.groups <= _GROUPS


def kernel_for(x: Any, w: Any, window: Window) -> Rule[..., Any] | None:
    """A kernel as a rule of x and w, or None where XLA's convolution is as fast, or the dtype is not float32.

    Float64 is for derivations, and stays exact on integers; no kernel was measured in narrower dtypes.
    """
    if x.dtype != jnp.float32 or window.groups != 1 or window.dilation != (1, 1):
        return None
    if window.kernel == (1, 1) and window.stride == (1, 1) and window.padding == ((0, 0), (0, 0)):
        return pointwise
    if min(w.shape[2:]) < _WIDE:
        return None
    if window.kernel == (3, 3) and window.stride == (1, 1) and _fills_blocks(x.shape[0], window):
        return fix(winograd, padding=window.padding)
    if min(window.stride) > 1:
        return fix(patches, stride=window.stride, padding=window.padding)
    return None


def _fills_blocks(examples: int, window: Window) -> bool:
    """Whether there are enough blocks, and zeros fill up less than half of them."""
    (rows, columns), (height, width) = ((-(-length // 4) for length in window.out), window.out)
    return examples * rows * columns >= _BLOCKS and 2 * height * width >= 16 * rows * columns
