"""How a Hopfield network recalls: its units, one after the other or all at once.  Derivation: derivations/hopfield.md.

    (HF5) h_i = Σ_j w_ij s_j - θ_i
    (HF6) s_i ← 1 if h_i > 0, -1 if h_i < 0, s_i if h_i = 0
    (HF11) m = (1/N) Σ_i ξ_i s_i

With w symmetric and w_ii ≥ 0, one unit after the other never raises the energy (HF1), and a state is reached that none
would leave.  All at once may raise it, and may end in two states that take turns, though in no longer cycle.

A sum of N rounded numbers is hardly ever 0 where it should be: a field within its rounding error, some ε Σ_j |w_ij|,
counts as 0 in (HF6).

Sources: Hopfield 1982, Neural networks and physical systems with emergent collective computational abilities; for the
cycles, Goles, Fogelman and Pellegrin 1985, Decreasing energy functions as a tool for studying threshold networks.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32, Key

from jaxnets.nets.hopfield.energy import Params, States, check

State = Float[Array, " units"]

ULPS = 4
"""A field of less than so many units in the last place of Σ_j |w_ij| counts as 0: several times its rounding error."""


class Recall(NamedTuple):
    """Where each state went."""

    s: States
    steps: Int32[Array, " batch"]
    """Sweeps over all units, or steps of all at once; the last one only found that nothing changes any more."""
    period: Int32[Array, " batch"]
    """1: at rest, no unit would change; 2: two states take turns, of which s is one; 0: stopped before either."""


def fields(params: Params, s: States) -> Float[Array, "batch units"]:
    """What moves each unit: the weighted sum of the others, less the threshold (HF5)."""
    check(params, s)
    return s @ params.w.T - params.theta[None]  # (HF5)


def turned(s: Array, field: Array, total: Array) -> Array:
    """The sign of the field, and s where the field is 0, within the rounding error of a sum of this total (HF6)."""
    tie = jnp.abs(field) <= ULPS * jnp.finfo(s.dtype).eps * total
    return jnp.where(tie, s, jnp.sign(field))  # (HF6)


def update_unit(params: Params, s: State, i: Int[Array, ""]) -> State:
    """The state after unit i has had its turn: what asynchronous dynamics is made of."""
    return _unit_turned(params, _totals(params), s, i)


@partial(jax.jit, static_argnames="max_sweeps")
def asynchronous(params: Params, s: States, key: Key[Array, ""], *, max_sweeps: int = 100) -> Recall:
    """One unit after the other, in sweeps over all in a random order, until a sweep changes nothing.

    Args:
      params: symmetric weights with a diagonal that is not negative.
      key: for the orders; each state, and each of its sweeps, has its own.
      max_sweeps: where to stop at the latest; the period is 0 there.

    Raises:
      ValueError: if the shapes do not agree, or max_sweeps is less than 1.
    """
    check(params, s)
    _at_least_one("max_sweeps", max_sweeps)
    totals = _totals(params)

    def sweep(carried: tuple[State, Array, Array, Array]) -> tuple[State, Array, Array, Array]:
        before, key, sweeps, _ = carried
        key, order_key = jax.random.split(key)
        order = jax.random.permutation(order_key, before.size)
        after, _ = jax.lax.scan(lambda s, i: (_unit_turned(params, totals, s, i), None), before, order)
        return after, key, sweeps + 1, jnp.any(after != before)

    def goes_on(carried: tuple[State, Array, Array, Array]) -> Bool[Array, ""]:
        _, _, sweeps, changed = carried
        return changed & (sweeps < max_sweeps)

    def settle(s: State, key: Array) -> tuple[State, Array, Array]:
        start = s, key, jnp.int32(0), jnp.bool(True)
        s, _, sweeps, changed = jax.lax.while_loop(goes_on, sweep, start)
        return s, sweeps, jnp.where(changed, 0, 1).astype(jnp.int32)

    return Recall(*jax.vmap(settle)(s, jax.random.split(key, len(s))))


@partial(jax.jit, static_argnames="max_steps")
def synchronous(params: Params, s: States, *, max_steps: int = 100) -> Recall:
    """All units at once, until nothing changes or the state before the last one comes back.

    Args:
      params: symmetric weights; the diagonal may be anything.
      max_steps: where to stop at the latest; the period is 0 there.

    Raises:
      ValueError: if the shapes do not agree, or max_steps is less than 1.
    """
    check(params, s)
    _at_least_one("max_steps", max_steps)
    totals = _totals(params)

    def period(before: State, now: State, after: State) -> Int32[Array, ""]:
        return jnp.where(jnp.all(after == now), 1, jnp.where(jnp.all(after == before), 2, 0)).astype(jnp.int32)

    def step(carried: tuple[State, State, Array, Array]) -> tuple[State, State, Array, Array]:
        before, now, steps, _ = carried
        after = turned(now, fields(params, now[None])[0], totals)
        return now, after, steps + 1, period(before, now, after)

    def goes_on(carried: tuple[State, State, Array, Array]) -> Bool[Array, ""]:
        _, _, steps, found = carried
        return (found == 0) & (steps < max_steps)

    def settle(s: State) -> tuple[State, Array, Array]:
        _, s, steps, found = jax.lax.while_loop(goes_on, step, (s, s, jnp.int32(0), jnp.int32(0)))
        return s, steps, found

    return Recall(*jax.vmap(settle)(s))


def overlap(xi: Float[Array, "*batch units"], s: Float[Array, "*batch units"]) -> Float[Array, "*batch"]:
    """How much of a pattern is recalled (HF11): 1 where the state is the pattern, -1 where it is its opposite."""
    return jnp.mean(xi * s, -1)  # (HF11)


def _totals(params: Params) -> Float[Array, " units"]:
    return jnp.abs(params.w).sum(1) + jnp.abs(params.theta)


def _unit_turned(params: Params, totals: Float[Array, " units"], s: State, i: Int[Array, ""]) -> State:
    field = params.w[i] @ s - params.theta[i]
    return s.at[i].set(turned(s[i], field, totals[i]))


def _at_least_one(called: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"hopfield: {called} is {value}, wanted at least 1")
