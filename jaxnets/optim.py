"""Update rules by their equations, as Optax `GradientTransformation`s.  Derivation: derivations/optimizers.md.

g is the gradient at θ, t = 1, 2, ... counts the steps; products, quotients and roots are entry by entry, and what a
rule carries from step to step begins at 0:

    (OP1) gradient descent   θ ← θ - η g
    (OP2) momentum           v ← μ v + g                 θ ← θ - η v
    (OP3) Nesterov           v ← μ v + g                 θ ← θ - η (g + μ v)
    (OP4) Adagrad            s ← s + g²                  θ ← θ - η g / (√s + ε)
    (OP5) RMSProp            s ← ρ s + (1 - ρ) g²        θ ← θ - η g / √(s + ε)
    (OP6) Adadelta           s ← ρ s + (1 - ρ) g²        Δ = √(u + ε) / √(s + ε) g
    (OP7)                    u ← ρ u + (1 - ρ) Δ²        θ ← θ - η Δ
    (OP8) Adam               m ← β₁ m + (1 - β₁) g       s ← β₂ s + (1 - β₂) g²
    (OP9)                    θ ← θ - η m̂ / (√ŝ + ε)      m̂ = m / (1 - β₁ᵗ),  ŝ = s / (1 - β₂ᵗ)

They are the rules of the papers, to read and to compare with; where Optax's own of the same name differ, it is said.
η is a number, an Optax schedule, or a traced scalar, such as one of many under `jax.vmap`; so may the others be.

Sources: Polyak 1964, Some methods of speeding up the convergence of iteration methods, for (OP2); Nesterov 1983 in the
form of Sutskever, Martens, Dahl and Hinton 2013, On the importance of initialization and momentum in deep learning, for
(OP3); Duchi, Hazan and Singer 2011, Adaptive subgradient methods, for (OP4); Tieleman and Hinton 2012, lecture 6.5, for
(OP5); Zeiler 2012, ADADELTA, algorithm 1; Kingma and Ba 2015, Adam, algorithm 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, Int32

Rate = Any
"""A number, a schedule (from the number of earlier steps to a number), or a traced scalar."""


class Carried(NamedTuple):
    """What a rule carries from step to step."""

    count: Int32[Array, ""]
    """t, the steps that were made."""
    slots: tuple[Any, ...]
    """Trees like the parameters: v; s; s and u; m and s."""


def gradient_descent(rate: Rate) -> optax.GradientTransformation:
    """Against the gradient (OP1): `optax.sgd(rate)`."""
    return _with(rate, 0, lambda g, t: (g,))  # (OP1)


def momentum(rate: Rate, *, mu: Any = 0.9) -> optax.GradientTransformation:
    """Along a sum of gradients that fades by μ a step (OP2): `optax.sgd(rate, momentum=mu)`.

    It is a sum and no mean: with a gradient that stays the same it grows to g / (1 - μ).

    Raises:
      ValueError: if μ is not in [0, 1).
    """
    _check("momentum", mu=mu)

    def rule(g: Array, t: Array, v: Array) -> tuple[Array, ...]:
        v = _as(mu, g) * v + g  # (OP2)
        return v, v

    return _with(rate, 1, rule)


def nesterov(rate: Rate, *, mu: Any = 0.9) -> optax.GradientTransformation:
    """Momentum that looks one step ahead (OP3): `optax.sgd(rate, momentum=mu, nesterov=True)`.

    Raises:
      ValueError: if μ is not in [0, 1).
    """
    _check("nesterov", mu=mu)

    def rule(g: Array, t: Array, v: Array) -> tuple[Array, ...]:
        v = _as(mu, g) * v + g  # (OP3)
        return g + _as(mu, g) * v, v  # (OP3)

    return _with(rate, 1, rule)


def adagrad(rate: Rate, *, eps: Any = 1e-8) -> optax.GradientTransformation:
    """A step size for every entry, which its gradients so far make smaller (OP4).

    `optax.adagrad` has ε inside the root, and begins with s = 0.1 unless told.

    Raises:
      ValueError: if ε is not positive.
    """
    _check("adagrad", eps=eps)

    def rule(g: Array, t: Array, s: Array) -> tuple[Array, ...]:
        s = s + g * g  # (OP4)
        return g / (jnp.sqrt(s) + _as(eps, g)), s  # (OP4)

    return _with(rate, 1, rule)


def rmsprop(rate: Rate, *, rho: Any = 0.9, eps: Any = 1e-8) -> optax.GradientTransformation:
    """Gradients over their root mean square of late (OP5): `optax.rmsprop(rate, decay=rho, eps=eps)`.

    Raises:
      ValueError: if ρ is not in [0, 1), or ε is not positive.
    """
    _check("rmsprop", rho=rho, eps=eps)

    def rule(g: Array, t: Array, s: Array) -> tuple[Array, ...]:
        s = _mean(rho, s, g * g)  # (OP5)
        return g / jnp.sqrt(s + _as(eps, g)), s  # (OP5)

    return _with(rate, 1, rule)


def adadelta(rate: Rate = 1.0, *, rho: Any = 0.95, eps: Any = 1e-6) -> optax.GradientTransformation:
    """Gradients in the unit of the parameters: times the root mean square of earlier steps (OP6), (OP7).

    `optax.adadelta(rate, rho=rho, eps=eps)`, whose ρ is 0.9 unless told.  The paper has no η, which is 1.

    Raises:
      ValueError: if ρ is not in [0, 1), or ε is not positive.
    """
    _check("adadelta", rho=rho, eps=eps)

    def rule(g: Array, t: Array, s: Array, u: Array) -> tuple[Array, ...]:
        s = _mean(rho, s, g * g)  # (OP6)
        delta = jnp.sqrt(u + _as(eps, g)) / jnp.sqrt(s + _as(eps, g)) * g  # (OP6)
        return delta, s, _mean(rho, u, delta * delta)  # (OP7)

    return _with(rate, 2, rule)


def adam(rate: Rate, *, beta_1: Any = 0.9, beta_2: Any = 0.999, eps: Any = 1e-8) -> optax.GradientTransformation:
    """A mean of late gradients over their root mean square, both without the bias of their zeros (OP8), (OP9).

    `optax.adam(rate, b1=beta_1, b2=beta_2, eps=eps)`.

    Raises:
      ValueError: if β₁ or β₂ is not in [0, 1), or ε is not positive.
    """
    _check("adam", beta_1=beta_1, beta_2=beta_2, eps=eps)

    def rule(g: Array, t: Array, m: Array, s: Array) -> tuple[Array, ...]:
        m, s = _mean(beta_1, m, g), _mean(beta_2, s, g * g)  # (OP8)
        m_hat, s_hat = m / (1 - _as(beta_1, g) ** t), s / (1 - _as(beta_2, g) ** t)  # (OP9)
        return m_hat / (jnp.sqrt(s_hat) + _as(eps, g)), m, s  # (OP9)

    return _with(rate, 2, rule)


def _with(rate: Rate, slots: int, rule: Callable[..., tuple[Array, ...]]) -> optax.GradientTransformation:
    """The transformation by `rule(g, t, *slots) -> (direction, *slots)` of every array: θ moves by -η direction."""

    def init(params: Any) -> Carried:
        return Carried(jnp.zeros((), jnp.int32), tuple(jax.tree.map(jnp.zeros_like, params) for _ in range(slots)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Carried]:
        count = state.count + 1
        leaves, tree = jax.tree.flatten(updates)
        each = [tree.flatten_up_to(slot) for slot in state.slots]
        results = [rule(g, count.astype(g.dtype), *held) for g, *held in zip(leaves, *each, strict=True)]
        direction, *moved = (tree.unflatten(column) for column in zip(*results, strict=True))
        return direction, Carried(count, tuple(moved))

    return optax.chain(optax.GradientTransformation(init, update), optax.scale_by_learning_rate(rate))


def _mean(rho: Any, mean: Float[Array, "*shape"], new: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A mean in which every value counts ρ times as much as the one after it."""
    return _as(rho, new) * mean + (1 - _as(rho, new)) * new


def _as(value: Any, g: Array) -> Array:
    """A hyperparameter in the dtype of the gradient."""
    return jnp.asarray(value, g.dtype)


def _check(what: str, **values: Any) -> None:
    """ValueError if a number is out of its range; what is traced is not looked at."""
    for name, value in values.items():
        if isinstance(value, Tracer):
            continue
        if name == "eps" and not value > 0:
            raise ValueError(f"{what}: eps is {value}, wanted a positive number")
        if name != "eps" and not 0 <= value < 1:
            raise ValueError(f"{what}: {name} is {value}, wanted at least 0 and less than 1")
