"""Fully connected network with backpropagation written out.  Derivation: derivations/mlp.md.

Layer l = 1 ... L, a⁰ = x, one row an example, g_l the activation of layer l, C the cost:

    (MP1) z^l = a^{l-1} w^l + b^l           (MP2) a^l = g_l(z^l)
    (BP1) δ^L = ∂C/∂a^L ⊙ g_L'(z^L)         (BP2) δ^l = (δ^{l+1} w^{l+1}ᵀ) ⊙ g_l'(z^l)
    (BP3) ∂C/∂b^l = Σ_batch δ^l             (BP4) ∂C/∂w^l = a^{l-1}ᵀ δ^l
    (MP3) ∂C/∂x = δ¹ w¹ᵀ
    (MP4) loss = C(a^L, t) + λ/2 Σ_l ‖w^l‖²  (MP5) ∂loss/∂w^l = ∂C/∂w^l + λ w^l

An activation that couples the units of a layer (softmax) stands in (BP1) and (BP2) with its Jacobian in place of ⊙ g'.

Sources: Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors; Nielsen, Neural
Networks and Deep Learning, ch. 2, (BP1) to (BP4), ch. 3, (85) for λ (his λ/n is this λ).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxnets.ops.losses import l2_penalty
from jaxnets.rule import Rule, rule

UNIT_GAUSSIAN = initializers.normal(1.0)
"""Weights N(0, 1): saturates sigmoid units as soon as a layer is wide (Nielsen's first choice)."""

SCALED_GAUSSIAN = initializers.variance_scaling(1.0, "fan_in", "normal")
"""Weights N(0, 1/n_in): keeps weighted inputs of order 1 (Nielsen ch. 3; LeCun, Bottou, Orr and Müller 1998)."""

GLOROT = initializers.glorot_normal()
"""Variance 2/(n_in + n_out) (Glorot and Bengio 2010, eq. (12))."""

HE = initializers.he_normal()
"""Variance 2/n_in, for ReLU (He, Zhang, Ren and Sun 2015, eq. (10))."""


class Layer(NamedTuple):
    """One fully connected layer."""

    w: Float[Array, "n_in n_out"]
    b: Float[Array, " n_out"]


Params = tuple[Layer, ...]


class Residuals(NamedTuple):
    """What the backward pass needs: the weights, the input of every layer, and what each activation saved."""

    w: tuple[Float[Array, "_ _"], ...]
    inputs: tuple[Float[Array, "batch _"], ...]
    activations: tuple[Any, ...]


def init(
    key: Array,
    sizes: Sequence[int],
    *,
    weights: initializers.Initializer = SCALED_GAUSSIAN,
    biases: initializers.Initializer = UNIT_GAUSSIAN,
    dtype: Any = jnp.float32,
) -> Params:
    """Random parameters of a network with `sizes` units per layer, the input first.

    Raises:
      ValueError: if there are fewer than two layers, or a size is not positive.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"mlp.init: sizes are {tuple(sizes)}, wanted at least two positive numbers")
    keys = jax.random.split(key, (len(sizes) - 1, 2))
    return tuple(
        Layer(weights(w_key, (n_in, n_out), dtype), biases(b_key, (n_out,), dtype))
        for (w_key, b_key), n_in, n_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
    )


def mlp_forward(
    params: Params, x: Float[Array, "batch n_in"], *, activations: tuple[Rule[..., Any], ...]
) -> tuple[Float[Array, "batch n_out"], Residuals]:
    """Output a^L of the network for a batch of rows: (MP1), (MP2).

    The weighted input of layer l carries the name "z<l>", so that its delta can be verified.

    Args:
      params: one `Layer` per layer, as `init` makes them.
      x: the batch.
      activations: one rule per layer, such as `jaxnets.ops.activations.sigmoid`.

    Raises:
      ValueError: if the widths do not fit, or there is not one activation per layer.
      TypeError: if an activation is no rule.
    """
    _check(params, x, activations)
    inputs, saved = [], []
    a = x
    for number, (layer, activation) in enumerate(zip(params, activations, strict=True), 1):
        inputs.append(a)
        z = checkpoint_name(a @ layer.w + layer.b[None, :], f"z{number}")  # (MP1)
        a, residuals = activation.forward(z)  # (MP2)
        saved.append(residuals)
    return a, Residuals(_weights(params), tuple(inputs), tuple(saved))


def deltas(
    residuals: Residuals, a_bar: Float[Array, "batch n_out"], *, activations: tuple[Rule[..., Any], ...]
) -> tuple[Float[Array, "batch _"], ...]:
    """δ¹ ... δ^L, given ∂C/∂a^L: (BP1), (BP2)."""
    (delta,) = activations[-1].backward(residuals.activations[-1], a_bar)  # (BP1)
    found = [delta]
    for w, activation, saved in reversed(
        list(zip(residuals.w[1:], activations[:-1], residuals.activations[:-1], strict=True))
    ):
        (delta,) = activation.backward(saved, delta @ w.T)  # (BP2)
        found.append(delta)
    return tuple(reversed(found))


def from_deltas(
    residuals: Residuals, delta: tuple[Float[Array, "batch _"], ...]
) -> tuple[Params, Float[Array, "batch n_in"]]:
    """Gradients of the parameters and of x, given the deltas: (BP3), (BP4), (MP3)."""
    params_bar = tuple(
        Layer(a.T @ d, d.sum(0))  # (BP4) (BP3)
        for a, d in zip(residuals.inputs, delta, strict=True)
    )
    return params_bar, delta[0] @ residuals.w[0].T  # (MP3)


def mlp_backward(
    residuals: Residuals, a_bar: Float[Array, "batch n_out"], *, activations: tuple[Rule[..., Any], ...]
) -> tuple[Params, Float[Array, "batch n_in"]]:
    """Cotangents of params and x: backpropagation, (BP1) to (BP4)."""
    return from_deltas(residuals, deltas(residuals, a_bar, activations=activations))


apply = rule(mlp_forward, mlp_backward)

Batch = tuple[Float[Array, "batch n_in"], Float[Array, "batch n_out"]]


def loss(
    params: Params, batch: Batch, *, activations: tuple[Rule[..., Any], ...], cost: Rule[..., Any], l2: float = 0.0
) -> Float[Array, ""]:
    """Regularised cost of a batch (x, t) (MP4).

    Args:
      cost: a rule `cost(a, t) -> scalar`, such as `jaxnets.ops.losses.quadratic`.  For a sigmoid or softmax
        output with cross entropy, let the last activation be `linear` and the cost take logits.
      l2: λ ≥ 0, a Python number: gradient descent at rate η shrinks the weights by the factor 1 - ηλ a step.
    """
    x, t = batch
    value = cost(apply(params, x, activations=activations), t)
    return value + l2_penalty(_weights(params), 0.5 * l2) if l2 else value  # (MP4)


def gradient(
    params: Params, batch: Batch, *, activations: tuple[Rule[..., Any], ...], cost: Rule[..., Any], l2: float = 0.0
) -> tuple[tuple[Params, Batch], dict[str, Float[Array, "batch _"]]]:
    """The gradient of `loss` written by hand, with the delta of every layer under the name of its weighted input.

    Returns:
      ((params_bar, (x_bar, t_bar)), {"z1": δ¹, ...}), as `jaxnets.verify.gradient` wants it.
    """
    x, t = batch
    a, residuals = mlp_forward(params, x, activations=activations)
    value, cost_residuals = cost.forward(a, t)
    a_bar, t_bar = cost.backward(cost_residuals, jnp.ones_like(value))
    delta = deltas(residuals, a_bar, activations=activations)
    cost_bar, x_bar = from_deltas(residuals, delta)
    params_bar = tuple(
        bar._replace(w=bar.w + l2 * layer.w)  # (MP5)
        for bar, layer in zip(cost_bar, params, strict=True)
    )
    return (params_bar, (x_bar, t_bar)), {f"z{number}": d for number, d in enumerate(delta, 1)}


def _weights(params: Params) -> tuple[Float[Array, "_ _"], ...]:
    return tuple(layer.w for layer in params)


def _check(params: Params, x: Float[Array, "batch n_in"], activations: tuple[Rule[..., Any], ...]) -> None:
    if x.ndim != 2:
        raise ValueError(f"mlp: x has shape {x.shape}, wanted (batch, features)")
    if len(activations) != len(params):
        raise ValueError(f"mlp: got {len(activations)} activations for {len(params)} layers")
    for number, activation in enumerate(activations, 1):
        if not hasattr(activation, "backward"):
            raise TypeError(f"mlp: the activation of layer {number} is {activation!r}, wanted a rule (jaxnets.rule)")
    width = x.shape[1]
    for number, layer in enumerate(params, 1):
        if layer.w.ndim != 2 or layer.w.shape[0] != width or layer.b.shape != layer.w.shape[1:]:
            raise ValueError(
                f"mlp: layer {number} gets {width} features, its w is {layer.w.shape} and its b is {layer.b.shape}"
            )
        width = layer.w.shape[1]
