"""The functions that some learning rules climb or descend, each with its gradient.  See derivations/learning-rules.md.

With a = x w, and sums over the rows of the batch and over the units:

    (HB8) E = ½ Σ a²                (HB9) w_bar = E_bar xᵀ a            (HB10) x_bar = E_bar a wᵀ
    (HB11) E = Σ t ⊙ a              (HB12) w_bar = E_bar xᵀ t,  x_bar = E_bar t wᵀ,  t_bar = E_bar a
    (HB13) E = ½ Σ (t - a)²         (HB14) w_bar = -E_bar xᵀ (t - a)
                                    (HB15) x_bar = -E_bar (t - a) wᵀ,  t_bar = E_bar (t - a)

The gradients with respect to w are the rules themselves: (HB3), (HB4), and minus (HB7).

Sources: as in `hebbian` and `correcting`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.ops.learning_rules._check import check
from jaxnets.ops.learning_rules.correcting import delta_rule
from jaxnets.ops.learning_rules.hebbian import Inputs, Targets, Weights, hebb_supervised, hebb_unsupervised
from jaxnets.rule import rule

Energy = Float[Array, ""]


class Arguments(NamedTuple):
    """The arguments themselves: the gradients are made of nothing else."""

    w: Weights
    x: Inputs
    t: Targets


def output_energy_forward(w: Weights, x: Inputs) -> tuple[Energy, tuple[Weights, Inputs]]:
    """Half the sum of the squared outputs of linear units (HB8); Hebb's rule without a teacher climbs it.

    Raises:
      ValueError: if the widths of x and w do not agree.
      TypeError: if x and w are not floating-point arrays of one dtype.
    """
    check("output_energy", w, x)
    return 0.5 * jnp.sum((x @ w) ** 2), (w, x)  # (HB8)


def output_energy_backward(residuals: tuple[Weights, Inputs], e_bar: Energy) -> tuple[Weights, Inputs]:
    """Cotangents of w and x."""
    w, x = residuals
    return e_bar * hebb_unsupervised(w, x), e_bar * (x @ w @ w.T)  # (HB9) (HB10)


def correlation_forward(w: Weights, x: Inputs, t: Targets) -> tuple[Energy, Arguments]:
    """Sum of the products of outputs and targets (HB11); Hebb's rule with a teacher climbs it: it is linear in w.

    Raises:
      ValueError: if the shapes of w, x and t do not agree.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check("correlation", w, x, t)
    return jnp.sum(t * (x @ w)), Arguments(w, x, t)  # (HB11)


def correlation_backward(residuals: Arguments, e_bar: Energy) -> tuple[Weights, Inputs, Targets]:
    """Cotangents of w, x and t."""
    w, x, t = residuals
    return e_bar * hebb_supervised(w, x, t), e_bar * (t @ w.T), e_bar * (x @ w)  # (HB12)


def half_squared_error_forward(w: Weights, x: Inputs, t: Targets) -> tuple[Energy, Arguments]:
    """Half the sum of the squared errors of linear units over the whole batch, a sum and no mean (HB13).

    Raises:
      ValueError: if the shapes of w, x and t do not agree.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    check("half_squared_error", w, x, t)
    return 0.5 * jnp.sum((t - x @ w) ** 2), Arguments(w, x, t)  # (HB13)


def half_squared_error_backward(residuals: Arguments, e_bar: Energy) -> tuple[Weights, Inputs, Targets]:
    """Cotangents of w, x and t."""
    w, x, t = residuals
    error = t - x @ w
    return -e_bar * delta_rule(w, x, t), -e_bar * (error @ w.T), e_bar * error  # (HB14) (HB15)


output_energy = rule(output_energy_forward, output_energy_backward)
correlation = rule(correlation_forward, correlation_backward)
half_squared_error = rule(half_squared_error_forward, half_squared_error_backward)
