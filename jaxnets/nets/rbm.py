"""Restricted Boltzmann machine of binary units.  Derivation: derivations/rbm.md.

Visible units v_i with biases b_i, hidden units h_j with biases c_j, weights w_ij between them and none within a layer:

    (RB1) E(v, h) = -Σ_i b_i v_i - Σ_j c_j h_j - Σ_ij v_i w_ij h_j         p(v, h) = e^-E(v, h) / Z
    (RB2) w_bar_ij = -Σ_n E_bar_n v_ni h_nj       b_bar = -Σ_n E_bar_n v_n       c_bar = -Σ_n E_bar_n h_n
    (RB3) v_bar_n = -E_bar_n (b + w h_n)          h_bar_n = -E_bar_n (c + v_n w)
    (RB4) p(h_j = 1 | v) = σ(c_j + Σ_i v_i w_ij)
    (RB5) p(v_i = 1 | h) = σ(b_i + Σ_j w_ij h_j)
    (RB6) F(v) = -ln Σ_h e^-E(v, h) = -Σ_i b_i v_i - Σ_j softplus(c_j + Σ_i v_i w_ij)
    (RB7) with p_nj = p(h_j = 1 | v_n):  w_bar_ij = -Σ_n F_bar_n v_ni p_nj
    (RB8) b_bar_i = -Σ_n F_bar_n v_ni      c_bar_j = -Σ_n F_bar_n p_nj      v_bar_ni = -F_bar_n (b_i + Σ_j w_ij p_nj)

One layer is summed by hand, so for Z only the states of the smaller one are gone through, 2^min(visible, hidden):

    (RB9) Z = Σ_v Σ_h e^-E(v, h) = Σ_h e^(c·h) Π_i (1 + e^(b_i + Σ_j w_ij h_j))
    (RB10) ∂ln Z/∂w_ij = ⟨v_i h_j⟩_model      ∂ln Z/∂b_i = ⟨v_i⟩_model      ∂ln Z/∂c_j = ⟨h_j⟩_model
    (RB11) L = (1/N) Σ_n ln p(v_n) = -(1/N) Σ_n F(v_n) - ln Z
    (RB12) ∂L/∂w_ij = ⟨v_i h_j⟩_data - ⟨v_i h_j⟩_model, as for the biases, where data have h_j = p(h_j = 1 | v_n)
    (RB13) v_bar_n = (L_bar / N) (b + w p_n)

Machines whose smaller layer has more units are estimated (`jaxnets.nets.annealed_importance`).  They learn by
`jaxnets.nets.contrastive_divergence`.

Sources: Smolensky 1986, Information processing in dynamical systems: foundations of harmony theory; Freund and Haussler
1992, Unsupervised learning of distributions on binary vectors using two layer networks; Hinton 2002, Training products
of experts by minimizing contrastive divergence; Hinton 2012, A practical guide to training restricted Boltzmann
machines, section 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnets.nets.binary import States, check_enumerable, log_sum_over_states, sum_over_states
from jaxnets.ops.activations import sigmoid, softplus
from jaxnets.ops.affine import affine
from jaxnets.rule import rule

Visible = Float[Array, "batch visible"]
Hidden = Float[Array, "batch hidden"]
Each = Float[Array, " batch"]
Scalar = Float[Array, ""]


class Params(NamedTuple):
    """Weights between the layers, biases of the visible and of the hidden units."""

    w: Float[Array, "visible hidden"]
    b: Float[Array, " visible"]
    c: Float[Array, " hidden"]


class EnergyResiduals(NamedTuple):
    """The arguments."""

    params: Params
    v: Visible
    h: Hidden


class PartitionResiduals(NamedTuple):
    """The parameters, and the probability of each state of the smaller layer."""

    params: Params
    p: Float[Array, " states"]


class FreeEnergyResiduals(NamedTuple):
    """The arguments, and what the hidden units do about them."""

    params: Params
    v: Visible
    p: Hidden


class LikelihoodResiduals(NamedTuple):
    """Those of the free energy, and of the partition function."""

    data: FreeEnergyResiduals
    model: PartitionResiduals


def init(
    key: Key[Array, ""],
    visible: int,
    hidden: int,
    *,
    scale: float = 0.01,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Params:
    """Weights from N(0, scale²), and biases 0.

    Visible biases of the data (`data_biases`) are better than 0 (Hinton's guide, section 8).

    Raises:
      ValueError: if a layer has no unit.
    """
    if visible < 1 or hidden < 1:
        raise ValueError(f"rbm.init: got {visible} visible and {hidden} hidden units, wanted at least one of each")
    w = scale * jax.random.normal(key, (visible, hidden), dtype)
    return Params(w, jnp.zeros(visible, dtype), jnp.zeros(hidden, dtype))


def data_biases(v: Visible, *, pseudocount: float = 1.0) -> Float[Array, " visible"]:
    """Visible biases with which units that know nothing of each other have the means of the data: ln(p / (1 - p)).

    The pseudocount is of examples in which the unit is on, and as many in which it is off, so that p is never 0 or 1.
    """
    on = v.sum(0)
    return jnp.log(on + pseudocount) - jnp.log(len(v) - on + pseudocount)


def energy_forward(params: Params, v: Visible, h: Hidden) -> tuple[Each, EnergyResiduals]:
    """Energy of each pair of a visible and a hidden state (RB1).

    Raises:
      ValueError: if the states have not as many units as the machine, or not the same number of rows.
    """
    check("rbm.energy", params, v, h)
    e = -(v @ params.b) - h @ params.c - (v @ params.w * h).sum(1)  # (RB1)
    return e, EnergyResiduals(params, v, h)


def energy_backward(residuals: EnergyResiduals, e_bar: Each) -> tuple[Params, Visible, Hidden]:
    """Cotangents of the parameters and of both states."""
    (w, b, c), v, h = residuals
    params_bar = Params(-(e_bar[:, None] * v).T @ h, -e_bar @ v, -e_bar @ h)  # (RB2)
    v_bar = -e_bar[:, None] * (b[None, :] + h @ w.T)  # (RB3)
    h_bar = -e_bar[:, None] * (c[None, :] + v @ w)  # (RB3)
    return params_bar, v_bar, h_bar


energy = rule(energy_forward, energy_backward)


def hidden_probabilities(params: Params, v: Visible) -> Hidden:
    """p(h_j = 1 | v): given the visible units the hidden ones are independent (RB4)."""
    check("rbm.hidden_probabilities", params, v)
    return sigmoid(affine(v, params.w, params.c))  # (RB4)


def visible_probabilities(params: Params, h: Hidden) -> Visible:
    """p(v_i = 1 | h): given the hidden units the visible ones are independent (RB5)."""
    check("rbm.visible_probabilities", params, h=h)
    return sigmoid(affine(h, params.w.T, params.b))  # (RB5)


def free_energy_forward(params: Params, v: Visible) -> tuple[Each, FreeEnergyResiduals]:
    """Free energy of each visible state, p(v) = e^-F(v) / Z, with the hidden units summed out (RB6).

    Raises:
      ValueError: if the states have not as many units as the machine.
    """
    check("rbm.free_energy", params, v)
    w, b, c = params
    z = v @ w + c[None, :]
    f = -(v @ b) - softplus(z).sum(1)  # (RB6)
    return f, FreeEnergyResiduals(params, v, sigmoid(z))


def free_energy_backward(residuals: FreeEnergyResiduals, f_bar: Each) -> tuple[Params, Visible]:
    """Cotangents of the parameters and of the states: the derivative of softplus is p(h = 1 | v)."""
    (w, b, _), v, p = residuals
    p_bar = f_bar[:, None] * p
    w_bar = -(v.T @ p_bar)  # (RB7)
    v_bar = -f_bar[:, None] * b[None, :] - p_bar @ w.T  # (RB8)
    return Params(w_bar, -f_bar @ v, -p_bar.sum(0)), v_bar  # (RB8)


free_energy = rule(free_energy_forward, free_energy_backward)


def log_partition_forward(params: Params, *, block: int = 4096) -> tuple[Scalar, PartitionResiduals]:
    """Logarithm of the partition function, exactly: the sum over all states of the smaller layer (RB9).

    Args:
      params: of a machine one of whose layers has at most 20 units.
      block: how many states are held at a time, a power of two.

    Raises:
      ValueError: if both layers have more than 20 units, or `block` is no power of two.
    """
    check("rbm.log_partition", params)
    w, b, c = _smaller_layer_hidden(params)
    check_enumerable("rbm.log_partition", "the smaller layer", len(c))

    def log_weights(h: States) -> Float[Array, " states"]:
        return h @ c + softplus(h @ w.T + b[None, :]).sum(1)  # (RB9), a term of the sum over h

    log_z, p = log_sum_over_states(log_weights, len(c), w.dtype, block=block)
    return log_z, PartitionResiduals(params, p)


def log_partition_backward(residuals: PartitionResiduals, z_bar: Scalar, *, block: int = 4096) -> tuple[Params]:
    """Cotangents of the parameters: what the machine expects of its units and of their products."""
    params, p = residuals
    w, b, c = _smaller_layer_hidden(params)

    def part(h: States, p: Float[Array, " states"]) -> Params:
        v, p_h = sigmoid(h @ w.T + b[None, :]), p[:, None] * h
        return Params(v.T @ p_h, p @ v, p_h.sum(0))  # (RB10)

    model = jax.tree.map(lambda a: z_bar * a, sum_over_states(part, p, len(c), block=block))
    return (model if len(params.c) <= len(params.b) else _exchanged(model),)


log_partition = rule(log_partition_forward, log_partition_backward)


def log_likelihood_forward(params: Params, v: Visible, *, block: int = 4096) -> tuple[Scalar, LikelihoodResiduals]:
    """Mean of ln p(v) over the rows, exactly (RB11).

    Args:
      params: of a machine one of whose layers has at most 20 units.
      v: the data.
      block: how many states of the smaller layer are held at a time, a power of two.

    Raises:
      ValueError: as `free_energy` and `log_partition`.
    """
    f, data = free_energy_forward(params, v)
    log_z, model = log_partition_forward(params, block=block)
    return -f.mean() - log_z, LikelihoodResiduals(data, model)  # (RB11)


def log_likelihood_backward(
    residuals: LikelihoodResiduals, l_bar: Scalar, *, block: int = 4096
) -> tuple[Params, Visible]:
    """Cotangents of the parameters, statistics of the data less those of the machine, and of the data."""
    data, model = residuals
    each = jnp.broadcast_to(-l_bar / len(data.v), len(data.v))
    data_bar, v_bar = free_energy_backward(data, each)  # (RB13)
    (model_bar,) = log_partition_backward(model, l_bar, block=block)
    return jax.tree.map(jnp.subtract, data_bar, model_bar), v_bar  # (RB12)


log_likelihood = rule(log_likelihood_forward, log_likelihood_backward)


def _exchanged(params: Params) -> Params:
    """The same machine with its visible units called hidden, and the hidden ones visible."""
    return Params(params.w.T, params.c, params.b)


def _smaller_layer_hidden(params: Params) -> Params:
    return params if len(params.c) <= len(params.b) else _exchanged(params)


def check(name: str, params: Params, v: Visible | None = None, h: Hidden | None = None) -> None:
    """ValueError, in the name of the function `name`, if the states given are not of such a machine."""
    w, b, c = params
    if w.ndim != 2 or b.shape != w.shape[:1] or c.shape != w.shape[1:]:
        raise ValueError(f"{name}: w has shape {w.shape}, b {b.shape} and c {c.shape}, wanted (i, j), (i,) and (j,)")
    for called, state, units in (("v", v, w.shape[0]), ("h", h, w.shape[1])):
        if state is not None and (state.ndim != 2 or state.shape[1] != units):
            raise ValueError(f"{name}: {called} has shape {state.shape}, wanted (batch, {units})")
    if v is not None and h is not None and len(v) != len(h):
        raise ValueError(f"{name}: v has {len(v)} rows and h {len(h)}, wanted as many")
