"""Looking words up in a table.  Derivation: derivations/embedding.md.

Row v of the table holds the features of word v:

    (EM1) x_{n,t} = table_{tokens_{n,t}}
    (EM2) table_bar_v = Σ_{n,t: tokens_{n,t} = v} x_bar_{n,t}

A word that stands twice gets both cotangents, a word that does not occur gets zero.  It is the affine map of one-hot
rows, (AF1) to (AF4), without the products by zero.

Source: Bengio, Ducharme, Vincent and Jauvin 2003, A neural probabilistic language model, section 2.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxnets.rule import rule


class Residuals(NamedTuple):
    """Where each row was used; and how many rows there are, as the shape of an empty array."""

    tokens: Integer[Array, "*places"]
    rows: Float[Array, "words 0"]


def embed_forward(
    table: Float[Array, "words features"], tokens: Integer[Array, "*places"]
) -> tuple[Float[Array, "*places features"], Residuals]:
    """The rows of the table at `tokens` (EM1).

    Tokens are indices from 0; one outside the table gives a row of NaN, which no training survives unnoticed, and
    nothing to the gradient.

    Raises:
      ValueError: if the table is no matrix or tokens are no integers.
    """
    if table.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(
            f"embed: wanted a matrix and integers, got table {table.shape}, tokens {tokens.dtype}{list(tokens.shape)}"
        )
    x = table.at[_known(tokens, table.shape[0])].get(mode="fill", fill_value=jnp.nan)  # (EM1)
    return x, Residuals(tokens, jnp.zeros((table.shape[0], 0), table.dtype))


def embed_backward(
    residuals: Residuals, x_bar: Float[Array, "*places features"]
) -> tuple[Float[Array, "words features"], None]:
    """Cotangent of the table (EM2)."""
    tokens, rows = residuals
    zero = jnp.zeros((rows.shape[0], x_bar.shape[-1]), x_bar.dtype)
    return zero.at[_known(tokens, rows.shape[0])].add(x_bar, mode="drop"), None  # (EM2)


embed = rule(embed_forward, embed_backward)


def _known(tokens: Array, words: int) -> Array:
    # A negative index would count from the end of the table.
    return jnp.where(tokens < 0, words, tokens)
