"""The top RBM of a deep belief network, over features and labels together.  Derivation: derivations/dbn.md.

Its visible layer is (x, t): binary features, and one group of label units of which exactly one is on:

    (DB12) p(x_i = 1 | h) = σ(b_i + Σ_j w_ij h_j)          p(t | h) = softmax over the label units of b_k + Σ_j w_kj h_j
    (DB13) ln p(t = k | x) = b_k + Σ_j softplus(c_j + w_kj + Σ_i x_i w_ij) + const

Source: Hinton, Osindero and Teh 2006, A fast learning algorithm for deep belief nets, section 6 and appendix B.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnets.nets import rbm
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.contrastive_divergence import Machine, statistics
from jaxnets.ops.activations import sigmoid, softmax, softplus
from jaxnets.ops.affine import affine

Visible = Float[Array, "batch visible"]


def associative_memory(classes: int) -> Machine:
    """An RBM whose last `classes` visible units are the labels (DB12), to be trained by contrastive divergence.

    Labels are drawn with the features.  ValueError if there is no class.
    """
    _check("associative_memory", classes)
    return Machine(rbm.hidden_probabilities, partial(_means, classes), partial(_draw, classes), statistics)


def of_class(t: Float[Array, "batch classes"]) -> Machine:
    """The same with the labels held at t in all rounds: Gibbs sampling draws features of these classes."""
    _check("of_class", t.shape[1])

    def means(params: rbm.Params, h: Float[Array, "batch hidden"]) -> Visible:
        return jnp.concatenate([_means(t.shape[1], params, h)[:, : -t.shape[1]], t], 1)

    return Machine(rbm.hidden_probabilities, means, partial(_draw, t.shape[1]), statistics)


def label_scores(params: rbm.Params, x: Float[Array, "batch features"], classes: int) -> Float[Array, "batch classes"]:
    """Logarithm of p(t | x), up to a constant in each row: minus the free energy of x with each label (DB13).

    Raises:
      ValueError: if x has not as many features as there are visible units besides the labels.
    """
    _check("label_scores", classes)
    w, b, c = params
    if x.ndim != 2 or x.shape[1] + classes != len(b):
        raise ValueError(
            f"label_scores: x has shape {x.shape}, wanted (batch, {len(b) - classes}), and {classes} labels"
        )
    z = affine(x, w[:-classes], c)
    each = [b[k] + softplus(z + w[k][None]).sum(1) for k in range(len(b) - classes, len(b))]  # (DB13)
    return jnp.stack(each, 1)


def _means(classes: int, params: rbm.Params, h: Float[Array, "batch hidden"]) -> Visible:
    rbm.check("associative_memory", params, h=h)
    z = affine(h, params.w.T, params.b)
    return jnp.concatenate([sigmoid(z[:, :-classes]), softmax(z[:, -classes:])], 1)  # (DB12)


def _draw(classes: int, params: rbm.Params, means: Visible, key: Key[Array, ""]) -> Visible:
    del params
    x_key, t_key = jax.random.split(key)
    k = jax.random.categorical(t_key, jnp.log(means[:, -classes:]))
    t = (k[:, None] == jnp.arange(classes)[None]).astype(means.dtype)
    return jnp.concatenate([sample_bernoulli(x_key, means[:, :-classes]), t], 1)


def _check(function: str, classes: int) -> None:
    if classes < 1:
        raise ValueError(f"{function}: got {classes} classes, wanted at least 1")
