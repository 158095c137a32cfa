"""Hebb's rule in its forms, and Oja's.  Derivation: derivations/learning-rules.md.

Each function gives the change of the weights before the learning rate, for a batch of rows x, all of them taken at the
same weights: the sum of the changes that its rows make.

    (HB2) Hebb's rule, general:      Δw = g(x)ᵀ f(a)
    (HB3) without a teacher:         Δw = xᵀ a,  a = x w
    (HB4) with a teacher:            Δw = xᵀ t
    (HB5) Oja's rule:                Δw = xᵀ a - w (aᵀ a),  a = x w

(HB3) is the gradient of (HB8), and (HB4) that of (HB11): both climb, without end.  (HB5) is the gradient of no
function.  (HB2) with a = φ(x w) is one if each row of g(x) is a multiple of that of x, and in general not otherwise.

Textbooks that write columns have ΔW = f(a) g(p)ᵀ for W = wᵀ and the input p = xᵀ.

Sources: Hebb 1949, The organization of behavior; Hagan, Demuth and Beale 1996, Neural network design, ch. 7, eq. (7.2)
to (7.5); Oja 1982, A simplified neuron model as a principal component analyzer; for several units, Oja 1989, Neural
networks, principal components, and subspaces.
"""

from collections.abc import Callable

from jaxtyping import Array, Float

from jaxnets.ops.learning_rules._check import check, check_pairs

Weights = Float[Array, "n_in n_out"]
Inputs = Float[Array, "batch n_in"]
Targets = Float[Array, "batch n_out"]


def hebb_general(
    x: Inputs,
    a: Targets,
    *,
    f: Callable[[Array], Array],
    g: Callable[[Array], Array],
) -> Weights:
    """Products of functions of what came in and of what went out (HB2).

    As an update for `learn`, with the outputs of units as a: `lambda w, x: hebb_general(x, tanh(x @ w), f=f, g=g)`.

    Args:
      f: of the activities a after the synapse, element-wise.
      g: of the activities x before it, element-wise.

    Raises:
      ValueError: if x and a are no matrices with as many rows.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check_pairs("hebb_general", x, a)
    return g(x).T @ f(a)  # (HB2)


def hebb_unsupervised(w: Weights, x: Inputs) -> Weights:
    """Hebb's rule for a linear unit's own output (HB3): the weights grow exponentially along what comes in.

    Raises:
      ValueError: if the widths of x and w do not agree.
      TypeError: if x and w are not floating-point arrays of one dtype.
    """
    check("hebb_unsupervised", w, x)
    return x.T @ (x @ w)  # (HB3)


def hebb_supervised(w: Weights, x: Inputs, t: Targets) -> Weights:
    """Hebb's rule with the wanted output in place of the actual one (HB4); the weights so far do not matter.

    Raises:
      ValueError: if the shapes of w, x and t do not agree.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check("hebb_supervised", w, x, t)
    return x.T @ t  # (HB4)


def oja(w: Weights, x: Inputs) -> Weights:
    """Hebb's rule with a decay that keeps the weights of a unit at length 1 (HB5).

    On inputs of mean 0, one unit converges to the first principal component, up to its sign; several converge to
    orthonormal vectors that span the first components, though not to the components themselves.

    Raises:
      ValueError: if the widths of x and w do not agree.
      TypeError: if x and w are not floating-point arrays of one dtype.
    """
    check("oja", w, x)
    a = x @ w
    return x.T @ a - w @ (a.T @ a)  # (HB5)
