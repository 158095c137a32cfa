"""The three ways to ask whether a derivation is right: its rules, its gradient, its vector-Jacobian product."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxnets.verify.battery import BATTERY, Check, run
from jaxnets.verify.checks.call_sites import rule_calls
from jaxnets.verify.leaves import to_float64
from jaxnets.verify.problem import Level, pose, title
from jaxnets.verify.report import Report

Sampler = Callable[..., tuple[Any, ...]]
"""`sampler(key, *, batch, time, ...) -> args`: arguments of the sizes asked for, by keyword-only parameters."""


def rules(
    f: Callable[..., Any],
    *args: Any,
    checks: Sequence[Check] = BATTERY,
    level: Level = Level.QUICK,
    seed: int = 0,
    sampler: Sampler | None = None,
) -> Report:
    """Verify every custom-VJP rule inside `f` against autodiff, at `f(*args)`.

    Args:
      f: any function that `jax.jit` can trace; non-array arguments are constants.
      args: its arguments; floating-point leaves are converted to float64, and differentiated.
      checks: those to make, out of `verify.BATTERY`.
      level: how much each check does.
      seed: for the random cotangents, directions and inputs.
      sampler: arguments of other sizes, for the check of shapes.

    Raises:
      ValueError: if `f` holds no rule, has nothing to differentiate, or an argument is not finite.
    """
    with jax.enable_x64():
        problem = pose("verify.rules", f, to_float64(args), seed=seed, sampler=sampler)
        if not rule_calls(problem.closed.jaxpr):
            raise ValueError(f"verify.rules: {problem.title} holds no custom-VJP rule, there is nothing to verify")
        return run(problem, checks, level, _call("rules", title(f), "*args", seed, level))


def gradient(
    loss: Callable[..., Any],
    hand: Callable[..., Any],
    *args: Any,
    checks: Sequence[Check] = BATTERY,
    level: Level = Level.QUICK,
    seed: int = 0,
    sampler: Sampler | None = None,
) -> Report:
    """Verify a hand-written gradient of a scalar loss.

    Args:
      loss: `loss(*args) -> scalar`, any function that `jax.jit` can trace.  It may name intermediate values with
        `jax.ad_checkpoint.checkpoint_name(value, "z1")`.
      hand: `hand(*args)` returns the tuple of gradients, one per argument and of its structure (None for an argument
        without derivative), or that tuple and a dict: name -> delta, ∂loss/∂(the value of that name).  Inside a scan a
        name has a delta for each step, stacked along the first axis; under `vmap` one for each example.  It is called
        with float64 arrays and need not be traceable: NumPy and Python loops are fine.
      args: the arguments; floating-point leaves are converted to float64.
      checks: those to make, out of `verify.BATTERY`.
      level: how much each check does.
      seed: for the random directions and inputs.
      sampler: arguments of other sizes, for the check of shapes.

    Returns:
      A report with a row for each promise of the contract, each equation, each leaf and each further check.

    Raises:
      ValueError: if the loss is no scalar, an argument is not finite, or a delta's name is unknown or ambiguous.
    """
    with jax.enable_x64():
        problem = pose(
            "verify.gradient",
            loss,
            to_float64(args),
            lambda args, y_bar: hand(*args),
            scalar_loss=True,
            seed=seed,
            sampler=sampler,
        )._replace(title=f"{title(loss)}, gradient by {title(hand)}")
        return run(problem, checks, level, _call("gradient", title(loss), f"{title(hand)}, *args", seed, level))


def vjp(
    f: Callable[..., Any],
    hand: Callable[..., Any],
    *args: Any,
    checks: Sequence[Check] = BATTERY,
    level: Level = Level.QUICK,
    seed: int = 0,
    sampler: Sampler | None = None,
) -> Report:
    """Verify a hand-written vector-Jacobian product of any function, at a random cotangent.

    As `gradient`, with `hand(args, y_bar)` for the cotangent `y_bar` of `f(*args)`, of its structure.
    """
    with jax.enable_x64():
        problem = pose("verify.vjp", f, to_float64(args), hand, seed=seed, sampler=sampler)
        problem = problem._replace(title=f"{title(f)}, pull-back by {title(hand)}")
        return run(problem, checks, level, _call("vjp", title(f), f"{title(hand)}, *args", seed, level))


def _call(entry: str, f: str, rest: str, seed: int, level: Level) -> str:
    return f"verify.{entry}({f}, {rest}, seed={seed}, level=verify.{level})"
