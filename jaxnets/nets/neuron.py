"""Single neurons, what small circuits of them compute, and how one learns.  Derivation: derivations/mlp.md.

    (NE1) McCulloch-Pitts unit:  y = u(w·x - θ), u(0) = 1       (NE2) perceptron:  y = u(w·x + b), u(0) = 0
    (NE3) sigmoid neuron:        y = σ(w·x + b)                 (NE4) linear unit: y = w·x
    (NE5) linear response:       Δy ≈ σ'(z) (Σ_j x_j Δw_j + Δb)

They learn by (HB6) and (HB7) of `jaxnets.ops.learning_rules`, a bias as the weight of an input that is always 1.

Sources: McCulloch and Pitts 1943, A logical calculus of the ideas immanent in nervous activity; Rosenblatt 1958, The
perceptron; Novikoff 1962, On convergence proofs on perceptrons; Minsky and Papert 1969, Perceptrons; Nielsen, Neural
Networks and Deep Learning, ch. 1, eq. (1) to (5).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxnets.nets.mlp import Layer, Params, apply
from jaxnets.ops.activations import sigmoid, sigmoid_prime
from jaxnets.ops.learning_rules import delta_rule, half_squared_error, learn, perceptron_rule
from jaxnets.ops.steps import unit_step
from jaxnets.rule import fix

threshold_unit = fix(unit_step, at_zero=1.0)
"""The McCulloch-Pitts convention: a unit fires when its input reaches the threshold."""

perceptron_unit = fix(unit_step, at_zero=0.0)
"""The perceptron's convention: a unit fires when its input exceeds the threshold."""


class Unit(NamedTuple):
    """Weights and bias of one neuron."""

    w: Float[Array, " n_in"]
    b: Float[Array, ""]


def mcculloch_pitts(
    x: Float[Array, "batch n_in"], w: Float[Array, " n_in"], theta: Float[Array, ""]
) -> Float[Array, " batch"]:
    """1 where w·x ≥ θ, else 0 (NE1)."""
    return threshold_unit(_weighted(x, w) - theta)  # (NE1)


def perceptron(unit: Unit, x: Float[Array, "batch n_in"]) -> Float[Array, " batch"]:
    """1 where w·x + b > 0, else 0 (NE2)."""
    return perceptron_unit(_weighted(x, unit.w) + unit.b)  # (NE2)


def sigmoid_neuron(unit: Unit, x: Float[Array, "batch n_in"]) -> Float[Array, " batch"]:
    """σ(w·x + b): a perceptron whose output moves a little when its weights do (NE3).

    As w and b grow by a common factor it becomes the perceptron, except where w·x + b = 0, where it stays at 1/2.
    """
    return sigmoid(_weighted(x, unit.w) + unit.b)  # (NE3)


def linear_unit(w: Float[Array, " n_in"], x: Float[Array, "batch n_in"]) -> Float[Array, " batch"]:
    """Weighted sum w·x; a bias is the weight of an input that is always 1, see `augment` (NE4)."""
    return _weighted(x, w)  # (NE4)


def augment(x: Float[Array, "batch n_in"]) -> Float[Array, "batch n_in_plus_1"]:
    """Append to x a last column of ones, whose weight is the bias."""
    return jnp.concatenate([x, jnp.ones_like(x[:, :1])], 1)


def linear_response(unit: Unit, x: Float[Array, "batch n_in"], change: Unit) -> Float[Array, " batch"]:
    """First-order change of a sigmoid neuron's output when its parameters change (NE5)."""
    z = _weighted(x, unit.w) + unit.b
    return sigmoid_prime(z) * (_weighted(x, change.w) + change.b)  # (NE5)


def linear_unit_loss(
    w: Float[Array, " n_in"], x: Float[Array, "batch n_in"], t: Float[Array, " batch"]
) -> Float[Array, ""]:
    """Half the sum of squared errors over the whole batch (HB13): a sum, as least squares has it, not a mean."""
    return half_squared_error(*_columns(w, x, t))


def train_linear_unit(
    w: Float[Array, " n_in"],
    x: Float[Array, "batch n_in"],
    t: Float[Array, " batch"],
    learning_rate: float | Float[Array, ""],
    steps: int,
) -> Float[Array, " n_in"]:
    """Batch gradient descent on (HB13), by (HB7); converges to least squares for 0 < η < 2/λ_max(XᵀX)."""
    column, *data = _columns(w, x, t)
    run = learn(delta_rule, column, tuple(data), learning_rate=learning_rate, epochs=steps, batch_size=len(x))
    return run.params[:, 0]


class PerceptronRun(NamedTuple):
    """How a perceptron learned: its final parameters, and the mistakes it made in each epoch."""

    unit: Unit
    mistakes: Int[Array, " epochs"]

    def converged(self) -> Bool[Array, ""]:
        """Whether the last epoch had no mistake, so that no further epoch changes anything."""
        return self.mistakes[-1] == 0


def train_perceptron(
    unit: Unit,
    x: Float[Array, "batch n_in"],
    t: Float[Array, " batch"],
    learning_rate: float | Float[Array, ""],
    epochs: int,
) -> PerceptronRun:
    """Rosenblatt's rule (HB6), one example after the other, `epochs` times over the batch in its given order.

    It is the subgradient descent of the perceptron loss.  On separable data it makes at most (R/γ)² mistakes
    (Novikoff); on others, such as XOR, it never stops making them.

    Args:
      t: targets in {0, 1}.

    Raises:
      ValueError: if there is not one target for each row of x.
    """
    column, *data = _columns(jnp.append(unit.w, unit.b), augment(x), t)
    run = learn(perceptron_rule, column, tuple(data), learning_rate=learning_rate, epochs=epochs)
    return PerceptronRun(Unit(run.params[:-1, 0], run.params[-1, 0]), run.changes)


def nand_unit() -> Unit:
    """NAND as a perceptron: w = (-2, -2), b = 3."""
    return Unit(jnp.array([-2.0, -2.0]), jnp.array(3.0))


def nand(x: Float[Array, " batch"], y: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """NAND of two bits; every Boolean circuit can be built of it."""
    unit = nand_unit()
    return perceptron(unit, jnp.stack([x, y], 1).astype(unit.w.dtype))


def half_adder(
    x: Float[Array, " batch"], y: Float[Array, " batch"]
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """(sum, carry) of two bits by five NAND perceptrons; the last one takes one input twice, a weight of -4."""
    common = nand(x, y)
    return nand(nand(x, common), nand(y, common)), nand(common, common)


def or_unit() -> Unit:
    """OR as a sigmoid neuron: σ(20 x + 20 y - 10)."""
    return Unit(jnp.array([20.0, 20.0]), jnp.array(-10.0))


def and_unit() -> Unit:
    """AND as a sigmoid neuron: σ(20 x + 20 y - 30)."""
    return Unit(jnp.array([20.0, 20.0]), jnp.array(-30.0))


def xor_network() -> Params:
    """XOR, which no single unit computes, as a 2-2-1 network of sigmoid neurons: AND(OR, NAND)."""
    hidden = Layer(jnp.array([[20.0, -20.0], [20.0, -20.0]]), jnp.array([-10.0, 30.0]))
    return hidden, Layer(and_unit().w[:, None], and_unit().b[None])


def perceptron_layers(params: Params, x: Float[Array, "batch n_in"]) -> Float[Array, "batch n_out"]:
    """A network of perceptrons, layer by layer."""
    return apply(params, x, activations=(perceptron_unit,) * len(params))


def _columns(
    w: Float[Array, " n_in"], x: Float[Array, "batch n_in"], t: Float[Array, " batch"]
) -> tuple[Float[Array, "n_in 1"], Float[Array, "batch n_in"], Float[Array, "batch 1"]]:
    """The arguments of a learning rule for a layer of one unit."""
    if t.shape != x.shape[:1]:
        raise ValueError(f"neuron: t has shape {t.shape}, wanted one target for each row of x {x.shape}")
    return w[:, None], x, t[:, None]


def _weighted(x: Float[Array, "batch n_in"], w: Float[Array, " n_in"]) -> Float[Array, " batch"]:
    if x.ndim != 2 or w.shape != x.shape[1:]:
        raise ValueError(f"neuron: wanted x (batch, features) and w (features,), got {x.shape} and {w.shape}")
    return x @ w
