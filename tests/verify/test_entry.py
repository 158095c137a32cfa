"""verify.gradient and verify.vjp: derivations written as ordinary functions, NumPy ones too, with their deltas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.ops.affine import affine
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.contract import contract
from jaxnets.verify.checks.local import local

RNG = np.random.default_rng(0)
W1, W2, X, T = (RNG.normal(size=size) for size in ((3, 4), (4, 2), (5, 3), (5, 2)))


def loss(w1, w2, x, t):
    z1 = checkpoint_name(x @ w1, "z1")
    z2 = checkpoint_name(jnp.tanh(z1) @ w2, "z2")
    return 0.5 * jnp.sum((jnp.tanh(z2) - t) ** 2)


def by_hand(w1, w2, x, t, slope=lambda a: 1 - a**2):
    """NumPy on purpose: a derivation need not be traceable."""
    w1, w2, x, t = map(np.asarray, (w1, w2, x, t))
    a1 = np.tanh(x @ w1)
    a2 = np.tanh(a1 @ w2)
    d2 = (a2 - t) * slope(a2)
    d1 = (d2 @ w2.T) * (1 - a1**2)
    return (x.T @ d1, a1.T @ d2, d1 @ w1.T, t - a2), {"z1": d1, "z2": d2}


def wrong(report):
    return [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]


def test_a_right_derivation_passes_with_its_deltas_in_the_order_of_the_backward_pass():
    report = verify.gradient(loss, by_hand, W1, W2, X, T, checks=(local,))
    report.check()
    assert [row.name for row in report.rows] == ["z2", "z1", "w1", "w2", "x", "t"]
    assert {row.check for row in report.rows} == {"local"}
    assert report.worst_error < 1e-14


def test_the_first_wrong_equation_is_the_one_that_is_wrong():
    def hand(*args):
        return by_hand(*args, slope=lambda a: 1 - a)  # tanh' = 1 - a², not 1 - a

    report = verify.gradient(loss, hand, W1, W2, X, T, checks=(local, against_autodiff))
    assert report.first_wrong is not None
    assert (report.first_wrong.name, report.first_wrong.check) == ("z2", "local")
    assert wrong(report) == ["z2"]
    # What the leaves inherited shows where the derivation is looked at as a whole, and is not blamed.
    assert [row.name for row in report.rows if row.verdict is verify.Verdict.INHERITED] == ["w1", "w2", "x"]


def test_without_deltas_the_wrong_leaf_is_named_with_its_worst_entry():
    def hand(*args):
        grads, _ = by_hand(*args)
        grads[0][2, 1] += 0.5
        return grads

    row = verify.gradient(loss, hand, W1, W2, X, T, checks=(against_autodiff,)).first_wrong
    assert row is not None
    assert (row.name, row.worst) == ("w1", (2, 1))
    assert row.hand is not None
    assert row.truth is not None
    assert row.hand - row.truth == pytest.approx(0.5)


def test_vjp_uses_a_random_cotangent_of_the_outputs_structure():
    seen = []

    def f(x, w):
        return {"z": x @ w, "n": jnp.int32(3)}

    def hand(args, y_bar):
        x, w = args
        seen.append(np.asarray(y_bar["z"]))
        return y_bar["z"] @ w.T, x.T @ y_bar["z"]

    def all_ones(args, y_bar):
        return y_bar["z"] @ args[1].T, args[0].T @ np.ones((5, 4))

    verify.vjp(f, hand, X, W1, checks=(against_autodiff,)).check()
    assert np.std(seen[0]) > 0.1
    assert wrong(verify.vjp(f, all_ones, X, W1, checks=(against_autodiff,))) == ["w"]


def test_the_seed_draws_the_cotangent():
    seen = {}

    def report(seed):
        def hand(args, y_bar):
            seen.setdefault(seed, np.asarray(y_bar))
            return (2 * np.asarray(args[0]) * np.asarray(y_bar),)

        return verify.vjp(lambda x: x**2, hand, X, seed=seed, checks=(contract,))

    assert "seed=7" in report(7).reproduce
    report(8).check()
    assert not np.array_equal(seen[7], seen[8])


def test_pytrees_integers_and_python_floats():
    def f(params, index, scale):
        return scale * jnp.sum(params["w"][index] ** 2)

    def hand(params, index, scale):
        table, index = np.asarray(params["w"]), np.asarray(index)
        w = np.zeros((4, 2))
        np.add.at(w, index, 2 * float(scale) * table[index])
        return {"w": w}, None, np.sum(table[index] ** 2)

    report = verify.gradient(f, hand, {"w": W2}, np.array([1, 1, 3]), 2.5, checks=(against_autodiff,))
    report.check()
    assert [row.name for row in report.rows] == ["params['w']", "scale"]


def test_everything_is_in_float64_and_the_callers_precision_is_left_alone():
    seen = []

    def hand(w):
        seen.append(w.dtype)
        return (2 * w,)

    verify.gradient(lambda w: jnp.sum(w**2), hand, W1.astype(np.float32), checks=(against_autodiff,)).check()
    assert set(seen) == {np.dtype(np.float64)}
    assert jnp.asarray(1.0).dtype == jnp.float32


def test_two_arguments_that_are_a_tuple_and_a_dict_are_not_taken_for_deltas():
    def f(pair, named):
        return jnp.sum(checkpoint_name(pair[0] * named["s"], "product")) + jnp.sum(pair[1] ** 2)

    def gradients(pair, named):
        return (named["s"] * np.ones(3), 2 * pair[1]), {"s": np.sum(pair[0])}

    args = (np.ones(3), np.arange(2.0)), {"s": np.float64(2.0)}
    verify.gradient(f, gradients, *args, checks=(against_autodiff,)).check()
    report = verify.gradient(f, lambda *args: (gradients(*args), {"product": np.ones(3)}), *args, checks=(local,))
    report.check()
    assert report.rows[0].name == "product"


def test_the_truth_never_uses_a_rule_inside_the_loss():
    @jax.custom_vjp
    def lying_square(z):
        return z**2

    lying_square.defvjp(lambda z: (z**2, z), lambda z, bar: (bar * z,))

    def f(w, x):  # affine's own rule would give the same; a wrong rule must not become the truth
        return jnp.sum(lying_square(affine(x, w, jnp.zeros(4))))

    def report(factor):
        hand = lambda w, x: (factor * x.T @ (x @ w), factor * (x @ w) @ w.T)
        return verify.gradient(f, hand, W1, X, checks=(against_autodiff,))

    assert report(2).ok
    assert not report(1).ok


@pytest.mark.parametrize(
    ("f", "args", "message"),
    [
        (lambda x: x, (np.ones(3),), r"verify.gradient: <lambda> returns shapes \[\(3,\)\], wanted one scalar"),
        (lambda x: jnp.sum(x), (np.array([1.0, np.inf]),), "x is not finite"),
        (lambda n: jnp.sum(n), (np.arange(3),), "no argument of <lambda> is a floating-point array"),
        (lambda x: jnp.argmax(x), (np.ones(3),), "returns no floating-point array"),
    ],
)
def test_what_cannot_be_verified_is_refused(f, args, message):
    with pytest.raises(ValueError, match=message):
        verify.gradient(f, lambda x: (x,), *args)
