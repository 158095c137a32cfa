"""Exact likelihood of a small deep Boltzmann machine, by enumeration.  Derivation: derivations/dbm.md.

With the odd layers summed out (DM7), what is left to enumerate are the even ones, hidden (h) or visible (v):

    (DM9) ln p*(v) = ln Σ_h e^-F(v, h)          (DM10) ∂/∂q ln p*(v) = -Σ_h p(h | v) ∂F/∂q  for q = w, b, v
    (DM11) ln Z = ln Σ_v Σ_h e^-F(v, h)         (DM12) ∂/∂q ln Z = -Σ_v Σ_h p(v, h) ∂F/∂q   for q = w, b
    (DM13) L = (1/N) Σ_n ln p*(v_n) - ln Z

so that the gradient of the likelihood is an expectation given the data less one over the model: the two phases.

Source: Salakhutdinov and Hinton 2009, Deep Boltzmann machines, section 2.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnets.nets import dbm
from jaxnets.nets.binary import check_enumerable, states
from jaxnets.nets.dbm import Params
from jaxnets.rule import rule

States = tuple[Float[Array, "states _"], ...]


class Residuals(NamedTuple):
    """The probability of each state that was enumerated, in a row those that are summed, and what F saved of them."""

    p: Float[Array, "batch states"]
    free_energy: dbm.Residuals


def log_unnormalized_forward(
    params: Params, v: Float[Array, "batch visible"]
) -> tuple[Float[Array, " batch"], Residuals]:
    """Logarithm of Σ e^-E over all states of the hidden layers, for each row (DM9).

    Raises:
      ValueError: if the widths do not agree, or the even hidden layers have more than 20 units.
    """
    if v.ndim != 2 or v.shape[1:] != params.b[0].shape:
        raise ValueError(f"log_unnormalized: v has shape {v.shape}, wanted (batch, {params.b[0].shape[0]})")
    check_enumerable("log_unnormalized", "the set of even hidden layers", sum(len(b) for b in params.b[2::2]))
    hidden = _states(params.b[2::2])
    count = len(hidden[0])
    even = (jnp.repeat(v, count, axis=0), *(jnp.tile(h, (len(v), 1)) for h in hidden))
    return _log_sum(params, even, (len(v), count))  # (DM9)


def log_unnormalized_backward(
    residuals: Residuals, y_bar: Float[Array, " batch"]
) -> tuple[Params, Float[Array, "batch visible"]]:
    """Cotangents of params and v: minus the free energy's, in the mean over the hidden states."""
    params_bar, (v_bar, *_) = _mean(residuals, y_bar)  # (DM10)
    return params_bar, v_bar.reshape(*residuals.p.shape, v_bar.shape[1]).sum(1)


log_unnormalized = rule(log_unnormalized_forward, log_unnormalized_backward)


def log_partition_forward(params: Params) -> tuple[Float[Array, ""], Residuals]:
    """Logarithm of the partition function (DM11).

    Raises:
      ValueError: if the even layers, the visible one among them, have more than 20 units.
    """
    check_enumerable("log_partition", "the set of even layers", sum(len(b) for b in params.b[::2]))
    even = _states(params.b[::2])
    log_z, residuals = _log_sum(params, even, (1, len(even[0])))  # (DM11)
    return log_z[0], residuals


def log_partition_backward(residuals: Residuals, z_bar: Float[Array, ""]) -> tuple[Params]:
    """Cotangent of params: minus the free energy's, in the mean over the model."""
    params_bar, _ = _mean(residuals, z_bar[None])  # (DM12)
    return (params_bar,)


log_partition = rule(log_partition_forward, log_partition_backward)


def log_likelihood(params: Params, v: Float[Array, "batch visible"]) -> Float[Array, ""]:
    """Mean of ln p(v) over the rows, exactly (DM13).  ValueError as `log_unnormalized` and `log_partition`."""
    return log_unnormalized(params, v).mean() - log_partition(params)  # (DM13)


def _states(biases: tuple[Float[Array, " _"], ...]) -> States:
    """Every joint state of the layers with these biases, one a row."""
    sizes = [len(b) for b in biases]
    joint = states(jnp.arange(2 ** sum(sizes)), sum(sizes), biases[0].dtype)
    return tuple(jnp.split(joint, np.cumsum(sizes)[:-1].tolist(), axis=1))


def _log_sum(params: Params, even: States, shape: tuple[int, int]) -> tuple[Float[Array, " batch"], Residuals]:
    f, residuals = dbm.free_energy.forward(params, even)
    exponents = -f.reshape(shape)
    top = exponents.max(1, keepdims=True)
    terms = jnp.exp(exponents - top)
    total = terms.sum(1, keepdims=True)
    return (top + jnp.log(total))[:, 0], Residuals(terms / total, residuals)


def _mean(residuals: Residuals, y_bar: Float[Array, " batch"]) -> tuple[Params, States]:
    return dbm.free_energy.backward(residuals.free_energy, (-y_bar[:, None] * residuals.p).ravel())
