"""The battery as a whole: what is chosen, what does not apply, and that each check earns its place."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.rule import rule
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.contract import contract
from jaxnets.verify.checks.local import local
from jaxnets.verify.checks.regimes import regimes

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))


def vjp(f, hand, *args):
    return lambda **options: verify.vjp(f, hand, *args, **options)


def elementwise(slope):
    return lambda args, y_bar: (y_bar * slope(args[0]),)


# What only `contract` sees: the forward pass of a rule that computes something else.


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x) + 1e-3, x), lambda x, y_bar: (y_bar * jnp.cos(x),))


def changed_value(**options):
    return verify.rules(lambda x: sine(x), X, **options)


# What only `call_sites` sees: two wrong rules whose factors cancel.


def two_wrong_rules(**options):
    double = rule(lambda x: (jnp.sin(x), x), lambda x, y_bar: (2 * y_bar * jnp.cos(x),))
    half = rule(lambda x: (jnp.tanh(x), x), lambda x, y_bar: (0.5 * y_bar * (1 - jnp.tanh(x) ** 2),))
    return verify.rules(lambda x: double(half(x)), X, **options)


# What only `local` sees: a delta that is a little off, in a small region, and that nothing is made of.


def wrong_delta(**options):
    x = np.array([0.2, 0.7, -1.3])

    def loss(x):
        return jnp.sum(jnp.sin(checkpoint_name(jnp.tanh(x), "a")))

    def hand(x):
        a_bar = jnp.cos(jnp.tanh(x))
        in_a_bin_of_a_table = jnp.where(abs(x - 0.7) < 0.1, 1 + 3e-8, 1.0)
        return (a_bar * (1 - jnp.tanh(x) ** 2),), {"a": a_bar * in_a_bin_of_a_table}

    return verify.gradient(loss, hand, x, **options)


# What only `precision` sees: right, but for the digits that cancel.


def cancelling(x):
    return 1 - 1 / (1 + jnp.exp(x))


# What only `transformations` sees: the derivation has a rule of its own for `vmap`, which is wrong.


@jax.custom_batching.custom_vmap
def slope_of_sine(x):
    return jnp.cos(x)


@slope_of_sine.def_vmap
def slope_of_many_sines(axis_size, in_batched, x):
    return jnp.cos(x[:1] + 0 * x), True


# What only `shapes` sees: the batch size written as a number.


def mean_of_sines(x):
    return jnp.mean(jnp.sin(x), 0)


def for_a_batch_of_four(args, y_bar):
    return (y_bar[None] * jnp.cos(args[0]) / 4,)


def batches(key, *, batch):
    return (jax.random.normal(key, (batch, 3)),)


# What only `independence` sees: the derivation shares the mistake of a rule for tangents in the forward pass.


@jax.custom_jvp
def cube(x):
    return jnp.tanh(x) ** 3


@cube.defjvp
def cube_tangent(primals, tangents):
    return cube(*primals), 2 * jnp.tanh(primals[0]) ** 2 * tangents[0]


class Mutant(NamedTuple):
    """A wrong derivation, and the level at which it is found."""

    verified: Callable[..., verify.Report]
    level: verify.Level = verify.Level.QUICK


MUTANTS = {
    "contract": Mutant(changed_value),
    "call_sites": Mutant(two_wrong_rules),
    "local": Mutant(wrong_delta),
    "against_autodiff": Mutant(vjp(jnp.tanh, lambda a, y: (y**2 / y * (1 - jnp.tanh(a[0]) ** 2),), X[0])),
    "independence": Mutant(vjp(lambda x: cube(x), elementwise(lambda x: 2 * jnp.tanh(x) ** 2), X)),
    "exact_integers": Mutant(vjp(lambda x: x**2, elementwise(lambda x: 2 * x * (1 + 1e-11)), X)),
    "regimes": Mutant(vjp(jax.nn.relu6, elementwise(lambda x: jnp.where(x > 0, 1.0, 0.0)), X)),
    "precision": Mutant(vjp(jax.nn.softplus, elementwise(cancelling), X - 9)),
    "transformations": Mutant(vjp(jnp.sin, elementwise(lambda x: slope_of_sine(x)), X)),
    "shapes": Mutant(lambda **options: verify.vjp(mean_of_sines, for_a_batch_of_four, X, sampler=batches, **options)),
}


@pytest.mark.parametrize("check", verify.BATTERY, ids=lambda check: check.__name__)
def test_each_check_catches_a_mistake_that_no_other_sees(check):
    mutant = MUTANTS[check.__name__]
    others = tuple(other for other in verify.BATTERY if other is not check)
    report = mutant.verified(checks=others, level=mutant.level)
    assert report.ok, str(report)
    report = mutant.verified(checks=verify.BATTERY, level=mutant.level)
    assert {row.check for row in report.rows if not row.ok} == {check.__name__}
    with pytest.raises(AssertionError, match=check.__name__):
        report.check()


def square(x):
    return jnp.sum(x**2)


def test_checks_are_chosen_and_come_in_the_order_that_is_asked_for():
    report = verify.gradient(square, lambda x: (2 * x,), X, checks=(against_autodiff, contract))
    assert list(dict.fromkeys(row.check for row in report.rows)) == ["against_autodiff", "contract"]
    assert verify.gradient(square, lambda x: (2 * x,), X, checks=()).rows == ()


def test_a_check_that_does_not_apply_is_listed_with_its_reason():
    report = verify.gradient(square, lambda x: (2 * x,), X)
    report.check()
    names = [check.__name__ for check in verify.BATTERY]
    rows, idle = {row.check for row in report.rows}, dict(report.not_applicable)
    assert rows | set(idle) == set(names)
    assert not rows & set(idle)
    assert idle["local"] == "the derivation gives no deltas of named values"
    assert "call_sites" in idle
    assert all(idle.values())
    assert "not applicable: call_sites, local" in str(report)


def test_what_is_wrong_at_the_input_is_not_looked_for_elsewhere():
    report = verify.gradient(square, lambda x: (3 * x,), X)
    assert "against_autodiff" in {row.check for row in report.rows if not row.ok}
    assert "regimes" not in {row.check for row in report.rows}
    assert dict(report.not_applicable)["regimes"] == "something is wrong at the given input already"


def test_the_first_wrong_equation_is_explained_and_what_follows_is_not():
    def loss(x):
        return jnp.sum(checkpoint_name(jnp.sin(x), "s") ** 2)

    def hand(x):
        s_bar = 3 * jnp.sin(x)
        return (s_bar * jnp.cos(x),), {"s": s_bar}

    report = verify.gradient(loss, hand, X, checks=(local, against_autodiff, regimes))
    by_verdict = {row.name: row for row in report.rows if not row.ok}
    assert {name: row.verdict for name, row in by_verdict.items()} == {
        "s": verify.Verdict.WRONG,
        "x": verify.Verdict.INHERITED,
    }
    assert by_verdict["s"].diagnosis
    assert not by_verdict["x"].diagnosis


def test_the_message_of_the_nastiest_report_is_short():
    """Twelve parameters with long paths, all of them wrong, and each with several explanations."""
    params = {f"a_rather_long_name_of_a_layer_{i}": {"kernel": RNG.normal(size=(4, 4))} for i in range(12)}

    def a_loss_with_a_long_name_too(params):
        return sum(jnp.sum(jnp.sin(layer["kernel"]) * layer["kernel"]) for layer in params.values())

    def hand(params):
        bars = jax.grad(a_loss_with_a_long_name_too)(params)
        return (jax.tree.map(lambda bar: bar[::-1].T * jnp.where(bar > 0, 1.0, jnp.nan), bars),)

    report = verify.gradient(a_loss_with_a_long_name_too, hand, params, checks=(contract, against_autodiff))
    with pytest.raises(AssertionError) as failure:
        report.check()
    lines = str(failure.value).splitlines()
    assert len(lines) <= 15
    assert all(len(line) <= 300 for line in lines)
    assert "verify.gradient(" in lines[-1]


def test_the_report_says_how_to_make_it_again():
    report = verify.gradient(square, lambda x: (3 * x,), X, checks=(contract,), seed=5, level=verify.Level.FULL)
    assert "verify.gradient(square, " in report.reproduce
    assert "seed=5, level=verify.Level.FULL" in report.reproduce
    assert report.seed == 5


def test_the_same_seed_makes_the_same_report():
    reports = [verify.gradient(square, lambda x: (3 * x,), X, checks=(against_autodiff,), seed=2) for _ in range(2)]
    assert reports[0].rows == reports[1].rows
