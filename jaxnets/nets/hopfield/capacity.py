"""How well random patterns are recalled, by how many are stored.  Derivation: derivations/hopfield.md.

The load is α = M / N.  For N → ∞ and Hebb's rule, the overlap m after recall from the pattern itself is given by a
parameter y > 0, the signal of a unit relative to the noise of the other patterns:

    (HF16) α = ½ (erf(y) / y - (2/√π) e^(-y²))²           (HF17) m = erf(y)

The largest α that has a solution is 0.138, at m = 0.967; above it nothing is recalled.

Source: Amit, Gutfreund and Sompolinsky 1987, Statistical mechanics of neural networks near saturation, section 3; the
noiseless limit of their replica-symmetric equations.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnets.nets.hopfield.dynamics import asynchronous, overlap
from jaxnets.nets.hopfield.storage import store_hebb


def mean_field(y: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(α, m) of infinitely many units for a parameter y > 0: for each load below 0.138 two, the larger one stable."""
    m = jax.scipy.special.erf(y)  # (HF17)
    return 0.5 * (m / y - 2 / math.sqrt(math.pi) * jnp.exp(-y * y)) ** 2, m  # (HF16)


def overlap_by_load(
    key: Key[Array, ""], *, units: int, patterns: tuple[int, ...], trials: int, max_sweeps: int = 100
) -> Float[Array, "loads trials"]:
    """Overlap of a pattern with what its asynchronous recall, begun at the pattern itself, ends in.

    Every trial of every load stores random patterns of its own by Hebb's rule.  All of them are one `jax.vmap`, to be
    called under `jax.jit`; their weights are in memory at once.

    Args:
      patterns: how many are stored, for each load.

    Raises:
      ValueError: if units, trials or a number of patterns is less than 1.
    """
    if units < 1 or trials < 1 or min(patterns, default=0) < 1:
        raise ValueError(
            f"overlap_by_load: wanted units, trials and patterns of at least 1, got {units}, {trials}, {patterns}"
        )

    def trial(key: Array, stored: Array) -> Float[Array, ""]:
        pattern_key, order_key = jax.random.split(key)
        drawn = jax.random.rademacher(pattern_key, (max(patterns), units), float)
        # A row of zeros stores nothing: so all loads have one shape.
        xi = jnp.where(jnp.arange(max(patterns))[:, None] < stored, drawn, 0)
        found = asynchronous(store_hebb(xi), xi[:1], order_key, max_sweeps=max_sweeps)
        return overlap(xi[0], found.s[0])

    keys = jax.random.split(key, (len(patterns), trials))
    return jax.vmap(jax.vmap(trial, (0, None)))(keys, jnp.asarray(patterns))
