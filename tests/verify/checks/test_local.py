"""Each equation alone: deltas of named values inside everything that JAX can nest, and the blame where it belongs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.rule import rule
from jaxnets.verify.checks.local import local

RNG = np.random.default_rng(0)
N, STEPS, ROWS = 3, 4, 5
V, XS, A, B = (RNG.normal(size=size) for size in (N, (STEPS, N), (ROWS, N), (N, ROWS)))


def judge(loss, hand, *args):
    return verify.gradient(loss, hand, *args, checks=(local,))


def wrong(report):
    return [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]


def scaled(answer, *names, by=1.000001):
    """The answer with some deltas off by a part in a million, and everything that follows from them left as it is."""
    bars, deltas = answer
    return bars, {name: by * delta if name in names else delta for name, delta in deltas.items()}


def chain_loss(x, w):
    a = checkpoint_name(x @ w, "a")
    b = checkpoint_name(jnp.tanh(a), "b")
    c = checkpoint_name(b * jnp.cos(a), "c")
    return jnp.sum(c**2)


def chain_by_hand(x, w, by=lambda name, delta: delta):
    """`by` changes a delta before it is handed on."""
    x, w = np.asarray(x), np.asarray(w)
    a = x @ w
    b = np.tanh(a)
    c_bar = by("c", 2 * b * np.cos(a))
    b_bar = by("b", c_bar * np.cos(a))
    a_bar = by("a", b_bar * (1 - b**2) - c_bar * b * np.sin(a))
    return (a_bar @ w.T, x.T @ a_bar), {"a": a_bar, "b": b_bar, "c": c_bar}


@pytest.mark.parametrize("culprit", ["a", "b", "c"])
def test_an_inherited_error_is_not_blamed(culprit):
    hand = lambda *args: chain_by_hand(*args, by=lambda name, delta: 1.000001 * delta if name == culprit else delta)
    report = judge(chain_loss, hand, A, B)
    assert [row.name for row in report.rows] == ["c", "b", "a", "x", "w"]
    assert wrong(report) == [culprit]


def test_an_error_that_is_not_handed_on_shows_in_what_it_does_not_reach():
    report = judge(chain_loss, lambda *args: scaled(chain_by_hand(*args), "b"), A, B)
    assert wrong(report) == ["b", "a"]  # a was made of another b than the one that is given


def test_several_errors_at_once_separate():
    hand = lambda *args: chain_by_hand(*args, by=lambda name, delta: delta + 0.01 if name in "ac" else delta)
    assert wrong(judge(chain_loss, hand, A, B)) == ["c", "a"]


def in_jit(x):
    return jax.jit(lambda x: checkpoint_name(2 * x, "value"))(x)


def in_remat(x):
    return jax.checkpoint(lambda x: checkpoint_name(2 * x, "value"))(x)


def in_cond(x):
    return jax.lax.cond(x[0] < 100.0, lambda x: checkpoint_name(2 * x, "value"), lambda x: x, x)


def in_rule(x):
    f = rule(lambda x: (checkpoint_name(2 * x, "value"), ()), lambda _, y_bar: (0 * y_bar,))
    return f(x)


def in_all_of_them(x):
    return jax.jit(jax.checkpoint(lambda x: jax.lax.cond(x[0] < 100.0, in_rule, lambda x: x, x)))(x)


@pytest.mark.parametrize("inside", [in_jit, in_remat, in_cond, in_rule, in_all_of_them])
def test_names_inside_everything(inside):
    def hand(x):
        delta = np.cos(2 * np.asarray(x))
        return (2 * delta,), {"value": delta}

    def loss(x):
        return jnp.sum(jnp.sin(inside(x)))

    judge(loss, hand, V).check()
    assert wrong(judge(loss, lambda x: ((2 * hand(x)[0][0],), hand(x)[1]), V)) == ["x"]
    assert wrong(judge(loss, lambda x: scaled(hand(x), "value"), V)) == ["value", "x"]


def test_a_branch_that_is_not_taken_has_no_gradient():
    def loss(x):
        return jnp.sum(jax.lax.cond(x[0] < 100.0, lambda x: x**2, lambda x: checkpoint_name(2 * x, "value"), x))

    judge(loss, lambda x: ((2 * x,), {"value": np.zeros(N)}), V).check()
    assert wrong(judge(loss, lambda x: ((2 * x,), {"value": np.ones(N)}), V)) == ["value"]


def test_a_name_inside_a_derivative_names_the_value_not_its_tangent():
    def loss(x):
        return jnp.sum(jax.grad(lambda x: jnp.sum(checkpoint_name(x**2, "square") ** 2))(x))

    judge(loss, lambda x: ((12 * x**2,), {"square": 4 * x}), V).check()


@pytest.mark.parametrize(("axis", "arg"), [(0, A), (1, A.T)])
def test_names_inside_vmap_have_the_batch_first_wherever_it_is(axis, arg):
    def example(row):
        return jnp.sum(jnp.sin(checkpoint_name(2 * row, "doubled")))

    def loss(x):
        return jnp.sum(jax.vmap(example, in_axes=axis)(x))

    def hand(x):
        delta = np.cos(2 * np.moveaxis(np.asarray(x), axis, 0))
        return (2 * np.moveaxis(delta, 0, axis),), {"doubled": delta}

    judge(loss, hand, arg).check()
    report = judge(loss, lambda x: scaled(hand(x), "doubled"), arg)
    assert wrong(report) == ["doubled", "x"]


def recurrence(x, reverse=False):
    def body(c, row):
        c = checkpoint_name(jnp.tanh(c + row), "c")
        return c, checkpoint_name(c**2, "out")

    c, out = jax.lax.scan(body, jnp.zeros(N), x, reverse=reverse)
    return jnp.sum(c) + jnp.sum(out)


def recurrence_by_hand(x, reverse=False, slip=None):
    x = np.asarray(x)
    order = [*range(STEPS)][:: -1 if reverse else 1]
    c, states = np.zeros(N), np.zeros((STEPS, N))
    for t in order:
        c = states[t] = np.tanh(c + x[t])
    c_bar, x_bar, carried = np.zeros((STEPS, N)), np.zeros((STEPS, N)), np.ones(N)
    for t in reversed(order):
        c_bar[t] = carried + 2 * states[t]
        if t == slip:
            c_bar[t, 1] *= 1.5
        carried = x_bar[t] = c_bar[t] * (1 - states[t] ** 2)
    return (x_bar,), {"c": c_bar, "out": np.ones((STEPS, N))}


@pytest.mark.parametrize("reverse", [False, True])
def test_a_name_in_a_scan_has_a_delta_for_each_step_and_the_wrong_step_is_named(reverse):
    report = judge(lambda x: recurrence(x, reverse), lambda x: recurrence_by_hand(x, reverse), XS)
    report.check()
    assert [row.name for row in report.rows] == ["out", "c", "x"]
    report = judge(lambda x: recurrence(x, reverse), lambda x: recurrence_by_hand(x, reverse, slip=2), XS)
    assert wrong(report) == ["c"]  # at this step alone, whatever the steps after it inherit
    assert report.first_wrong is not None
    assert report.first_wrong.worst == (2, 1)


def test_a_delta_in_a_scan_needs_its_steps():
    def hand(x):
        bars, deltas = recurrence_by_hand(x)
        return bars, {"c": deltas["c"][0]}

    report = judge(recurrence, hand, XS)
    assert wrong(report) == ["c"]
    assert report.rows[0].note == "shape [3], wanted [4, 3]"


def test_names_in_a_scan_in_a_scan_have_both_steps():
    def loss(x):
        def outer(total, rows):
            def inner(c, row):
                c = checkpoint_name(c * jnp.sin(row), "c")
                return c, ()

            c, _ = jax.lax.scan(inner, jnp.ones(2), rows)
            return checkpoint_name(total + c, "total"), ()

        return jnp.sum(jax.lax.scan(outer, jnp.zeros(2), x)[0])

    def hand(x, slip=0.0):
        x = np.asarray(x)
        c_bar = np.stack([np.prod(np.sin(x[:, step + 1 :]), 1) for step in range(4)], 1)
        c_bar[1, 2, 0] += slip
        before = np.stack([np.prod(np.sin(x[:, :step]), 1) for step in range(4)], 1)
        return (c_bar * before * np.cos(x),), {"c": c_bar, "total": np.ones((3, 2))}

    x = RNG.normal(size=(3, 4, 2))
    judge(loss, hand, x).check()
    report = judge(loss, lambda x: hand(x, slip=0.1), x)
    assert wrong(report) == ["c"]
    assert report.rows[1].worst in {(1, 2, 0), (1, 1, 0)}  # where it is, or where it is read


def test_names_in_a_scan_under_vmap_and_jit():
    def loss(x):
        return jnp.sum(jax.jit(jax.vmap(recurrence))(x))

    def hand(x):
        (bars, deltas) = zip(*map(recurrence_by_hand, np.asarray(x)), strict=True)
        stacked = {name: np.stack([delta[name] for delta in deltas]) for name in ("c", "out")}
        return (np.stack([bar for (bar,) in bars]),), stacked

    x = RNG.normal(size=(2, STEPS, N))
    report = judge(loss, hand, x)
    report.check()


def test_without_deltas_there_is_nothing_local():
    report = judge(lambda x: jnp.sum(x**2), lambda x: (2 * x,), V)
    assert report.rows == ()
    assert report.not_applicable == (("local", "the derivation gives no deltas of named values"),)


def test_a_value_may_be_called_what_an_argument_is_called():
    def loss(x):
        return jnp.sum(checkpoint_name(2 * x, "x") ** 2)

    report = judge(loss, lambda x: ((8 * x,), {"x": 4 * x}), V)
    report.check()
    assert [row.name for row in report.rows] == ["x", "argument x"]
    assert wrong(judge(loss, lambda x: ((8 * x,), {"x": 5 * x}), V)) == ["x", "argument x"]
    assert wrong(judge(loss, lambda x: ((9 * x,), {"x": 4 * x}), V)) == ["argument x"]


def test_vjp_takes_deltas_too():
    def f(x):
        return jnp.sin(checkpoint_name(2 * x, "doubled"))

    def hand(args, y_bar, factor=1.0):
        delta = factor * y_bar * np.cos(2 * args[0])
        return (2 * delta,), {"doubled": delta}

    verify.vjp(f, hand, V, checks=(local,)).check()
    report = verify.vjp(f, lambda args, y_bar: hand(args, y_bar, factor=-1.0), V, checks=(local,))
    assert wrong(report) == ["doubled"]


@pytest.mark.parametrize(
    ("f", "name", "message"),
    [
        (lambda x: jnp.sum(checkpoint_name(x, "a")), "b", r"a delta for 'b', the function names only \['a'\]"),
        (lambda x: jnp.sum(checkpoint_name(x, "a") + checkpoint_name(x, "a")), "a", "2 values are named 'a'"),
    ],
)
def test_a_delta_needs_one_named_value(f, name, message):
    with pytest.raises(ValueError, match=message):
        judge(f, lambda x: ((np.ones(N),), {name: np.ones(N)}), V)
