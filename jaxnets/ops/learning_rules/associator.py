"""The linear associator: weights that recall t from x, in one formula.  Derivation: derivations/learning-rules.md.

Row q of x is a pattern and row q of t what it shall recall:

    (HB16) by Hebb's rule:              w = xᵀ t
    (HB17) its error:                   x w - t = (x xᵀ - 1) t
    (HB18) by the pseudo-inverse rule:  w = x⁺ t

(HB16) recalls exactly if the patterns are orthonormal; else row k is wrong by its crosstalk, Σ_{q≠k} (x_k·x_q) t_q, and
by (|x_k|² - 1) t_k.  (HB18) has the least squared error, and among such weights the least squares; it recalls exactly
if the patterns are linearly independent.  Textbooks that write columns have W = T Pᵀ and W = T P⁺.

Sources: Anderson 1972, A simple neural network generating an interactive memory; Kohonen 1972, Correlation matrix
memories; Hagan, Demuth and Beale 1996, Neural network design, ch. 7.
"""

import jax.numpy as jnp

from jaxnets.ops.learning_rules._check import check_pairs
from jaxnets.ops.learning_rules.hebbian import Inputs, Targets, Weights, hebb_supervised


def hebb_matrix(x: Inputs, t: Targets) -> Weights:
    """Hebb's rule with a teacher, from zero weights, once over all patterns with η = 1 (HB16).

    Raises:
      ValueError: if x and t are no matrices with as many rows.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check_pairs("hebb_matrix", x, t)
    return hebb_supervised(jnp.zeros((x.shape[1], t.shape[1]), x.dtype), x, t)  # (HB16)


def recall_error(x: Inputs, t: Targets) -> Targets:
    """What the associator of (HB16) recalls too much, from the products of the patterns alone (HB17).

    Raises:
      ValueError: if x and t are no matrices with as many rows.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check_pairs("recall_error", x, t)
    return (x @ x.T - jnp.eye(x.shape[0], dtype=x.dtype)) @ t  # (HB17)


def pseudo_inverse_matrix(x: Inputs, t: Targets) -> Weights:
    """Weights of the least squared error, and among these the smallest (HB18).

    Raises:
      ValueError: if x and t are no matrices with as many rows.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check_pairs("pseudo_inverse_matrix", x, t)
    return jnp.linalg.pinv(x) @ t  # (HB18)
