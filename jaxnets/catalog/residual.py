"""The derivations of derivations/resnet.md and derivations/embedding.md."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.catalog.samples import normal
from jaxnets.ops.embedding import embed
from jaxnets.ops.residual import identity_shortcut, residual_sum
from jaxnets.verify import Derivation

_RESNET = "derivations/resnet.md"


def table_and_words(key: Array) -> tuple[Any, ...]:
    """Seven words of three features, and sentences in which words stand more than once."""
    table_key, word_key = jax.random.split(key)
    return jax.random.normal(table_key, (7, 3)), jax.random.randint(word_key, (2, 9), 0, 7, jnp.int32)


RESIDUAL = (
    Derivation("residual/residual_sum", residual_sum, normal((2, 4, 5, 3), (2, 4, 5, 3)), _RESNET, ("RN1", "RN2")),
    Derivation(
        "residual/identity_shortcut",
        partial(identity_shortcut, stride=2, channels=5),
        normal((2, 5, 4, 3)),
        _RESNET,
        ("RN3", "RN4"),
    ),
)

EMBEDDING = (Derivation("embedding/embed", embed, table_and_words, "derivations/embedding.md", ("EM1", "EM2")),)
