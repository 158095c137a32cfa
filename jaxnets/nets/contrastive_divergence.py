"""Contrastive divergence: how restricted Boltzmann machines learn.  Derivation: derivations/boltzmann.md.

The expectations of the machine in the gradient of the likelihood are too long a sum.  They are replaced by those of
Markov chains, which start at the data and run for k rounds (CD-k), or go on where they were a step ago (PCD):

    (CD1) h^t ~ p(h | v^t),  v^(t+1) ~ p(v | h^t)
    (CD2) direction = ⟨∂E/∂θ⟩_data - ⟨∂E/∂θ⟩_chains with p(h | v) for h;  of w_ij: ⟨v_i h_j⟩_chains - ⟨v_i h_j⟩_data
    (CD3) chains of CD-k: v^k from v^0 = data      chains of PCD: u^k from u^0, and u^k is u^0 of the next step
    (CD4) sparse, with q_j = ⟨h_j⟩_data: p_nj - λ (q_j - ρ) for p_nj in data

The direction is that of descent, as an optimizer wants it.  It is an estimate, and its expectation is **not the
gradient of any function** of the parameters: `expected_divergence` has it exactly, for small machines.

Sources: Hinton 2002, Training products of experts by minimizing contrastive divergence; Tieleman 2008, Training
restricted Boltzmann machines using approximations to the likelihood gradient; Sutskever and Tieleman 2010, On the
convergence properties of contrastive divergence; Hinton 2012, A practical guide to training restricted Boltzmann
machines, sections 3 and 11; Lee, Ekanadham and Ng 2008, Sparse deep belief net model for visual area V2.
"""

import enum
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from jaxnets.nets import rbm
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.train.step import State, Step, estimating_step, init_estimating

Visible = Float[Array, "batch visible"]
Hidden = Float[Array, "batch hidden"]
Chains = Float[Array, "chains visible"]
Scalar = Float[Array, ""]


class Machine(NamedTuple):
    """What contrastive divergence asks of a restricted Boltzmann machine, as pure functions."""

    hidden_probabilities: Callable[[Any, Visible], Hidden]
    """(params, v) -> p(h = 1 | v)"""
    visible_means: Callable[[Any, Hidden], Visible]
    """(params, h) -> the expectation of v given h"""
    sample_visible: Callable[[Any, Visible, Key[Array, ""]], Visible]
    """(params, means, key) -> v drawn with these means"""
    statistics: Callable[[Any, Visible, Hidden], Any]
    """(params, v, h) -> -∂E/∂params, the mean over the rows, affine in h"""


class Reconstruction(enum.Enum):
    """What a round of a chain makes of the visible units."""

    DRAWN = enum.auto()
    """They are drawn: Gibbs sampling."""
    MEANS = enum.auto()
    """They are their means given the hidden units: less noise, but no chain (Hinton's guide, section 3.2)."""


class Sparsity(NamedTuple):
    """How often a hidden unit is to be on, and the weight of that against the likelihood."""

    target: float
    cost: float


def statistics(params: rbm.Params, v: Visible, h: Hidden) -> rbm.Params:
    """-∂E/∂θ of a binary machine, the mean over the rows: ⟨v_i h_j⟩, ⟨v_i⟩ and ⟨h_j⟩.

    Raises:
      ValueError: if the states are not of such a machine.
    """
    rbm.check("statistics", params, v, h)
    n = len(v)
    return rbm.Params(v.T @ h / n, v.sum(0) / n, h.sum(0) / n)  # (CD2)


BERNOULLI = Machine(
    rbm.hidden_probabilities,
    rbm.visible_probabilities,
    lambda params, means, key: sample_bernoulli(key, means),
    statistics,
)


def contrastive_divergence(
    params: Any,
    v: Visible,
    key: Key[Array, ""],
    *,
    steps: int = 1,
    machine: Machine = BERNOULLI,
    reconstruction: Reconstruction = Reconstruction.DRAWN,
    sparsity: Sparsity | None = None,
) -> tuple[Any, Scalar]:
    """CD-k: the direction of descent, with chains of `steps` rounds from the data (CD2) and (CD3).

    Returns:
      The direction, like the parameters, and the reconstruction error: the squared distance of the data to their means
      given the hidden units that were drawn from them, mean over the rows.

    Raises:
      ValueError: if `steps` is less than 1, or the data do not fit the parameters.
    """
    _check_steps("contrastive_divergence", steps)
    p = machine.hidden_probabilities(params, v)
    first_key, key = jax.random.split(key)
    once = partial(_round, machine, params, reconstruction)
    v_k, p_k, means = once(p, first_key)
    if steps > 1:
        v_k, p_k = _rounds(once, v_k, p_k, key, steps - 1)
    direction = _direction(machine, params, (v, p), (v_k, p_k), sparsity)
    return direction, _distance(v, means)


def persistent_contrastive_divergence(
    params: Any,
    v: Visible,
    chains: Chains,
    key: Key[Array, ""],
    *,
    steps: int = 1,
    machine: Machine = BERNOULLI,
    sparsity: Sparsity | None = None,
) -> tuple[Any, Chains, Scalar]:
    """PCD: the direction of descent, with the chains where they are after `steps` rounds more (CD2) and (CD3).

    Returns:
      The direction; the chains, to be given to the next call; and the reconstruction error as of CD-1.

    Raises:
      ValueError: if `steps` is less than 1, or data or chains do not fit the parameters.
    """
    _check_steps("persistent_contrastive_divergence", steps)
    p = machine.hidden_probabilities(params, v)
    data_key, chain_key = jax.random.split(key)
    means = machine.visible_means(params, sample_bernoulli(data_key, p))
    once = partial(_round, machine, params, Reconstruction.DRAWN)
    chains, p_k = _rounds(once, chains, machine.hidden_probabilities(params, chains), chain_key, steps)
    direction = _direction(machine, params, (v, p), (chains, p_k), sparsity)
    return direction, chains, _distance(v, means)


def gibbs(
    params: Any, v: Visible, key: Key[Array, ""], *, steps: int, machine: Machine = BERNOULLI
) -> tuple[Visible, Hidden]:
    """The visible states after so many rounds (CD1) from v, and p(h | v) there.

    Raises:
      ValueError: if `steps` is less than 1, or v does not fit the parameters.
    """
    _check_steps("gibbs", steps)
    once = partial(_round, machine, params, Reconstruction.DRAWN)
    return _rounds(once, v, machine.hidden_probabilities(params, v), key, steps)


def cd_step(
    optimizer: optax.GradientTransformation,
    *,
    steps: int = 1,
    machine: Machine = BERNOULLI,
    reconstruction: Reconstruction = Reconstruction.DRAWN,
    sparsity: Sparsity | None = None,
) -> Step:
    """The step of `jaxnets.train.fit` that learns by CD-k; batches are v, the loss is the reconstruction error.

    Momentum and weight decay are the optimizer's: `optax.sgd(rate, momentum=0.5)`, `optax.add_decayed_weights`.
    It starts in `init_cd(params, optimizer, key)`.
    """
    options = {"steps": steps, "machine": machine, "reconstruction": reconstruction, "sparsity": sparsity}

    def estimate(params: Any, carried: tuple[()], v: Visible, key: Key[Array, ""]) -> tuple[Any, tuple[()], Scalar]:
        direction, error = contrastive_divergence(params, v, key, **options)
        return direction, carried, error

    return estimating_step(estimate, optimizer)


def init_cd(params: Any, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> State:
    """The state in which training with `cd_step` starts."""
    return init_estimating(params, (), optimizer, key)


def pcd_step(
    optimizer: optax.GradientTransformation,
    *,
    steps: int = 1,
    machine: Machine = BERNOULLI,
    sparsity: Sparsity | None = None,
) -> Step:
    """The step of `jaxnets.train.fit` that learns by PCD, as `cd_step`; it starts in `init_pcd`."""

    def estimate(params: Any, chains: Chains, v: Visible, key: Key[Array, ""]) -> tuple[Any, Chains, Scalar]:
        return persistent_contrastive_divergence(
            params, v, chains, key, steps=steps, machine=machine, sparsity=sparsity
        )

    return estimating_step(estimate, optimizer)


def init_pcd(params: Any, chains: Chains, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> State:
    """The state in which training with `pcd_step` starts; the chains may start anywhere, at data or at noise."""
    return init_estimating(params, chains, optimizer, key)


_Once = Callable[[Hidden, Key[Array, ""]], tuple[Visible, Hidden, Visible]]


def _round(
    machine: Machine, params: Any, reconstruction: Reconstruction, p: Hidden, key: Key[Array, ""]
) -> tuple[Visible, Hidden, Visible]:
    """From p(h | v) to the next v, p(h | v) there, and the means that it was drawn with."""
    hidden_key, visible_key = jax.random.split(key)
    means = machine.visible_means(params, sample_bernoulli(hidden_key, p))  # (CD1)
    v = means
    if reconstruction is Reconstruction.DRAWN:
        v = machine.sample_visible(params, means, visible_key)  # (CD1)
    return v, machine.hidden_probabilities(params, v), means


def _rounds(once: _Once, v: Visible, p: Hidden, key: Key[Array, ""], steps: int) -> tuple[Visible, Hidden]:
    def body(state: tuple[Visible, Hidden], key: Key[Array, ""]) -> tuple[tuple[Visible, Hidden], None]:
        return once(state[1], key)[:2], None

    return jax.lax.scan(body, (v, p), jax.random.split(key, steps))[0]  # (CD3)


def _direction(
    machine: Machine,
    params: Any,
    data: tuple[Visible, Hidden],
    chains: tuple[Chains, Float[Array, "chains hidden"]],
    sparsity: Sparsity | None,
) -> Any:
    v, p = data
    if sparsity is not None:
        p = p - sparsity.cost * (p.mean(0, keepdims=True) - sparsity.target)  # (CD4)
    return jax.tree.map(jnp.subtract, machine.statistics(params, *chains), machine.statistics(params, v, p))  # (CD2)


def _distance(v: Visible, means: Visible) -> Scalar:
    return jnp.square(v - means).sum(1).mean()


def _check_steps(name: str, steps: int) -> None:
    if steps < 1:
        raise ValueError(f"{name}: steps is {steps}, wanted at least 1")
