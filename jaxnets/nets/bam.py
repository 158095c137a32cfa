"""Bidirectional associative memory: two layers that recall each other.  Derivation: derivations/hopfield.md.

Pairs of patterns x_q and y_q of entries -1 and 1, rows of two batches; w_ij joins unit i of one layer and unit j of the
other.  For each pair of states, a row of x and a row of y:

    (BA1) storage:  w = Σ_q x_qᵀ y_q
    (BA2) E_n = -Σ_ij x_{n,i} w_ij y_{n,j}
    (BA3) w_bar_ij = -Σ_n E_bar_n x_{n,i} y_{n,j}
    (BA4) x_bar_{n,i} = -E_bar_n Σ_j w_ij y_{n,j}             (BA5) y_bar_{n,j} = -E_bar_n Σ_i x_{n,i} w_ij
    (BA6) y_j ← sgn Σ_i x_i w_ij                              (BA7) x_i ← sgn Σ_j w_ij y_j

A unit whose sum is 0 stays as it is.  Neither (BA6) nor (BA7) ever raises E, whatever w is, and every recall ends in a
pair that recalls each other.  It is a Hopfield network of both layers with the weights (0, w; wᵀ, 0).

Source: Kosko 1988, Bidirectional associative memories, IEEE Transactions on Systems, Man, and Cybernetics 18.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from jaxnets.nets import hopfield
from jaxnets.nets.hopfield.dynamics import turned
from jaxnets.ops.learning_rules import hebb_matrix
from jaxnets.rule import rule

Weights = Float[Array, "n_x n_y"]
Xs = Float[Array, "batch n_x"]
Ys = Float[Array, "batch n_y"]


def store(x: Xs, y: Ys) -> Weights:
    """Weights by Hebb's rule, (HB16) with the layers as input and target (BA1).

    Raises:
      ValueError: if x and y are no matrices with as many rows.
      TypeError: if they are not floating-point arrays of one dtype.
    """
    return hebb_matrix(x, y)  # (BA1)


class Residuals(NamedTuple):
    """The factors of the energy."""

    w: Weights
    x: Xs
    y: Ys


def energy_forward(w: Weights, x: Xs, y: Ys) -> tuple[Float[Array, " batch"], Residuals]:
    """Energy of each pair of states (BA2).

    Raises:
      ValueError: if the widths of w, x and y do not agree, or x and y differ in the number of rows.
    """
    _check(w, x, y)
    return -jnp.sum((x @ w) * y, 1), Residuals(w, x, y)  # (BA2)


def energy_backward(residuals: Residuals, e_bar: Float[Array, " batch"]) -> tuple[Weights, Xs, Ys]:
    """Cotangents of the weights and of the states."""
    w, x, y = residuals
    by_x, by_y = e_bar[:, None] * x, e_bar[:, None] * y
    return -(x.T @ by_y), -(by_y @ w.T), -(by_x @ w)  # (BA3) (BA4) (BA5)


energy = rule(energy_forward, energy_backward)


def step(w: Weights, x: Xs, y: Ys) -> tuple[Xs, Ys]:
    """The states after y, and then x, had its turn (BA6), (BA7)."""
    y = turned(y, x @ w, jnp.abs(w).sum(0)[None])  # (BA6)
    x = turned(x, y @ w.T, jnp.abs(w).sum(1)[None])  # (BA7)
    return x, y


class Recall(NamedTuple):
    """Where each pair of states went."""

    x: Xs
    y: Ys
    steps: Int32[Array, ""]
    """Of the slowest pair; the last one only found that nothing changes any more."""
    converged: Bool[Array, " batch"]


@partial(jax.jit, static_argnames="max_steps")
def recall(w: Weights, x: Xs, y: Ys, *, max_steps: int = 100) -> Recall:
    """Recall y from x, x from y, and so on, until nothing changes.

    Args:
      y: where y starts; zeros where nothing is known.  To recall x from y, swap the layers and transpose w.
      max_steps: where to stop at the latest.

    Raises:
      ValueError: if the shapes of w, x and y do not agree, or max_steps is less than 1.
    """
    _check(w, x, y)
    if max_steps < 1:
        raise ValueError(f"bam: max_steps is {max_steps}, wanted at least 1")

    def turn(carried: tuple[Xs, Ys, Array, Array]) -> tuple[Xs, Ys, Array, Array]:
        x, y, steps, _ = carried
        new_x, new_y = step(w, x, y)
        return new_x, new_y, steps + 1, jnp.all(new_x == x, 1) & jnp.all(new_y == y, 1)

    def goes_on(carried: tuple[Xs, Ys, Array, Array]) -> Bool[Array, ""]:
        _, _, steps, converged = carried
        return ~jnp.all(converged) & (steps < max_steps)

    return Recall(*jax.lax.while_loop(goes_on, turn, (x, y, jnp.int32(0), jnp.zeros(x.shape[0], bool))))


def as_hopfield(w: Weights) -> hopfield.Params:
    """The Hopfield network of both layers, x first: no weights within a layer, no thresholds."""
    n_x, n_y = w.shape
    blocks = jnp.block([[jnp.zeros((n_x, n_x), w.dtype), w], [w.T, jnp.zeros((n_y, n_y), w.dtype)]])
    return hopfield.Params(blocks, jnp.zeros(n_x + n_y, w.dtype))


def _check(w: Array, x: Array, y: Array) -> None:
    if w.ndim != 2 or x.ndim != 2 or y.ndim != 2 or (x.shape[1], y.shape[1]) != w.shape or len(x) != len(y):
        raise ValueError(
            f"bam: wanted w (n_x, n_y), x (batch, n_x) and y (batch, n_y), got {w.shape}, {x.shape} and {y.shape}"
        )
