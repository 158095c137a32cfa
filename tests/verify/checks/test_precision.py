"""Derivations that are right in float64, and lose their digits, or the dtype, in float32 and bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.rule import rule
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.contract import contract
from jaxnets.verify.checks.precision import precision
from jaxnets.verify.checks.regimes import regimes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
OTHERS = (contract, against_autodiff, regimes)


def judge(f, hand, *args, checks=(precision,), level=verify.Level.FULL):
    return verify.vjp(f, hand, *args, checks=checks, level=level)


def rows(report):
    return [(row.name, row.verdict.value) for row in report.rows]


def softplus_by_hand(args, y_bar):
    (z,) = args
    return (y_bar * jax.nn.sigmoid(z),)


def softplus_that_cancels(args, y_bar):
    """1 - 1/(1 + eᶻ): at z = -9 nearly 1 - 1, exact to 12 digits in float64 and to 3 in float32."""
    (z,) = args
    return (y_bar * (1 - 1 / (1 + jnp.exp(z))),)


def test_right_derivations_are_as_good_as_autodiff():
    report = judge(jax.nn.softplus, softplus_by_hand, X - 9)
    assert rows(report) == [("float32", "ok"), ("bfloat16", "ok")]
    assert 0 < report.rows[0].error < 1e-6 < 1e-4 < report.rows[1].error < 3e-2
    assert report.worst_error == 0.0  # what float64 is good for is measured at the given input alone
    quick = judge(jax.nn.softplus, softplus_by_hand, X - 9, level=verify.Level.QUICK)
    assert rows(quick) == [("float32", "ok")]


def test_a_difference_that_cancels_is_found_by_this_check_alone():
    judge(jax.nn.softplus, softplus_that_cancels, X - 9, checks=OTHERS).check()
    row = judge(jax.nn.softplus, softplus_that_cancels, X - 9, level=verify.Level.QUICK).first_wrong
    assert row is not None
    assert row.name == "x"
    assert row.error > 1e-5
    assert row.note.startswith("float32: error ")
    assert ", autodiff's " in row.note


def normalized(x):
    centred = x - jnp.mean(x, 0, keepdims=True)
    var = checkpoint_name(jnp.mean(centred**2, 0, keepdims=True), "var")
    return jnp.sum(jnp.tanh(checkpoint_name(centred / jnp.sqrt(var + 1e-5), "xhat")))


def normalized_by_hand(x, variance=lambda x: jnp.var(x, 0, keepdims=True)):
    """Batch normalization in front of a sum of tanh."""
    centred = x - jnp.mean(x, 0, keepdims=True)
    root = jnp.sqrt(variance(x) + 1e-5)
    xhat = (x - jnp.mean(x, 0, keepdims=True)) / root
    xhat_bar = 1 - jnp.tanh(xhat) ** 2
    var_bar = -0.5 * jnp.sum(xhat_bar * centred, 0, keepdims=True) / root**3
    centred_bar = xhat_bar / root + 2 * var_bar * centred / len(x)
    return (centred_bar - jnp.mean(centred_bar, 0, keepdims=True),), {"xhat": xhat_bar, "var": var_bar}


def naive_variance(x):
    """E[x²] - E[x]²: with a mean of 300 standard deviations it keeps two digits of float32."""
    return jnp.mean(x**2, 0, keepdims=True) - jnp.mean(x, 0, keepdims=True) ** 2


def test_each_equation_is_judged_alone_and_the_first_that_loses_digits_is_named():
    x = X + 300
    verify.gradient(normalized, normalized_by_hand, x, checks=(precision,), level=verify.Level.FULL).check()

    def hand(x):
        return normalized_by_hand(x, naive_variance)

    verify.gradient(normalized, hand, x, checks=OTHERS).check()
    report = verify.gradient(normalized, hand, x, checks=(precision,))
    wrong = [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]
    assert wrong[0] == "xhat"  # the first that divides by the deviation
    assert "x" in wrong


def test_an_error_that_is_handed_on_is_not_blamed():
    def loss(x):
        return jnp.sum(jnp.sin(checkpoint_name(x**2, "square")))

    def hand(x, lost=0.0):
        delta = (jnp.cos(x**2) + lost * x) - lost * x
        return (2 * x * delta,), {"square": delta}

    report = verify.gradient(loss, lambda x: hand(x, 1e4), X, checks=(precision,))
    assert [row.name for row in report.rows] == ["square"]
    assert report.rows[0].verdict is verify.Verdict.WRONG
    verify.gradient(loss, hand, X, checks=(precision,), level=verify.Level.FULL).check()


def at_least_float32(args, y_bar):
    dtype = jnp.float32 if y_bar.dtype == jnp.bfloat16 else y_bar.dtype
    return (y_bar.astype(dtype) * jax.nn.sigmoid(args[0].astype(dtype)),)


def test_a_cotangent_has_its_arguments_dtype():
    report = judge(jax.nn.softplus, at_least_float32, X)
    assert rows(report) == [("float32", "ok"), ("x", "WRONG")]
    assert report.rows[1].note == "bfloat16: dtype float32, wanted bfloat16"
    judge(jax.nn.softplus, at_least_float32, X, checks=OTHERS).check()


def test_a_rule_that_raises_in_a_narrow_dtype_is_wrong():
    softplus = rule(lambda z: (jax.nn.softplus(z), z), lambda z, y_bar: at_least_float32((z,), y_bar))
    report = verify.rules(softplus, X.astype(np.float32), checks=(precision,), level=verify.Level.FULL)
    assert rows(report) == [("float32", "ok"), ("bfloat16", "WRONG")]
    assert "the cotangent of z is float32[5, 3], the argument is bfloat16[5, 3]" in report.rows[1].note


def test_nan_where_autodiff_is_finite_is_wrong():
    """log(1 + eᶻ) and its slope eᶻ / (1 + eᶻ): inf / inf above 89, in float32 alone."""

    def hand(args, y_bar):
        e = jnp.exp(args[0])
        return (y_bar * e / (1 + e),)

    report = judge(jax.nn.softplus, hand, np.array([1.0, 100.0]), level=verify.Level.QUICK)
    assert rows(report) == [("x", "WRONG")]
    judge(jax.nn.softplus, hand, np.array([1.0, 100.0]), checks=(contract, against_autodiff)).check()


def test_where_autodiff_is_not_finite_there_is_nothing_to_compare():
    report = judge(lambda x: x**20, lambda args, y_bar: (y_bar * 20 * args[0] ** 19,), np.array([1e4]))
    # float32 ends at 1e38, and so does bfloat16.
    assert report.rows == ()
    assert report.not_applicable == (("precision", "autodiff itself is not finite in a narrow dtype"),)


def test_numpy_derivations_are_judged_in_float32_and_may_be_wider():
    def hand(args, y_bar):
        slope = np.zeros(X.shape)
        slope += 1 / (1 + np.exp(-np.asarray(args[0])))
        return (slope * np.asarray(y_bar),)

    report = judge(jax.nn.softplus, hand, X)
    assert rows(report) == [("float32", "ok"), ("bfloat16", "no power here")]
    assert report.ok
    assert "NumPy" in report.rows[1].note

    def cancels(args, y_bar):
        z = np.asarray(args[0])
        return (np.asarray(y_bar) * (1 - 1 / (1 + np.exp(z))),)

    assert rows(judge(jax.nn.softplus, cancels, X - 9))[0] == ("x", "WRONG")


def test_a_function_that_refuses_bfloat16_is_no_failure():
    def f(x):
        if x.dtype == jnp.bfloat16:
            raise TypeError("this is for wide floats")
        return x**2

    report = judge(f, lambda args, y_bar: (2 * args[0] * y_bar,), X)
    assert rows(report) == [("float32", "ok"), ("bfloat16", "no power here")]
    assert report.ok
    assert report.rows[1].note == "the function does not take bfloat16: TypeError: this is for wide floats"


def test_integers_keys_and_complex_arguments():
    def f(table, index, key):
        return table[index] * jax.random.normal(key, (), table.dtype)

    def hand(args, y_bar):
        table, index, key = args
        bars = y_bar * jax.random.normal(key, (), table.dtype)
        return jnp.zeros_like(table).at[index].add(bars), None, None

    with jax.enable_x64():
        index = jnp.array([2, 2, 0])
    assert index.dtype == jnp.int64
    judge(f, hand, X, index, jax.random.key(0)).check()
    report = judge(jnp.square, lambda args, y_bar: (2 * args[0] * y_bar,), X + 1j * X[::-1])
    assert rows(report) == [("float32", "ok"), ("bfloat16", "no power here")]


@pytest.mark.parametrize("value", [0.0, 1 + 2.0**-12])
def test_a_kink_is_not_a_matter_of_precision(value):
    """At 0, and at 1 as bfloat16 rounds it, |x - c| has a kink where the derivation has another convention."""

    def f(x):
        return jnp.abs(x) + jnp.abs(x - 1)

    def hand(args, y_bar):
        def sign(z):
            return jnp.where(z >= 0, 1.0, -1.0).astype(z.dtype)

        return (y_bar * (sign(args[0]) + sign(args[0] - 1)),)

    report = judge(f, hand, np.array([0.3, value]))
    assert report.first_wrong is None


def test_one_entry_on_the_other_side_of_a_kink_is_not_a_matter_of_precision():
    """x (1 + 2⁻⁸) and x + x 2⁻⁸ round to different sides of the kink at 1.00390625, in bfloat16, at x = 1 alone."""
    kink = 1 + 2.0**-8

    def f(x):
        return jax.nn.relu(x * jnp.asarray(kink, x.dtype) - jnp.asarray(1.0, x.dtype))

    def hand(args, y_bar):
        (x,) = args
        z = x - jnp.asarray(1 / kink, x.dtype)
        return (jnp.where(z > 0, y_bar * jnp.asarray(kink, x.dtype), jnp.zeros_like(y_bar)),)

    judge(f, hand, np.array([2.0, 1.0 / kink + 1e-3])).check()


WEIGHTS = np.array([1.0, 2.0, 3.0])


def test_an_array_that_jax_keeps_in_float64_is_no_fault_of_the_derivation():
    weighted = rule(lambda z: (z * jnp.asarray(WEIGHTS), ()), lambda _, y_bar: (y_bar * WEIGHTS,))
    report = verify.rules(lambda z: weighted(z), np.ones(3), checks=(precision,))
    assert report.ok, str(report)
