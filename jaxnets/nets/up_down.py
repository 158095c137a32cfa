"""The up-down algorithm, contrastive wake and sleep: a deep belief network as a whole.  Derivation: derivations/dbn.md.

Below the top RBM the weights upwards, recognition, are let go from the weights downwards, generation.  With h^0 = v,
h^{M} the lower layer of the top RBM, and probabilities

    (DB14) up^l = σ(h^{l-1} w^l + c^l)                    (DB15) down^l = σ(h^{l+1} g^l + b^l)

a step draws upwards from the data (wake), runs the top RBM from there for k rounds, and draws downwards (sleep):

    (DB16) wake: g^l moves along mean h^{l+1}ᵀ (h^l - down^l(h^{l+1})), b^l along mean h^l - down^l, h of the way up
    (DB17) sleep: w^l moves along mean h^{l-1}ᵀ (h^l - up^l(h^{l-1})), c^l along mean h^l - up^l, h of the way down
    (DB18) the top RBM, over (h^M, labels), moves by CD-k

(DB16) is a sample of the gradient of the bound (DB4) with respect to the generative weights.  (DB17) is not one of the
bound's: it lowers the divergence of the recognition from the posterior the wrong way round, in fantasies.

Source: Hinton, Osindero and Teh 2006, A fast learning algorithm for deep belief nets, section 5 and appendix B.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from jaxnets.nets import contrastive_divergence, dbn, rbm
from jaxnets.nets.associative_memory import associative_memory, label_scores, of_class
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.mlp import Layer
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.affine import affine
from jaxnets.train.step import State, Step, estimating_step, init_estimating

Rows = Float[Array, "batch _"]
Labels = Float[Array, "batch classes"]


class Params(NamedTuple):
    """Weights upwards (n_l, n_l+1) and downwards (n_l+1, n_l) of each layer, the lowest first, and the top RBM."""

    recognition: tuple[Layer, ...]
    generative: tuple[Layer, ...]
    top: rbm.Params


def untie(params: dbn.Params) -> Params:
    """The weights of a stack of RBMs, with those of all but the last once for each direction.

    The last one is the associative memory: its visible layer holds the labels too.
    """
    lower = params[:-1]
    recognition = tuple(Layer(layer.w, layer.c) for layer in lower)
    return Params(recognition, tuple(Layer(layer.w.T, layer.b) for layer in lower), params[-1])


def up_down(params: Params, v: Rows, t: Labels, key: Key[Array, ""], *, steps: int) -> tuple[Params, Float[Array, ""]]:
    """The direction of descent, minus (DB16), (DB17) and (DB18).

    Args:
      params: as `untie` makes them.
      v: the data, in [0, 1].
      t: their labels, one-hot.
      key: for all draws.
      steps: rounds of Gibbs sampling in the top RBM.

    Returns:
      The direction, like the parameters, and the reconstruction error: the squared distance of v to its probabilities
      given the first hidden layer of the way up, mean over the rows.

    Raises:
      ValueError: if the widths do not agree, or `steps` is less than 1.
    """
    _check("up_down", params, v, t.shape[1])
    up_key, top_key, down_key = jax.random.split(key, 3)
    wake = _draw_up(params, v, up_key)
    joint = jnp.concatenate([wake[-1], t], 1)
    top = associative_memory(t.shape[1])
    p = top.hidden_probabilities(params.top, joint)
    joint_k, p_k = contrastive_divergence.gibbs(params.top, joint, top_key, steps=steps, machine=top)
    data, chains = top.statistics(params.top, joint, p), top.statistics(params.top, joint_k, p_k)
    top_bar = jax.tree.map(jnp.subtract, chains, data)  # (DB18)
    sleep = _draw_down(params, joint_k[:, : -t.shape[1]], down_key)
    downs = [sigmoid(affine(above, *layer)) for above, layer in zip(wake[1:], params.generative, strict=True)]  # (DB15)
    ups = [
        sigmoid(affine(below, *layer)) for below, layer in zip(sleep[:-1], params.recognition, strict=True)
    ]  # (DB14)
    generative_bar = _delta(wake[1:], wake[:-1], downs)  # (DB16)
    recognition_bar = _delta(sleep[:-1], sleep[1:], ups)  # (DB17)
    error = jnp.square(v - downs[0]).sum(1).mean()
    return Params(recognition_bar, generative_bar, top_bar), error


def up_down_step(optimizer: optax.GradientTransformation, *, steps: int) -> Step:
    """The step of `jaxnets.train.fit` along `up_down`; batches are (v, t), the loss is the reconstruction error.

    The paper runs 3 rounds in the top RBM in its first epochs, then 6, then 10.
    """

    def estimate(
        params: Params, carried: tuple[()], batch: tuple[Rows, Labels], key: Key[Array, ""]
    ) -> tuple[Params, tuple[()], Float[Array, ""]]:
        direction, error = up_down(params, *batch, key, steps=steps)
        return direction, carried, error

    return estimating_step(estimate, optimizer)


def init_up_down(params: Params, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> State:
    """The state in which training with `up_down_step` starts."""
    return init_estimating(params, (), optimizer, key)


def scores(params: Params, v: Rows, classes: int) -> Float[Array, "batch classes"]:
    """Logarithm of p(t | x) of every label, up to a constant: largest for the class.

    For x it has the probabilities of the way up.  ValueError if the widths do not agree.
    """
    _check("scores", params, v, classes)
    for layer in params.recognition:
        v = sigmoid(affine(v, *layer))  # (DB14)
    return label_scores(params.top, v, classes)


def generate(params: Params, t: Labels, key: Key[Array, ""], *, steps: int) -> Rows:
    """Probabilities of the visible units for rows of these classes.

    Gibbs sampling in the top RBM, from noise and with the labels held, then one pass downwards.  ValueError if the
    widths do not agree, or `steps` is less than 1.
    """
    start_key, top_key, down_key = jax.random.split(key, 3)
    features = len(params.top.b) - t.shape[1]
    noise = sample_bernoulli(start_key, jnp.full((len(t), features), 0.5, t.dtype))
    start = jnp.concatenate([noise, t], 1)
    joint, _ = contrastive_divergence.gibbs(params.top, start, top_key, steps=steps, machine=of_class(t))
    return _draw_down(params, joint[:, :features], down_key)[0]


def _draw_up(params: Params, v: Rows, key: Key[Array, ""]) -> list[Rows]:
    """v, and states of the layers up to the lower one of the top RBM."""
    layers = [v]
    for number, layer in enumerate(params.recognition):
        layers.append(
            sample_bernoulli(jax.random.fold_in(key, number), sigmoid(affine(layers[-1], *layer)))  # (DB14)
        )
    return layers


def _draw_down(params: Params, h: Rows, key: Key[Array, ""]) -> list[Rows]:
    """Probabilities of v, and states of the layers from there to h, the lowest first."""
    layers = [h]
    for number, layer in enumerate(reversed(params.generative)):
        p = sigmoid(affine(layers[-1], *layer))  # (DB15)
        lowest = number == len(params.generative) - 1
        layers.append(p if lowest else sample_bernoulli(jax.random.fold_in(key, number), p))
    return layers[::-1]


def _delta(inputs: list[Rows], wanted: list[Rows], predicted: list[Rows]) -> tuple[Layer, ...]:
    """Minus the delta rule of each layer, the mean over the rows."""
    errors = [(p - h) / len(h) for h, p in zip(wanted, predicted, strict=True)]
    return tuple(Layer(x.T @ error, error.sum(0)) for x, error in zip(inputs, errors, strict=True))


def _check(function: str, params: Params, v: Rows, classes: int) -> None:
    widths = [v.shape[-1]]
    for up, down in zip(params.recognition, params.generative, strict=True):
        if up.w.shape[0] != widths[-1] or down.w.shape != up.w.shape[::-1]:
            raise ValueError(
                f"{function}: a layer over {widths[-1]} units has weights {up.w.shape} upwards and {down.w.shape} down"
            )
        widths.append(up.w.shape[1])
    if len(widths) < 2 or v.ndim != 2 or len(params.top.b) != widths[-1] + classes:
        raise ValueError(
            f"{function}: v has shape {v.shape}, the layers have {widths} units, and the top RBM "
            f"{len(params.top.b)} visible ones for the last of them and {classes} labels"
        )
