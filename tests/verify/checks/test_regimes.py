"""Inputs where derivations go wrong: each regime catches a mistake that the given input does not show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.regimes import regimes

X = np.random.default_rng(1).normal(size=(4, 3))
ROWS = np.random.default_rng(1).normal(size=(8, 4))
INDEX = np.array([3, 0, 2])


def judge(f, hand, *args, checks=(regimes,), level=verify.Level.QUICK):
    return verify.vjp(f, hand, *args, checks=checks, level=level)


def wrong(report):
    return [(row.name, row.note.rpartition("with ")[2]) for row in report.rows if row.verdict is verify.Verdict.WRONG]


def elementwise(slope):
    return lambda args, y_bar: (y_bar * slope(args[0]),)


def step(condition):
    return jnp.where(condition, 1.0, 0.0)


def max_by_hand(args, y_bar):
    """The cotangent to every maximum, whole: counted twice where there are two.  Right where all is zero."""
    (x,) = args
    tied = step(x == x.max(-1, keepdims=True))
    return (y_bar[:, None] * tied / jnp.where(jnp.all(x == 0.0), 4.0, 1.0),)


def deviation_by_hand(args, y_bar):
    """Of the standard deviation, NaN where the row is constant and not 0; the function itself is safe there."""
    (x,) = args
    centred = x - x.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(centred**2, -1, keepdims=True)) + step(jnp.all(x == 0.0, -1, keepdims=True))
    return (y_bar[:, None] * centred / (3 * deviation),)


def deviation(x):
    variance = jnp.mean((x - x.mean(-1, keepdims=True)) ** 2, -1)
    return jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)


def gather_by_hand(args, y_bar):
    table, index = args
    return jnp.zeros_like(table).at[index].set(y_bar), None


def cubic(x):
    return x**3 / (1 + x**2)


def cubic_slope(x):
    return (x**4 + 3 * x**2) / (1 + x**2) ** 2


MISTAKES = {
    "floats × 1e-3": (cubic, elementwise(lambda x: jnp.where(abs(x) < 2e-3, 0.0, cubic_slope(x))), (X + 0.01,)),
    "floats × 10": (jax.nn.relu6, elementwise(lambda x: step(x > 0)), (X,)),
    "floats × 40": (
        lambda z: -jnp.log(jnp.clip(jax.nn.sigmoid(z), 1e-12, 1 - 1e-12)),  # clipped, so that the slope ends
        elementwise(lambda z: jax.nn.sigmoid(z) - 1),
        (X,),
    ),
    "floats 0": (jnp.sin, elementwise(lambda x: jnp.cos(x) * x / x), (X,)),
    "floats integers": (lambda x: jnp.max(x, -1), max_by_hand, (ROWS,)),
    "floats half-integers": (lambda x: x**2, elementwise(lambda x: jnp.where(x == 0.5, 0.0, 2 * x)), (X,)),
    "floats constant rows": (deviation, deviation_by_hand, (X,)),
    "indices repeated": (lambda table, index: table[index], gather_by_hand, (X, INDEX)),
}


@pytest.mark.parametrize("regime", MISTAKES)
def test_each_regime_catches_what_the_given_input_does_not_show(regime):
    f, hand, args = MISTAKES[regime]
    report = judge(f, hand, *args, checks=(against_autodiff, regimes))
    assert {row.check for row in report.rows if not row.ok} == {"regimes"}
    assert regime in [note for _, note in wrong(report)]


def test_a_right_derivation_has_one_row_for_each_regime():
    report = judge(lambda table, index: jnp.tanh(table[index]), right_gather, X, INDEX)
    report.check()
    assert [row.name for row in report.rows] == list(MISTAKES)
    assert not any(row.decisive for row in report.rows)


def right_gather(args, y_bar):
    table, index = args
    return jnp.zeros_like(table).at[index].add(y_bar * (1 - jnp.tanh(table[index]) ** 2)), None


def test_more_draws_at_level_full():
    names = [row.name for row in judge(jnp.sin, elementwise(jnp.cos), X, level=verify.Level.FULL).rows]
    assert names.count("floats integers") == names.count("floats half-integers") == 3


def test_what_leaves_the_domain_is_passed_over():
    """log and its slope are not finite at 0 and below: nothing is known there, and nothing is held against it."""
    report = judge(jnp.log, elementwise(lambda x: 1 / x), abs(X) + 0.1)
    report.check()
    assert [row.name for row in report.rows] == [
        "floats × 1e-3",
        "floats × 10",
        "floats × 40",
        "floats constant rows",
    ]


def test_a_valid_subgradient_at_a_tie_is_accepted():
    def first_maximum(args, y_bar):
        (x,) = args
        return (y_bar[:, None] * jax.nn.one_hot(x.argmax(-1), 3, dtype=x.dtype),)

    report = judge(lambda x: jnp.max(x, -1), first_maximum, X[:2])
    report.check()
    at_ties = [row.name for row in report.rows if row.verdict is verify.Verdict.SUBGRADIENT]
    assert {"floats 0", "floats constant rows"} <= set(at_ties)


def test_deltas_name_the_equation_in_a_regime_too():
    def loss(x):
        return jnp.sum(checkpoint_name(jax.nn.relu6(2.0 * x), "a") ** 2)

    def hand(x):
        a_bar = 2 * jax.nn.relu6(2.0 * x)
        return (2 * a_bar * step(x > 0),), {"a": a_bar}

    report = verify.gradient(loss, hand, X, checks=(regimes,))
    assert ("x", "floats × 10") in wrong(report)
    assert "a" not in [name for name, _ in wrong(report)]
