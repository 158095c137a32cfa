"""From the costs of the examples to the cost of the batch.  Derivation: derivations/losses.md.

    (LS1) C = (1/n) Σ_x C_x        the mean over the n examples x; or their sum, without 1/n; or the costs themselves
    (LS2) C̄_x = C̄/n              the cotangent of each example's cost; C̄ for the sum; C̄_x itself for the costs

One convention holds for every loss: the first axis counts the examples, and the cost of an example is the sum over all
its other axes.  To average over these too, or to leave some entries out, reshape them into the first axis, and weight
the costs of `Reduction.NONE`.

Source: Nielsen, Neural Networks and Deep Learning, ch. 2, "The two assumptions we need about the cost function".
"""

import enum

import jax.numpy as jnp
from jaxtyping import Array, Float

Cost = Float[Array, ""] | Float[Array, " batch"]
"""A scalar; with `Reduction.NONE` one number for each example."""


class Reduction(enum.Enum):
    """What a loss returns for a batch."""

    MEAN = "mean"
    """The mean of the examples' costs: the default."""
    SUM = "sum"
    """Their sum."""
    NONE = "none"
    """The costs themselves, of shape (batch,)."""


def reduce(terms: Float[Array, "batch *outputs"], reduction: Reduction) -> Cost:
    """The cost of a batch from its terms: summed over each example's axes, then reduced over the examples."""
    costs = terms.sum(tuple(range(1, terms.ndim)))
    match reduction:
        case Reduction.MEAN:
            return costs.mean()  # (LS1)
        case Reduction.SUM:
            return costs.sum()
        case Reduction.NONE:
            return costs
        case _:
            raise TypeError(f"reduction is {reduction!r}, wanted Reduction.MEAN, Reduction.SUM or Reduction.NONE")


def spread(c_bar: Cost, terms: Float[Array, "batch *outputs"], reduction: Reduction) -> Float[Array, "batch *ones"]:
    """The cotangent of each example's cost, with as many axes as `terms`."""
    batch = terms.shape[0]
    cx_bar = c_bar / batch if reduction is Reduction.MEAN else c_bar  # (LS2)
    return jnp.broadcast_to(cx_bar, (batch,)).reshape((batch,) + (1,) * (terms.ndim - 1))
