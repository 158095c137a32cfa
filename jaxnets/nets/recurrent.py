"""Networks of recurrent layers, whatever the layer.  Derivation: derivations/rnn.md.

A `Cell` says what a layer is: `rnn.CELL`, `lstm.CELL` and `gru.CELL` of the modules of these names.  Layer l of a
network reads the outputs of layer l-1, the first the input x, and the outputs h of the last go into a head
o = h v + c: at every step (many to many), or once, after the last step of each sequence (many to one).  With the
activation g of the head:

    (RH1) y_t = g(o_t),  o_t = h_t v + c
    (RH2) e_t = ∂C/∂y_t ⊙ g'(o_t)         (RH3) h_bar_t = e_t vᵀ
    (RH4) v_bar = Σ_t h_tᵀ e_t            (RH5) c_bar = Σ_t Σ_batch e_t

The cotangent that layer l hands down, x_bar, is h_bar of layer l-1: the deltas of a deep network are found layer after
layer, each from the last step to the first.

Sources: Elman 1990, Finding structure in time; Graves, Mohamed and Hinton 2013, Speech recognition with deep recurrent
neural networks, eq. (11).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.kernels.parts import accumulator
from jaxnets.kernels.time_chunks import over_steps
from jaxnets.ops.activations import linear
from jaxnets.ops.affine import affine
from jaxnets.rule import Rule, rule


class Cell(NamedTuple):
    """What a recurrent layer is, as pure functions.  `lengths` are those of the sequences, or None."""

    init: Callable[[Array, int, int, Any], Any]
    """(key, n_in, n, dtype) -> the layer's parameters"""
    start: Callable[[Any, int], Any]
    """(layer, batch) -> the state of zeros"""
    run: Callable[..., tuple[Array, Any]]
    """(layer, x, state, lengths, *, reverse) -> (h, last state): a rule"""
    forward: Callable[..., tuple[tuple[Array, Any], Any]]
    """(layer, x, state, lengths, *, name, chunk) -> ((h, last state), residuals)"""
    deltas: Callable[..., tuple[Any, Array, Array]]
    """(residuals, (h_bar, last_bar), *, chunk) -> (layer_bar, x_bar, deltas of all steps)"""
    output: Callable[[Any], Array]
    """state -> h"""


class Head(NamedTuple):
    """The way from h to the output."""

    v: Float[Array, "n n_out"]
    c: Float[Array, " n_out"]


class Params(NamedTuple):
    """The layers, from the input on, and the head."""

    layers: tuple[Any, ...]
    head: Head


class Sequences(NamedTuple):
    """Inputs, and how many steps each has: None if all are there."""

    x: Float[Array, "batch time n_in"]
    lengths: Integer[Array, " batch"] | None = None


def init(key: Array, cell: Cell, n_in: int, hidden: Sequence[int], n_out: int, *, dtype: Any = jnp.float32) -> Params:
    """Random parameters of a network with so many units in each layer.

    The head's weights are N(0, 1/n), its biases 0.

    Raises:
      ValueError: if there is no layer, or a size is not positive.
    """
    if not hidden or min(n_in, n_out, *hidden) < 1:
        raise ValueError(
            f"recurrent.init: n_in {n_in}, hidden {tuple(hidden)}, n_out {n_out}: wanted a layer, positive numbers"
        )
    head_key, *keys = jax.random.split(key, 1 + len(hidden))
    layers = tuple(
        cell.init(k, below, n, dtype) for k, below, n in zip(keys, (n_in, *hidden[:-1]), hidden, strict=True)
    )
    return Params(layers, init_head(head_key, hidden[-1], n_out, dtype))


def init_head(key: Array, n: int, n_out: int, dtype: Any) -> Head:
    """Weights N(0, 1/n) and biases 0."""
    return Head(initializers.lecun_normal()(key, (n, n_out), dtype), jnp.zeros(n_out, dtype))


def orthogonal(key: Array, n: int, dtype: Any) -> Float[Array, "n n"]:
    """A random orthogonal matrix (Saxe et al. 2014), found in float32 if the dtype is narrower."""
    return initializers.orthogonal()(key, (n, n), accumulator(dtype)).astype(dtype)


def start(params: Params, batch: int, *, cell: Cell) -> tuple[Any, ...]:
    """The states of all layers before the first step: zeros."""
    return tuple(cell.start(layer, batch) for layer in params.layers)


def states(
    params: Params, sequences: Sequences, before: tuple[Any, ...] | None = None, *, cell: Cell
) -> tuple[Float[Array, "batch time n"], tuple[Any, ...]]:
    """The outputs of the last layer at all steps, and the states of all layers after the last one.

    Args:
      before: the states before the first step, as `start` or an earlier call gives them; zeros if None.

    Raises:
      ValueError: if there are not as many states as layers, or the layers do not fit.
    """
    h, lengths = sequences
    before = start(params, h.shape[0], cell=cell) if before is None else before
    if len(before) != len(params.layers):
        raise ValueError(
            f"recurrent.states: before has {len(before)} states, wanted one for each of {len(params.layers)} layers"
        )
    after = []
    for layer, state in zip(params.layers, before, strict=True):
        h, last = cell.run(layer, h, state, lengths)
        after.append(last)
    return h, tuple(after)


def many_to_many(params: Params, sequences: Sequences, *, cell: Cell) -> Float[Array, "batch time n_out"]:
    """o_t of every step (RH1); after the end of a sequence it is c."""
    return at_every_step(params.head, states(params, sequences, cell=cell)[0])


def many_to_one(params: Params, sequences: Sequences, *, cell: Cell) -> Float[Array, "batch n_out"]:
    """The output o after the last step of each sequence (RH1)."""
    _, after = states(params, sequences, cell=cell)
    return affine(cell.output(after[-1]), *params.head)


def at_every_step(head: Head, h: Float[Array, "batch time n"]) -> Float[Array, "batch time n_out"]:
    """o_t = h_t v + c (RH1)."""
    rows = affine(lax.collapse(h, 0, 2), *head)
    return rows.reshape(*h.shape[:2], rows.shape[1])


class Residuals(NamedTuple):
    """What the backward pass of the whole network needs."""

    layers: tuple[Any, ...]
    v: Float[Array, "n n_out"]
    h: Float[Array, "batch time n"]
    activation: Any


def apply_forward(
    params: Params, x: Float[Array, "batch time n_in"], *, cell: Cell, activation: Rule[..., Any] = linear
) -> tuple[Float[Array, "batch time n_out"], Residuals]:
    """Outputs y_t of every step, from states of zeros (RH1).

    z_t of layer l carries the name "z<l>" and o_t the name "o", so that their deltas can be verified.

    Args:
      activation: a rule, of the head.
    """
    h, saved = x, []
    for number, layer in enumerate(params.layers, 1):
        (h, _), residuals = cell.forward(
            layer, h, cell.start(layer, x.shape[0]), None, name=f"z{number}", chunk=x.shape[1]
        )
        saved.append(residuals)
    o = checkpoint_name(h @ params.head.v + params.head.c[None, None, :], "o")  # (RH1)
    y, of_activation = activation.forward(o)  # (RH1)
    return y, Residuals(tuple(saved), params.head.v, h, of_activation)


def apply_backward(
    residuals: Residuals,
    y_bar: Float[Array, "batch time n_out"],
    *,
    cell: Cell,
    activation: Rule[..., Any],
) -> tuple[Params, Float[Array, "batch time n_in"]]:
    """Cotangents of params and x: backpropagation through time, layer after layer, (RH2) to (RH5)."""
    return deltas(residuals, y_bar, cell=cell, activation=activation)[0]


def deltas(
    residuals: Residuals, y_bar: Float[Array, "batch time n_out"], *, cell: Cell, activation: Rule[..., Any] = linear
) -> tuple[tuple[Params, Float[Array, "batch time n_in"]], dict[str, Array]]:
    """What `apply_backward` returns; and e_t, and δ_t of every layer, under the names that `apply_forward` gave."""
    (e,) = activation.backward(residuals.activation, y_bar)  # (RH2)
    found = {"o": e}
    head_bar = Head(over_steps(residuals.h, e).astype(e.dtype), e.sum((0, 1)))  # (RH4) (RH5)
    h_bar = e @ residuals.v.T  # (RH3)
    layer_bars = []
    for number, saved in reversed(list(enumerate(residuals.layers, 1))):
        layer_bar, h_bar, found[f"z{number}"] = cell.deltas(saved, h_bar, chunk=h_bar.shape[1])
        layer_bars.append(layer_bar)
    return (Params(tuple(reversed(layer_bars)), head_bar), h_bar), found


apply = rule(apply_forward, apply_backward)

Batch = tuple[Float[Array, "batch time n_in"], Float[Array, "batch time n_out"]]


def loss(
    params: Params, batch: Batch, *, cell: Cell, cost: Rule[..., Any], activation: Rule[..., Any] = linear
) -> Float[Array, ""]:
    """Cost of all outputs of a batch (x, t), in the mean over steps and examples.

    Args:
      cost: a rule `cost(rows, rows of targets) -> scalar`, such as `jaxnets.ops.losses.quadratic`.
    """
    x, t = batch
    y = apply(params, x, cell=cell, activation=activation)
    return cost(_rows(y), _rows(t))


def gradient(
    params: Params, batch: Batch, *, cell: Cell, cost: Rule[..., Any], activation: Rule[..., Any] = linear
) -> tuple[tuple[Params, Batch], dict[str, Array]]:
    """The gradient of `loss` written by hand, with the deltas of every step.

    Returns:
      ((params_bar, (x_bar, t_bar)), {"o": e, "z1": δ, ...}), as `jaxnets.verify.gradient` wants it; e has the shape
      (batch, time, n_out), and δ (time, batch, columns of w_x).
    """
    x, t = batch
    y, residuals = apply_forward(params, x, cell=cell, activation=activation)
    value, of_cost = cost.forward(_rows(y), _rows(t))
    y_bar, t_bar = cost.backward(of_cost, jnp.ones_like(value))
    (params_bar, x_bar), found = deltas(residuals, y_bar.reshape(y.shape), cell=cell, activation=activation)
    return (params_bar, (x_bar, t_bar.reshape(t.shape))), found


def _rows(a: Float[Array, "batch time n"]) -> Float[Array, "rows n"]:
    return lax.collapse(a, 0, 2)
