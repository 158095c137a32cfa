"""Annealed importance sampling: partition functions too large to be summed.  Derivation: derivations/rbm.md.

From a distribution A whose Z_A is known to the wanted B, over unnormalised f_β between them, β from 0 to 1.  Each of M
chains starts at a draw from A and, for each β_k in turn, is weighed and then moved by a transition T_β that leaves f_β
as it is:

    (AI1) f_β(x), of which f_0 is A's and f_1 is B's
    (AI2) ln ω = Σ_k ln f_{β_k}(x_(k-1)) - ln f_{β_(k-1)}(x_(k-1)),  x_k ~ T_{β_k}(x_(k-1))
    (AI3) ln Z_B ≈ ln Z_A + ln (1/M) Σ_m ω_m
    (AI4) standard error ε = (Σ_m (ω_m/ω̄ - 1)² / (M (M - 1)))^½;   interval of ln Z: ln Z_B + ln(1 ± 3 ε)

The estimate of Z itself has no bias, whatever the number of temperatures; that of ln Z is too low on average.  For the
binary machine, A has the same units, no weights, and the visible biases a:

    (AI5) f_β(v) = Π_i e^(((1-β) a_i + β b_i) v_i) Π_j (1 + e^(β (c_j + Σ_i v_i w_ij)))
    (AI6) T_β: p(h_j = 1 | v) = σ(β (c_j + Σ_i v_i w_ij)),  p(v_i = 1 | h) = σ((1-β) a_i + β (b_i + Σ_j w_ij h_j))
    (AI7) Z_A = 2^hidden Π_i (1 + e^a_i)

Sources: Neal 2001, Annealed importance sampling, eq. (3) to (11); Salakhutdinov and Murray 2008, On the quantitative
analysis of deep belief networks, section 4.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from jaxnets.nets import rbm
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.ops.activations import sigmoid, softplus

Scalar = Float[Array, ""]
Weights = Float[Array, " chains"]


class Path(NamedTuple):
    """The way from a distribution that is known to the wanted one, as pure functions of all chains at once."""

    start: Callable[[Key[Array, ""], int], Any]
    """(key, chains) -> draws from A"""
    log_f: Callable[[Any, Scalar], Weights]
    """(x, β) -> ln f_β(x)"""
    move: Callable[[Any, Scalar, Key[Array, ""]], Any]
    """(x, β, key) -> the next x of a chain that leaves f_β as it is"""
    log_z: Scalar
    """ln Z_A"""


class Estimate(NamedTuple):
    """What is known of ln Z: its estimate, the interval of three standard errors, and what it is made of.

    `low` is -∞ where the interval of Z reaches 0: then the weights tell too little.  `standard_error` is relative to Z,
    which for small ones is that of ln Z.  `effective` is the number of independent draws that the chains are worth.
    """

    log_z: Scalar
    low: Scalar
    high: Scalar
    standard_error: Scalar
    effective: Scalar
    log_weights: Weights


def temperatures(*parts: tuple[float, int], dtype: Any = jnp.float32) -> Float[Array, " steps"]:
    """Inverse temperatures from 0: up to each of the numbers, the last of which is 1, in so many equal steps.

    Salakhutdinov and Murray's are `temperatures((0.5, 500), (0.9, 4000), (1.0, 10_000))`.

    Raises:
      ValueError: if the numbers do not rise to 1, or a part has no step.
    """
    ends = [0.0, *(end for end, _ in parts)]
    if ends[-1] != 1 or any(a >= b for a, b in itertools.pairwise(ends)) or min(n for _, n in parts) < 1:
        raise ValueError(f"temperatures: got {parts}, wanted (end, steps) with ends that rise to 1 and positive steps")
    spans = zip(ends[:-1], parts, strict=True)
    return jnp.concatenate([jnp.zeros(1), *(jnp.linspace(a, b, n + 1)[1:] for a, (b, n) in spans)]).astype(dtype)


def estimate(path: Path, betas: Float[Array, " steps"], key: Key[Array, ""], *, chains: int = 100) -> Estimate:
    """Estimate the partition function of the end of the path.

    Args:
      path: its functions.
      betas: from 0 to 1, as `temperatures` makes them.
      key: of the draws.
      chains: how many run side by side; at least 2, for an error.

    Raises:
      ValueError: if there are too few chains or temperatures, or these do not rise from 0 to 1 (where they are known).
    """
    if chains < 2 or betas.ndim != 1 or len(betas) < 2:
        raise ValueError(f"annealed importance: got {chains} chains and betas {betas.shape}, wanted at least 2 of both")
    if not isinstance(betas, Tracer):
        known = np.asarray(betas)
        if known[0] != 0 or known[-1] != 1 or (np.diff(known) < 0).any():
            raise ValueError(f"annealed importance: betas go from {known[0]} to {known[-1]}, wanted a rise from 0 to 1")
    start_key, key = jax.random.split(key)

    def step(carry: tuple[Any, Weights], at: tuple[Scalar, Scalar, Key[Array, ""]]) -> tuple[tuple[Any, Weights], None]:
        x, log_weights = carry
        before, beta, key = at
        log_weights = log_weights + path.log_f(x, beta) - path.log_f(x, before)  # (AI1) (AI2)
        return (path.move(x, beta, key), log_weights), None

    start = path.start(start_key, chains), jnp.zeros(chains, betas.dtype)
    (_, log_weights), _ = jax.lax.scan(step, start, (betas[:-1], betas[1:], jax.random.split(key, len(betas) - 1)))
    return of_weights(log_weights, path.log_z)


def of_weights(log_weights: Weights, log_z_start: Scalar) -> Estimate:
    """The estimate that these weights make, without leaving the logarithms: they differ by hundreds."""
    m = len(log_weights)
    log_mean = jax.nn.logsumexp(log_weights) - jnp.log(jnp.asarray(m, log_weights.dtype))
    relative = jnp.exp(log_weights - log_mean)
    squares = jnp.square(relative - 1).sum()
    error = jnp.sqrt(squares / (m * (m - 1)))  # (AI4)
    log_z = log_z_start + log_mean  # (AI3)
    low, high = (log_z + jnp.log(jnp.maximum(1 + sign * 3 * error, 0)) for sign in (-1, 1))
    return Estimate(log_z, low, high, error, m / (1 + squares / m), log_weights)


def of_rbm(params: rbm.Params, a: Float[Array, " visible"]) -> Path:
    """The path of a binary machine; a are the biases of the independent units it starts from, best `rbm.data_biases`.

    Raises:
      ValueError: if there are not as many biases as visible units.
    """
    rbm.check("annealed importance", params)
    w, b, c = params
    if a.shape != b.shape:
        raise ValueError(f"annealed importance: a has shape {a.shape}, wanted that of the visible biases, {b.shape}")

    def between(beta: Scalar) -> Float[Array, " visible"]:
        return (1 - beta) * a + beta * b

    def start(key: Key[Array, ""], chains: int) -> rbm.Visible:
        return sample_bernoulli(key, jnp.broadcast_to(sigmoid(a), (chains, len(a))))

    def log_f(v: rbm.Visible, beta: Scalar) -> Weights:
        return v @ between(beta) + softplus(beta * (v @ w + c[None, :])).sum(1)  # (AI5)

    def move(v: rbm.Visible, beta: Scalar, key: Key[Array, ""]) -> rbm.Visible:
        hidden_key, visible_key = jax.random.split(key)
        h = sample_bernoulli(hidden_key, sigmoid(beta * (v @ w + c[None, :])))  # (AI6)
        return sample_bernoulli(visible_key, sigmoid(between(beta)[None, :] + beta * (h @ w.T)))  # (AI6)

    log_z = len(c) * jnp.log(jnp.asarray(2.0, w.dtype)) + softplus(a).sum()  # (AI7)
    return Path(start, log_f, move, log_z)
