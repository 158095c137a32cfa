"""Recurrence with a copied context: Elman's truncation, truncation in segments, and Jordan's network.

Derivation: derivations/rnn.md.  Elman trained his network by plain backpropagation at every step: the context is a copy
of the last state, and no gradient goes through it.  That is backpropagation through time cut after one step; cut after
k steps it is truncated backpropagation through time.  In Jordan's network the context is the last output:

    (JN1) z_t = x_t w_x + y_{t-1} w_y + b    h_t = f(z_t)    (JN2) y_t = g(o_t),  o_t = h_t v + c
    (JN3) e_t = (y_bar_t + δ_{t+1} w_yᵀ) ⊙ g'(o_t)           (JN4) δ_t = (e_t vᵀ) ⊙ f'(z_t)
    (JN5) w_x_bar = Σ_t x_tᵀ δ_t    w_y_bar = Σ_t y_{t-1}ᵀ δ_t    v_bar = Σ_t h_tᵀ e_t
    (JN6) b_bar = Σ_t Σ_batch δ_t    c_bar = Σ_t Σ_batch e_t
    (JN7) x_bar_t = δ_t w_xᵀ    y_0_bar = δ_1 w_yᵀ

Sources: Elman 1990, Finding structure in time; Jordan 1986, Serial order: a parallel distributed processing approach;
Williams and Peng 1990, An efficient gradient-based algorithm for on-line training of recurrent network trajectories.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxnets.kernels.parts import accumulator
from jaxnets.kernels.time_chunks import over_steps
from jaxnets.ops._floating import require_one_dtype
from jaxnets.ops.activations import sigmoid
from jaxnets.rule import Rule, rule


def truncated(
    run: Callable[[Array, Any], tuple[Array, Any]], x: Float[Array, "batch time n_in"], state: Any, *, steps: int
) -> tuple[Float[Array, "batch time n"], Any]:
    """A recurrent layer whose gradient goes back to the beginning of a segment of so many steps, and not further.

    The values are those of `run(x, state)`; with `steps=1` the gradient is that of Elman's network.

    Args:
      run: `(x, state) -> (h, last state)` over any number of steps, such as a rule of `jaxnets.ops.recurrence` with
        its weights.
      steps: of a segment; the first begins at the first step, the last may be shorter.

    Raises:
      ValueError: if steps is less than 1, or x is not of three axes.
    """
    if steps < 1 or x.ndim != 3:
        raise ValueError(f"truncated: steps is {steps}, x {x.shape}; wanted at least 1, and (batch, time, n_in)")
    whole = x.shape[1] // steps
    parts = x[:, : whole * steps].reshape(x.shape[0], whole, steps, x.shape[2]).swapaxes(0, 1)

    def segment(state: Any, part: Array) -> tuple[Any, Array]:
        h, state = run(part, jax.tree.map(lax.stop_gradient, state))
        return state, h

    state, h = lax.scan(segment, state, parts)
    h = h.swapaxes(0, 1).reshape(x.shape[0], whole * steps, h.shape[-1])
    if whole * steps < x.shape[1]:
        state, rest = segment(state, x[:, whole * steps :])
        h = jnp.concatenate([h, rest], 1)
    return h, state


class Params(NamedTuple):
    """Of Jordan's network."""

    w_x: Float[Array, "n_in n"]
    w_y: Float[Array, "n_out n"]
    b: Float[Array, " n"]
    v: Float[Array, "n n_out"]
    c: Float[Array, " n_out"]


class Residuals(NamedTuple):
    """What the way back needs; time first."""

    params: Params
    x: Float[Array, "time batch n_in"]
    y_before: Float[Array, "time batch n_out"]
    h: Float[Array, "time batch n"]
    of_hidden: Any
    of_output: Any


def init(key: Array, n_in: int, n: int, n_out: int, *, dtype: Any = jnp.float32) -> Params:
    """Random parameters of Jordan's network: weights as Glorot and Bengio 2010, biases 0.

    Raises:
      ValueError: if a size is not positive.
    """
    if min(n_in, n, n_out) < 1:
        raise ValueError(f"srn.init: n_in {n_in}, n {n}, n_out {n_out}: wanted positive numbers")
    keys = jax.random.split(key, 3)
    glorot = initializers.glorot_uniform()
    w_x, w_y, v = (glorot(k, shape, dtype) for k, shape in zip(keys, ((n_in, n), (n_out, n), (n, n_out)), strict=True))
    return Params(w_x, w_y, jnp.zeros(n, dtype), v, jnp.zeros(n_out, dtype))


def jordan_forward(
    params: Params,
    x: Float[Array, "batch time n_in"],
    y_0: Float[Array, "batch n_out"],
    *,
    hidden: Rule[..., Any] = sigmoid,
    output: Rule[..., Any] = sigmoid,
) -> tuple[Float[Array, "batch time n_out"], Residuals]:
    """Outputs of every step: (JN1), (JN2).

    z_t carries the name "z" and o_t the name "o", so that their deltas can be verified.

    Args:
      y_0: what the context holds before the first step.
      hidden: an element-wise rule, f.
      output: a rule, g.

    Raises:
      ValueError: if shapes or dtypes do not fit, or there is no step.
    """
    w_x, w_y, b, v, c = params
    require_one_dtype("jordan", {"x": x, "y_0": y_0, **params._asdict()})
    n, n_out = b.size, c.size
    if x.ndim != 3 or not x.shape[1]:
        raise ValueError(f"jordan: x is {x.shape}, wanted (batch, time, n_in) with at least one step")
    given = {"y_0": y_0, **params._asdict()}
    wanted = (x.shape[0], n_out), (x.shape[2], n), (n_out, n), (n,), (n, n_out), (n_out,)
    for (name, array), shape in zip(given.items(), wanted, strict=True):
        if array.shape != shape:
            raise ValueError(
                f"jordan: {name} is {array.shape}, wanted {shape} (x {x.shape}, {n} hidden units, {n_out} outputs)"
            )

    def step(y: Array, z_x: Array) -> tuple[Array, Any]:
        z = checkpoint_name(z_x + y @ w_y, "z")  # (JN1)
        h, of_hidden = hidden.forward(z)  # (JN1)
        new, of_output = output.forward(checkpoint_name(h @ v + c[None, :], "o"))  # (JN2)
        return new, (new, y, h, of_hidden, of_output)

    steps = x.swapaxes(0, 1)
    _, (y, y_before, h, of_hidden, of_output) = lax.scan(step, y_0, steps @ w_x + b[None, None, :])
    return y.swapaxes(0, 1), Residuals(params, steps, y_before, h, of_hidden, of_output)


def jordan_backward(
    residuals: Residuals, y_bar: Float[Array, "batch time n_out"], *, hidden: Rule[..., Any], output: Rule[..., Any]
) -> tuple[Params, Float[Array, "batch time n_in"], Float[Array, "batch n_out"]]:
    """Cotangents of params, x and y_0: backpropagation through time, (JN3) to (JN7)."""
    return jordan_deltas(residuals, y_bar, hidden=hidden, output=output)[0]


def jordan_deltas(
    residuals: Residuals,
    y_bar: Float[Array, "batch time n_out"],
    *,
    hidden: Rule[..., Any] = sigmoid,
    output: Rule[..., Any] = sigmoid,
) -> tuple[
    tuple[Params, Float[Array, "batch time n_in"], Float[Array, "batch n_out"]],
    dict[str, Float[Array, "time batch _"]],
]:
    """What `jordan_backward` returns, and the deltas of every step under the names that the forward pass gave."""
    (w_x, w_y, _, v, _), x, y_before, h, of_hidden, of_output = residuals

    def step(back: Array, inputs: Any) -> tuple[Array, tuple[Array, Array]]:
        y_bar, of_hidden, of_output = inputs
        (e,) = output.backward(of_output, y_bar + back)  # (JN3)
        (delta,) = hidden.backward(of_hidden, e @ v.T)  # (JN4)
        return delta @ w_y.T, (e, delta)  # (JN7)

    steps = (y_bar.swapaxes(0, 1), of_hidden, of_output)
    y_0_bar, (e, delta) = lax.scan(step, jnp.zeros_like(y_before[0]), steps, reverse=True)
    params_bar = Params(
        over_steps(x, delta).astype(x.dtype),  # (JN5)
        over_steps(y_before, delta).astype(x.dtype),  # (JN5)
        delta.sum((0, 1), dtype=accumulator(x.dtype)).astype(x.dtype),  # (JN6)
        over_steps(h, e).astype(x.dtype),  # (JN5)
        e.sum((0, 1), dtype=accumulator(x.dtype)).astype(x.dtype),  # (JN6)
    )
    return (params_bar, (delta @ w_x.T).swapaxes(0, 1), y_0_bar), {"z": delta, "o": e}  # (JN7)


jordan = rule(jordan_forward, jordan_backward)
