"""The derivations of derivations/hopfield.md."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.catalog.samples import normal
from jaxnets.nets import bam, dense_hopfield, hopfield
from jaxnets.verify import Derivation

_DOCUMENT = "derivations/hopfield.md"


def _network(key: Array) -> tuple[Any, ...]:
    """Weights that are not symmetric, thresholds, and states that are no signs: the gradients hold for all of them."""
    w, theta, s = normal((4, 4), (4,), (5, 4))(key)
    return hopfield.Params(w, theta), s


def _graded_network(key: Array) -> tuple[Any, ...]:
    """The same, with outputs between -1 and 1."""
    params, u = _network(key)
    return params, jnp.tanh(u)


ASSOCIATIVE_MEMORIES = (
    Derivation("hopfield/energy", hopfield.energy, _network, _DOCUMENT, ("HF1", "HF2", "HF3", "HF4")),
    Derivation(
        "hopfield/graded_energy",
        partial(hopfield.graded_energy, gain=1.7),
        _graded_network,
        _DOCUMENT,
        ("HF12", "HF13", "HF14"),
    ),
    Derivation(
        "dense_hopfield",
        partial(dense_hopfield.energy, beta=1.3),
        normal((7, 3), (5, 3)),
        _DOCUMENT,
        ("DH1", "DH2", "DH3"),
    ),
    Derivation("bam", bam.energy, normal((4, 3), (5, 4), (5, 3)), _DOCUMENT, ("BA2", "BA3", "BA4", "BA5")),
)
