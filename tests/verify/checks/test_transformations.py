"""Derivations that are right at every point, and wrong under vmap, without jit, or differentiated once more."""

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
from jaxnets.verify.checks.precision import precision
from jaxnets.verify.checks.regimes import regimes
from jaxnets.verify.checks.transformations import transformations

RNG = np.random.default_rng(0)
X, W, V, XS = (RNG.normal(size=size) for size in ((5, 3), (3, 4), 3, (4, 3)))
FULL = verify.Level.FULL
OTHERS = (contract, local, against_autodiff, regimes, precision)
REVERSE, FORWARD = ("second derivatives, reverse mode", "second derivatives, forward mode")


def judge(f, hand, *args, checks=(transformations,), level=FULL):
    return verify.vjp(f, hand, *args, checks=checks, level=level)


def rows(report):
    return [(row.name, row.verdict.value) for row in report.rows]


def notes(report):
    return [row.note for row in report.rows if row.verdict is verify.Verdict.WRONG]


def network(w, x):
    z = checkpoint_name(x @ w, "z")
    a = checkpoint_name(jnp.tanh(z), "a")
    return jnp.sum(jnp.exp(a))


def network_by_hand(w, x, saved=lambda a: a):
    a = saved(jnp.tanh(x @ w))
    a_bar = jnp.exp(jnp.tanh(x @ w))
    z_bar = a_bar * (1 - a**2)
    return (x.T @ z_bar, z_bar @ w.T), {"a": a_bar, "z": z_bar}


def test_a_right_derivation_is_right_under_all_of_them():
    report = verify.gradient(network, network_by_hand, W, X, checks=(transformations,), level=FULL)
    assert rows(report) == [(name, "ok") for name in ("vmap", "scan", "no jit", REVERSE, FORWARD)]
    quick = verify.gradient(network, network_by_hand, W, X, checks=(transformations,))
    assert rows(quick) == [("vmap", "ok")]


def test_a_residual_behind_a_stop_gradient_is_found_by_this_check_alone_and_the_equation_that_reads_it_is_named():
    def hand(w, x):
        return network_by_hand(w, x, saved=jax.lax.stop_gradient)

    verify.gradient(network, hand, W, X, checks=OTHERS, level=FULL).check()
    report = verify.gradient(network, hand, W, X, checks=(transformations,), level=FULL)
    # Neither what comes before it on the way back nor what inherits it.
    assert [name for name, verdict in rows(report) if verdict == "WRONG"] == ["z"]
    assert notes(report)[0].startswith("its derivative with respect to ")


def test_second_derivatives_through_a_rule():
    def cube(saved):
        def backward(x, y_bar):
            return (3 * x**2 * y_bar,)

        return rule(lambda x: (x**3, saved(x)), backward)

    def report(saved, checks):
        f = cube(saved)
        return verify.rules(lambda x: jnp.sin(f(x)), X, checks=checks, level=FULL)

    assert rows(report(lambda x: x, (transformations,)))[-2:] == [(REVERSE, "ok"), (FORWARD, "ok")]
    report(jax.lax.stop_gradient, OTHERS).check()
    assert rows(report(jax.lax.stop_gradient, (transformations,)))[-1] == ("x", "WRONG")


def test_a_cotangent_that_is_cut_off_is_found():
    report = judge(jnp.sin, lambda args, y_bar: (jnp.cos(args[0]) * jax.lax.stop_gradient(y_bar),), X)
    assert notes(report) == ["its derivative with respect to cotangent 0"]


def test_forward_mode_is_left_out_where_the_derivation_calls_a_rule():
    square = rule(lambda x: (x**2, x), lambda x, y_bar: (2 * x * y_bar,))
    report = judge(lambda x: x**3, lambda args, y_bar: (3 * square(args[0]) * y_bar,), X)
    assert rows(report)[-2:] == [("no jit", "ok"), (REVERSE, "ok")]


def test_where_reverse_mode_finds_no_way_back_forward_mode_does():
    def hand(stop):
        def by_loop(args, y_bar):
            """3 x² as a sum of three, in a loop that only knows when to stop once it runs."""
            (x,) = args
            square = stop(x**2)
            _, total = jax.lax.while_loop(
                lambda state: state[0] < 3, lambda state: (state[0] + 1, state[1] + square), (0, jnp.zeros_like(x))
            )
            return (total * y_bar,)

        return by_loop

    report = judge(lambda x: x**3, hand(lambda square: square), X)
    assert rows(report)[-2:] == [(REVERSE, "no power here"), (FORWARD, "ok")]
    assert report.ok
    assert rows(judge(lambda x: x**3, hand(jax.lax.stop_gradient), X))[-1] == ("x", "WRONG")


def centred(x):
    return 0.5 * jnp.sum((x - jnp.mean(x)) ** 2)


def in_numpy(x, vmap_method):
    def by_numpy(x):
        x = np.asarray(x)  # a callback runs in a thread of its own, where JAX may know no float64
        return x - x.mean()  # of all that arrives: under vmap that is every point

    return (jax.pure_callback(by_numpy, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method=vmap_method),)


def test_a_callback_that_mixes_the_points_of_vmap_is_found_by_this_check_alone():
    def hand(x):
        return in_numpy(x, "expand_dims")

    verify.gradient(centred, hand, V, checks=OTHERS, level=FULL).check()
    report = verify.gradient(centred, hand, V, checks=(transformations,))
    assert rows(report) == [("x", "WRONG")]
    assert notes(report) == ["under vmap"]
    right = verify.gradient(centred, lambda x: in_numpy(x, "sequential"), V, checks=(transformations,), level=FULL)
    assert rows(right)[:3] == [("vmap", "ok"), ("scan", "ok"), ("no jit", "ok")]
    assert right.ok


@jax.custom_batching.custom_vmap
def minus_mean(x):
    return x - jnp.mean(x)


@minus_mean.def_vmap
def minus_the_mean_of_all(axis_size, in_batched, x):
    return x - jnp.mean(x), True


def test_under_vmap_the_equation_that_is_wrong_is_named_and_what_inherits_it_is_not():
    def loss(x):
        return centred(checkpoint_name(jnp.sin(x), "s"))

    def hand(x):
        s_bar = minus_mean(jnp.sin(x))
        return (s_bar * jnp.cos(x),), {"s": s_bar}

    report = verify.gradient(loss, hand, V, checks=(transformations,))
    assert rows(report) == [("s", "WRONG")]


def test_a_derivation_that_vmap_refuses_is_wrong_unless_the_function_is_refused_too():
    report = verify.gradient(centred, lambda x: in_numpy(x, None), V, checks=(transformations,))
    assert rows(report) == [("vmap", "WRONG")]
    assert "vmap_method" in report.rows[0].note

    def scale(n):
        return jax.pure_callback(lambda n: np.asarray(n, float), jax.ShapeDtypeStruct((), float), n)

    report = verify.gradient(
        lambda x, n: scale(n) * jnp.sum(x**2),
        lambda x, n: (2 * scale(n) * x, None),
        V,
        np.int64(3),
        checks=(transformations,),
    )
    assert rows(report) == [("vmap", "no power here")]
    assert report.ok


def test_what_is_another_derivation_without_jit_is_found_by_this_check_alone():
    def hand(args, y_bar):
        (x,) = args
        slope = jnp.cos(x) if isinstance(x, jax.core.Tracer) else 1 - x**2 / 2  # "a quick one for debugging"
        return (slope * y_bar,)

    judge(jnp.sin, hand, X, checks=OTHERS).check()
    assert notes(judge(jnp.sin, hand, X)) == ["under no jit"]
    judge(jnp.sin, hand, X, level=verify.Level.QUICK).check()


def test_a_scan_that_goes_wrong_is_found(monkeypatch):
    scan = jax.lax.scan

    def backwards(f, init, xs):
        carry, ys = scan(f, init, xs)
        return carry, jax.tree.map(lambda y: y[::-1], ys)

    monkeypatch.setattr(jax.lax, "scan", backwards)
    assert notes(judge(jnp.sin, lambda args, y_bar: (jnp.cos(args[0]) * y_bar,), X)) == ["under scan"]


def step(condition):
    return jnp.where(condition, 1.0, 0.0)


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (jax.nn.relu, lambda x: step(x > 0)),
        (jax.nn.relu, lambda x: step(x >= 0)),
        (jnp.abs, jnp.sign),
        (lambda x: jnp.maximum(x, 0.0) ** 2, lambda x: 2 * jnp.maximum(x, 0.0)),
        (lambda x: jnp.maximum(x, 0.0) ** 2, lambda x: 2 * x * step(x >= 0)),
    ],
)
def test_kinks_have_no_second_derivative_to_be_wrong(f, slope):
    x = np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert judge(f, lambda args, y_bar: (slope(args[0]) * y_bar,), x).ok


def test_an_infinite_second_derivative_is_nobodys_fault():
    report = judge(
        lambda x: jnp.sum(x**1.5), lambda args, y_bar: (1.5 * jnp.sqrt(args[0]) * y_bar,), np.array([0.0, 1.0])
    )
    assert report.ok


def test_a_softmax_that_cancels_is_right_but_for_rounding():
    """At logits of ±100 p (p_bar - Σ p p_bar) has rows that are rounding alone, and so has its derivative."""

    def hand(args, p_bar):
        p = jax.nn.softmax(args[0])
        return (p * (p_bar - jnp.sum(p * p_bar, -1, keepdims=True)),)

    assert judge(jax.nn.softmax, hand, 60 * X).first_wrong is None


def recurrence(x):
    def body(c, row):
        c = checkpoint_name(jnp.tanh(c + row), "c")
        return c, c

    return 0.5 * jnp.sum(jax.lax.scan(body, jnp.zeros(3), x)[1] ** 2)


def recurrence_by_hand(x, cut=lambda c: c):
    states = jax.lax.scan(lambda c, row: 2 * (jnp.tanh(c + row),), jnp.zeros(3), x)[1]

    def back(carried, c):
        c_bar = carried + c
        x_bar = c_bar * (1 - cut(c) ** 2)
        return x_bar, (c_bar, x_bar)

    _, (c_bar, x_bar) = jax.lax.scan(back, jnp.zeros(3), states, reverse=True)
    return (x_bar,), {"c": c_bar}


def test_deltas_of_the_steps_of_a_scan():
    def report(cut):
        hand = lambda x: recurrence_by_hand(x, cut)
        return verify.gradient(recurrence, hand, XS, checks=(transformations,), level=FULL)

    assert {verdict for _, verdict in rows(report(lambda c: c))} == {"ok"}
    assert [name for name, verdict in rows(report(jax.lax.stop_gradient)) if verdict == "WRONG"] == ["c", "x"]


def held(x):
    """x moved against a gradient that is held still: its own gradient takes no notice of how that gradient moves."""
    slope = jax.lax.stop_gradient(jnp.cos(x))
    return jnp.sum(jnp.sin(x - slope))


def test_where_the_function_holds_something_still_there_is_no_second_derivative_to_compare_with():
    def hand(x, saved=lambda x: x):
        return (jnp.cos(x - saved(jnp.cos(x))),)

    # As the function does it, and with the derivative that the gradient has as a function of x.
    same = verify.gradient(held, lambda x: hand(x, jax.lax.stop_gradient), V, checks=(transformations,), level=FULL)
    assert rows(same)[-2:] == [(REVERSE, "ok"), (FORWARD, "ok")]
    own = verify.gradient(held, hand, V, checks=(transformations,), level=FULL)
    assert rows(own)[-2:] == [(REVERSE, "no power here"), (FORWARD, "no power here")]
    assert own.ok
    neither = lambda x: hand(jax.lax.stop_gradient(x))
    report = verify.gradient(held, neither, V, checks=(transformations,), level=FULL)
    assert rows(report)[-1] == ("x", "WRONG")


def test_integers_and_keys_are_stacked_as_they_are():
    def f(table, index, key):
        return table[index] ** 2 * jax.random.normal(key, (), table.dtype)

    def hand(args, y_bar):
        table, index, key = args
        bars = 2 * table[index] * y_bar * jax.random.normal(key, (), table.dtype)
        return jnp.zeros_like(table).at[index].add(bars), None, None

    report = judge(f, hand, X, np.array([2, 2, 0]), jax.random.key(0))
    assert {verdict for _, verdict in rows(report)} == {"ok"}


def test_numpy_derivations_cannot_be_transformed():
    report = judge(jnp.sin, lambda args, y_bar: (np.cos(np.asarray(args[0])) * np.asarray(y_bar),), X)
    assert report.not_applicable == (("transformations", "the derivation is no JAX code"),)
