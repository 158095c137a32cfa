"""Deep belief network: a stack of RBMs, of which the upper layers generate the lower.  Derivation: derivations/dbn.md.

Layers h^0 = v, h^1 ... h^L.  The RBM on top is undirected, below it every layer is drawn given the next one; RBM l has
weights w^l and biases b^l, c^l of its lower and upper layer:

    (DB1) p(v, h^1 ... h^L) = p(v | h^1) ... p(h^{L-2} | h^{L-1}) p_L(h^{L-1}, h^L)
    (DB2) p(h^{l-1}_i = 1 | h^l) = σ(b^l_i + Σ_j w^l_ij h^l_j)
    (DB3) q(h^l_j = 1 | h^{l-1}) = σ(c^l_j + Σ_i h^{l-1}_i w^l_ij)

q, with the same weights, stands for the posterior, which has no closed form but in an RBM: given v the units of h^1
depend on each other (explaining away).

A stack is trained by `jaxnets.nets.greedy.pretrain`; then either as a generator (`jaxnets.nets.up_down`), or as a
classifier: `classifier` makes a `jaxnets.nets.mlp` of it, whose backpropagation is written out there.

Sources: Hinton, Osindero and Teh 2006, A fast learning algorithm for deep belief nets; Hinton and Salakhutdinov 2006,
Reducing the dimensionality of data with neural networks.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

from jaxnets.nets import contrastive_divergence, mlp, rbm
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.ops import activations
from jaxnets.ops.dropout import dropout
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.rule import Rule

Params = tuple[rbm.Params, ...]
"""The RBMs, the lowest first."""


def hidden_probabilities(params: Params, v: Float[Array, "batch visible"]) -> tuple[Float[Array, "batch _"], ...]:
    """Probabilities of all hidden layers, each (DB3) with the probabilities below it for states.

    ValueError if the widths do not fit.
    """
    check("hidden_probabilities", params)
    layers = []
    for layer in params:
        v = rbm.hidden_probabilities(layer, v)  # (DB3)
        layers.append(v)
    return tuple(layers)


def generate(
    params: Params, start: Float[Array, "batch _"], key: Key[Array, ""], *, steps: int
) -> Float[Array, "batch visible"]:
    """Probabilities of the visible units: Gibbs sampling in the top RBM, then one pass downwards (DB1).

    Args:
      params: the stack.
      start: states of the lower layer of the top RBM, where its chains begin.
      key: for all draws.
      steps: rounds of Gibbs sampling.

    Raises:
      ValueError: if the widths do not fit, or `steps` is less than 1.
    """
    check("generate", params)
    key, top_key = jax.random.split(key)
    _, p = contrastive_divergence.gibbs(params[-1], start, top_key, steps=steps)
    for number, layer in enumerate(reversed(params)):
        h = sample_bernoulli(jax.random.fold_in(key, number), p)
        p = rbm.visible_probabilities(layer, h)  # (DB1) (DB2)
    return p


def classifier(params: Params, key: Key[Array, ""], classes: int, *, scale: float = 0.0) -> mlp.Params:
    """The network of the pass upwards, with a layer of `classes` weighted inputs of a softmax on top.

    Its weights are N(0, scale²), its biases 0; for `mlp.apply(..., activations=activations_of(params))`.  With scale 0
    the first step moves the last layer only.  ValueError if the widths do not fit, or there is no class.
    """
    check("classifier", params)
    if classes < 1:
        raise ValueError(f"classifier: got {classes} classes, wanted at least 1")
    width, dtype = params[-1].c.shape[0], params[-1].w.dtype
    last = mlp.Layer(scale * jax.random.normal(key, (width, classes), dtype), jnp.zeros(classes, dtype))
    return (*(mlp.Layer(layer.w, layer.c) for layer in params), last)


def activations_of(params: Sequence[object]) -> tuple[Rule[..., Array], ...]:
    """One sigmoid for each RBM, and none for the layer on top: the cost holds the softmax."""
    return (*(activations.sigmoid,) * len(params), activations.linear)


def fine_tuning_loss(
    params: mlp.Params,
    batch: tuple[Float[Array, "batch visible"], Integer[Array, " batch"]],
    key: Key[Array, ""],
    *,
    rate: float,
) -> Float[Array, ""]:
    """Softmax cross entropy of `classifier`'s network on images and labels, with dropout of its hidden units.

    The passes are those of `mlp`, layer by layer; without dropout (rate 0) those of `mlp.apply`.
    """
    x, labels = batch
    for number, (layer, activation) in enumerate(zip(params, activations_of(params[:-1]), strict=True)):
        if number > 0:
            x = dropout(jax.random.fold_in(key, number), x, rate=rate)
        x = mlp.apply((layer,), x, activations=(activation,))
    return softmax_cross_entropy_with_integer_labels(x, labels)


def check(function: str, params: Params) -> None:
    """ValueError, in the name of `function`, if there is no RBM, or one does not fit on the one below."""
    if not params:
        raise ValueError(f"{function}: got no RBM, wanted at least one")
    for number, (below, above) in enumerate(itertools.pairwise(params), 1):
        if below.c.shape != above.b.shape:
            raise ValueError(
                f"{function}: RBM {number} has {len(below.c)} hidden units, the next {len(above.b)} visible ones"
            )
