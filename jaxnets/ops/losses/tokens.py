"""Cross entropy of sequences of words of different lengths.  Derivation: derivations/losses.md.

    (LS60) C = -1/N Σ_{n,t: t < T_n} log softmax(z_{n,t})_{k_{n,t}}      N = Σ_n T_n words, at least 1
    (LS61) z_bar_{n,t} = C_bar/N (softmax(z_{n,t}) - 1_{k_{n,t}})  for t < T_n, and 0 after the end

Every word counts alike, whichever sequence it stands in.  Without any word the cost is 0.

Source: Goodfellow, Bengio and Courville 2016, Deep Learning, section 10.2, eq. (10.12) to (10.14).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxnets.ops.losses._stable import log_softmax
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """log q of every place; the words, beyond the last one where there is none; and N."""

    log_q: Float[Array, "batch time words"]
    labels: Integer[Array, "batch time"]
    lengths: Integer[Array, " batch"] | None
    count: Float[Array, ""]


def token_cross_entropy_forward(
    logits: Float[Array, "batch time words"],
    labels: Integer[Array, "batch time"],
    lengths: Integer[Array, " batch"] | None = None,
) -> tuple[Float[Array, ""], Residuals]:
    """Cross entropy in nats a word (LS60).

    A label within its sequence that is no word (also a negative one) makes the cost and its own gradient NaN.

    Args:
      lengths: how many words each sequence has, from 0 to time; None for all.

    Raises:
      ValueError: if shapes or dtypes do not fit.
    """
    if logits.ndim != 3 or labels.shape != logits.shape[:2] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"token_cross_entropy: logits are {logits.shape}, labels {labels.dtype}{list(labels.shape)};"
            " wanted (batch, time, words) and integers (batch, time)"
        )
    if lengths is not None and (lengths.shape != labels.shape[:1] or not jnp.issubdtype(lengths.dtype, jnp.integer)):
        raise ValueError(
            f"token_cross_entropy: lengths is {lengths.dtype}{list(lengths.shape)}, wanted {labels.shape[0]} integers"
        )
    log_q = log_softmax(logits)
    here = _here(labels, lengths)
    count = jnp.maximum(jnp.sum(here, dtype=log_q.dtype), 1)
    known = jnp.where(labels < 0, logits.shape[2], labels)[..., None]  # a negative index would count from the end
    log_q_k = jnp.take_along_axis(log_q, known, -1, mode="fill", fill_value=jnp.nan)[..., 0]
    cost = -jnp.sum(jnp.where(here, log_q_k, 0)) / count  # (LS60)
    return cost, Residuals(log_q, labels, lengths, count)


def token_cross_entropy_backward(
    residuals: Residuals, c_bar: Float[Array, ""]
) -> tuple[Float[Array, "batch time words"], None, None]:
    """Cotangent of the logits (LS61)."""
    log_q, labels, lengths, count = residuals
    words = log_q.shape[2]
    one_k = jax.nn.one_hot(labels, words, dtype=log_q.dtype)
    z_bar = c_bar / count * (jnp.exp(log_q) - one_k)  # (LS61)
    z_bar = jnp.where(((labels >= 0) & (labels < words))[..., None], z_bar, jnp.nan)
    return jnp.where(_here(labels, lengths)[..., None], z_bar, jnp.zeros_like(z_bar)), None, None


token_cross_entropy = rule(token_cross_entropy_forward, token_cross_entropy_backward)


def _here(labels: Integer[Array, "batch time"], lengths: Integer[Array, " batch"] | None) -> Array:
    if lengths is None:
        return jnp.ones(labels.shape, bool)
    # In 32 bits: fewer may hold every length, but not the last step.
    return jnp.arange(labels.shape[1], dtype=jnp.int32)[None, :] < lengths[:, None].astype(jnp.int32)
