"""How a Boltzmann machine moves, is annealed, and learns from what it does.  Derivation: derivations/boltzmann.md.

A unit is drawn given all the others, at a temperature τ, one unit after the other; for i and its gap in energy:

    (BM9) p(s_i = 1 | the others) = σ(Δ_i / τ),  Δ_i = E(s with s_i = 0) - E(s with s_i = 1) = b_i + Σ_j w_ij s_j
    (BM10) direction = ⟨∂E/∂θ⟩ over chains with the data clamped - ⟨∂E/∂θ⟩ over chains that run freely

At τ = 1 the distribution e^-E / Z stays what it is.  From high temperatures down to 1 the chains get over the barriers
between the minima of E: simulated annealing.  The direction is that of descent; its expectation is the gradient of
-ln p(data) as far as the chains have reached their distributions.

Source: Ackley, Hinton and Sejnowski 1985, A learning algorithm for Boltzmann machines, eq. (5), sections 3.2 and 4.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from jaxnets.nets.boltzmann import All, EnergyResiduals, Params, Scalar, Visible, check, energy, symmetric
from jaxnets.ops.activations import sigmoid
from jaxnets.train.step import State, Step, estimating_step, init_estimating

Temperatures = Float[Array, " sweeps"]


class Annealing(NamedTuple):
    """A schedule: the temperature of each sweep, and how many sweeps at temperature 1 are looked at after them."""

    temperatures: tuple[float, ...]
    looked_at: int


PAPER = Annealing((2.0, 2.0, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0, 1.0, 1.0), 10)
"""That of section 4.1 of the paper, whose temperatures 20, 15, 12 and 10 are here multiples of the last."""


def gibbs(params: Params, s: All, key: Key[Array, ""], temperatures: Temperatures, *, clamped: int = 0) -> All:
    """The states after a sweep over all units for each temperature (BM9); rows are chains of their own.

    Args:
      params: of the machine.
      s: where the chains start.
      key: of the draws.
      temperatures: of the sweeps, positive; `jnp.ones(n)` for n sweeps of Gibbs sampling.
      clamped: so many of the first units stay as they are.

    Raises:
      ValueError: if the states have not as many units as the machine, or more are clamped than there are.
    """
    check("gibbs", params)
    units = len(params.b)
    if s.ndim != 2 or s.shape[1] != units:
        raise ValueError(f"boltzmann.gibbs: s has shape {s.shape}, wanted (chains, {units})")
    if not 0 <= clamped <= units:
        raise ValueError(f"boltzmann.gibbs: clamped is {clamped}, wanted 0 to {units}")
    w = symmetric(params.w)

    def sweep(s: All, at: tuple[Scalar, Key[Array, ""]]) -> tuple[All, None]:
        temperature, key = at
        # u < σ(x) as σ⁻¹(u) < x would need a logarithm for each draw; the sigmoid is of one unit at a time anyway.
        u = jax.random.uniform(key, (units - clamped, len(s)), s.dtype)

        def turn(s: All, unit: tuple[Array, Array, Array, Array]) -> tuple[All, None]:
            i, w_i, b_i, u_i = unit
            p = sigmoid((s @ w_i + b_i) / temperature)  # (BM9)
            return s.at[:, i].set((u_i < p).astype(s.dtype)), None

        return jax.lax.scan(turn, s, (jnp.arange(clamped, units), w[clamped:], params.b[clamped:], u))[0], None

    return jax.lax.scan(sweep, s, (temperatures, jax.random.split(key, len(temperatures))))[0]


def statistics(params: Params, s: All, key: Key[Array, ""], annealing: Annealing, *, clamped: int = 0) -> Params:
    """⟨∂E/∂θ⟩ over the sweeps looked at, after chains from s were annealed; the first units may be clamped.

    Raises:
      ValueError: as `gibbs`, and if no sweep is looked at.
    """
    if annealing.looked_at < 1:
        raise ValueError(f"boltzmann.statistics: looked_at is {annealing.looked_at}, wanted at least 1")
    first_key, key = jax.random.split(key)
    s = gibbs(params, s, first_key, jnp.asarray(annealing.temperatures, s.dtype), clamped=clamped)

    def look(carry: tuple[All, Params], key: Key[Array, ""]) -> tuple[tuple[All, Params], None]:
        s, total = carry
        s = gibbs(params, s, key, jnp.ones(1, s.dtype), clamped=clamped)
        here, _ = energy.backward(EnergyResiduals(params, s), jnp.full(len(s), 1 / len(s), s.dtype))
        return (s, jax.tree.map(jnp.add, total, here)), None

    start = s, jax.tree.map(jnp.zeros_like, params)
    (_, total), _ = jax.lax.scan(look, start, jax.random.split(key, annealing.looked_at))
    return jax.tree.map(lambda a: a / annealing.looked_at, total)


def direction(
    params: Params,
    v: Visible,
    key: Key[Array, ""],
    *,
    annealing: Annealing = PAPER,
    connected: Bool[Array, "units units"] | None = None,
) -> Params:
    """The direction of descent from sampled statistics (BM10), with a clamped and a free chain for each row of v.

    Args:
      params: of the machine, of whose units the first are visible.
      v: data.
      key: of the draws; all that is not clamped starts at random.
      annealing: of both phases.
      connected: where there may be a weight, symmetric; all pairs if None.

    Raises:
      ValueError: as `statistics`.
    """
    start_key, clamped_key, free_key = jax.random.split(key, 3)
    visible, units = v.shape[1], len(params.b)
    random = jax.random.bernoulli(start_key, 0.5, (2, len(v), units)).astype(v.dtype)
    held = jnp.concatenate([v, random[0, :, visible:]], 1)
    data = statistics(params, held, clamped_key, annealing, clamped=visible)
    model = statistics(params, random[1], free_key, annealing)
    found = jax.tree.map(jnp.subtract, data, model)  # (BM10)
    return found if connected is None else found._replace(w=jnp.where(connected, found.w, 0))


def sampling_step(
    optimizer: optax.GradientTransformation,
    *,
    annealing: Annealing = PAPER,
    connected: Bool[Array, "units units"] | None = None,
) -> Step:
    """The step of `jaxnets.train.fit` that learns from sampled statistics; batches are v.

    What it reports as the loss is the largest difference of a statistic between the two phases; it starts in
    `init_sampling(params, optimizer, key)`.
    """

    def estimate(
        params: Params, carried: tuple[()], v: Visible, key: Key[Array, ""]
    ) -> tuple[Params, tuple[()], Scalar]:
        found = direction(params, v, key, annealing=annealing, connected=connected)
        return found, carried, jnp.maximum(2 * jnp.abs(found.w).max(), jnp.abs(found.b).max())

    return estimating_step(estimate, optimizer)


def init_sampling(params: Params, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> State:
    """The state in which training with `sampling_step` starts."""
    return init_estimating(params, (), optimizer, key)
