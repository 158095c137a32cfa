"""An LSTM that looks at a memory before every step, and the way back through both.  See derivations/seq2seq.md.

One row an example; memory m_1 ... m_S, of which a sequence has the first S_n; t = 1 ... T, with h_0 and c_0 given:

    (AT1) q_tj = tanh(h_{t-1} w_a + m_j u_a)     e_tj = q_tj · v
    (AT2) α_tj = e^{e_tj} / Σ_k e^{e_tk}   over the places that there are; 0 elsewhere
    (AT3) s_t = Σ_j α_tj m_j
    (AT4) z_t = x_t w_x + s_t w_s + h_{t-1} w_h + b   and from it c_t and h_t as in an LSTM, LM2 to LM5
    (AT5) δ_t as in an LSTM, LM6 to LM8, and the cotangent of c_{t-1}, LM10
    (AT6) s_bar_t = s̄_t + δ_t w_sᵀ                (AT7) α_bar_tj = ᾱ_tj + s_bar_t · m_j
    (AT8) e_bar_tj = α_tj (α_bar_tj - Σ_k α_tk α_bar_tk)
    (AT9) r_tj = e_bar_tj v ⊙ (1 - q_tj²)         the cotangent of h_{t-1} w_a + m_j u_a
    (AT10) h_bar_{t-1} = h̄_{t-1} + δ_t w_hᵀ + (Σ_j r_tj) w_aᵀ
    (AT11) m_bar_j = Σ_t α_tj s_bar_t + (Σ_t r_tj) u_aᵀ
    (AT12) w_a_bar = Σ_t h_{t-1}ᵀ Σ_j r_tj    u_a_bar = Σ_j m_jᵀ Σ_t r_tj    v_bar = Σ_tj e_bar_tj q_tj
    (AT13) w_x_bar = Σ_t x_tᵀ δ_t    w_s_bar = Σ_t s_tᵀ δ_t    w_h_bar = Σ_t h_{t-1}ᵀ δ_t    b_bar = Σ_t Σ_batch δ_t
    (AT14) x_bar_t = δ_t w_xᵀ

s̄, ᾱ and h̄ are the cotangents of the outputs.

Source: Bahdanau, Cho and Bengio 2015, Neural machine translation by jointly learning to align and translate, section
3.1 and appendix A.1.2, with an LSTM in place of their GRU.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Integer

from jaxnets.kernels.parts import accumulator
from jaxnets.kernels.time_chunks import over_steps
from jaxnets.ops._floating import require_one_dtype
from jaxnets.ops.recurrence._lstm_cell import cell, deltas, output, slopes
from jaxnets.ops.recurrence._sequences import check_lengths, where_present
from jaxnets.ops.recurrence.lstm import LSTMState, check_state
from jaxnets.rule import rule


class AttentionWeights(NamedTuple):
    """All that is trained."""

    w_x: Float[Array, "n_in gates"]
    w_s: Float[Array, "n_m gates"]
    w_h: Float[Array, "n gates"]
    b: Float[Array, " gates"]
    w_a: Float[Array, "n n_a"]
    u_a: Float[Array, "n_m n_a"]
    v: Float[Array, " n_a"]


class Attended(NamedTuple):
    """What the steps give."""

    h: Float[Array, "batch time n"]
    s: Float[Array, "batch time n_m"]
    """The memory as it was seen, s_t."""
    alpha: Float[Array, "batch time source"]
    """How much of each place was seen: sums to 1 over a source that is not empty."""
    last: LSTMState


class Residuals(NamedTuple):
    """What the backward pass needs; steps first where it says time."""

    weights: AttentionWeights
    x: Float[Array, "time batch n_in"]
    memory: Float[Array, "batch source n_m"]
    h_before: Float[Array, "time batch n"]
    c_before: Float[Array, "time batch n"]
    s: Float[Array, "time batch n_m"]
    alpha: Float[Array, "time batch source"]


def attention_lstm_forward(
    weights: AttentionWeights,
    x: Float[Array, "batch time n_in"],
    memory: Float[Array, "batch source n_m"],
    state: LSTMState,
    lengths: Integer[Array, " batch"] | None = None,
    *,
    name: str = "z",
) -> tuple[Attended, Residuals]:
    """All steps: (AT1) to (AT4).

    Args:
      memory: what is looked at, such as the outputs of an encoder.
      state: h_0 and c_0.
      lengths: how many places of the memory each example has, from 0; None for all.  Of an empty one nothing is seen.
      name: of z_t, for the verification of its deltas.

    Raises:
      ValueError: if shapes or dtypes do not fit, or there is no step or no place.
      TypeError: if an argument is no array, or weights and state are not of their types.
    """
    _check(weights, x, memory, state, lengths)
    w_x, w_s, w_h, b, w_a, u_a, v = weights
    places = jnp.arange(memory.shape[1], dtype=jnp.int32)[None, :]
    there = None if lengths is None else places < lengths[:, None].astype(jnp.int32)
    keys = memory @ u_a

    def step(state: LSTMState, z_x: Array) -> tuple[LSTMState, Any]:
        e = jnp.tanh((state.h @ w_a)[:, None, :] + keys) @ v  # (AT1)
        alpha = _softmax(e, there)  # (AT2)
        s = jnp.einsum("bj,bjm->bm", alpha, memory)  # (AT3)
        z = checkpoint_name(z_x + s @ w_s + state.h @ w_h, name)  # (AT4)
        gates, c = cell(z, state.c, None)
        new = LSTMState(output(gates, c), c)
        return new, (new.h, state, s, alpha)

    steps = x.swapaxes(0, 1)
    last, (h, before, s, alpha) = lax.scan(step, state, steps @ w_x + b[None, None, :])
    residuals = Residuals(weights, steps, memory, before.h, before.c, s, alpha)
    return Attended(h.swapaxes(0, 1), s.swapaxes(0, 1), alpha.swapaxes(0, 1), last), residuals


def attention_lstm_backward(
    residuals: Residuals, bars: Attended, *, name: str
) -> tuple[AttentionWeights, Array, Array, LSTMState, None]:
    """Cotangents of all arguments: (AT5) to (AT14)."""
    return *attention_lstm_deltas(residuals, bars)[0], None


def attention_lstm_deltas(
    residuals: Residuals, bars: Attended
) -> tuple[
    tuple[AttentionWeights, Float[Array, "batch time n_in"], Float[Array, "batch source n_m"], LSTMState],
    Float[Array, "time batch gates"],
]:
    """The cotangents of weights, x, memory and state; and δ_1 ... δ_T."""
    weights, x, memory, h_before, c_before, s, alpha = residuals
    w_x, w_s, w_h, b, w_a, u_a, v = weights
    keys = memory @ u_a
    z = x @ w_x + s @ w_s + h_before @ w_h + b[None, None, :]  # (AT4)
    of, _ = slopes(cell(z, c_before, None)[0], c_before)

    def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
        back, keys_bar, v_bar = carry
        h_bar, s_bar, alpha_bar, of, h_before, alpha = inputs
        delta, c_back = deltas(h_bar + back.h, back.c, of, None)  # (AT5)
        s_bar = s_bar + delta @ w_s.T  # (AT6)
        alpha_bar = alpha_bar + jnp.einsum("bm,bjm->bj", s_bar, memory)  # (AT7)
        e_bar = alpha * (alpha_bar - jnp.sum(alpha * alpha_bar, 1, keepdims=True))  # (AT8)
        q = jnp.tanh((h_before @ w_a)[:, None, :] + keys)  # (AT1)
        r = e_bar[:, :, None] * v[None, None, :] * (1 - q * q)  # (AT9)
        p_bar = r.sum(1)
        h_back = delta @ w_h.T + p_bar @ w_a.T  # (AT10)
        v_bar += jnp.einsum("bj,bja->a", e_bar, q, preferred_element_type=wide)  # (AT12)
        return (LSTMState(h_back, c_back), keys_bar + r.astype(wide), v_bar), (delta, s_bar, p_bar)

    inputs = (*(bar.swapaxes(0, 1) for bar in (bars.h, bars.s, bars.alpha)), of, h_before, alpha)
    wide = accumulator(x.dtype)
    start = bars.last, jnp.zeros(keys.shape, wide), jnp.zeros(v.shape, wide)
    (state_bar, keys_bar, v_bar), (delta, s_bar, p_bar) = lax.scan(step, start, inputs, reverse=True)
    keys_bar = keys_bar.astype(x.dtype)
    memory_bar = jnp.einsum("tbj,tbm->bjm", alpha, s_bar) + keys_bar @ u_a.T  # (AT11)
    bar = AttentionWeights(
        over_steps(x, delta),  # (AT13)
        over_steps(s, delta),  # (AT13)
        over_steps(h_before, delta),  # (AT13)
        delta.sum((0, 1)),  # (AT13)
        over_steps(h_before, p_bar),  # (AT12)
        over_steps(memory, keys_bar),  # (AT12)
        v_bar,
    )
    bar = AttentionWeights(*(a.astype(x.dtype) for a in bar))
    return (bar, (delta @ w_x.T).swapaxes(0, 1), memory_bar, state_bar), delta  # (AT14)


attention_lstm = rule(attention_lstm_forward, attention_lstm_backward)


def _softmax(e: Float[Array, "batch source"], there: Array | None) -> Float[Array, "batch source"]:
    """Over the places that there are; zeros where there are none."""
    highest = where_present(there, e, jnp.full_like(e, -jnp.inf)).max(1, keepdims=True)
    shifted = e - lax.stop_gradient(jnp.where(jnp.isfinite(highest), highest, jnp.zeros_like(highest)))
    weights = where_present(there, jnp.exp(where_present(there, shifted, jnp.zeros_like(e))), jnp.zeros_like(e))
    total = weights.sum(1, keepdims=True)
    return weights / jnp.where(total > 0, total, jnp.ones_like(total))


def _check(
    weights: AttentionWeights, x: Array, memory: Array, state: LSTMState, lengths: Integer[Array, " batch"] | None
) -> None:
    if not isinstance(weights, AttentionWeights):
        raise TypeError(f"attention_lstm: weights is a {type(weights).__name__}, wanted AttentionWeights")
    check_state("attention_lstm", state)
    states = {f"state.{name}": array for name, array in state._asdict().items()}
    require_one_dtype("attention_lstm", weights._asdict() | {"x": x, "memory": memory} | states)
    if x.ndim != 3 or memory.ndim != 3 or not x.shape[1] or not memory.shape[1] or x.shape[0] != memory.shape[0]:
        raise ValueError(
            f"attention_lstm: x is {x.shape}, memory {memory.shape};"
            " wanted (batch, time, n_in) and (batch, source, n_m), with at least one step and one place"
        )
    check_lengths("attention_lstm", lengths, x.shape[0])
    batch, n = x.shape[0], state.h.shape[1] if state.h.ndim == 2 else "n"
    for name, array in states.items():
        if array.shape != (batch, n):
            raise ValueError(f"attention_lstm: {name} is {array.shape}, wanted ({batch}, {n})")
    n, n_m, n_a = state.h.shape[1], memory.shape[2], weights.v.size
    wanted = ((x.shape[2], 4 * n), (n_m, 4 * n), (n, 4 * n), (4 * n,), (n, n_a), (n_m, n_a), (n_a,))
    for name, array, shape in zip(weights._fields, weights, wanted, strict=True):
        if array.shape != shape:
            raise ValueError(
                f"attention_lstm: {name} is {array.shape}, wanted {shape}"
                f" (x {x.shape}, memory {memory.shape}, {n} units)"
            )
