"""Output units that measure distances to codes, and the costs of LeNet-5.  Derivation: derivations/lenet.md.

Row n of a is an example's code, row i of w the code of class i, t_{n,i} = 1 for the right class and 0 for the others:

    (LN1) y_{n,i} = Σ_j (a_{n,j} - w_{i,j})²
    (LN2) a_bar_{n,j} = 2 Σ_i y_bar_{n,i} (a_{n,j} - w_{i,j})
    (LN3) w_bar_{i,j} = -2 Σ_n y_bar_{n,i} (a_{n,j} - w_{i,j})
    (LN4) C_n = Σ_i t_{n,i} y_{n,i}                                     (LN5) y_bar_{n,i} = C̄_n t_{n,i}
    (LN6) C_n = Σ_i t_{n,i} y_{n,i} + ln(e^-j + Σ_i e^-y_{n,i})
    (LN7) y_bar_{n,i} = C̄_n (t_{n,i} - e^-y_{n,i} / (e^-j + Σ_k e^-y_{n,k}))

Source: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition, section II-B
and II-C, eq. (7), (8) and (9).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8

from jaxnets.ops.losses import Reduction
from jaxnets.ops.losses.reduction import Cost, reduce, spread
from jaxnets.rule import rule

Codes = Float[Array, "classes code"]
Distances = Float[Array, "batch classes"]

_DIGITS = """
    .......  .......  .......  .......  .......  .......  .......  .......  .......  .......
    ..###..  ...#...  ..###..  #######  .....#.  #######  ...###.  #######  ..###..  ..###..
    .#...#.  ..##...  .#...#.  .....#.  ....##.  #......  ..#....  ......#  .#...#.  .#...#.
    #.....#  .#.#...  #.....#  ....#..  ...#.#.  #......  .#.....  .....#.  #.....#  #.....#
    #.....#  ...#...  ......#  ...#...  ..#..#.  #.###..  #......  .....#.  .#...#.  #.....#
    #.....#  ...#...  .....#.  ..###..  .#...#.  ##...#.  #.###..  ....#..  ..###..  .#...##
    #.....#  ...#...  ....#..  .....#.  #....#.  ......#  ##...#.  ....#..  .#...#.  ..###.#
    #.....#  ...#...  ...#...  ......#  #######  ......#  #.....#  ...#...  #.....#  ......#
    #.....#  ...#...  ..#....  #.....#  .....#.  #.....#  #.....#  ...#...  #.....#  .....#.
    .#...#.  ...#...  .#.....  .#...#.  .....#.  .#...#.  .#...#.  ..#....  .#...#.  ....#..
    ..###..  .#####.  #######  ..###..  .....#.  ..###..  ..###..  ..#....  ..###..  .###...
    .......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


def digit_codes() -> Int8[np.ndarray, "10 84"]:
    """The codes of the ten digits: drawings of 7 x 12 pixels, 1 for ink and -1 for paper, row by row.

    The paper's codes are such stylised characters (its figure 3); these are drawn anew in the same size.
    """
    lines = [line.split() for line in _DIGITS.split("\n") if line.strip()]
    drawings = ["".join(rows) for rows in zip(*lines, strict=True)]
    return np.array([[1 if pixel == "#" else -1 for pixel in drawing] for drawing in drawings], np.int8)


class Residuals(NamedTuple):
    """Both factors of the distance."""

    a: Float[Array, "batch code"]
    w: Codes


def rbf_forward(a: Float[Array, "batch code"], w: Codes) -> tuple[Distances, Residuals]:
    """Squared distance of each row of a to each code (LN1): small for the class that is recognised.

    Raises:
      ValueError: if the codes have not the length of a's rows.
    """
    if a.ndim != 2 or w.ndim != 2 or a.shape[1] != w.shape[1]:
        raise ValueError(f"rbf: wanted a (batch, code) and w (classes, code), got {a.shape} and {w.shape}")
    return ((a[:, None, :] - w[None, :, :]) ** 2).sum(-1), Residuals(a, w)  # (LN1)


def rbf_backward(residuals: Residuals, y_bar: Distances) -> tuple[Float[Array, "batch code"], Codes]:
    """Cotangents of a and w."""
    difference = residuals.a[:, None, :] - residuals.w[None, :, :]
    a_bar = 2 * jnp.einsum("ni,nij->nj", y_bar, difference)  # (LN2)
    w_bar = -2 * jnp.einsum("ni,nij->ij", y_bar, difference)  # (LN3)
    return a_bar, w_bar


rbf = rule(rbf_forward, rbf_backward)


class MseResiduals(NamedTuple):
    """Distances and targets."""

    y: Distances
    t: Distances


class MapResiduals(NamedTuple):
    """Distances, targets, and each class's share in the sum of (LN6)."""

    y: Distances
    t: Distances
    share: Distances


def mse_criterion_forward(
    y: Distances, t: Distances, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, MseResiduals]:
    """Distance to the code of the right class (LN4): with fixed codes the mean squared error, LeCun et al.'s eq. (8).

    Raises:
      ValueError: if y and t differ in shape.
    """
    _check("mse_criterion", y, t)
    return reduce(t * y, reduction), MseResiduals(y, t)  # (LN4)


def mse_criterion_backward(
    residuals: MseResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Distances, Distances]:
    """Cotangents of y and t."""
    each = spread(c_bar, residuals.y, reduction)
    return each * residuals.t, each * residuals.y  # (LN5)


mse_criterion = rule(mse_criterion_forward, mse_criterion_backward)


def map_criterion_forward(
    y: Distances, t: Distances, *, j: float = 1.0, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, MapResiduals]:
    """Maximum a posteriori criterion (LN6), LeCun et al.'s eq. (9): the right class near, and the others far.

    It is the negative logarithm of the right class's share in e^-y, beside a class of "rubbish" at the fixed distance
    j > 0, which keeps wrong classes from being pushed away for ever: beyond j they no longer matter.

    Raises:
      ValueError: if y and t differ in shape, or j is not positive.
    """
    _check("map_criterion", y, t)
    if not j > 0:
        raise ValueError(f"map_criterion: j is {j}, wanted a positive number")
    # The smallest distance is taken out of the sum, so that e^-y cannot underflow in all of its terms.
    nearest = jnp.where(y.min(-1) < j, y.min(-1), j)
    weights = jnp.exp(nearest[:, None] - y)
    total = jnp.exp(nearest - j) + weights.sum(-1)
    competition = (jnp.log(total) - nearest)[:, None]
    terms = jnp.concatenate([t * y, competition], -1)
    return reduce(terms, reduction), MapResiduals(y, t, weights / total[:, None])  # (LN6)


def map_criterion_backward(
    residuals: MapResiduals, c_bar: Cost, *, j: float, reduction: Reduction
) -> tuple[Distances, Distances]:
    """Cotangents of y and t."""
    each = spread(c_bar, residuals.y, reduction)
    return each * (residuals.t - residuals.share), each * residuals.y  # (LN7)


map_criterion = rule(map_criterion_forward, map_criterion_backward)


def _check(criterion: str, y: Distances, t: Distances) -> None:
    if y.ndim != 2 or y.shape != t.shape:
        raise ValueError(f"{criterion}: y has shape {y.shape} and t {t.shape}, wanted (batch, classes) for both")
