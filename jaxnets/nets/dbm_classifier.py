"""A deep Boltzmann machine as a classifier.  Derivation: derivations/dbm.md.

Mean field is run once; what it says of the second layer is an input, beside the data, of a network with the machine's
weights, which from there on is trained by backpropagation (`jaxnets.nets.mlp`, for which it is just a network):

    (DM25) z^1 = b^1 + (v, μ²) (w^1 over w^2ᵀ),  z^l = b^l + a^{l-1} w^l above

At a fixed point of the mean field of two hidden layers the network begins with a^1 = μ^1 and a^2 = μ^2.

Source: Salakhutdinov and Hinton 2009, Deep Boltzmann machines, section 3.3.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.nets.dbm import Params
from jaxnets.nets.mean_field import mean_field
from jaxnets.nets.mlp import Layer
from jaxnets.nets.mlp import Params as Network


def features(params: Params, v: Float[Array, "batch visible"], *, steps: int = 30) -> Float[Array, "batch _"]:
    """The data with the mean field of the second hidden layer beside it.  ValueError as `mean_field`."""
    return jnp.concatenate([v, mean_field(params, v, steps=steps).mu[1]], 1)


def classifier(params: Params, classes: int) -> Network:
    """The network (DM25) with a layer of `classes` weighted inputs of a softmax on top, which begins at 0.

    Its activations are `jaxnets.nets.dbn.activations_of(params.w)`.  ValueError if there is no class.
    """
    if classes < 1:
        raise ValueError(f"classifier: got {classes} classes, wanted at least 1")
    first = Layer(jnp.concatenate([params.w[0], params.w[1].T]), params.b[1])  # (DM25)
    others = [Layer(w, b) for w, b in zip(params.w[1:], params.b[2:], strict=True)]
    last = Layer(jnp.zeros((len(params.b[-1]), classes), first.w.dtype), jnp.zeros(classes, first.w.dtype))
    return (first, *others, last)
