"""A Hopfield network of graded units, in continuous time.  Derivation: derivations/hopfield.md.

The state is u, the output v = tanh(λ u) lies between -1 and 1:

    (HF12) G = Σ_i ∫_0^{v_i} artanh(x) dx = Σ_i (v_i artanh v_i + ½ log(1 - v_i²))
    (HF13) v_bar_i = G_bar artanh v_i
    (HF14) E = -½ v·w v + θ·v + (1/λ) G
    (HF15) du/dt = w v - θ - u = -∂E/∂v

For symmetric weights E falls until du/dt = 0: v = tanh(λ (w v - θ)), the mean field of units at the temperature 1/λ.
For large λ the units are those of (HF6).

Source: Hopfield 1984, Neurons with graded response have collective computational properties like those of two-state
neurons, eq. (5) and (7), with C = R = 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.nets.hopfield.dynamics import fields
from jaxnets.nets.hopfield.energy import Params, States, energy
from jaxnets.rule import rule

Energies = Float[Array, " batch"]


def grading_forward(v: States) -> tuple[Energies, States]:
    """G of each row: what it costs graded units to be away from 0 (HF12); v lies between -1 and 1, both excluded."""
    return jnp.sum(v * jnp.arctanh(v) + 0.5 * jnp.log1p(-v * v), 1), v  # (HF12)


def grading_backward(v: States, g_bar: Energies) -> tuple[States]:
    """Cotangent of v."""
    return (g_bar[:, None] * jnp.arctanh(v),)  # (HF13)


grading = rule(grading_forward, grading_backward)


def graded_energy(params: Params, v: States, *, gain: float | Float[Array, ""]) -> Energies:
    """Energy of each row of outputs, between -1 and 1, of units with the gain λ (HF14).

    Raises:
      ValueError: if the shapes of the parameters and the outputs do not agree.
    """
    return energy(params, v) + grading(v) / gain  # (HF14)


def graded(
    params: Params,
    u: States,
    *,
    gain: float | Float[Array, ""],
    step_size: float | Float[Array, ""],
    steps: int,
) -> States:
    """States u after so many steps of Euler's method on (HF15); the outputs are tanh(λ u).

    Raises:
      ValueError: if the shapes of the parameters and the states do not agree.
    """

    def step(u: States, _: None) -> tuple[States, None]:
        return u + step_size * (fields(params, jnp.tanh(gain * u)) - u), None  # (HF15)

    return jax.lax.scan(step, u, None, length=steps)[0]
