"""Restricted Boltzmann machine with Gaussian visible units.  Derivation: derivations/rbm.md.

Visible units v_i are real numbers with biases b_i and log variances z_i, hidden units are 0 or 1:

    (GR1) E(v, h) = Σ_i (v_i - b_i)² e^-z_i / 2 - Σ_j c_j h_j - Σ_ij e^-z_i v_i w_ij h_j
    (GR2) p(h_j = 1 | v) = σ(c_j + Σ_i e^-z_i v_i w_ij)
    (GR3) p(v_i | h) = N(b_i + Σ_j w_ij h_j, e^z_i)
    (GR4) F(v) = Σ_i (v_i - b_i)² e^-z_i / 2 - Σ_j softplus(c_j + Σ_i e^-z_i v_i w_ij)
    (GR5) w_bar_ij = -Σ_n E_bar_n e^-z_i v_ni h_nj      c_bar_j = -Σ_n E_bar_n h_nj
    (GR6) b_bar_i = -Σ_n E_bar_n e^-z_i (v_ni - b_i)
    (GR7) z_bar_i = -Σ_n E_bar_n e^-z_i ((v_ni - b_i)² / 2 - v_ni Σ_j w_ij h_nj)
    (GR8) v_bar_ni = E_bar_n e^-z_i (v_ni - b_i - Σ_j w_ij h_nj)
    (GR13) h_bar_nj = -E_bar_n (c_j + Σ_i e^-z_i v_ni w_ij)

The cotangents of F are (GR5) to (GR8) with p(h_j = 1 | v_n) for h_nj.  With m = b + w h, the means of the visible
units:

    (GR9) Z = Σ_h e^(c·h) Π_i (2π e^z_i)^(1/2) e^((m_i² - b_i²) e^-z_i / 2)
    (GR10) ∂ln Z/∂w_ij = ⟨e^-z_i m_i h_j⟩      ∂ln Z/∂b_i = ⟨e^-z_i (m_i - b_i)⟩      ∂ln Z/∂c_j = ⟨h_j⟩
    (GR11) ∂ln Z/∂z_i = ⟨1/2 + e^-z_i (b_i² - m_i²) / 2⟩
    (GR12) L = -(1/N) Σ_n F(v_n) - ln Z

This is the form of Cho, Ilin and Raiko, in which the variances can be learned: the weights act on v_i e^-z_i.

Sources: Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks; Cho, Ilin and Raiko
2011, Improved learning of Gaussian-Bernoulli restricted Boltzmann machines, eq. (4) to (8).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnets.nets import rbm
from jaxnets.nets.binary import States, check_enumerable, log_sum_over_states, sum_over_states
from jaxnets.nets.contrastive_divergence import Machine
from jaxnets.ops.activations import sigmoid, softplus
from jaxnets.ops.affine import affine
from jaxnets.rule import rule

Visible = Float[Array, "batch visible"]
Hidden = Float[Array, "batch hidden"]
Each = Float[Array, " batch"]
Scalar = Float[Array, ""]


class Params(NamedTuple):
    """Weights, biases of both layers, and logarithms of the variances of the visible units given the hidden ones."""

    w: Float[Array, "visible hidden"]
    b: Float[Array, " visible"]
    c: Float[Array, " hidden"]
    z: Float[Array, " visible"]


class Residuals(NamedTuple):
    """The parameters, the visible states, and the hidden ones, or their probabilities."""

    params: Params
    v: Visible
    h: Hidden


class PartitionResiduals(NamedTuple):
    """The parameters, and the probability of each hidden state."""

    params: Params
    p: Float[Array, " states"]


def init(
    key: Key[Array, ""], visible: int, hidden: int, *, scale: float = 0.01, dtype: jax.typing.DTypeLike = jnp.float32
) -> Params:
    """Weights from N(0, scale²), biases 0, variances 1: for data whose features have mean 0 and variance 1.

    Raises:
      ValueError: if a layer has no unit.
    """
    if visible < 1 or hidden < 1:
        raise ValueError(f"gaussian_rbm.init: got {visible} visible and {hidden} hidden units, wanted at least 1 each")
    w = scale * jax.random.normal(key, (visible, hidden), dtype)
    return Params(w, jnp.zeros(visible, dtype), jnp.zeros(hidden, dtype), jnp.zeros(visible, dtype))


def energy_forward(params: Params, v: Visible, h: Hidden) -> tuple[Each, Residuals]:
    """Energy of each pair of a visible and a hidden state (GR1).

    Raises:
      ValueError: if the states are not of such a machine.
    """
    _check("energy", params, v, h)
    w, b, c, z = params
    precision = jnp.exp(-z)[None, :]
    quadratic = 0.5 * (jnp.square(v - b[None, :]) * precision).sum(1)
    return quadratic - h @ c - ((v * precision) @ w * h).sum(1), Residuals(params, v, h)  # (GR1)


def energy_backward(residuals: Residuals, e_bar: Each) -> tuple[Params, Visible, Hidden]:
    """Cotangents of the parameters and of both states."""
    params, v, _ = residuals
    x = (v * jnp.exp(-params.z)[None, :]) @ params.w + params.c[None, :]
    return *free_energy_backward(residuals, e_bar), -e_bar[:, None] * x  # (GR13)


energy = rule(energy_forward, energy_backward)


def hidden_probabilities(params: Params, v: Visible) -> Hidden:
    """p(h_j = 1 | v) (GR2)."""
    _check("hidden_probabilities", params, v)
    return sigmoid(affine(v * jnp.exp(-params.z)[None, :], params.w, params.c))  # (GR2)


def visible_means(params: Params, h: Hidden) -> Visible:
    """Means of the visible units given the hidden ones (GR3)."""
    _check("visible_means", params, h=h)
    return affine(h, params.w.T, params.b)  # (GR3)


def sample_visible(params: Params, means: Visible, key: Key[Array, ""]) -> Visible:
    """Visible units drawn with these means and the variances of the machine (GR3)."""
    noise = jax.random.normal(key, means.shape, means.dtype)
    return means + jnp.exp(params.z / 2)[None, :] * noise  # (GR3)


def free_energy_forward(params: Params, v: Visible) -> tuple[Each, Residuals]:
    """Free energy of each visible state, p(v) = e^-F(v) / Z, with the hidden units summed out (GR4).

    Raises:
      ValueError: if the states are not of such a machine.
    """
    _check("free_energy", params, v)
    w, b, c, z = params
    precision = jnp.exp(-z)[None, :]
    x = (v * precision) @ w + c[None, :]
    f = 0.5 * (jnp.square(v - b[None, :]) * precision).sum(1) - softplus(x).sum(1)  # (GR4)
    return f, Residuals(params, v, sigmoid(x))


def free_energy_backward(residuals: Residuals, f_bar: Each) -> tuple[Params, Visible]:
    """Cotangents of the parameters and of the states: those of the energy at the expected hidden units."""
    params, v, h = residuals
    weighted = f_bar[:, None] * h
    params_bar = jax.tree.map(jnp.negative, _minus_energy_slopes(params, v, weighted, f_bar))
    return params_bar, jnp.exp(-params.z)[None, :] * (
        f_bar[:, None] * (v - params.b[None, :]) - weighted @ params.w.T  # (GR8)
    )


free_energy = rule(free_energy_forward, free_energy_backward)


def statistics(params: Params, v: Visible, h: Hidden) -> Params:
    """-∂E/∂θ, the mean over the rows, for contrastive divergence.

    Raises:
      ValueError: if the states are not of such a machine.
    """
    _check("statistics", params, v, h)
    n = len(v)
    return _minus_energy_slopes(params, v, h / n, jnp.full(n, 1 / n, v.dtype))


GAUSSIAN = Machine(hidden_probabilities, visible_means, sample_visible, statistics)
"""To be given to contrastive divergence."""


def log_partition_forward(params: Params, *, block: int = 4096) -> tuple[Scalar, PartitionResiduals]:
    """Logarithm of the partition function, exactly: the sum over all hidden states (GR9).

    Args:
      params: of a machine with at most 20 hidden units.
      block: how many states are held at a time, a power of two.

    Raises:
      ValueError: if there are more hidden units, or `block` is no power of two.
    """
    _check("log_partition", params)
    w, b, c, z = params
    check_enumerable("gaussian_rbm.log_partition", "the hidden layer", len(c))
    precision = jnp.exp(-z)
    constant = 0.5 * (math.log(2 * math.pi) + z).sum()

    def log_weights(h: States) -> Float[Array, " states"]:
        mean = h @ w.T + b[None, :]
        return h @ c + constant + 0.5 * (jnp.square(mean) - jnp.square(b)[None, :]) @ precision  # (GR9)

    log_z, p = log_sum_over_states(log_weights, len(c), w.dtype, block=block)
    return log_z, PartitionResiduals(params, p)


def log_partition_backward(residuals: PartitionResiduals, z_bar: Scalar, *, block: int = 4096) -> tuple[Params]:
    """Cotangents of the parameters: what the machine expects of the slopes of its energy."""
    (w, b, c, z), p = residuals
    precision = jnp.exp(-z)

    def part(h: States, p: Float[Array, " states"]) -> Params:
        mean = h @ w.T + b[None, :]
        w_bar = precision[:, None] * (mean.T @ (p[:, None] * h))  # (GR10)
        b_bar, c_bar = precision * (p @ (mean - b[None, :])), p @ h  # (GR10)
        of_z = 0.5 + 0.5 * precision[None, :] * (jnp.square(b)[None, :] - jnp.square(mean))  # (GR11)
        return Params(w_bar, b_bar, c_bar, p @ of_z)

    return (jax.tree.map(lambda a: z_bar * a, sum_over_states(part, p, len(c), block=block)),)


log_partition = rule(log_partition_forward, log_partition_backward)


def log_likelihood(params: Params, v: Visible, *, block: int = 4096) -> Scalar:
    """Mean of ln p(v) over the rows, exactly (GR12); its gradient is that of the two rules that it is made of.

    Raises:
      ValueError: as `free_energy` and `log_partition`.
    """
    return -free_energy(params, v).mean() - log_partition(params, block=block)  # (GR12)


def _minus_energy_slopes(params: Params, v: Visible, h: Hidden, weight: Each) -> Params:
    """Σ_n -∂E/∂θ of rows with these weights, which h has been multiplied with."""
    w, b, _, z = params
    precision = jnp.exp(-z)
    from_mean = v - b[None, :]
    w_bar = precision[:, None] * (v.T @ h)  # (GR5)
    b_bar = precision * (weight @ from_mean)  # (GR6)
    z_bar = precision * (0.5 * weight @ jnp.square(from_mean) - (v * (h @ w.T)).sum(0))  # (GR7)
    return Params(w_bar, b_bar, h.sum(0), z_bar)


def _check(name: str, params: Params, v: Visible | None = None, h: Hidden | None = None) -> None:
    rbm.check(f"gaussian_rbm.{name}", rbm.Params(*params[:3]), v, h)
    if params.z.shape != params.b.shape:
        raise ValueError(f"gaussian_rbm.{name}: z has shape {params.z.shape}, wanted that of b, {params.b.shape}")
