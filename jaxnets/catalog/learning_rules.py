"""The derivations of derivations/learning-rules.md: what some of the rules climb or descend."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.catalog.samples import normal
from jaxnets.ops.learning_rules import correlation, half_squared_error, output_energy, perceptron_rule
from jaxnets.ops.losses import Reduction, perceptron
from jaxnets.verify import Derivation

_DOCUMENT = "derivations/learning-rules.md"


def weights_and_classes(key: Array) -> tuple[Any, ...]:
    """Weights, and inputs and targets that are integers, and so have no gradient: the rule moves the weights alone."""
    w_key, x_key, t_key = jax.random.split(key, 3)
    x = jax.random.randint(x_key, (5, 3), -5, 6, jnp.int32)
    return jax.random.normal(w_key, (3, 2)), x, jax.random.randint(t_key, (5, 2), 0, 2, jnp.int32)


def perceptron_loss(w: Array, x: Array, t: Array) -> Array:
    """The perceptron loss of threshold units, summed over rows and units, for targets 0 and 1."""
    y = (2 * t - 1).astype(w.dtype)
    return perceptron(x.astype(w.dtype) @ w, y, reduction=Reduction.SUM)


def perceptron_gradient(w: Array, x: Array, t: Array) -> tuple[Any, ...]:
    """Minus what the perceptron rule adds to the weights."""
    return -perceptron_rule(w, x.astype(w.dtype), t.astype(w.dtype)), None, None


LEARNING_RULES = (
    Derivation(
        "learning_rules/output_energy",
        output_energy,
        normal((3, 2), (5, 3)),
        _DOCUMENT,
        ("HB3", "HB8", "HB9", "HB10"),
    ),
    Derivation(
        "learning_rules/correlation",
        correlation,
        normal((3, 2), (5, 3), (5, 2)),
        _DOCUMENT,
        ("HB4", "HB11", "HB12"),
    ),
    Derivation(
        "learning_rules/half_squared_error",
        half_squared_error,
        normal((3, 2), (5, 3), (5, 2)),
        _DOCUMENT,
        ("HB7", "HB13", "HB14", "HB15"),
    ),
    Derivation(
        "learning_rules/perceptron",
        perceptron_loss,
        weights_and_classes,
        _DOCUMENT,
        ("HB6",),
        perceptron_gradient,
    ),
)
