"""Exact minibatch SGD of a fully connected network, in the fastest order for a CPU.  Derivation: derivations/mlp.md.

With small minibatches nearly all the time of a step goes into the first layer's weights w: they are read for the
forward product, and read and written for the update.  But what the steps s < t did to w reaches the weighted inputs of
minibatch t only through the products x_t x_sᵀ, which are known beforehand.  So the weighted inputs of a whole group of
minibatches are computed from the weights at its start and corrected as the deltas become known, and w is updated once,
at its end.  With learning rate η, weight decay λ, ρ = 1 - ηλ, and s, t = 0, 1, ... counting the m of a group:

    (MK1) z_t = ρ^t x_t w_0 + b_0 - η Σ_{s<t} (ρ^{t-1-s} x_t x_sᵀ + 1) δ_s        1: the matrix of ones, for the bias
    (MK2) w_m = ρ^m w_0 - η Σ_{s<m} ρ^{m-1-s} x_sᵀ δ_s
    (MK3) b_{t+1} = b_t - η Σ_batch δ_t
    (MK4) ‖w_{t+1}‖² = ρ² ‖w_t‖² - 2ηρ Σ (z_t - b_t) ⊙ δ_t + η² Σ (x_t x_tᵀ) ⊙ (δ_t δ_tᵀ)
    (MK5) w ← ρ w - η aᵀ δ,   b ← b - η Σ_batch δ        every other layer, with input a, after every minibatch
    (MK6) loss = C(a^L, target) + λ/2 Σ_l ‖w^l‖²

δ is ∂C/∂z, one row an example.  Nothing is approximated: to rounding, the result is that of one step after another.
Inside a block the weights are held as (n_out, n_in), on which the products of a narrow layer with few rows run faster.

`sgd_block_plain` takes one step after another, every layer by (MK5): `sgd_block` is checked against it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnets.rule import Rule

Params = tuple[Any, ...]
"""A layer is a NamedTuple with the fields w (n_in, n_out) and b (n_out,)."""

Batch = tuple[Float[Array, "examples n_in"], Float[Array, "examples n_out"]]
State = TypeVar("State")


class _Setting(NamedTuple):
    """What is the same for every step."""

    activations: tuple[Rule[..., Any], ...]
    cost: Rule[..., Any]
    eta: float
    l2: float
    rho: float


def sgd_block(
    params: Params,
    batch: Batch,
    *,
    activations: tuple[Rule[..., Any], ...],
    cost: Rule[..., Any],
    learning_rate: float,
    batch_size: int,
    l2: float = 0.0,
    group: int | None = None,
) -> tuple[Params, Float[Array, " steps"]]:
    """One step of gradient descent on each minibatch of a block in turn, the first layer by (MK1) to (MK4).

    Args:
      params: one layer after another, such as `jaxnets.nets.mlp.init` makes.
      batch: inputs x and targets t of k · batch_size examples; the minibatches are consecutive slices of batch_size.
        k of about 20 is long enough to pay for turning the weights, and short enough for the cache.
      activations: one rule per layer.
      cost: a rule `cost(a, t) -> scalar`, the mean over the examples of a minibatch.
      learning_rate: η.
      batch_size: the examples of a minibatch.
      l2: λ ≥ 0, the weight decay, of weights and not of biases (MK6).
      group: the minibatches of a group; `default_group` if None.  Any number gives the same result, to rounding.

    Returns:
      The parameters after the k steps, and the loss of every minibatch before its step.

    Raises:
      ValueError: if batch_size does not divide the number of examples, group is less than 1, or widths or the numbers
        of layers and activations disagree.
    """
    steps = _check("sgd_block", params, batch, activations, batch_size)
    if group is None:
        group = default_group(params[0].w.shape[1], batch_size)
    elif group < 1:
        raise ValueError(f"sgd_block: group is {group}, wanted at least 1")
    group = min(group, steps)
    setting = _Setting(activations, cost, learning_rate, l2, 1 - learning_rate * l2)

    def run(layers: Params, examples: Batch) -> tuple[Params, Float[Array, " group"]]:
        return _group(layers, examples, batch_size, setting)

    whole = steps // group * group * batch_size
    layers, losses = jax.lax.scan(run, _turned(params), _split(batch, group * batch_size))
    losses = losses.reshape(-1)
    if steps % group:
        layers, rest = run(layers, jax.tree.map(lambda leaf: leaf[whole:], batch))
        losses = jnp.concatenate([losses, rest])
    return _turned(layers), losses


def sgd_block_plain(
    params: Params,
    batch: Batch,
    *,
    activations: tuple[Rule[..., Any], ...],
    cost: Rule[..., Any],
    learning_rate: float,
    batch_size: int,
    l2: float = 0.0,
) -> tuple[Params, Float[Array, " steps"]]:
    """What `sgd_block` computes, one step after another, every layer by (MK5); its arguments, results and errors."""
    _check("sgd_block_plain", params, batch, activations, batch_size)
    setting = _Setting(activations, cost, learning_rate, l2, 1 - learning_rate * l2)

    def step(layers: Params, minibatch: Batch) -> tuple[Params, Float[Array, ""]]:
        x, t = minibatch
        first, *later = layers
        z = x @ first.w.T + first.b[None, :]
        value, delta, later_after = _backpropagate(z, t, later, setting)
        loss = _regularised(value, _square(first.w), later, setting)
        return (_descend(first, x, delta, setting), *later_after), loss

    layers, losses = jax.lax.scan(step, _turned(params), _split(batch, batch_size))
    return _turned(layers), losses


def sgd_step(
    *,
    activations: tuple[Rule[..., Any], ...],
    cost: Rule[..., Any],
    learning_rate: float,
    batch_size: int,
    l2: float = 0.0,
    group: int | None = None,
) -> Callable[[State, Batch], tuple[State, Float[Array, " steps"]]]:
    """`sgd_block` as a step for `jaxnets.train.fit`, the batch_size of which is then that of a block, k · batch_size.

    The state is a NamedTuple with a field params, and keeps its other fields.  Where an epoch is no whole number of
    blocks it ends with a shorter one, whose examples batch_size must divide too.
    """

    def step(state: State, batch: Batch) -> tuple[State, Float[Array, " steps"]]:
        fields: Any = state
        params, losses = sgd_block(
            fields.params,
            batch,
            activations=activations,
            cost=cost,
            learning_rate=learning_rate,
            batch_size=batch_size,
            l2=l2,
            group=group,
        )
        return fields._replace(params=params), losses

    return step


def default_group(n_hidden: int, batch_size: int) -> int:
    """How many minibatches to put into a group, for a first layer of n_hidden units.

    As many as make a hundred examples, whose products a processor does at full speed; x xᵀ then adds 100·n_in
    multiplications an example to the 2·n_in·n_hidden of the products with w.  A layer of fewer than 64 units is not
    worth that: it takes every step.  Measured for 784 inputs and minibatches of ten.
    """
    return 1 if n_hidden < 64 else max(1, 100 // batch_size)


def _group(layers: Params, batch: Batch, batch_size: int, setting: _Setting) -> tuple[Params, Float[Array, " group"]]:
    """All steps of one group; weights are (n_out, n_in)."""
    x, t = batch
    first, *later = layers
    size = x.shape[0] // batch_size
    eta, rho = setting.eta, setting.rho
    number = np.repeat(np.arange(size), batch_size)
    lag = np.maximum(number[:, None] - 1 - number[None, :], 0)
    product = x @ x.T
    coupling = eta * (jnp.asarray(rho**lag, x.dtype) * product + 1)
    shrunk = jnp.asarray(rho**number, x.dtype)[:, None] * (x @ first.w.T) + first.b[None, :]

    square, b = _square(first.w), first.b
    deltas: list[Array] = []
    losses: list[Array] = []
    for start in range(0, x.shape[0], batch_size):
        rows = slice(start, start + batch_size)
        z = shrunk[rows]
        if deltas:
            z = z - coupling[rows, :start] @ jnp.concatenate(deltas)  # (MK1)
        value, delta, later_after = _backpropagate(z, t[rows], later, setting)
        losses.append(_regularised(value, square, later, setting))
        square = (
            rho**2 * square
            - 2 * eta * rho * jnp.sum((z - b[None, :]) * delta)
            + eta**2 * jnp.sum(product[rows, rows] * (delta @ delta.T))
        )  # (MK4)
        b = b - eta * delta.sum(0)  # (MK3)
        later = later_after
        deltas.append(delta)
    remaining = jnp.asarray(rho ** (size - 1 - number), x.dtype)[:, None]
    w = rho**size * first.w - eta * ((remaining * jnp.concatenate(deltas)).T @ x)  # (MK2)
    return (first._replace(w=w, b=b), *later), jnp.stack(losses)


def _backpropagate(
    z: Float[Array, "batch n_1"], t: Float[Array, "batch n_out"], later: Sequence[Any], setting: _Setting
) -> tuple[Float[Array, ""], Float[Array, "batch n_1"], list[Any]]:
    """From the first layer's weighted input: the cost, the delta there, and the other layers after their step."""
    activations, cost = setting.activations, setting.cost
    a, residuals = activations[0].forward(z)
    saved, inputs = [residuals], []
    for layer, activation in zip(later, activations[1:], strict=True):
        inputs.append(a)
        a, residuals = activation.forward(a @ layer.w.T + layer.b[None, :])
        saved.append(residuals)
    value, cost_residuals = cost.forward(a, t)
    a_bar, _ = cost.backward(cost_residuals, jnp.ones_like(value))

    (delta,) = activations[-1].backward(saved[-1], a_bar)
    after = []
    for number in reversed(range(len(later))):
        after.append(_descend(later[number], inputs[number], delta, setting))
        (delta,) = activations[number].backward(saved[number], delta @ later[number].w)
    return value, delta, after[::-1]


def _descend(layer: Any, a: Float[Array, "batch n_in"], delta: Float[Array, "batch n_out"], setting: _Setting) -> Any:
    """One step of a layer whose input is a."""
    return layer._replace(
        w=setting.rho * layer.w - setting.eta * (delta.T @ a), b=layer.b - setting.eta * delta.sum(0)
    )  # (MK5)


def _regularised(
    value: Float[Array, ""], square: Float[Array, ""], later: Sequence[Any], setting: _Setting
) -> Float[Array, ""]:
    """The loss, given the cost and the first layer's ‖w‖²."""
    if not setting.l2:
        return value
    return value + setting.l2 / 2 * (square + sum(_square(layer.w) for layer in later))  # (MK6)


def _square(w: Float[Array, "n_out n_in"]) -> Float[Array, ""]:
    return jnp.sum(w * w)


def _turned(layers: Params) -> Params:
    """The layers with their weights the other way round."""
    return tuple(layer._replace(w=layer.w.T) for layer in layers)


def _split(batch: Batch, size: int) -> tuple[Float[Array, "slices {size} n_in"], Float[Array, "slices {size} n_out"]]:
    """As many whole slices of `size` examples as there are, along a new first axis."""
    count = batch[0].shape[0] // size
    x, t = (leaf[: count * size].reshape(count, size, leaf.shape[1]) for leaf in batch)
    return x, t


def _check(
    function: str, params: Params, batch: Batch, activations: tuple[Rule[..., Any], ...], batch_size: int
) -> int:
    """How many minibatches there are in the block; ValueError if anything does not fit."""
    x, t = batch
    if len(activations) != len(params) or not params:
        raise ValueError(f"{function}: got {len(activations)} activations for {len(params)} layers")
    if x.ndim != 2 or t.ndim != 2 or x.shape[0] != t.shape[0]:
        raise ValueError(f"{function}: x is {x.shape}, t is {t.shape}, wanted (examples, n_in) and (examples, n_out)")
    width = x.shape[1]
    for number, layer in enumerate(params, 1):
        if layer.w.ndim != 2 or layer.w.shape[0] != width or layer.b.shape != layer.w.shape[1:]:
            raise ValueError(
                f"{function}: layer {number} gets {width} features, its w is {layer.w.shape}, its b is {layer.b.shape}"
            )
        width = layer.w.shape[1]
    if t.shape[1] != width:
        raise ValueError(f"{function}: t has {t.shape[1]} columns, the last layer {width} units (t {t.shape})")
    if batch_size < 1 or not x.shape[0] or x.shape[0] % batch_size:
        raise ValueError(f"{function}: x has {x.shape[0]} examples, wanted a multiple of batch_size {batch_size}")
    return x.shape[0] // batch_size
