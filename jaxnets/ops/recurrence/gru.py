"""The gated recurrent unit, and backpropagation through time.  Derivation: derivations/gru.md.

One row an example, t = 1 ... T, the weights with three blocks of columns for the gates r, u and n, in this order:

    (GU1) [y^r y^u y^n] = x_t w_x + b               (GU2) [v^r v^u v^n] = h_{t-1} w_h       q = v^n + b_n
    (GU3) r = σ(y^r + v^r)    u = σ(y^u + v^u)      (GU4) n = tanh(y^n + r ⊙ q)
    (GU5) h_t = (1 - u) ⊙ n + u ⊙ h_{t-1}
    (GU6) δ^n = h_bar_t ⊙ (1 - u) ⊙ (1 - n²)        (GU7) δ^u = h_bar_t ⊙ (h_{t-1} - n) ⊙ u (1 - u)
    (GU8) δ^r = δ^n ⊙ q ⊙ r (1 - r)                 (GU9) q_bar = δ^n ⊙ r
    (GU10) h_bar_{t-1} = h̄_{t-1} + h_bar_t ⊙ u + [δ^r δ^u q_bar] w_hᵀ
    (GU11) w_x_bar = Σ_t x_tᵀ δ_t    (GU12) b_bar = Σ_t Σ_batch δ_t    (GU13) x_bar_t = δ_t w_xᵀ
    (GU14) w_h_bar = Σ_t h_{t-1}ᵀ [δ^r δ^u q_bar]   (GU15) b_n_bar = Σ_t Σ_batch q_bar

δ_t = [δ^r δ^u δ^n]; h̄ is the cotangent of the output.  The reset gate r acts on the product with the weights, as in
cuDNN, PyTorch and Flax, which leaves one product a step; Cho et al. have it act on h_{t-1} before.  Steps that a
sequence does not have, and `reverse`, are as in jaxnets.ops.recurrence.elman.

Source: Cho et al. 2014, Learning phrase representations using RNN encoder-decoder, eq. (5) to (8).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Integer

from jaxnets.kernels.parts import accumulator, added
from jaxnets.kernels.time_chunks import before, over_chunks, over_steps
from jaxnets.ops.recurrence._sequences import CHUNK, check, only_present, present, squashed, where_present
from jaxnets.rule import rule


class Gates(NamedTuple):
    """What a step computed on its way."""

    r: Float[Array, "*batch n"]
    u: Float[Array, "*batch n"]
    n: Float[Array, "*batch n"]
    q: Float[Array, "*batch n"]


class Residuals(NamedTuple):
    """The arguments that the backward pass needs; the states; and the gates, unless they are to be computed again."""

    x: Float[Array, "batch time n_in"]
    w_x: Float[Array, "n_in gates"]
    w_h: Float[Array, "n gates"]
    b: Float[Array, " gates"]
    b_n: Float[Array, " n"]
    h_0: Float[Array, "batch n"]
    lengths: Integer[Array, " batch"] | None
    h: Float[Array, "batch time n"]
    """Without lengths this is the output itself."""
    gates: Gates | None


class Cotangents(NamedTuple):
    """Of everything but the lengths."""

    x: Float[Array, "batch time n_in"]
    w_x: Float[Array, "n_in gates"]
    w_h: Float[Array, "n gates"]
    b: Float[Array, " gates"]
    b_n: Float[Array, " n"]
    h_0: Float[Array, "batch n"]


def gru_forward(
    x: Float[Array, "batch time n_in"],
    w_x: Float[Array, "n_in gates"],
    w_h: Float[Array, "n gates"],
    b: Float[Array, " gates"],
    b_n: Float[Array, " n"],
    h_0: Float[Array, "batch n"],
    lengths: Integer[Array, " batch"] | None = None,
    *,
    reverse: bool = False,
    keep_gates: bool = True,
    chunk: int = CHUNK,
    name: str = "y",
) -> tuple[tuple[Float[Array, "batch time n"], Float[Array, "batch n"]], Residuals]:
    """All states h_1 ... h_T and the last one: (GU1) to (GU5).

    Args:
      lengths: how many steps each sequence has, from 0 to T; None for all.  Outputs after the end are 0; x must be
        finite there too.
      reverse: from the last step to the first.  A shorter sequence then begins at its own last step.
      keep_gates: whether r, u, n and q are kept for the backward pass, 4 · batch · time · n numbers, or computed again
        there, which makes a third more multiplications.
      chunk: how many steps' products are formed at once; no result depends on it but for rounding.
      name: of [y^r y^u y^n], for the verification of its deltas.

    Returns:
      (h, h_last): h_last is the state after the last step of each sequence (with `reverse`: after its first).

    Raises:
      ValueError: if shapes or dtypes do not fit, or there is no step.
      TypeError: if an argument is no array.
    """
    check("gru", 3, x, w_x, w_h, {"b": (b, 3), "b_n": (b_n, 1)}, {"h_0": h_0}, lengths, chunk)

    def run(h: Array, x: Array, _: tuple[()], start: Any) -> tuple[Array, Array, Any]:
        def step(h: Array, inputs: Any) -> tuple[Array, Any]:
            y, here = inputs
            gates = _gates(checkpoint_name(y, name), h @ w_h, b_n)
            h = where_present(here, (1 - gates.u) * gates.n + gates.u * h, h)  # (GU5)
            return h, (h, gates if keep_gates else None)

        y = x @ w_x + b[None, None, :]  # (GU1)
        h, (states, gates) = lax.scan(step, h, (y, present(lengths, start, x.shape[0])), reverse=reverse)
        return h, states, gates

    h_last, h, gates = over_chunks(run, h_0, x, (), most=chunk, reverse=reverse)
    return (only_present(lengths, h), h_last), Residuals(x, w_x, w_h, b, b_n, h_0, lengths, h, gates)


def gru_backward(
    residuals: Residuals,
    bars: tuple[Float[Array, "batch time n"], Float[Array, "batch n"]],
    *,
    reverse: bool,
    keep_gates: bool,
    chunk: int,
    name: str,
) -> tuple[Array, Array, Array, Array, Array, Array, None]:
    """Cotangents of all arguments: backpropagation through time, (GU6) to (GU15)."""
    found, _ = gru_deltas(residuals, bars, reverse=reverse, chunk=chunk)
    return found.x, found.w_x, found.w_h, found.b, found.b_n, found.h_0, None


def gru_deltas(
    residuals: Residuals,
    bars: tuple[Float[Array, "batch time n"], Float[Array, "batch n"]],
    *,
    reverse: bool = False,
    chunk: int = CHUNK,
) -> tuple[Cotangents, Float[Array, "time batch gates"]]:
    """The cotangents, and δ_1 ... δ_T."""
    h_bar, h_last_bar = bars
    x, w_x, w_h, b, b_n, h_0, lengths, h, _ = residuals

    def run(carry: Any, sequences: Any, gates: Gates | None, start: Any) -> tuple[Any, Array, Array]:
        back, totals = carry
        x, h_bar, states = sequences
        h_before = before(h, states, h_0, start, reverse=reverse)
        if gates is None:
            gates = _gates(x @ w_x + b[None, None, :], h_before @ w_h, b_n)

        r, u, n, q = gates
        # δ^r, δ^u, δ^n and q_bar are multiples of h_bar: their factors are found for the whole chunk.
        slope_n = (1 - u) * (1 - n * n)  # (GU6)
        slope_u = (h_before - n) * u * (1 - u)  # (GU7)
        slope_r = slope_n * q * r * (1 - r)  # (GU8)
        slopes = jnp.concatenate([slope_r, slope_u, slope_n * r], -1)  # (GU9)

        def step(back: Array, inputs: Any) -> tuple[Array, Array]:
            h_bar, slopes, u, here = inputs
            h_bar = h_bar + back
            new_back = h_bar * u + (jnp.tile(h_bar, 3) * slopes) @ w_h.T  # (GU10)
            return where_present(here, new_back, back), where_present(here, h_bar, jnp.zeros_like(h_bar))

        here = present(lengths, start, x.shape[0])
        back, h_bar = lax.scan(step, back, (h_bar, slopes, u, here), reverse=not reverse)
        v_bar = jnp.tile(h_bar, 3) * slopes
        delta = jnp.concatenate([v_bar[..., : 2 * b_n.size], h_bar * slope_n], -1)
        new = (
            over_steps(x, delta),  # (GU11)
            over_steps(h_before, v_bar),  # (GU14)
            delta.sum((0, 1), dtype=wide),  # (GU12)
            v_bar[..., 2 * b_n.size :].sum((0, 1), dtype=wide),  # (GU15)
        )
        return (back, added(totals, new)), delta @ w_x.T, delta  # (GU13)

    wide = accumulator(x.dtype)
    zeros = tuple(jnp.zeros(a.shape, wide) for a in (w_x, w_h, b, b_n))
    (h_0_bar, totals), x_bar, delta = over_chunks(
        run, (h_last_bar, zeros), (x, h_bar, h), residuals.gates, most=chunk, reverse=not reverse
    )
    w_x_bar, w_h_bar, b_bar, b_n_bar = (total.astype(x.dtype) for total in totals)
    return Cotangents(x_bar, w_x_bar, w_h_bar, b_bar, b_n_bar, h_0_bar), delta


gru = rule(gru_forward, gru_backward)


def _gates(y: Float[Array, "*batch gates"], v: Float[Array, "*batch gates"], b_n: Float[Array, " n"]) -> Gates:
    """What a step computes, from its two products."""
    n = b_n.size
    both = squashed(y[..., : 2 * n] + v[..., : 2 * n], (0.5, 0.5))  # (GU3)
    r, u = jnp.split(both, 2, -1)
    q = v[..., 2 * n :] + b_n.reshape((1,) * (v.ndim - 1) + (-1,))  # (GU2)
    return Gates(r, u, jnp.tanh(y[..., 2 * n :] + r * q), q)  # (GU4)
