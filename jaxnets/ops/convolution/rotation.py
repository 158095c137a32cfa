"""The convolution of mathematics, and its link with the correlation that networks compute.

Derivation: derivations/convolution.md.  Sums over all indices for which both factors exist:

    (CV5) y_{s,t} = Σ_{m,n} a_{m,n} b_{s-m,t-n},   of size m_a + m_b - 1
    (CV6) a_bar_{m,n} = Σ_{s,t} y_bar_{s,t} b_{s-m,t-n}      (CV7) b_bar_{u,v} = Σ_{s,t} y_bar_{s,t} a_{s-u,t-v}

(CV6) and (CV7) are correlations of y_bar with the other factor, at all places where that lies within it.  Convolution
commutes and correlation does not: correlation with b is convolution with b turned by 180°, without exchanging a and b.

Source: Goodfellow, Bengio and Courville 2016, Deep Learning, section 9.1, eq. (9.4) to (9.6).
"""

from typing import NamedTuple

from jaxtyping import Array, Float

from jaxnets.ops._floating import require_floating
from jaxnets.ops._geometry import window_of
from jaxnets.ops.convolution.correlation import correlate, rotate180
from jaxnets.rule import rule


class Factors(NamedTuple):
    """What (CV6) and (CV7) need."""

    a: Float[Array, "height_a width_a"]
    b: Float[Array, "height_b width_b"]


def convolve2d_forward(
    a: Float[Array, "height_a width_a"], b: Float[Array, "height_b width_b"]
) -> tuple[Float[Array, "height width"], Factors]:
    """The full two-dimensional convolution of two matrices (CV5).

    Raises:
      TypeError: if they are no floating-point arrays.
      ValueError: if a or b is no matrix, or their dtypes differ.
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"convolve2d: wanted two matrices, got {a.shape} and {b.shape}")
    if a.dtype != b.dtype:
        raise ValueError(f"convolve2d: a is {a.dtype}, b is {b.dtype}, wanted one dtype")
    require_floating("convolve2d", a, "a")
    return _full(a, b), Factors(a, b)  # (CV5)


def convolve2d_backward(
    factors: Factors, y_bar: Float[Array, "height width"]
) -> tuple[Float[Array, "height_a width_a"], Float[Array, "height_b width_b"]]:
    """Cotangents of a and b: (CV6), (CV7)."""
    return _valid(y_bar, factors.b), _valid(y_bar, factors.a)  # (CV6) (CV7)


convolve2d = rule(convolve2d_forward, convolve2d_backward)


def _full(a: Array, b: Array) -> Array:
    rows, columns = b.shape
    return _correlation(a, rotate180(b), ((rows - 1, rows - 1), (columns - 1, columns - 1)))


def _valid(y: Array, b: Array) -> Array:
    return _correlation(y, b, ((0, 0), (0, 0)))


def _correlation(a: Array, b: Array, padding: tuple[tuple[int, int], tuple[int, int]]) -> Array:
    x, w = a[None, :, :, None], b[:, :, None, None]
    window = window_of("convolve2d", x, w, (1, 1), padding, (1, 1), 1)
    return correlate(x, w, window)[0, :, :, 0]
