"""Long short-term memory, and backpropagation through time.  Derivation: derivations/lstm.md.

One row an example, t = 1 ... T, the weights with four blocks of columns for the gates i, f, g and o, in this order:

    (LM1) [z^i z^f z^g z^o] = x_t w_x + h_{t-1} w_h + b
    (LM2) i = σ(z^i + c_{t-1} ⊙ p^i)    f = σ(z^f + c_{t-1} ⊙ p^f)    g = tanh(z^g)    σ(z) = ½ tanh(½ z) + ½
    (LM3) c_t = f ⊙ c_{t-1} + i ⊙ g    (LM4) o = σ(z^o + c_t ⊙ p^o)    (LM5) h_t = o ⊙ tanh(c_t)
    (LM6) δ^o = h_bar_t ⊙ tanh(c_t) ⊙ o (1 - o)
    (LM7) c_bar_t = h_bar_t ⊙ o ⊙ (1 - tanh²(c_t)) + c_bar' + δ^o ⊙ p^o
    (LM8) δ^i = c_bar_t ⊙ g ⊙ i (1 - i)    δ^f = c_bar_t ⊙ c_{t-1} ⊙ f (1 - f)    δ^g = c_bar_t ⊙ i ⊙ (1 - g²)
    (LM9) h_bar_{t-1} = h̄_{t-1} + δ_t w_hᵀ    (LM10) c_bar' = c_bar_t ⊙ f + δ^i ⊙ p^i + δ^f ⊙ p^f
    (LM11) w_x_bar = Σ_t x_tᵀ δ_t    (LM12) w_h_bar = Σ_t h_{t-1}ᵀ δ_t    (LM13) b_bar = Σ_t Σ_batch δ_t
    (LM14) x_bar_t = δ_t w_xᵀ
    (LM15) p^i_bar = Σ δ^i ⊙ c_{t-1}    p^f_bar = Σ δ^f ⊙ c_{t-1}    p^o_bar = Σ δ^o ⊙ c_t

δ_t = [δ^i δ^f δ^g δ^o]; h̄ is the cotangent of the output, and c_bar' that of c_{t-1}, which the step before receives.
Without peepholes p = 0.  Steps that a sequence does not have, and `reverse`, are as in jaxnets.ops.recurrence.elman.

Sources: Hochreiter and Schmidhuber 1997, Long short-term memory (without f); Gers, Schmidhuber and Cummins 2000,
Learning to forget; Gers, Schraudolph and Schmidhuber 2002, Learning precise timing with LSTM recurrent networks (p).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Integer

from jaxnets.kernels.parts import accumulator, added
from jaxnets.kernels.time_chunks import before, over_chunks
from jaxnets.ops.recurrence._lstm_cell import cell, deltas, output, peephole_cotangents, slopes
from jaxnets.ops.recurrence._sequences import (
    CHUNK,
    check,
    only_present,
    present,
    weight_cotangents,
    where_present,
)
from jaxnets.rule import rule


class LSTMState(NamedTuple):
    """Output and cell of the units, between two steps."""

    h: Float[Array, "batch n"]
    c: Float[Array, "batch n"]


def check_state(what: str, state: Any) -> None:
    """TypeError, in the name of the rule, unless it is an LSTMState, which its cotangent will be too."""
    if not isinstance(state, LSTMState):
        raise TypeError(f"{what}: state is a {type(state).__name__}, wanted an LSTMState(h, c)")


class Residuals(NamedTuple):
    """The arguments that the backward pass needs; the states; and the gates, unless they are to be computed again."""

    x: Float[Array, "batch time n_in"]
    w_x: Float[Array, "n_in gates"]
    w_h: Float[Array, "n gates"]
    b: Float[Array, " gates"]
    h_0: Float[Array, "batch n"]
    lengths: Integer[Array, " batch"] | None
    peepholes: Float[Array, " peepholes"] | None
    h: Float[Array, "batch time n"]
    """Without lengths this is the output itself."""
    c_before: Float[Array, "time batch n"]
    gates: Float[Array, "time batch gates"] | None


class Cotangents(NamedTuple):
    """Of everything but the lengths."""

    x: Float[Array, "batch time n_in"]
    w_x: Float[Array, "n_in gates"]
    w_h: Float[Array, "n gates"]
    b: Float[Array, " gates"]
    state: LSTMState
    peepholes: Float[Array, " peepholes"] | None


def lstm_forward(
    x: Float[Array, "batch time n_in"],
    w_x: Float[Array, "n_in gates"],
    w_h: Float[Array, "n gates"],
    b: Float[Array, " gates"],
    state: LSTMState,
    lengths: Integer[Array, " batch"] | None = None,
    peepholes: Float[Array, " peepholes"] | None = None,
    *,
    reverse: bool = False,
    keep_gates: bool = False,
    chunk: int = CHUNK,
    name: str = "z",
) -> tuple[tuple[Float[Array, "batch time n"], LSTMState], Residuals]:
    """All outputs h_1 ... h_T, and the last state: (LM1) to (LM5).

    Args:
      state: h_0 and c_0.
      lengths: how many steps each sequence has, from 0 to T; None for all.  Outputs after the end are 0; x must be
        finite there too.
      peepholes: p^i, p^f and p^o, one after the other; None for none.
      reverse: from the last step to the first.  A shorter sequence then begins at its own last step.
      keep_gates: whether the gates are kept for the backward pass, 4 · batch · time · n numbers beside the
        batch · time · n of c, or computed again there, which makes a third more multiplications.  On a CPU fetching so
        much memory takes as long, so they are not kept.
      chunk: how many steps' products are formed at once; no result depends on it but for rounding.
      name: of [z^i z^f z^g z^o] without peepholes, for the verification of its deltas.

    Returns:
      (h, last): the state after the last step of each sequence (with `reverse`: after its first).

    Raises:
      ValueError: if shapes or dtypes do not fit, or there is no step.
      TypeError: if an argument is no array, or the state no LSTMState.
    """
    check_state("lstm", state)
    vectors = {"b": (b, 4)} | ({} if peepholes is None else {"peepholes": (peepholes, 3)})
    check("lstm", 4, x, w_x, w_h, vectors, {"state.h": state.h, "state.c": state.c}, lengths, chunk)

    def run(state: LSTMState, x: Array, _: tuple[()], start: Any) -> tuple[LSTMState, Array, Any]:
        def step(state: LSTMState, inputs: Any) -> tuple[LSTMState, Any]:
            z_x, here = inputs
            z = checkpoint_name(z_x + state.h @ w_h, name)  # (LM1)
            gates, c = cell(z, state.c, peepholes)
            h = output(gates, c)
            new = LSTMState(where_present(here, h, state.h), where_present(here, c, state.c))
            return new, (new.h, state.c, gates if keep_gates else None)

        z_x = x @ w_x + b[None, None, :]
        state, (h, c_before, gates) = lax.scan(step, state, (z_x, present(lengths, start, x.shape[0])), reverse=reverse)
        return state, h, (c_before, gates)

    last, h, (c_before, gates) = over_chunks(run, state, x, (), most=chunk, reverse=reverse)
    residuals = Residuals(x, w_x, w_h, b, state.h, lengths, peepholes, h, c_before, gates)
    return (only_present(lengths, h), last), residuals


def lstm_backward(
    residuals: Residuals,
    bars: tuple[Float[Array, "batch time n"], LSTMState],
    *,
    reverse: bool,
    keep_gates: bool,
    chunk: int,
    name: str,
) -> tuple[Array, Array, Array, Array, LSTMState, None, Array | None]:
    """Cotangents of all arguments: backpropagation through time, (LM6) to (LM15)."""
    found, _ = lstm_deltas(residuals, bars, reverse=reverse, chunk=chunk)
    return found.x, found.w_x, found.w_h, found.b, found.state, None, found.peepholes


def lstm_deltas(
    residuals: Residuals,
    bars: tuple[Float[Array, "batch time n"], LSTMState],
    *,
    reverse: bool = False,
    chunk: int = CHUNK,
) -> tuple[Cotangents, Float[Array, "time batch gates"]]:
    """The cotangents, and δ_1 ... δ_T."""
    h_bar, last_bar = bars
    x, w_x, w_h, b, h_0, lengths, p, h, *_ = residuals

    def run(carry: Any, sequences: Any, steps: Any, start: Any) -> tuple[Any, Array, Array]:
        back, totals = carry
        x, h_bar, states = sequences
        c_before, gates = steps
        h_before = before(h, states, h_0, start, reverse=reverse)
        if gates is None:
            gates, _ = cell(x @ w_x + h_before @ w_h + b[None, None, :], c_before, p)  # (LM1)

        of, c = slopes(gates, c_before)  # for the whole chunk: what is left of a step are a few products

        def step(back: LSTMState, inputs: Any) -> tuple[LSTMState, Array]:
            h_bar, of, here = inputs
            delta, c_back = deltas(h_bar + back.h, back.c, of, p)
            delta = where_present(here, delta, jnp.zeros_like(delta))
            h_back = delta @ w_h.T  # (LM9)
            return LSTMState(where_present(here, h_back, back.h), where_present(here, c_back, back.c)), delta

        here = present(lengths, start, x.shape[0])
        back, delta = lax.scan(step, back, (h_bar, of, here), reverse=not reverse)
        new = (
            *weight_cotangents(x, h_before, delta),  # (LM11) (LM12) (LM13)
            None if p is None else peephole_cotangents(delta, c_before, c),
        )
        return (back, added(totals, new)), delta @ w_x.T, delta  # (LM14)

    wide = accumulator(x.dtype)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, wide), (w_x, w_h, b, p))
    (state_bar, totals), x_bar, delta = over_chunks(
        run,
        (last_bar, zeros),
        (x, h_bar, h),
        (residuals.c_before, residuals.gates),
        most=chunk,
        reverse=not reverse,
    )
    w_x_bar, w_h_bar, b_bar, p_bar = jax.tree.map(lambda total: total.astype(x.dtype), totals)
    return Cotangents(x_bar, w_x_bar, w_h_bar, b_bar, state_bar, p_bar), delta


lstm = rule(lstm_forward, lstm_backward)
