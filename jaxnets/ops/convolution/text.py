"""Convolution over a sequence, such as the words of a sentence.  Derivation: derivations/convolution.md.

x holds a row of features for each word; a filter reads k words in a row, with every feature of each:

    (CV12) z_{n,t,o} = Σ_{i,c} x_{n, σt+di-p, c} w_{i,c,o} + b_o
    (CV13) x_bar_{n,u,c} = Σ_{i,o} Σ_{t: σt+di-p=u} z_bar_{n,t,o} w_{i,c,o}
    (CV14) w_bar_{i,c,o} = Σ_{n,t} x_{n, σt+di-p, c} z_bar_{n,t,o}        (CV15) b_bar_o = Σ_{n,t} z_bar_{n,t,o}

It is (CV1) to (CV4) for images of one row.

Source: Kim 2014, Convolutional neural networks for sentence classification, eq. (2).
"""

from jaxtyping import Array, Float

from jaxnets.ops._geometry import Pair, Window, check_bias, window_of
from jaxnets.ops.convolution.correlation import Residuals, correlate, input_cotangent, kernel_cotangent
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

    Raises:
      ValueError: if a rank or the features do not fit, or the filters are wider than the padded sequence.
    """
    if x.ndim != 3 or w.ndim != 3:
        raise ValueError(
            f"conv1d: wanted x (batch, time, features) and w (width, features, filters), got {x.shape} and {w.shape}"
        )
    check_bias("conv1d", b, w.shape[2:], w.dtype)
    x_row, w_row = x[:, None], w[None]
    z = correlate(x_row, w_row, _window(x_row, w_row, stride, padding, dilation))[:, 0]
    return z if b is None else z + b[None, None, :], Residuals(x_row, w_row, b)  # (CV12)


def conv1d_backward(
    residuals: Residuals, z_bar: Float[Array, "batch out_time filters"], *, stride: int, padding: Pair, dilation: int
) -> tuple[Array, Array, Array | None]:
    """Cotangents of x, w and b: (CV13) to (CV15)."""
    x, w, b = residuals
    window = _window(x, w, stride, padding, dilation)
    x_bar = input_cotangent(w, z_bar[:, None], window)[:, 0]  # (CV13)
    w_bar = kernel_cotangent(x, z_bar[:, None], window)[0]  # (CV14)
    return x_bar, w_bar, None if b is None else z_bar.sum((0, 1))  # (CV15)


conv1d = rule(conv1d_forward, conv1d_backward)


def _window(x: Array, w: Array, stride: int, padding: Pair, dilation: int) -> Window:
    return window_of("conv1d", x, w, (1, stride), ((0, 0), padding), (1, dilation), 1)
