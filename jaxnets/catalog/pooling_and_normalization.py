"""The derivations of derivations/pooling.md, derivations/normalization.md and derivations/dropout.md."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.catalog.samples import Sample, normal
from jaxnets.ops.dropout import dropout
from jaxnets.ops.normalization import (
    Statistics,
    batch_norm,
    batch_norm_inference,
    layer_norm,
    local_response_norm,
)
from jaxnets.ops.pooling import max_over_time, max_pool, max_pool_with_switches, mean_pool, subsample, unpool
from jaxnets.verify import Derivation

_POOLING, _NORMALIZATION = "derivations/pooling.md", "derivations/normalization.md"

_OVERLAPPING: dict[str, Any] = {"window": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1))}


def switches(key: Array) -> tuple[Any, ...]:
    """What to put back for each window of images of 6 rows and 5 columns, and at which position of the window."""
    y_key, switch_key = jax.random.split(key)
    positions = jax.random.randint(switch_key, (2, 3, 5, 4), 0, 6, jnp.int8)
    return jax.random.normal(y_key, (2, 3, 5, 4)), positions


def to_normalize(*shape: int) -> Sample:
    """Features, scales and shifts."""
    return normal(shape, shape[-1:], shape[-1:])


def with_statistics(key: Array) -> tuple[Any, ...]:
    """Features, scales, shifts, and a running mean and variance."""
    mean_key, variance_key = jax.random.split(key)
    variance = jnp.exp(jax.random.normal(variance_key, (3,)))
    return *to_normalize(2, 4, 5, 3)(key), Statistics(jax.random.normal(mean_key, (3,)), variance)


def key_and_features(key: Array) -> tuple[Any, ...]:
    """A key to draw the mask from, and what it masks."""
    mask_key, x_key = jax.random.split(key)
    return mask_key, jax.random.normal(x_key, (5, 3))


def maxima_beside_switches(x: Array) -> Array:
    """The maxima that come with their switches, which have no derivative."""
    return max_pool_with_switches(x, **_OVERLAPPING)[0]


POOLING: tuple[Derivation, ...] = (
    Derivation("pooling/max_pool", max_pool, normal((2, 6, 4, 3)), _POOLING, ("PL1", "PL2")),
    Derivation(
        "pooling/max_pool/overlapping",
        partial(max_pool, **_OVERLAPPING),
        normal((2, 6, 5, 3)),
        _POOLING,
        ("PL1", "PL2"),
    ),
    Derivation(
        "pooling/max_pool_with_switches", maxima_beside_switches, normal((2, 6, 5, 3)), _POOLING, ("PL1", "PL2")
    ),
    Derivation("pooling/unpool", partial(unpool, size=(6, 5), **_OVERLAPPING), switches, _POOLING, ("PL3", "PL4")),
    Derivation("pooling/mean_pool", partial(mean_pool, **_OVERLAPPING), normal((2, 6, 5, 3)), _POOLING, ("PL5", "PL6")),
    Derivation(
        "pooling/subsample", subsample, normal((2, 6, 4, 3), (3,), (3,)), _POOLING, ("PL7", "PL8", "PL9", "PL10")
    ),
    Derivation("pooling/max_over_time", max_over_time, normal((2, 5, 3)), _POOLING, ("PL11", "PL12")),
)

NORMALIZATION: tuple[Derivation, ...] = (
    Derivation(
        "normalization/batch_norm",
        batch_norm,
        to_normalize(2, 4, 5, 3),
        _NORMALIZATION,
        ("BN1", "BN2", "BN3", "BN4"),
    ),
    Derivation(
        "normalization/batch_norm_inference",
        batch_norm_inference,
        with_statistics,
        _NORMALIZATION,
        ("BN3", "BN4", "BN5", "BN6", "BN7", "BN8"),
    ),
    Derivation(
        "normalization/layer_norm",
        layer_norm,
        to_normalize(2, 5, 3),
        _NORMALIZATION,
        ("LY1", "LY2", "LY3", "LY4"),
    ),
    Derivation(
        "normalization/local_response_norm",
        partial(local_response_norm, size=4, k=1.5, alpha=0.3, beta=0.6),
        normal((2, 4, 5, 7)),
        _NORMALIZATION,
        ("LR1", "LR2"),
    ),
)

DROPOUT: tuple[Derivation, ...] = (
    Derivation("dropout", partial(dropout, rate=0.3), key_and_features, "derivations/dropout.md", ("DO1", "DO2")),
)
