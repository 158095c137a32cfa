"""The simple recurrent network, and backpropagation through time.  Derivation: derivations/rnn.md.

One row an example, t = 1 ... T, f the activation, h_0 given:

    (RC1) z_t = x_t w_x + h_{t-1} w_h + b                (RC2) h_t = f(z_t)
    (RC3) δ_t = (h_bar_t + δ_{t+1} w_hᵀ) ⊙ f'(z_t)       δ_{T+1} w_hᵀ stands for the cotangent of the last state
    (RC4) w_x_bar = Σ_t x_tᵀ δ_t    (RC5) w_h_bar = Σ_t h_{t-1}ᵀ δ_t    (RC6) b_bar = Σ_t Σ_batch δ_t
    (RC7) x_bar_t = δ_t w_xᵀ        (RC8) h_0_bar = δ_1 w_hᵀ

A sequence of fewer than T steps is over where its length says: from there on its state stays as it is, its output is
0, and δ_t = 0.  With `reverse` the steps are taken from the last to the first, and t-1 stands for the step after t.

Sources: Elman 1990, Finding structure in time; Werbos 1990, Backpropagation through time: what it does and how to do
it.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Integer

from jaxnets.kernels.parts import accumulator, added
from jaxnets.kernels.time_chunks import before, over_chunks
from jaxnets.ops.activations import tanh
from jaxnets.ops.recurrence._sequences import (
    check,
    only_present,
    present,
    weight_cotangents,
    where_present,
)
from jaxnets.rule import Rule, rule


class Residuals(NamedTuple):
    """The arguments that the backward pass needs, and the states.  Without lengths, h is the output itself."""

    x: Float[Array, "batch time n_in"]
    w_x: Float[Array, "n_in n"]
    w_h: Float[Array, "n n"]
    h_0: Float[Array, "batch n"]
    lengths: Integer[Array, " batch"] | None
    h: Float[Array, "batch time n"]


class Cotangents(NamedTuple):
    """Of everything but the lengths."""

    x: Float[Array, "batch time n_in"]
    w_x: Float[Array, "n_in n"]
    w_h: Float[Array, "n n"]
    b: Float[Array, " n"]
    h_0: Float[Array, "batch n"]


def elman_forward(
    x: Float[Array, "batch time n_in"],
    w_x: Float[Array, "n_in n"],
    w_h: Float[Array, "n n"],
    b: Float[Array, " n"],
    h_0: Float[Array, "batch n"],
    lengths: Integer[Array, " batch"] | None = None,
    *,
    activation: Rule[..., Any] = tanh,
    reverse: bool = False,
    chunk: int = 20,
    name: str = "z",
) -> tuple[tuple[Float[Array, "batch time n"], Float[Array, "batch n"]], Residuals]:
    """All states h_1 ... h_T and the last one, (RC1) and (RC2).

    The backward pass keeps no other array of the size of x than x and h.

    Args:
      lengths: how many steps each sequence has, from 0 to T; None for all.  Outputs after the end are 0; x must be
        finite there too.
      activation: an element-wise rule that keeps its output and nothing else: tanh, sigmoid, relu, softplus.
      reverse: from the last step to the first.  A shorter sequence then begins at its own last step.
      chunk: how many steps' products are formed at once; no result depends on it but for rounding.
      name: of z_t, for the verification of its deltas.

    Returns:
      (h, h_last): h_last is the state after the last step of each sequence (with `reverse`: after its first).

    Raises:
      ValueError: if shapes or dtypes do not fit, there is no step, or the activation keeps anything else.
      TypeError: if an argument is no array, or the activation no rule.
    """
    check("elman", 1, x, w_x, w_h, {"b": (b, 1)}, {"h_0": h_0}, lengths, chunk)
    if not hasattr(activation, "backward"):
        raise TypeError(f"elman: activation is {activation!r}, wanted a rule (jaxnets.rule)")

    def run(h: Array, x: Array, _: tuple[()], start: Any) -> tuple[Array, Array, tuple[()]]:
        def step(h: Array, inputs: Any) -> tuple[Array, Array]:
            z_x, here = inputs
            z = checkpoint_name(z_x + h @ w_h, name)  # (RC1)
            a, saved = activation.forward(z)  # (RC2)
            if saved is not a:
                raise ValueError(
                    f"elman: {activation.__name__} does not keep its output alone, wanted tanh, sigmoid or relu"
                )
            h = where_present(here, a, h)
            return h, h

        h, states = lax.scan(
            step, h, (x @ w_x + b[None, None, :], present(lengths, start, x.shape[0])), reverse=reverse
        )
        return h, states, ()

    h_last, h, _ = over_chunks(run, h_0, x, (), most=chunk, reverse=reverse)
    return (only_present(lengths, h), h_last), Residuals(x, w_x, w_h, h_0, lengths, h)


def elman_backward(
    residuals: Residuals,
    bars: tuple[Float[Array, "batch time n"], Float[Array, "batch n"]],
    *,
    activation: Rule[..., Any],
    reverse: bool,
    chunk: int,
    name: str,
) -> tuple[Array, Array, Array, Array, Array, None]:
    """Cotangents of x, w_x, w_h, b and h_0: backpropagation through time, (RC3) to (RC8)."""
    found, _ = elman_deltas(residuals, bars, activation=activation, reverse=reverse, chunk=chunk)
    return found.x, found.w_x, found.w_h, found.b, found.h_0, None


def elman_deltas(
    residuals: Residuals,
    bars: tuple[Float[Array, "batch time n"], Float[Array, "batch n"]],
    *,
    activation: Rule[..., Any] = tanh,
    reverse: bool = False,
    chunk: int = 20,
) -> tuple[Cotangents, Float[Array, "time batch n"]]:
    """What `elman_backward` returns, and δ_1 ... δ_T."""
    h_bar, h_last_bar = bars
    x, w_x, w_h, h_0, lengths, h = residuals

    def run(carry: Any, sequences: Any, _: tuple[()], start: Any) -> tuple[Any, Array, Array]:
        back, totals = carry
        x, h_bar, states = sequences
        h_before = before(h, states, h_0, start, reverse=reverse)

        def step(back: Array, inputs: Any) -> tuple[Array, Array]:
            h_bar, h, here = inputs
            (delta,) = activation.backward(h, h_bar + back)  # (RC3)
            delta = where_present(here, delta, jnp.zeros_like(delta))
            return where_present(here, delta @ w_h.T, back), delta  # (RC8)

        here = present(lengths, start, x.shape[0])
        back, delta = lax.scan(step, back, (h_bar, states, here), reverse=not reverse)
        return (back, added(totals, weight_cotangents(x, h_before, delta))), delta @ w_x.T, delta  # (RC7)

    zeros = tuple(jnp.zeros(shape, accumulator(x.dtype)) for shape in (w_x.shape, w_h.shape, w_x.shape[1:]))
    (h_0_bar, totals), x_bar, delta = over_chunks(
        run, (h_last_bar, zeros), (x, h_bar, h), (), most=chunk, reverse=not reverse
    )
    w_x_bar, w_h_bar, b_bar = (total.astype(x.dtype) for total in totals)
    return Cotangents(x_bar, w_x_bar, w_h_bar, b_bar, h_0_bar), delta


elman = rule(elman_forward, elman_backward)
