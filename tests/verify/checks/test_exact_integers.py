"""Equality at integers: what is a polynomial, and the errors that hide behind every tolerance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.rule import rule
from jaxnets.verify.checks.exact_integers import exact_integers

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=(1, 2))
T = RNG.integers(1, 5, size=(5, 2))


def loss(x, w, b, t):
    return 0.5 * jnp.sum((x @ w + b - t.astype(float)) ** 2)


def by_hand(x, w, b, t):
    """NumPy on purpose: a derivation need not be traceable."""
    x, w, b, t = map(np.asarray, (x, w, b, t))
    d = x @ w + b - t
    return d @ w.T, x.T @ d, d.sum(0, keepdims=True), None


def rows(report):
    return [row for row in report.rows if row.check == "exact_integers"]


def judged(f, hand, *args):
    return rows(verify.gradient(f, hand, *args, checks=(exact_integers,)))


def test_a_right_derivation_is_equal():
    (row,) = judged(loss, by_hand, X, W, B, T)
    assert (row.name, row.verdict, row.error) == ("integers", verify.Verdict.OK, 0.0)


@pytest.mark.parametrize(
    ("position", "mutant"),
    [
        (0, lambda bar: bar * (1 + 1e-11)),
        (1, lambda bar: bar * (1 + 1e-11)),
        (2, lambda bar: bar * (1 + 1e-11)),
        (2, lambda bar: bar + 1e-12),  # for safety
    ],
)
def test_an_error_behind_every_tolerance_is_caught_by_this_check_alone(position, mutant):
    def hand(*args):
        bars = list(by_hand(*args))
        bars[position] = mutant(bars[position])
        return tuple(bars)

    others = tuple(check for check in verify.BATTERY if check is not exact_integers)
    verify.gradient(loss, hand, X, W, B, T, checks=others).check()
    (row,) = judged(loss, hand, X, W, B, T)
    assert (row.name, row.verdict) == ("xwb"[position], verify.Verdict.WRONG)
    assert row.error < 1e-10


def conv(x, w):
    return jax.lax.conv_general_dilated(x, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def embedding(w, i):
    return w.at[i].add(w[i] ** 2)


def scanned(w, x):
    return jax.lax.scan(lambda h, x_t: (x_t - h @ w, h), jnp.zeros(3), x)[1]


def named(x, w):
    return jax.checkpoint(lambda x: checkpoint_name(x, "z") / 4)(x) @ w


LINEAR_IN = {
    "conv": (conv, (RNG.normal(size=(2, 6, 5, 3)), RNG.normal(size=(3, 3, 3, 4))), "x, w"),
    "embedding": (embedding, (X, np.array([0, 2, 2])), ""),
    "scan": (scanned, (RNG.normal(size=(3, 3)), X), "x"),
    "products": (lambda x, y: jnp.sum(x**3, 1) * jnp.cumsum(y[::-1]), (X, X[:, 0]), "y"),
    "held": (lambda x, y: jax.lax.stop_gradient(x) * y, (X, X), "y"),
    "masked": (lambda x, keep: jnp.where(keep, x, 0.0), (X, X > 0), "x"),
    "vmap and jit": (jax.vmap(jax.jit(lambda x, w: x @ w), in_axes=(0, None)), (X, W), "x, w"),
    "named and divided": (named, (X, W), "x, w"),
    "branches": (lambda i, x: jax.lax.cond(i > 0, lambda x: 2 * x, lambda x: x - 1, x), (np.array(1), X), "x"),
}


@pytest.mark.parametrize("case", LINEAR_IN)
def test_polynomials_are_equal_and_adjoint_where_they_are_linear(case):
    f, args, linear = LINEAR_IN[case]

    def hand(args, y_bar):
        bars = jax.vjp(f, *args)[1](y_bar)
        return tuple(None if bar.dtype == jax.dtypes.float0 else bar for bar in bars)

    (row,) = rows(verify.vjp(f, hand, *args, checks=(exact_integers,)))
    assert row.verdict is verify.Verdict.OK
    assert row.note == (f"<A v, u> = <v, Aᵀ u> too in {linear}" if linear else "")

    def inexact(args, y_bar):
        first, *others = (bar if bar is None else bar * (1 + 1e-15) for bar in hand(args, y_bar))
        return first, *others

    wrong = verify.vjp(f, inexact, *args, checks=(exact_integers,))
    assert wrong.rows[-1].verdict is verify.Verdict.WRONG


@jax.custom_jvp
def shift(x):
    return jnp.roll(x, 1)


shift.defjvp(lambda primals, tangents: (shift(*primals), jnp.roll(tangents[0], 2)))  # by 1, not by 2


def test_the_adjoint_identity_does_not_hear_what_autodiff_says():
    def hand(x, y):
        return jnp.roll(y, -2), shift(x)

    (row,) = judged(lambda x, y: jnp.sum(y * shift(x)), hand, X[:, 0], X[:, 1])
    assert (row.name, row.verdict) == ("x", verify.Verdict.WRONG)
    assert "hidden in the forward pass" in row.note


NOT_POLYNOMIAL = {
    "tanh": (lambda x: jnp.sum(jnp.tanh(x)), "tanh"),
    "a mean over five": (lambda x: jnp.mean(x), "the constant 0.0666667"),
    "a weight of 0.1": (lambda x: 0.1 * jnp.sum(x), "the constant 0.1"),
    "relu": (lambda x: jnp.sum(jnp.maximum(x, 0)), "max"),
    "a choice by a number": (lambda x: jnp.sum(jnp.where(x > 0, x, 0)), "gt"),
    "a reciprocal": (lambda x: jnp.sum(x**-2), "integer_pow"),
    "a quotient": (lambda x: jnp.sum(1 / x), "div"),
    "rounding": (lambda x: jnp.sum(x * x.astype(int).astype(float)), "convert_element_type"),
    "single precision": (lambda x: jnp.sum(x.astype(jnp.float32)).astype(float), "float32"),
    "a mask of -inf": (lambda x: jnp.sum(jnp.where(np.eye(5, 3, dtype=bool), x, -jnp.inf)), "the constant -inf"),
    "halved at every step": (lambda x: jax.lax.scan(lambda c, _: (c / 2, None), x, length=3)[0].sum(), "a scan"),
}


@pytest.mark.parametrize("case", NOT_POLYNOMIAL)
def test_what_is_no_polynomial_is_named(case):
    f, reason = NOT_POLYNOMIAL[case]
    report = verify.gradient(f, lambda x: (jax.grad(f)(x),), X, checks=(exact_integers,))
    ((name, why),) = report.not_applicable
    assert name == "exact_integers"
    assert why.startswith(f"it is no polynomial with integer coefficients: {reason}")


def test_values_that_are_too_large_are_drawn_smaller_or_not_at_all():
    def power(n):
        f = lambda x: jnp.sum(x @ x.T) ** n
        return verify.gradient(f, lambda x: (jax.grad(f)(x),), X, checks=(exact_integers,))

    assert rows(power(2))[0].verdict is verify.Verdict.OK
    assert power(30).not_applicable == (
        ("exact_integers", "its values are too large to be exact, even at integers in [-1, 1]"),
    )
    f = lambda x: jnp.sum(x**12)
    (row,) = judged(f, lambda x: (12 * x**11 * (1 + 1e-11),), X)
    assert "[-8, 8]" in row.note
    f = lambda x: jnp.sum(x**16)
    (row,) = judged(f, lambda x: (16 * x**15 * (1 + 1e-11),), X)
    assert "[-2, 2]" in row.note


def affine_forward(x, w):
    return x @ w, (x, w)


def affine_backward(residuals, z_bar, safety=0.0):
    x, w = residuals
    return z_bar @ w.T, x.T @ z_bar + safety


def pick_forward(x, i):
    return x[i], (x, i)


def pick_backward(residuals, y_bar):
    x, i = residuals
    return jnp.zeros_like(x).at[i].add(y_bar), None


def drop_forward(x, key, keep):
    kept = keep & (jax.random.randint(key, x.shape, 0, 2) > 0)
    return jnp.where(kept, 2 * x, 0.0), kept


def drop_backward(kept, y_bar):
    return jnp.where(kept, 2 * y_bar, 0.0), None, None


def gate_forward(x, keep):
    return jnp.where(keep, 2 * x, 0.0), keep


def gate_backward(keep, y_bar):
    return jnp.where(keep, 2 * y_bar, 0.0), None


def test_keys_are_not_drawn_and_predicates_are():
    gate, drop = rule(gate_forward, gate_backward), rule(drop_forward, drop_backward)
    args = X, jax.random.key(0), X > 0
    (row,) = rows(verify.rules(lambda x, _, keep: jnp.tanh(gate(x, keep)), *args, checks=(exact_integers,)))
    assert row.note == "<A v, u> = <v, Aᵀ u> too in rule gate, input 0"
    report = verify.rules(lambda *args: jnp.tanh(drop(*args)), *args, checks=(exact_integers,))
    assert report.not_applicable == (("exact_integers", "it is no polynomial with integer coefficients: tanh"),)


def test_rules_that_are_polynomials_are_judged_where_the_whole_is_none():
    pick = rule(pick_forward, pick_backward)
    for safety, verdict in ((0.0, verify.Verdict.OK), (1e-12, verify.Verdict.WRONG)):
        affine = rule(affine_forward, lambda residuals, z_bar, safety=safety: affine_backward(residuals, z_bar, safety))

        def net(x, w, i, affine=affine):
            def step(h, x_t):
                return jnp.tanh(affine(h[None], w)[0]) + x_t, h

            return jax.lax.scan(step, jnp.zeros(3), pick(x, i))[1]

        report = verify.rules(net, X, RNG.normal(size=(3, 3)), np.array([4, 0, 0]), checks=(exact_integers,))
        (row,) = rows(report)
        assert row.verdict is verdict
        if verdict is verify.Verdict.WRONG:
            assert row.name == "rule affine, input 1"
        else:
            assert "rule affine, input 0, rule affine, input 1" in row.note
            assert "rule pick, input 0" in row.note


def test_a_hidden_rule_and_a_wrong_shape_in_a_derivation_are_no_crash():
    (row,) = judged(loss, lambda *args: (by_hand(*args)[0].T, *by_hand(*args)[1:]), X, W, B, T)
    assert (row.name, row.verdict) == ("x", verify.Verdict.WRONG)
