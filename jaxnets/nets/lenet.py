"""LeNet-5 as it is taught and used today, of the library's operations.  Derivation: derivations/lenet.md.

Rectified linear units in place of squashing, maximum in place of trainable subsampling, C3 reads all maps, and softmax
in place of codes; images of 28 x 28 pixels, with two zeros around them in the first convolution.  ⋆ is (CV1):

    (LN27) a1 = maxpool(relu(x ⋆ w + b))        (LN28) a3 = maxpool(relu(a1 ⋆ w + b))
    (LN29) a5 = relu(a3 w + b),  a6 = relu(a5 w + b),  z = a6 w + b

Its gradient is that of its operations, chained by JAX.  `jaxnets.nets.lenet1998` is the network of the paper.

Sources: LeCun, Bottou, Bengio and Haffner 1998, Gradient-based learning applied to document recognition; Zhang, Lipton,
Li and Smola, Dive into Deep Learning, section 7.6, for what is kept of it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxnets.nets.mlp import HE
from jaxnets.ops.activations import relu
from jaxnets.ops.affine import affine
from jaxnets.ops.convolution import conv_relu_pool
from jaxnets.ops.losses import softmax_cross_entropy
from jaxnets.rule import Rule

Images = Float[Array, "batch 28 28 1"]
Outputs = Float[Array, "batch 10"]


class Layer(NamedTuple):
    """Weights and biases: kernels HWIO, or a matrix."""

    w: Float[Array, "*inputs units"]
    b: Float[Array, " units"]


class Params(NamedTuple):
    """The 61,706 parameters, by the names of the paper's layers."""

    c1: Layer
    c3: Layer
    c5: Layer
    f6: Layer
    output: Layer


_SHAPES = {"c1": (5, 5, 1, 6), "c3": (5, 5, 6, 16), "c5": (400, 120), "f6": (120, 84), "output": (84, 10)}


def init(key: Array, *, weights: initializers.Initializer = HE, dtype: Any = jnp.float32) -> Params:
    """Random parameters: weights N(0, 2/inputs of a unit) unless told, biases 0."""
    keys = jax.random.split(key, len(_SHAPES))
    return Params(
        **{
            name: Layer(weights(k, shape, dtype), jnp.zeros(shape[-1], dtype))
            for k, (name, shape) in zip(keys, _SHAPES.items(), strict=True)
        }
    )


def apply(params: Params, x: Images) -> Outputs:
    """Logits of the ten classes for a batch of images: (LN27) to (LN29).

    Raises:
      ValueError: if the images have another shape than (batch, 28, 28, 1), or the parameters do not fit.
    """
    if x.ndim != 4 or x.shape[1:] != (28, 28, 1):
        raise ValueError(f"lenet: x has shape {x.shape}, wanted (batch, 28, 28, 1)")
    a = conv_relu_pool(x, *params.c1, padding=((2, 2), (2, 2)))  # (LN27)
    a = conv_relu_pool(a, *params.c3)  # (LN28)
    a = relu(affine(lax.collapse(a, 1), *params.c5))
    a = relu(affine(a, *params.f6))
    return affine(a, *params.output)  # (LN29)


Batch = tuple[Images, Outputs]


def loss(params: Params, batch: Batch, *, cost: Rule[..., Any] = softmax_cross_entropy) -> Float[Array, ""]:
    """Mean cost of a batch (x, t): `cost(z, t)` is a rule on the logits and the target distributions."""
    x, t = batch
    return cost(apply(params, x), t)
