"""What every derivation promises: structure, dtypes, an unchanged value, determinism, finite numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.rule import rule
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.contract import contract

W = np.random.default_rng(0).normal(size=(3, 4))


def loss(w):
    return jnp.sum(w**2)


def judge(hand, *args, f=loss, level=verify.Level.QUICK):
    return verify.gradient(f, hand, *(args or (W,)), checks=(contract,), level=level)


def wrong(report):
    return [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]


def test_a_right_derivation_keeps_them_all():
    report = judge(lambda w: (2 * w,))
    report.check()
    assert [row.name for row in report.rows] == ["structure", "dtypes", "deterministic", "finite"]
    report = verify.rules(rule(lambda w: (w**2, w), lambda w, y_bar: (2 * w * y_bar,)), W, checks=(contract,))
    report.check()
    assert [row.name for row in report.rows] == ["structure", "dtypes", "value", "deterministic", "finite"]


@pytest.mark.parametrize(
    ("hand", "note"),
    [
        (lambda w: 2 * w, "hand returned a .*Array.*, wanted a tuple of 1 gradients"),
        (lambda w: (2 * w, w), "hand returned 2 gradients, loss has 1 arguments"),
        (lambda w: (None,), r"the gradient for argument 0 of loss is None, wanted float64\[3, 4\]"),
        (lambda w: ({"w": w},), "holds a dict, wanted an array"),
        (lambda w: ("w",), "holds a str, wanted an array"),
        (lambda w: ((2 * w,), {"z": "?"}), "the delta 'z' holds a str"),
    ],
)
def test_a_wrong_structure_ends_the_verification(hand, note):
    report = verify.gradient(loss, hand, W, checks=(against_autodiff, contract))
    assert [(row.check, row.name) for row in report.rows] == [("contract", "structure")]
    assert wrong(report) == ["structure"]
    with pytest.raises(AssertionError, match=note):
        report.check()


def test_trees_are_followed_and_only_integers_have_no_derivative():
    def f(params, index):
        return jnp.sum(params["w"][index] ** 2) + params["b"]

    def hand(params, index):
        return {
            "w": jnp.zeros_like(params["w"]).at[index].add(2 * params["w"][index]),
            "b": 1.0 + 0 * params["b"],
        }, None

    args = {"w": W, "b": np.float64(1.0)}, np.array([1, 1])
    judge(hand, *args, f=f).check()
    for swap in (
        lambda bars: ({"w": bars[0]["w"]}, None),
        lambda bars: ({**bars[0], "b": None}, None),
        lambda bars: (bars[0], np.ones(2)),
        lambda bars: (None, None),
    ):
        assert wrong(judge(lambda *args, swap=swap: swap(hand(*args)), *args, f=f)) == ["structure"]


def test_cotangents_have_the_dtypes_of_the_arguments():
    report = judge(lambda w: ((2 * w).astype(jnp.float32),))
    assert wrong(report) == ["dtypes"]
    assert report.rows[1].note == "the cotangent of w is float32, wanted float64"


def test_at_level_full_they_are_also_as_strongly_typed():
    def hand(x):
        return (jnp.broadcast_to(jnp.asarray(3.0), (2,)),)

    assert jax.eval_shape(hand, W)[0].weak_type
    f = lambda x: 3.0 * jnp.sum(x)
    judge(hand, np.ones(2), f=f).check()
    assert wrong(judge(hand, np.ones(2), f=f, level=verify.Level.FULL)) == ["dtypes"]


def test_a_forward_pass_that_changes_the_value_is_wrong():
    @jax.custom_vjp
    def f(x):
        return x**2

    f.defvjp(lambda x: (x**2 + 1e-3, x), lambda x, y_bar: (2 * x * y_bar,))
    report = verify.rules(lambda x: {"out": f(x)}, W, checks=(contract,))
    assert wrong(report) == ["value['out']"]


def test_the_same_answer_at_every_call():
    generator = np.random.default_rng(0)

    def drawn_while_tracing(w):
        return (2 * w * (1 + 1e-10 * generator.normal()),)

    def drawn_at_every_call(w):
        return (2 * np.asarray(w) * (1 + 1e-10 * generator.normal()),)

    for hand in (drawn_while_tracing, drawn_at_every_call):
        assert wrong(judge(hand)) == ["deterministic"]


def test_nan_and_infinity_are_found_where_autodiff_is_finite():
    def hand(w):
        return ((2 * w).at[1, 2].set(jnp.inf),)

    report = judge(hand)
    assert wrong(report) == ["finite"]
    assert report.rows[-1].note == "w is inf at [1, 2], where autodiff is finite"


def test_where_autodiff_is_not_finite_either_the_contract_is_silent():
    report = judge(lambda x: (0.5 / jnp.sqrt(x),), np.array([0.0, 1.0]), f=lambda x: jnp.sum(jnp.sqrt(x)))
    assert wrong(report) == []
