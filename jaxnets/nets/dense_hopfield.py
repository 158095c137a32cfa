"""Dense ("modern") associative memory with continuous states.  Derivation: derivations/hopfield.md.

P patterns x_μ, rows of n numbers; states ξ_n, rows of a batch; inverse temperature β > 0; p_n = softmax(β x ξ_n) are P
weights that sum to 1:

    (DH1) E_n = -(1/β) log Σ_μ exp(β x_μ·ξ_n) + ½ |ξ_n|² + (1/β) log P + ½ max_μ |x_μ|²
    (DH2) ξ_bar_n = E_bar_n (ξ_n - Σ_μ p_{n,μ} x_μ)
    (DH3) x_bar_μ = -Σ_n E_bar_n p_{n,μ} ξ_n + k_μ x_μ Σ_n E_bar_n
    (DH4) ξ_n ← Σ_μ p_{n,μ} x_μ

k_μ is 1 for the longest pattern and 0 for the others; those that are equally long share the 1.  (DH4) is a step of size
1 against (DH2); it never raises E, for any patterns.  It is attention, with the state as query and the patterns as keys
and values.

Sources: Ramsauer et al. 2021, Hopfield networks is all you need, eq. (2) and (3); the energy of binary states, with a
polynomial in place of the exponential, Krotov and Hopfield 2016, Dense associative memory for pattern recognition.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from jaxnets.rule import rule

Patterns = Float[Array, "patterns features"]
States = Float[Array, "batch features"]


class Residuals(NamedTuple):
    """Patterns and states, and which patterns each state is made of."""

    x: Patterns
    xi: States
    p: Float[Array, "batch patterns"]


def energy_forward(x: Patterns, xi: States, *, beta: float) -> tuple[Float[Array, " batch"], Residuals]:
    """Energy of each state (DH1): at least 0, small near a pattern that is far from the others.

    Args:
      beta: how sharply one pattern is chosen; for small β the mean of many is remembered.

    Raises:
      ValueError: if the patterns and the states differ in width, or β is not positive.
    """
    z = _scores(x, xi, beta)
    longest = jnp.max(jnp.sum(x * x, 1))
    constant = math.log(x.shape[0]) / beta + 0.5 * longest
    e = -jax.nn.logsumexp(z, 1) / beta + 0.5 * jnp.sum(xi * xi, 1) + constant  # (DH1)
    return e, Residuals(x, xi, jax.nn.softmax(z, 1))


def energy_backward(residuals: Residuals, e_bar: Float[Array, " batch"], *, beta: float) -> tuple[Patterns, States]:
    """Cotangents of the patterns and of the states."""
    x, xi, p = residuals
    xi_bar = e_bar[:, None] * (xi - p @ x)  # (DH2)
    length = jnp.sum(x * x, 1, keepdims=True)
    share = (length == length.max()).astype(x.dtype)
    k = share / share.sum()
    return k * x * e_bar.sum() - (e_bar[:, None] * p).T @ xi, xi_bar  # (DH3)


energy = rule(energy_forward, energy_backward)


def update(x: Patterns, xi: States, *, beta: float) -> States:
    """The mean of the patterns, weighted by how much each looks like the state (DH4).

    Raises:
      ValueError: if the patterns and the states differ in width, or β is not positive.
    """
    return jax.nn.softmax(_scores(x, xi, beta), 1) @ x  # (DH4)


class Recall(NamedTuple):
    """Where the states went."""

    xi: States
    steps: Int32[Array, ""]
    converged: Bool[Array, " batch"]
    """Whether the last step moved no entry of the state by more than the tolerance."""


@partial(jax.jit, static_argnames=("beta", "tolerance", "max_steps"))
def recall(x: Patterns, xi: States, *, beta: float, tolerance: float = 1e-6, max_steps: int = 100) -> Recall:
    """Updates until no entry of any state moves by more than the tolerance.  Near a clear pattern one is enough.

    Raises:
      ValueError: if the patterns and the states differ in width, or β or max_steps is not positive.
    """
    if max_steps < 1:
        raise ValueError(f"dense_hopfield: max_steps is {max_steps}, wanted at least 1")

    def step(carried: tuple[States, Array, Array]) -> tuple[States, Array, Array]:
        before, steps, _ = carried
        after = update(x, before, beta=beta)
        return after, steps + 1, jnp.all(jnp.abs(after - before) <= tolerance, 1)

    def goes_on(carried: tuple[States, Array, Array]) -> Bool[Array, ""]:
        _, steps, converged = carried
        return ~jnp.all(converged) & (steps < max_steps)

    start = xi, jnp.int32(0), jnp.zeros(xi.shape[0], bool)
    return Recall(*jax.lax.while_loop(goes_on, step, start))


def _scores(x: Patterns, xi: States, beta: float) -> Float[Array, "batch patterns"]:
    if x.ndim != 2 or xi.ndim != 2 or x.shape[1] != xi.shape[1]:
        raise ValueError(
            f"dense_hopfield: wanted x (patterns, features) and xi (batch, features), got {x.shape} and {xi.shape}"
        )
    if beta <= 0:
        raise ValueError(f"dense_hopfield: beta is {beta}, wanted a positive number")
    return beta * (xi @ x.T)
