"""Convolution over a sequence, such as the words of a sentence.  Derivation: derivations/convolution.md.

x holds a row of features for each word; a filter reads k words in a row, with every feature of each:

    (CV12) z_{n,t,o} = Σ_{i,c} x_{n, σt+di-p, c} w_{i,c,o} + b_o
    (CV13) x_bar_{n,u,c} = Σ_{i,o} Σ_{t: σt+di-p=u} z_bar_{n,t,o} w_{i,c,o}
    (CV14) w_bar_{i,c,o} = Σ_{n,t} x_{n, σt+di-p, c} z_bar_{n,t,o}        (CV15) b_bar_o = Σ_{n,t} z_bar_{n,t,o}

It is (CV1) to (CV4) for images of one row.

Source: Kim 2014, Convolutional neural networks for sentence classification, eq. (2).
"""

from jaxtyping import Array, Float

from jaxnets.ops._geometry import Padding, Pair, check_bias, is_integer, is_pair, window_of
from jaxnets.ops.convolution.correlation import Residuals, conv2d_backward, conv2d_forward
from jaxnets.rule import rule


def conv1d_forward(
    x: Float[Array, "batch time features"],
    w: Float[Array, "width features filters"],
    b: Float[Array, " filters"] | None = None,
    *,
    stride: int = 1,
    padding: Pair = (0, 0),
    dilation: int = 1,
) -> tuple[Float[Array, "batch out_time filters"], Residuals]:
    """Weighted input of a convolution over time (CV12); the bias may be left out.

    Args:
      x: the sequences.
      w: the filters.
      b: one bias a filter, or None.
      stride: σ, the steps of the filters.
      padding: zeros (before, after) the sequence.
      dilation: d, the distance of neighbouring entries of a filter.

    Raises:
      TypeError: if x is no floating-point array.
      ValueError: if a rank or the features do not fit, the filters are wider than the padded sequence, or a stride,
        dilation or padding is out of its range.
    """
    if x.ndim != 3 or w.ndim != 3:
        raise ValueError(
            f"conv1d: wanted x (batch, time, features) and w (width, features, filters), got {x.shape} and {w.shape}"
        )
    check_bias("conv1d", b, w.shape[2:], w.dtype)
    for name, number in (("stride", stride), ("dilation", dilation)):
        if not is_integer(number):
            raise ValueError(f"conv1d: {name} is {number!r}, wanted an integer")
    if not is_pair(padding):
        raise ValueError(f"conv1d: padding is {padding!r}, wanted a pair of integers (before, after)")
    x_row, w_row, around = x[:, None], w[None], _around(padding)
    window_of("conv1d", x_row, w_row, (1, stride), around, (1, dilation), 1)  # for its errors
    z, residuals = conv2d_forward(x_row, w_row, b, stride=(1, stride), padding=around, dilation=(1, dilation))
    return z[:, 0], residuals  # (CV12)


def conv1d_backward(
    residuals: Residuals, z_bar: Float[Array, "batch out_time filters"], *, stride: int, padding: Pair, dilation: int
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CV13) to (CV15)."""
    x_bar, w_bar, b_bar = conv2d_backward(
        residuals,
        z_bar[:, None],
        stride=(1, stride),
        padding=_around(padding),
        dilation=(1, dilation),
        groups=1,
    )
    return x_bar[:, 0], w_bar[0], b_bar  # (CV13) (CV14) (CV15)


conv1d = rule(conv1d_forward, conv1d_backward)


def _around(padding: Pair) -> Padding:
    """Of the one row."""
    return (0, 0), padding
