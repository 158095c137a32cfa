"""The rules that correct errors: the perceptron's and the delta rule.  Derivation: derivations/learning-rules.md.

Each gives the change of the weights before the learning rate, summed over the rows of a batch; a bias is the weight of
an input that is always 1.

    (HB6) perceptron rule:                 Δw = xᵀ (t - u(x w)),  u(0) = 0
    (HB7) delta rule (ADALINE, LMS):       Δw = xᵀ (t - x w)

(HB7) is minus the gradient of (HB13).  (HB6) is minus a subgradient of the perceptron loss (LS23), summed over rows and
units: where x w = 0, which has many, it takes 0 for the target 0 and x for the target 1.

Widrow and Hoff have the step 2 μ e x, from the square of the error without the half: η = 2 μ.

Sources: Rosenblatt 1958, The perceptron; Novikoff 1962, On convergence proofs on perceptrons; Widrow and Hoff 1960,
Adaptive switching circuits; Hagan, Demuth and Beale 1996, Neural network design, ch. 4 and 10.
"""

from jaxnets.ops.learning_rules._check import check
from jaxnets.ops.learning_rules.hebbian import Inputs, Targets, Weights
from jaxnets.ops.steps import unit_step


def perceptron_rule(w: Weights, x: Inputs, t: Targets) -> Weights:
    """Rosenblatt's rule (HB6): threshold units move towards or away from an input where they are wrong about it.

    From zero weights, one example after the other, a unit whose classes some weights of length 1 separate by a margin
    γ > 0 makes at most (R/γ)² mistakes, where R is the length of the longest input.  Where none do, it never stops.

    Args:
      t: targets in {0, 1}.

    Raises:
      ValueError: if the shapes of w, x and t do not agree.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check("perceptron_rule", w, x, t)
    return x.T @ (t - unit_step(x @ w, at_zero=0.0))  # (HB6)


def delta_rule(w: Weights, x: Inputs, t: Targets) -> Weights:
    """Widrow and Hoff's rule (HB7): linear units move against the gradient of half their squared error.

    With all rows in one batch it converges to least squares for 0 < η < 2/λ_max(xᵀ x), and diverges above.

    Raises:
      ValueError: if the shapes of w, x and t do not agree.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check("delta_rule", w, x, t)
    return x.T @ (t - x @ w)  # (HB7)
