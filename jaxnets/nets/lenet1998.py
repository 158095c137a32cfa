"""LeNet-5 as in the paper of 1998, backpropagation written out.  Derivation: derivations/lenet.md.

Convolutions C1, C3, C5, trainable subsamplings S2, S4, a fully connected layer F6; every unit squashes its weighted
input z to a = f(z), and the output measures distances to codes (`jaxnets.nets.rbf`).  T(o): what map o of C3 reads.

    (LN8) f(z) = A tanh(S z),  A = 1.7159,  S = 2/3               (LN9) f'(z) = (S/A) (A - a) (A + a)
    (LN10) zC1_{n,r,s,o} = Σ_{i,j} x_{n,r+i,s+j} w_{i,j,o} + b_o
    (LN11) zS_{n,p,q,c} = w_c Σ_{u,v} aC_{n,2p+u,2q+v,c} + b_c    of S2 after C1 and of S4 after C3
    (LN12) zC3_{n,r,s,o} = Σ_{c in T(o)} Σ_{i,j} aS2_{n,r+i,s+j,c} w_{i,j,(c,o)} + b_o
    (LN13) zC5_{n,o} = Σ_{i,j,c} aS4_{n,i,j,c} w_{i,j,c,o} + b_o  (LN14) zF6 = aC5 w + b
    (LN15) δF6 = ∂C/∂aF6 ⊙ f'(zF6)                                (LN16) δC5 = (δF6 wᵀ) ⊙ f'(zC5)
    (LN17) δS4_{n,i,j,c} = Σ_o δC5_{n,o} w_{i,j,c,o} f'(zS4_{n,i,j,c})
    (LN18) δC_{n,r,s,c} = δS_{n,⌊r/2⌋,⌊s/2⌋,c} w_c f'(zC_{n,r,s,c})   of C3 from S4 and of C1 from S2
    (LN19) δS2_{n,a,b,c} = Σ_{o: c in T(o)} Σ_{i,j} δC3_{n,a-i,b-j,o} w_{i,j,(c,o)} f'(zS2_{n,a,b,c})
    (LN20) F6: ∂C/∂w = aC5ᵀ δF6
    (LN21) C5: ∂C/∂w_{i,j,c,o} = Σ_n aS4_{n,i,j,c} δC5_{n,o}
    (LN22) S: ∂C/∂w_c = Σ_{n,p,q} δS_{n,p,q,c} Σ_{u,v} aC_{n,2p+u,2q+v,c}
    (LN23) C3: ∂C/∂w_{i,j,(c,o)} = Σ_{n,r,s} aS2_{n,r+i,s+j,c} δC3_{n,r,s,o}
    (LN24) C1: ∂C/∂w_{i,j,o} = Σ_{n,r,s} x_{n,r+i,s+j} δC1_{n,r,s,o}
    (LN25) ∂C/∂b = Σ δ over examples and places
    (LN26) ∂C/∂x_{n,a,b} = Σ_{i,j,o} δC1_{n,a-i,b-j,o} w_{i,j,o}

Source: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition, section II-B,
table I, appendix A (squashing function).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from jaxnets.nets.rbf import digit_codes, map_criterion, rbf
from jaxnets.ops.convolution import conv2d
from jaxnets.ops.pooling import subsample
from jaxnets.rule import Rule, rule

A, S = 1.7159, 2 / 3
"""Amplitude and slope of the squashing function: f(1) = 1 and f(-1) = -1, to four digits."""

TABLE: tuple[tuple[int, ...], ...] = (
    *((o, (o + 1) % 6, (o + 2) % 6) for o in range(6)),
    *((o, (o + 1) % 6, (o + 2) % 6, (o + 3) % 6) for o in range(6)),
    *((o, o + 1, o + 3, (o + 4) % 6) for o in range(3)),
    tuple(range(6)),
)
"""The maps of S2 that each of the 16 maps of C3 reads (the paper's table I): 60 pairs."""

_FROM, _TO = np.array([(c, o) for o, maps in enumerate(TABLE) for c in sorted(maps)], np.int32).T

Images = Float[Array, "batch 32 32 1"]
Distances = Float[Array, "batch 10"]


class Layer(NamedTuple):
    """Weights and biases: kernels HWIO, one coefficient a map for a subsampling, a matrix for F6."""

    w: Float[Array, "*inputs units"]
    b: Float[Array, " units"]


class Params(NamedTuple):
    """The 60,000 trainable parameters; c3.w has a 5 x 5 kernel for each pair that the table connects, and no other."""

    c1: Layer
    s2: Layer
    c3: Layer
    s4: Layer
    c5: Layer
    f6: Layer


class Activations(NamedTuple):
    """What every layer puts out."""

    c1: Float[Array, "batch 28 28 6"]
    s2: Float[Array, "batch 14 14 6"]
    c3: Float[Array, "batch 10 10 16"]
    s4: Float[Array, "batch 5 5 16"]
    c5: Float[Array, "batch 120"]
    f6: Float[Array, "batch 84"]


class Deltas(NamedTuple):
    """∂C/∂z of every layer, each of the shape of its activations."""

    c1: Float[Array, "batch 28 28 6"]
    s2: Float[Array, "batch 14 14 6"]
    c3: Float[Array, "batch 10 10 16"]
    s4: Float[Array, "batch 5 5 16"]
    c5: Float[Array, "batch 120"]
    f6: Float[Array, "batch 84"]


class Saved(NamedTuple):
    """What the operations of the first four layers, and of the output, keep for their backward passes."""

    c1: Any
    s2: Any
    c3: Any
    s4: Any
    output: Any


class Residuals(NamedTuple):
    """What the backward pass needs: the parameters, the activations, and what the operations keep."""

    params: Params
    a: Activations
    saved: Saved


_SHAPES = {
    "c1": ((5, 5, 1, 6), 25),
    "s2": ((6,), 4),
    "c3": ((5, 5, 60), None),
    "s4": ((16,), 4),
    "c5": ((5, 5, 16, 120), 400),
    "f6": ((120, 84), 120),
}
"""Shape of each layer's weights, and how many inputs a unit has; in C3 that depends on the unit."""


def init(key: Array, *, dtype: Any = jnp.float32) -> Params:
    """Random parameters, uniform in ±2.4/(inputs of the unit), biases too (appendix A of the paper)."""

    def uniform(key: Array, shape: tuple[int, ...], inputs: Any) -> Array:
        bound = jnp.broadcast_to(jnp.asarray(2.4 / inputs, dtype), shape)
        return jax.random.uniform(key, shape, dtype, -1, 1) * bound

    reads = np.array([len(maps) for maps in TABLE])
    layers = {}
    for (name, (shape, inputs)), (w_key, b_key) in zip(_SHAPES.items(), jax.random.split(key, (6, 2)), strict=True):
        units = len(TABLE) if name == "c3" else shape[-1]
        layers[name] = Layer(
            uniform(w_key, shape, 25 * reads[_TO][None, None, :] if inputs is None else inputs),
            uniform(b_key, (units,), 25 * reads if inputs is None else inputs),
        )
    return Params(**layers)


def as_input(images: Float[Array, "batch 28 28 1"]) -> Images:
    """Images of [0, 1] as the paper wants them: 2 pixels of margin, paper -0.1 and ink 1.175.

    On average over the pixels of handwritten digits the mean is then about 0 and the variance about 1.
    """
    margin = jnp.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return -0.1 + 1.275 * margin


def squash(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Activation of every unit (LN8)."""
    return A * jnp.tanh(S * z)  # (LN8)


def squash_slope(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """f'(z), from a = f(z) (LN9)."""
    return (S / A) * (A - a) * (A + a)  # (LN9)


def connected(w: Float[Array, "i j pairs"]) -> Float[Array, "i j 6 16"]:
    """The kernels of C3 as those of a full convolution: zero where the table has no connection."""
    return jnp.zeros((*w.shape[:2], 6, 16), w.dtype).at[:, :, _FROM, _TO].set(w)


def connections(w: Float[Array, "i j 6 16"]) -> Float[Array, "i j pairs"]:
    """What a full kernel has at the connections of the table: the transpose of `connected`."""
    return w[:, :, _FROM, _TO]


def lenet5_forward(params: Params, x: Images) -> tuple[Distances, Residuals]:
    """Distances of the images to the codes of the ten digits: (LN10) to (LN14), and (LN1) last.

    The weighted inputs carry the names "zC1", "zS2", "zC3", "zS4", "zC5" and "zF6".

    Args:
      params: as `init` makes them.
      x: the images, as `as_input` makes them.

    Raises:
      ValueError: if the images or the parameters have other shapes than the network.
    """
    _check(params, x)
    z, c1_saved = conv2d.forward(x, *params.c1)  # (LN10)
    c1 = squash(checkpoint_name(z, "zC1"))
    z, s2_saved = subsample.forward(c1, *params.s2)  # (LN11)
    s2 = squash(checkpoint_name(z, "zS2"))
    z, c3_saved = conv2d.forward(s2, connected(params.c3.w), params.c3.b)  # (LN12)
    c3 = squash(checkpoint_name(z, "zC3"))
    z, s4_saved = subsample.forward(c3, *params.s4)  # (LN11)
    s4 = squash(checkpoint_name(z, "zS4"))
    z = jnp.einsum("nijc,ijco->no", s4, params.c5.w) + params.c5.b[None, :]  # (LN13)
    c5 = squash(checkpoint_name(z, "zC5"))
    z = c5 @ params.f6.w + params.f6.b[None, :]  # (LN14)
    f6 = squash(checkpoint_name(z, "zF6"))
    y, y_saved = rbf.forward(f6, jnp.asarray(digit_codes(), f6.dtype))
    activations = Activations(c1, s2, c3, s4, c5, f6)
    return y, Residuals(params, activations, Saved(c1_saved, s2_saved, c3_saved, s4_saved, y_saved))


def backpropagate(residuals: Residuals, y_bar: Distances) -> tuple[Params, Images, Deltas]:
    """Gradients of the parameters and of x, and δ of every layer, given ∂C/∂y: (LN15) to (LN26)."""
    params, a, saved = residuals
    f6_bar, _ = rbf.backward(saved.output, y_bar)
    f6 = f6_bar * squash_slope(a.f6)  # (LN15)
    c5 = f6 @ params.f6.w.T * squash_slope(a.c5)  # (LN16)
    f6_layer = Layer(a.c5.T @ f6, f6.sum(0))  # (LN20) (LN25)
    s4 = jnp.einsum("no,ijco->nijc", c5, params.c5.w) * squash_slope(a.s4)  # (LN17)
    c5_layer = Layer(jnp.einsum("nijc,no->ijco", a.s4, c5), c5.sum(0))  # (LN21) (LN25)
    c3_bar, *s4_layer = subsample.backward(saved.s4, s4)  # (LN22) (LN25)
    c3 = c3_bar * squash_slope(a.c3)  # (LN18)
    s2_bar, kernels_bar, biases_bar = conv2d.backward(saved.c3, c3)  # (LN23) (LN25)
    c3_layer = Layer(connections(kernels_bar), biases_bar)
    s2 = s2_bar * squash_slope(a.s2)  # (LN19)
    c1_bar, *s2_layer = subsample.backward(saved.s2, s2)  # (LN22) (LN25)
    c1 = c1_bar * squash_slope(a.c1)  # (LN18)
    x_bar, *c1_layer = conv2d.backward(saved.c1, c1)  # (LN24) (LN25) (LN26)
    params_bar = Params(Layer(*c1_layer), Layer(*s2_layer), c3_layer, Layer(*s4_layer), c5_layer, f6_layer)
    return params_bar, x_bar, Deltas(c1, s2, c3, s4, c5, f6)


def lenet5_backward(residuals: Residuals, y_bar: Distances) -> tuple[Params, Images]:
    """Cotangents of params and x: backpropagation, (LN15) to (LN26)."""
    params_bar, x_bar, _ = backpropagate(residuals, y_bar)
    return params_bar, x_bar


apply = rule(lenet5_forward, lenet5_backward)

Batch = tuple[Images, Distances]


def loss(params: Params, batch: Batch, *, cost: Rule[..., Any] = map_criterion) -> Float[Array, ""]:
    """Mean cost of a batch (x, t), where t is 1 for the class of the image and 0 for the others.

    Args:
      params: as `init` makes them.
      batch: images as `as_input` makes them, and targets.
      cost: a rule cost(y, t) of the distances, `mse_criterion` or `map_criterion` of `jaxnets.nets.rbf`.
    """
    x, t = batch
    return cost(apply(params, x), t)


def gradient(
    params: Params, batch: Batch, *, cost: Rule[..., Any] = map_criterion
) -> tuple[tuple[Params, Batch], dict[str, Array]]:
    """The gradient of `loss` written by hand, with the δ of every layer under the name of its weighted input.

    Returns:
      ((params_bar, (x_bar, t_bar)), {"zC1": δC1, ...}), as `jaxnets.verify.gradient` wants it.
    """
    x, t = batch
    y, residuals = lenet5_forward(params, x)
    value, cost_residuals = cost.forward(y, t)
    y_bar, t_bar = cost.backward(cost_residuals, jnp.ones_like(value))
    params_bar, x_bar, delta = backpropagate(residuals, y_bar)
    named = {f"z{layer.upper()}": value for layer, value in delta._asdict().items()}
    return (params_bar, (x_bar, t_bar)), named


def _check(params: Params, x: Images) -> None:
    if x.ndim != 4 or x.shape[1:] != (32, 32, 1):
        raise ValueError(f"lenet1998: x has shape {x.shape}, wanted (batch, 32, 32, 1)")
    for (name, (shape, _)), layer in zip(_SHAPES.items(), params, strict=True):
        units = len(TABLE) if name == "c3" else shape[-1]
        if layer.w.shape != shape or layer.b.shape != (units,):
            raise ValueError(
                f"lenet1998: {name} has w {layer.w.shape} and b {layer.b.shape}, wanted {shape} and {(units,)}"
            )
