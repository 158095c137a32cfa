"""The partition function of a deep Boltzmann machine by annealed importance sampling.  Derivation: derivations/dbm.md.

The chains are of the odd layers, with the even ones, the visible one among them, summed out (DM7), in machines on the
way from independent units with visible biases a to the wanted one:

    (DM23) ln f_β(h^1, h^3, ...) = -F(h^1, h^3, ...) with weights β w and biases (1-β) a + β b^0, β b^1 ... β b^L
    (DM24) Z_A = 2^(hidden units) Π_i (1 + e^a_i)

and the transition is a sweep of Gibbs sampling in the machine of that β.  With the estimate for ln Z in (DM16) there is
a lower bound on the likelihood of data, as good as the estimate, for machines that nobody can enumerate.

Sources: Salakhutdinov and Murray 2008, On the quantitative analysis of deep belief networks, section 4; Salakhutdinov
and Hinton 2009, Deep Boltzmann machines, section 3.2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnets.nets import dbm
from jaxnets.nets.annealed_importance import Estimate, Path
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.dbm import Layers, Params
from jaxnets.nets.mean_field import variational_free_energy
from jaxnets.ops.activations import softplus


class Interval(NamedTuple):
    """The bound, and what becomes of it at the ends of the interval of ln Z."""

    bound: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def of_dbm(params: Params, a: Float[Array, " visible"]) -> Path:
    """The path to this machine, for `jaxnets.nets.annealed_importance.estimate`.

    Args:
      params: of the machine.
      a: visible biases of the independent units that it starts from, best `jaxnets.nets.rbm.data_biases`.

    Raises:
      ValueError: if there are not as many biases as visible units.
    """
    if a.shape != params.b[0].shape:
        raise ValueError(f"of_dbm: a has shape {a.shape}, wanted that of the visible biases, {params.b[0].shape}")

    def between(beta: Float[Array, ""]) -> Params:
        scaled = jax.tree.map(lambda leaf: beta * leaf, params)
        return scaled._replace(b=((1 - beta) * a + scaled.b[0], *scaled.b[1:]))

    def start(key: Key[Array, ""], chains: int) -> Layers:
        halves = [jnp.full((chains, len(b)), 0.5, b.dtype) for b in params.b[1::2]]
        return tuple(sample_bernoulli(k, p) for k, p in zip(jax.random.split(key, len(halves)), halves, strict=True))

    def log_f(odd: Layers, beta: Float[Array, ""]) -> Float[Array, " chains"]:
        return -dbm.free_energy(between(beta), odd, first=1)  # (DM23)

    def move(odd: Layers, beta: Float[Array, ""], key: Key[Array, ""]) -> Layers:
        layers = dbm.among_zeros("of_dbm", params, odd, first=1)
        return dbm.gibbs_sweep(between(beta), layers, key, first=0)[1::2]

    hidden = sum(len(b) for b in params.b[1:])
    return Path(start, log_f, move, hidden * jnp.log(jnp.asarray(2.0, a.dtype)) + softplus(a).sum())  # (DM24)


def estimated_bound(params: Params, v: Float[Array, "batch visible"], mu: Layers, log_z: Estimate) -> Interval:
    """The lower bound (DM16) on the mean of ln p(v), with an estimate of ln Z and its interval.

    `low` is the bound with the upper end of the interval.  ValueError if the widths do not agree.
    """
    above = -variational_free_energy(params, v, mu).mean()
    return Interval(above - log_z.log_z, above - log_z.high, above - log_z.low)
