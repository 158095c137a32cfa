"""Boltzmann machine: symmetrically connected binary units, some of them hidden.  Derivation: derivations/boltzmann.md.

Units s_i are 0 or 1, the first ones visible; w is symmetric with a diagonal of 0 (`symmetric` makes any matrix so, and
only that part of w counts):

    (BM1) E(s) = -½ Σ_ij s_i w_ij s_j - Σ_i b_i s_i                        p(s) = e^-E(s) / Z
    (BM2) w_bar_ij = -½ Σ_n E_bar_n s_ni s_nj for i ≠ j, else 0            b_bar_i = -Σ_n E_bar_n s_ni
    (BM3) s_bar_n = -E_bar_n (b + w s_n)
    (BM4) F(v) = -ln Σ_h e^-E(v, h)
    (BM5) w_bar_ij = -½ Σ_n F_bar_n ⟨s_i s_j⟩_n for i ≠ j, else 0          b_bar_i = -Σ_n F_bar_n ⟨s_i⟩_n
    (BM6) v_bar_n = -F_bar_n (b + w ⟨s⟩_n), of the visible units
    (BM7) L = (1/N) Σ_n ln p(v_n) = -(1/N) Σ_n F(v_n) - ln Z,  and -ln Z is F without any visible unit
    (BM8) ∂L/∂w_ij = ½ (⟨s_i s_j⟩_data - ⟨s_i s_j⟩_model)                  ∂L/∂b_i = ⟨s_i⟩_data - ⟨s_i⟩_model

⟨·⟩_n is the mean over p(h | v_n), with the visible units clamped to v_n; ⟨·⟩_data is the mean of these over n.  The ½
is that of a matrix in which each connection stands twice, as w_ij and as w_ji.  Ackley, Hinton and Sejnowski count
every pair once: the derivative with respect to the one weight of a pair is the sum of its two entries, without the ½.

Source: Ackley, Hinton and Sejnowski 1985, A learning algorithm for Boltzmann machines, eq. (1) and (8) to (10).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnets.nets.binary import check_enumerable, states
from jaxnets.rule import rule

All = Float[Array, "batch units"]
Visible = Float[Array, "batch visible"]
Each = Float[Array, " batch"]
Scalar = Float[Array, ""]

MOST_HIDDEN = 16
"""Units that are summed over at a time; all of the machine's, for the partition function."""


class Params(NamedTuple):
    """Weights between all units, and their biases."""

    w: Float[Array, "units units"]
    b: Float[Array, " units"]


class EnergyResiduals(NamedTuple):
    """The arguments."""

    params: Params
    s: All


class FreeEnergyResiduals(NamedTuple):
    """The parameters, the visible states, and the probability of each hidden state given them."""

    params: Params
    v: Visible
    p: Float[Array, "batch states"]


class LikelihoodResiduals(NamedTuple):
    """Of the free energies of the data, and of that without visible units."""

    data: FreeEnergyResiduals
    model: FreeEnergyResiduals


def init(key: Key[Array, ""], units: int, *, scale: float = 0.1, dtype: jax.typing.DTypeLike = jnp.float32) -> Params:
    """Symmetric weights from N(0, scale²), and biases 0.

    Raises:
      ValueError: if there is no unit.
    """
    if units < 1:
        raise ValueError(f"boltzmann.init: got {units} units, wanted at least one")
    above = jnp.triu(scale * jax.random.normal(key, (units, units), dtype), 1)
    return Params(above + above.T, jnp.zeros(units, dtype))


def symmetric(w: Float[Array, "units units"]) -> Float[Array, "units units"]:
    """The part of w that counts: (w + wᵀ) / 2, with zeros on the diagonal."""
    return jnp.where(jnp.eye(len(w), dtype=bool), jnp.zeros_like(w), 0.5 * (w + w.T))


def energy_forward(params: Params, s: All) -> tuple[Each, EnergyResiduals]:
    """Energy of each joint state (BM1).

    Raises:
      ValueError: if the states have not as many units as the machine.
    """
    check("energy", params)
    if s.ndim != 2 or s.shape[1] != len(params.b):
        raise ValueError(f"boltzmann.energy: s has shape {s.shape}, wanted (batch, {len(params.b)})")
    return -0.5 * (s @ symmetric(params.w) * s).sum(1) - s @ params.b, EnergyResiduals(params, s)  # (BM1)


def energy_backward(residuals: EnergyResiduals, e_bar: Each) -> tuple[Params, All]:
    """Cotangents of the parameters and of the states."""
    (w, b), s = residuals
    weighted = e_bar[:, None] * s
    params_bar = Params(-0.5 * symmetric(weighted.T @ s), -weighted.sum(0))  # (BM2)
    return params_bar, -e_bar[:, None] * (b[None, :] + s @ symmetric(w))  # (BM3)


energy = rule(energy_forward, energy_backward)


def free_energy_forward(params: Params, v: Visible) -> tuple[Each, FreeEnergyResiduals]:
    """Free energy of each state of the first units, with all the others summed out (BM4): 2^hidden terms for each row.

    Raises:
      ValueError: if v has more units than the machine, or more than 16 are left.
    """
    units = len(params.b)
    check("free_energy", params)
    if v.ndim != 2 or v.shape[1] > units:
        raise ValueError(f"boltzmann.free_energy: v has shape {v.shape}, wanted (batch, at most {units})")
    check_enumerable("boltzmann.free_energy", "the hidden part", units - v.shape[1], MOST_HIDDEN)
    minus_e = jax.vmap(lambda s: -energy_forward(params, s)[0])(_completed(v, units))
    total = jax.nn.logsumexp(minus_e, axis=1)
    return -total, FreeEnergyResiduals(params, v, jnp.exp(minus_e - total[:, None]))  # (BM4)


def free_energy_backward(residuals: FreeEnergyResiduals, f_bar: Each) -> tuple[Params, Visible]:
    """Cotangents of the parameters and of the states: those of the energy, with the hidden units as they would be."""
    params, v, p = residuals
    s = _completed(v, len(params.b))
    weighted = (f_bar[:, None] * p)[:, :, None] * s
    products = jnp.tensordot(weighted, s, ((0, 1), (0, 1)))
    params_bar = Params(-0.5 * symmetric(products), -weighted.sum((0, 1)))  # (BM5)
    v_bar = -f_bar[:, None] * params.b[None, :] - weighted.sum(1) @ symmetric(params.w)  # (BM6)
    return params_bar, v_bar[:, : v.shape[1]]


free_energy = rule(free_energy_forward, free_energy_backward)


def log_partition(params: Params) -> Scalar:
    """Logarithm of Z, exactly: minus the free energy without any visible unit.

    Raises:
      ValueError: if the machine has more than 16 units.
    """
    return -free_energy(params, _nothing(params))[0]


def log_likelihood_forward(params: Params, v: Visible) -> tuple[Scalar, LikelihoodResiduals]:
    """Mean of ln p(v) over the rows, exactly (BM7).

    Raises:
      ValueError: as `free_energy`, and if the machine has more than 16 units.
    """
    f, data = free_energy_forward(params, v)
    minus_log_z, model = free_energy_forward(params, _nothing(params))
    return -f.mean() + minus_log_z[0], LikelihoodResiduals(data, model)  # (BM7)


def log_likelihood_backward(residuals: LikelihoodResiduals, l_bar: Scalar) -> tuple[Params, Visible]:
    """Cotangents of the parameters, clamped statistics less those of the free machine, and of the data."""
    data, model = residuals
    n = len(data.v)
    clamped, v_bar = free_energy_backward(data, jnp.broadcast_to(-l_bar / n, n))
    free, _ = free_energy_backward(model, l_bar[None])
    return jax.tree.map(jnp.add, clamped, free), v_bar  # (BM8)


log_likelihood = rule(log_likelihood_forward, log_likelihood_backward)


def check(name: str, params: Params) -> None:
    """ValueError, in the name of the function `name`, if these are not the parameters of a machine."""
    units = params.b.shape
    if len(units) != 1 or params.w.shape != units * 2:
        raise ValueError(f"boltzmann.{name}: w has shape {params.w.shape} and b {units}, wanted (i, i) and (i,)")


def _nothing(params: Params) -> Visible:
    return jnp.zeros((1, 0), params.b.dtype)


def _completed(v: Visible, units: int) -> Float[Array, "batch states units"]:
    """Each row with every state of the units that are left."""
    left = units - v.shape[1]
    h = states(jnp.arange(2**left), left, v.dtype)
    shape = (len(v), len(h))
    return jnp.concatenate(
        [jnp.broadcast_to(v[:, None, :], (*shape, v.shape[1])), jnp.broadcast_to(h, (*shape, left))], 2
    )
