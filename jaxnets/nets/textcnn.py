"""Convolution over the words of a sentence, for classifying it.

Every filter reads h words in a row; of all its outputs over the sentence only the largest is kept, so that sentences of
any length give as many features as there are filters.  Dropout, then the logits.  The equations of the pieces are in
jaxnets.ops.

Source: Kim 2014, Convolutional neural networks for sentence classification, section 2 and 3.1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.ops.activations import relu
from jaxnets.ops.affine import affine
from jaxnets.ops.convolution import conv1d
from jaxnets.ops.dropout import dropout
from jaxnets.ops.embedding import embed
from jaxnets.ops.pooling import max_over_time


class Layer(NamedTuple):
    """Weights and biases of the filters of one width, or of the logits."""

    w: Float[Array, "..."]
    b: Float[Array, " n_out"]


class Params(NamedTuple):
    """Everything that is trained."""

    table: Float[Array, "words features"]
    filters: tuple[Layer, ...]
    """One for each width."""
    head: Layer


def init(
    key: Array,
    words: int,
    *,
    features: int = 300,
    widths: tuple[int, ...] = (3, 4, 5),
    filters: int = 100,
    classes: int = 2,
    dtype: Any = jnp.float32,
) -> Params:
    """Random parameters: word vectors uniform in ±0.25, as the paper has them for unknown words; He et al. 2015 else.

    Raises:
      ValueError: if a size is not positive.
    """
    if not widths or min(words, features, filters, classes, *widths) < 1:
        raise ValueError(
            f"textcnn.init: words {words}, features {features}, widths {widths}, filters {filters}, classes {classes}:"
            " wanted positive numbers"
        )
    table_key, head_key, *keys = jax.random.split(key, 2 + len(widths))
    he = initializers.he_normal()
    return Params(
        jax.random.uniform(table_key, (words, features), dtype, -0.25, 0.25),
        tuple(
            Layer(he(k, (width, features, filters), dtype), jnp.zeros(filters, dtype))
            for k, width in zip(keys, widths, strict=True)
        ),
        Layer(he(head_key, (len(widths) * filters, classes), dtype), jnp.zeros(classes, dtype)),
    )


def apply(
    params: Params, tokens: Integer[Array, "batch time"], *, dropout_key: Array | None = None, rate: float = 0.5
) -> Float[Array, "batch classes"]:
    """Logits.

    Args:
      tokens: word numbers; shorter sentences are filled up with a word for "nothing".
      dropout_key: for training, in which a feature is dropped with probability `rate`; None for evaluation.

    Raises:
      ValueError: if a sentence is shorter than a filter is wide.
    """
    x = embed(params.table, tokens)
    kept = [max_over_time(relu(conv1d(x, layer.w, layer.b))) for layer in params.filters]
    found = jnp.concatenate(kept, axis=1)
    if dropout_key is not None:
        found = dropout(dropout_key, found, rate=rate)
    return affine(found, params.head.w, params.head.b)
