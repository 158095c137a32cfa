"""Which kernel of `jaxnets.kernels` convolves on a CPU, in place of XLA's own convolution.

XLA's takes several times as long for the gradients, and inside a loop, such as that of `jaxnets.train.fit`, ten to
forty times as long as outside of it.  Called once, on few channels, it would be somewhat faster.
"""

from typing import Any

import jax.numpy as jnp

from jaxnets.kernels.patches import patches
from jaxnets.kernels.pointwise import pointwise
from jaxnets.kernels.winograd import winograd
from jaxnets.ops._geometry import Window
from jaxnets.rule import Rule, fix

_WIDE = 16
"""The least number of channels, and of filters, for which Winograd's products pay for what is done around them."""

_BLOCKS = 32
"""The least number of 4 x 4 blocks that the outputs of a batch must fall into for that."""

_GROUPS = 8
"""The most groups that are convolved one after the other; XLA takes up to thirty times as long for them at once."""


def splits(x: Any, window: Window) -> bool:
    """Whether the groups of a convolution are faster one by one."""
    return x.dtype == jnp.float32 and 1 < window.groups <= _GROUPS


def kernel_for(x: Any, w: Any, window: Window) -> Rule[..., Any] | None:
    """A kernel as a rule of x, w and the bias; None where there is none, or the dtype is not float32.

    Float64 is for derivations, and stays exact on integers; no kernel was measured in narrower dtypes.
    """
    if x.dtype != jnp.float32 or window.groups != 1 or window.dilation != (1, 1):
        return None
    if window.kernel == (1, 1) and window.stride == (1, 1) and window.padding == ((0, 0), (0, 0)):
        return pointwise
    wide = min(w.shape[2:]) >= _WIDE
    if window.kernel == (3, 3) and window.stride == (1, 1) and wide and _fills_blocks(x.shape[0], window):
        return fix(winograd, padding=window.padding)
    return fix(patches, stride=window.stride, padding=window.padding)


def _fills_blocks(examples: int, window: Window) -> bool:
    """Whether there are enough blocks, and zeros fill up less than half of them."""
    (rows, columns), (height, width) = ((-(-length // 4) for length in window.out), window.out)
    return examples * rows * columns >= _BLOCKS and 2 * height * width >= 16 * rows * columns
