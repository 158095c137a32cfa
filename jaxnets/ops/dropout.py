"""Dropout.  Derivation: derivations/dropout.md.

A mask m of independent zeros and ones keeps each entry with probability q = 1 - rate, and what is kept is enlarged so
that the expectation stays:

    (DO1) y = x ⊙ m / q
    (DO2) x_bar = y_bar ⊙ m / q

Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, Dropout: a simple way to prevent neural
networks from overfitting, sections 4 and 9.1; for the scale 1/q in training, section 10.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from jaxnets.ops._floating import require_floating
from jaxnets.rule import rule


def dropout_forward(
    key: Key[Array, ""], x: Float[Array, "*shape"], *, rate: float
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"] | None]:
    """Set some entries of x, drawn at random, to zero, and divide the others by q (DO1).

    The residual is the mask, one byte an entry.  The mask depends on the key, the shape and the rate alone, not on the
    dtype.  At rate 0 nothing is drawn and y is x.  For inference leave dropout out: E[y] = x.

    Args:
      key: one typed key (`jax.random.key`); every call wants a new one.
      x: anything, such as the activations of a layer.
      rate: the probability with which an entry is dropped, in [0, 1).  1 - rate is rounded to a multiple of 2^-16,
        in the mask and in the scale alike, so that the expectation is exact.

    Raises:
      TypeError: if the key is no typed key, or x no floating-point array.
      ValueError: if there is not exactly one key, or the rate is out of its range.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(f"dropout: key is {key.dtype}{list(key.shape)}, wanted a typed key (jax.random.key)")
    if key.ndim != 0:
        raise ValueError(f"dropout: key has shape {key.shape}, wanted one key (use jax.vmap for several)")
    require_floating("dropout", x, "x")
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate is {rate}, wanted at least 0 and less than 1")
    if rate == 0:
        return x, None
    m = _draws(key, x.shape) <= jnp.uint16(round(2**16 * _keep(rate)) - 1)
    return _kept(m, x, rate), m  # (DO1)


def dropout_backward(
    m: Bool[Array, "*shape"] | None, y_bar: Float[Array, "*shape"], *, rate: float
) -> tuple[None, Float[Array, "*shape"]]:
    """Cotangent of x (DO2); a key has none."""
    return None, y_bar if m is None else _kept(m, y_bar, rate)  # (DO2)


dropout = rule(dropout_forward, dropout_backward)


def _keep(rate: float) -> float:
    """q: what of 2^16 numbers is nearest to 1 - rate, and not nothing."""
    return max(round((1 - rate) * 2**16), 1) / 2**16


def _kept(m: Array, x: Array, rate: float) -> Array:
    return jnp.where(m, x / _keep(rate), 0)


def _draws(key: Array, shape: tuple[int, ...]) -> Array:
    """Random integers of 16 bits, two out of each that JAX draws: drawing is what takes the time."""
    size = math.prod(shape)
    pairs = lax.bitcast_convert_type(jax.random.bits(key, (-(-size // 2),), jnp.uint32), jnp.uint16)
    return pairs.ravel()[:size].reshape(shape)
