"""A Hopfield network and its energy.  Derivation: derivations/hopfield.md.

N units, s_i = -1 or 1; w_ij leads from unit j to unit i and back, w_ii = 0; θ_i is the threshold of unit i.  For each
state s_n, a row of a batch:

    (HF1) E_n = -½ Σ_ij s_{n,i} w_ij s_{n,j} + Σ_i θ_i s_{n,i}
    (HF2) w_bar_ij = -½ Σ_n E_bar_n s_{n,i} s_{n,j}           (HF3) θ_bar_i = Σ_n E_bar_n s_{n,i}
    (HF4) s_bar_{n,i} = E_bar_n (θ_i - ½ Σ_j (w_ij + w_ji) s_{n,j})

For symmetric weights (HF4) is minus the field (HF5) that moves the units.

Source: Hopfield 1982, Neural networks and physical systems with emergent collective computational abilities, eq. (7),
with states -1 and 1 in place of 0 and 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.rule import rule

Weights = Float[Array, "units units"]
Thresholds = Float[Array, " units"]
States = Float[Array, "batch units"]


class Params(NamedTuple):
    """Weights, symmetric and with a diagonal of zeros, and thresholds."""

    w: Weights
    theta: Thresholds


class Residuals(NamedTuple):
    """What the energy was of."""

    params: Params
    s: States


def energy_forward(params: Params, s: States) -> tuple[Float[Array, " batch"], Residuals]:
    """Energy of each state (HF1); also of states between -1 and 1, and for weights of any kind.

    Raises:
      ValueError: if the shapes of the weights, the thresholds and the states do not agree.
    """
    check(params, s)
    return -0.5 * jnp.sum((s @ params.w) * s, 1) + s @ params.theta, Residuals(params, s)  # (HF1)


def energy_backward(residuals: Residuals, e_bar: Float[Array, " batch"]) -> tuple[Params, States]:
    """Cotangents of the parameters and of the states."""
    (w, theta), s = residuals
    weighted = e_bar[:, None] * s
    s_bar = e_bar[:, None] * (theta[None] - 0.5 * (s @ (w + w.T)))  # (HF4)
    return Params(-0.5 * (weighted.T @ s), weighted.sum(0)), s_bar  # (HF2) (HF3)


energy = rule(energy_forward, energy_backward)


def check(params: Params, s: Array) -> None:
    """ValueError unless w is square, and θ and the rows of s are as long."""
    units = params.w.shape[0]
    if params.w.shape != (units, units) or params.theta.shape != (units,):
        raise ValueError(
            f"hopfield: wanted w (units, units) and theta (units,), got {params.w.shape} and {params.theta.shape}"
        )
    if s.ndim != 2 or s.shape[1] != units:
        raise ValueError(f"hopfield: s has shape {s.shape}, wanted (batch, {units}) for w {params.w.shape}")
