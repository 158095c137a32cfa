"""Mean-field inference in a deep Boltzmann machine, and the bound that it maximises.  Derivation: derivations/dbm.md.

The posterior over the hidden units is replaced by independent units with probabilities μ, μ^0 = v:

    (DM14) G(μ) = E(v, μ) + Σ_l Σ_j (μ ln μ + (1 - μ) ln(1 - μ))          (DM15) ∂G/∂μ^l = ln(μ^l / (1 - μ^l)) - z^l(μ)
    (DM16) bound = (1/N) Σ_n -G(μ_n) - ln Z ≤ (1/N) Σ_n ln p(v_n)
    (DM17) μ^l = σ(z^l(μ)), where the gradient is 0
    (DM18) all odd layers by (DM17), then all even ones, again and again

G is the variational free energy; -ln p*(v) is its minimum over all distributions, not only over independent units.
Given the even layers, (DM17) is the exact minimum over all odd ones: each half of a step of (DM18) lowers G, or leaves
it, so that the bound never falls and μ approaches the stationary points.  (All layers at once may go round in circles.)

The energy is linear in each layer, so ∂G/∂q of weights, biases and v is that of the energy, (DM3) to (DM5) at μ.

Source: Salakhutdinov and Hinton 2009, Deep Boltzmann machines, sections 2.2 and 3.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import entr
from jaxtyping import Array, Float, Integer

from jaxnets.nets import dbm
from jaxnets.nets.dbm import Layers, Params
from jaxnets.nets.dbm_likelihood import log_partition
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.affine import affine
from jaxnets.rule import rule


class MeanField(NamedTuple):
    """Probabilities of the hidden units, the lowest layer first; steps taken, and the largest change in the last."""

    mu: Layers
    steps: Integer[Array, ""]
    change: Float[Array, ""]


def mean_field(
    params: Params, v: Float[Array, "batch visible"], *, steps: int = 100, tolerance: float = 0.0
) -> MeanField:
    """Probabilities of the hidden units given v, by alternating fixed-point iteration (DM18).

    It begins with one pass upwards, in which every layer but the last counts its input from below twice, in the place
    of that from above.  It ends when no probability has changed by more than `tolerance` in a step, or after `steps`.
    No reverse-mode derivative passes it, and at a fixed point none is needed: ∂G/∂μ = 0 there, so the gradient of the
    bound with respect to the parameters is the one at constant μ.

    Raises:
      ValueError: if the widths do not agree, `steps` is less than 1, or the tolerance negative.
    """
    if steps < 1 or tolerance < 0:
        raise ValueError(f"mean_field: got steps {steps} and tolerance {tolerance}, wanted at least 1, and at least 0")
    start = upward(params, v)

    def unfinished(carry: tuple[Layers, Array, Array]) -> Array:
        _, step, change = carry
        return (step < steps) & (change > jnp.asarray(tolerance, change.dtype))

    def once(carry: tuple[Layers, Array, Array]) -> tuple[Layers, Array, Array]:
        layers, step, _ = carry
        odd = dbm.probabilities(params, layers, first=1)  # (DM17) (DM18)
        both = (v, *dbm.probabilities(params, odd, first=0)[1:])  # (DM18), the visible layer stays
        largest = [jnp.abs(new - old).max() for new, old in zip(both[1:], layers[1:], strict=True)]
        return both, step + 1, jnp.stack(largest).max()

    layers, taken, change = lax.while_loop(unfinished, once, (start, jnp.int32(0), jnp.asarray(jnp.inf, v.dtype)))
    return MeanField(layers[1:], taken, change)


def upward(params: Params, v: Float[Array, "batch visible"]) -> Layers:
    """v, and probabilities of the hidden layers by one pass upwards, in which all but the last double their input.

    ValueError if the widths do not agree.
    """
    if v.ndim != 2 or v.shape[1:] != params.b[0].shape:
        raise ValueError(f"mean_field: v has shape {v.shape}, wanted (batch, {params.b[0].shape[0]})")
    layers = [v]
    for w, b in zip(params.w[:-1], params.b[1:-1], strict=True):
        layers.append(sigmoid(affine(2 * layers[-1], w, b)))
    return (*layers, sigmoid(affine(layers[-1], params.w[-1], params.b[-1])))


def variational_free_energy_forward(
    params: Params, v: Float[Array, "batch visible"], mu: Layers
) -> tuple[Float[Array, " batch"], dbm.Residuals]:
    """G(μ) of each row (DM14), at least -ln p*(v).

    Args:
      params: of the machine.
      v: the data.
      mu: probabilities of the hidden units, in [0, 1]; at 0 and 1 the entropy is 0, and its slope infinite.

    Raises:
      ValueError: if the widths do not agree.
    """
    dbm.check("variational_free_energy", params, (v, *mu))
    value, residuals = dbm.energy.forward(params, (v, *mu))
    entropy = sum((entr(m) + entr(1 - m)).sum(1) for m in mu)
    return value - entropy, residuals  # (DM14)


def variational_free_energy_backward(
    residuals: dbm.Residuals, g_bar: Float[Array, " batch"]
) -> tuple[Params, Float[Array, "batch visible"], Layers]:
    """Cotangents of params, v and mu."""
    params_bar, (v_bar, *energy_bar) = dbm.energy.backward(residuals, g_bar)
    _, (_, *mu) = residuals
    mu_bar = tuple(
        e_bar + g_bar[:, None] * (jnp.log(m) - jnp.log1p(-m))  # (DM15)
        for e_bar, m in zip(energy_bar, mu, strict=True)
    )
    return params_bar, v_bar, mu_bar


variational_free_energy = rule(variational_free_energy_forward, variational_free_energy_backward)


def lower_bound(params: Params, v: Float[Array, "batch visible"], mu: Layers) -> Float[Array, ""]:
    """The bound on the mean of ln p(v), with the exact ln Z of a small machine (DM16).

    ValueError as `variational_free_energy` and `log_partition`.  For a large machine put an estimate of ln Z in its
    place (`jaxnets.nets.dbm_annealing`).
    """
    return -variational_free_energy(params, v, mu).mean() - log_partition(params)  # (DM16)
