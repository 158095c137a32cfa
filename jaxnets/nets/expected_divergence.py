"""What contrastive divergence does on average, exactly, for small machines.  Derivation: derivations/boltzmann.md.

A round of a chain takes v to v' with probability T(v' | v): from the data's frequencies p_0 it is at p_0 T^k after k.

    (CD5) T(v' | v) = Σ_h p(v' | h) p(h | v)
    (CD6) E[direction] = ⟨∂E/∂θ⟩_data - ⟨∂E/∂θ⟩ under p_0 T^k;  for k → ∞ that is the gradient of -ln p(data)

For a finite k it is a field of vectors whose Jacobian is not symmetric: it is not the gradient of any function.

Source: Sutskever and Tieleman 2010, On the convergence properties of contrastive divergence, section 3.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxnets.nets import rbm
from jaxnets.nets.binary import check_enumerable, states
from jaxnets.ops.activations import softmax

MOST_UNITS = 12
"""Of each layer: matrices of all its states times all states of the other one are multiplied."""


def expected_divergence(params: rbm.Params, v: rbm.Visible, *, steps: int | Integer[Array, ""]) -> rbm.Params:
    """The expectation of `contrastive_divergence`, over all that it may draw (CD6).

    Args:
      params: of a machine with at most 12 units in each layer.
      v: data of zeros and ones.
      steps: rounds of the chains, at least 0.

    Raises:
      ValueError: if a layer has more units, or the data do not fit the machine.
    """
    rbm.check("expected_divergence", params, v)
    visible, hidden = params.w.shape
    for layer, units in (("the visible layer", visible), ("the hidden layer", hidden)):
        check_enumerable("expected_divergence", layer, units, MOST_UNITS)
    all_v, all_h = (states(jnp.arange(2**units), units, v.dtype) for units in (visible, hidden))
    minus_e = (all_v @ params.b)[:, None] + (all_h @ params.c)[None, :] + all_v @ params.w @ all_h.T
    turn = softmax(minus_e) @ softmax(minus_e.T)  # (CD5)
    number = v.astype(jnp.int32) @ (1 << jnp.arange(visible, dtype=jnp.int32))
    frequency = jnp.zeros(2**visible, v.dtype).at[number].add(1 / len(v))
    reached = jax.lax.fori_loop(0, steps, lambda _, p: p @ turn, frequency)
    p_h = rbm.hidden_probabilities(params, all_v)
    return jax.tree.map(jnp.subtract, _weighted(all_v, p_h, reached), _weighted(all_v, p_h, frequency))  # (CD6)


def _weighted(v: rbm.Visible, p_h: rbm.Hidden, p: Float[Array, " batch"]) -> rbm.Params:
    return rbm.Params((p[:, None] * v).T @ p_h, p @ v, p @ p_h)
