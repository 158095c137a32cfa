"""How a Hopfield network is made to remember: three ways to its weights.  Derivation: derivations/hopfield.md.

M patterns ξ_μ of N entries -1 and 1; whatever the way, w_ii = 0 at last:

    (HF7) Hebb's rule:          w_ij = (1/N) Σ_μ ξ_{μ,i} ξ_{μ,j}
    (HF8) projection:           w = Ξ⁺ Ξ
    (HF9) Storkey's rule:       w_ij ← w_ij + (1/N) (ξ_i ξ_j - ξ_i h_ji - h_ij ξ_j),  one pattern after the other
    (HF10)                      h_ij = Σ_{k≠i,j} w_ik ξ_k

(HF7) is (HB16) with patterns that recall themselves, and (HF8) is (HB18).  (HF7) and (HF9) are local: a weight changes
by what its two units know; and incremental: a new pattern is added without the old ones.

How many can be stored, if they are random: with (HF7) about 0.138 N with few errors, and N / (4 ln N) if all are to be
recalled without one; with (HF9) more; with (HF8) any that are linearly independent, with shrinking basins.

Sources: Hopfield 1982, eq. (2); Amit, Gutfreund and Sompolinsky 1985, Storing infinite numbers of patterns in a
spin-glass model of neural networks; McEliece, Posner, Rodemich and Venkatesh 1987, The capacity of the Hopfield
associative memory; Personnaz, Guyon and Dreyfus 1985, Information storage and retrieval in spin-glass like neural
networks; with w_ii = 0, Kanter and Sompolinsky 1987, Associative recall of memory without errors; Storkey 1997,
Increasing the capacity of a Hopfield network without sacrificing functionality.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.nets.hopfield.energy import Params, Weights
from jaxnets.ops._floating import require_floating
from jaxnets.ops.learning_rules import hebb_matrix

Patterns = Float[Array, "patterns units"]


def store_hebb(xi: Patterns) -> Params:
    """Weights by Hebb's rule (HF7), without thresholds.

    Raises:
      ValueError: if the patterns are no matrix.
      TypeError: if they are no floating-point array.
    """
    _check("store_hebb", xi)
    return _params(hebb_matrix(xi, xi) / xi.shape[1])  # (HF7)


def store_projection(xi: Patterns) -> Params:
    """Weights of the projection on the space of the patterns (HF8), without thresholds.

    The field of a stored pattern is ξ_i (1 - p_ii), where p is the projection: of the pattern's own sign, or 0 where
    p_ii is 1, as it is for every unit if there are as many independent patterns as units.  Such a unit gets weights 0,
    not the rounding errors of them: it stays as it is, and is never corrected.

    Raises:
      ValueError: if the patterns are no matrix.
      TypeError: if they are no floating-point array.
    """
    _check("store_projection", xi)
    _, s, v = jnp.linalg.svd(xi, full_matrices=False)
    rounding = max(xi.shape) * jnp.finfo(xi.dtype).eps
    # By an orthonormal basis p is right to the last places; Ξ⁺ Ξ loses as many as Ξ is ill-conditioned.
    v = jnp.where((s > rounding * s.max(initial=0))[:, None], v, 0)
    p = v.T @ v  # (HF8)
    fixed = 1 - jnp.diag(p) <= rounding
    return _params(jnp.where(fixed[:, None] | fixed[None, :], 0, p))


def store_storkey(xi: Patterns) -> Params:
    """Weights by Storkey's rule (HF9), the patterns in their order, without thresholds.

    Raises:
      ValueError: if the patterns are no matrix.
      TypeError: if they are no floating-point array.
    """
    _check("store_storkey", xi)
    n = xi.shape[1]

    def add(w: Weights, pattern: Float[Array, " units"]) -> tuple[Weights, None]:
        # The diagonal of w is 0, so that k ≠ i needs no care.
        h = (w @ pattern)[:, None] - w * pattern[None, :]  # (HF10)
        by_h = h * pattern[None, :]
        change = jnp.outer(pattern, pattern) - by_h.T - by_h  # (HF9)
        return _without_diagonal(w + change / n), None

    return _params(jax.lax.scan(add, jnp.zeros((n, n), xi.dtype), xi)[0])


def _params(w: Weights) -> Params:
    return Params(_without_diagonal(w), jnp.zeros_like(w[0]))


def _without_diagonal(w: Weights) -> Weights:
    return jnp.where(jnp.eye(w.shape[0], dtype=bool), 0, w)


def _check(name: str, xi: Array) -> None:
    require_floating(name, xi, "xi")
    if xi.ndim != 2:
        raise ValueError(f"{name}: xi has shape {xi.shape}, wanted (patterns, units)")
