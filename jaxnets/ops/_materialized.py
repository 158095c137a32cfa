"""Keeping the compiler from computing an array again for each of its readers."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Integer


def materialized(indices: Integer[Array, "*shape"]) -> Integer[Array, "*shape"]:
    """The same indices, from 0 on, which compiled code computes once and stores before anything reads them.

    XLA fuses what an array is computed from into its readers, over and over where these read it at several places.  An
    optimization barrier forbids that, except on a CPU, where XLA drops barriers before it fuses.  It does not fuse
    through a conditional, and cannot know that the indices are never negative.
    """
    return lax.platform_dependent(indices, cpu=_behind_a_conditional, default=lax.optimization_barrier)


def _behind_a_conditional(indices: Array) -> Array:
    corner = indices[(slice(0, 1),) * indices.ndim]
    return lax.cond(jnp.all(corner >= 0), lambda a: a, lambda a: -a, indices)
