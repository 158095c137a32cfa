"""verify.gradient and verify.vjp: derivations written as ordinary functions, NumPy ones too, with their deltas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.ops.affine import affine

RNG = np.random.default_rng(0)
W1, W2, X, T = (RNG.normal(size=size) for size in ((3, 4), (4, 2), (5, 3), (5, 2)))


def loss(w1, w2, x, t):
    z1 = checkpoint_name(x @ w1, "z1")
    z2 = checkpoint_name(jnp.tanh(z1) @ w2, "z2")
    return 0.5 * jnp.sum((jnp.tanh(z2) - t) ** 2)


def by_hand(w1, w2, x, t, slope=lambda a: 1 - a**2, transpose=np.transpose):
    """NumPy on purpose: a derivation need not be traceable."""
    a1 = np.tanh(np.asarray(x) @ w1)
    a2 = np.tanh(a1 @ w2)
    d2 = (a2 - t) * slope(a2)
    d1 = (d2 @ transpose(np.asarray(w2))) * (1 - a1**2)
    return (x.T @ d1, a1.T @ d2, d1 @ w1.T, t - a2), {"z1": d1, "z2": d2}


def test_a_right_derivation_passes_with_its_deltas_in_the_order_of_the_backward_pass():
    report = verify.gradient(loss, by_hand, W1, W2, X, T)
    report.check()
    assert [row.name for row in report.rows] == ["z2", "z1", "w1", "w2", "x", "t"]
    assert report.worst_error < 1e-14


def test_the_first_wrong_equation_is_the_one_that_is_wrong():
    def hand(*args):
        return by_hand(*args, slope=lambda a: 1 - a)  # tanh' = 1 - a², not 1 - a

    report = verify.gradient(loss, hand, W1, W2, X, T)
    assert report.first_wrong is not None
    assert report.first_wrong.name == "z2"

    def hidden(*args):
        (w1, w2, x, t), deltas = by_hand(*args)
        return (w1, w2, x, t), deltas | {"z1": 1.000001 * deltas["z1"]}

    report = verify.gradient(loss, hidden, W1, W2, X, T)
    assert [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG] == ["z1"]


def test_without_deltas_the_wrong_leaf_is_named_with_its_worst_entry():
    def hand(*args):
        grads, _ = by_hand(*args)
        wrong = np.array(grads[0])
        wrong[2, 1] += 0.5
        return wrong, *grads[1:]

    report = verify.gradient(loss, hand, W1, W2, X, T)
    row = report.first_wrong
    assert row is not None
    assert (row.name, row.worst) == ("w1", (2, 1))
    assert row.hand is not None
    assert row.truth is not None
    assert row.hand - row.truth == pytest.approx(0.5)


def test_names_inside_jit_cond_remat_and_a_rule():
    def f(x):
        y = jax.jit(lambda x: checkpoint_name(2 * x, "doubled"))(x)
        y = jax.checkpoint(lambda y: checkpoint_name(jnp.sin(y), "sine"))(y)
        y = jax.lax.cond(True, lambda y: checkpoint_name(3 * y, "tripled"), lambda y: y, y)
        return jnp.sum(y)

    def hand(x):
        return (6 * np.cos(2 * x),), {"tripled": np.ones(4), "sine": np.full(4, 3.0), "doubled": 3 * np.cos(2 * x)}

    report = verify.gradient(f, hand, RNG.normal(size=4))
    report.check()
    assert len(report.rows) == 4


def test_vjp_uses_a_random_cotangent_of_the_outputs_structure():
    seen = []

    def f(x, w):
        return {"z": x @ w, "n": jnp.int32(3)}

    def hand(args, y_bar):
        x, w = args
        seen.append(np.asarray(y_bar["z"]))
        return y_bar["z"] @ w.T, x.T @ y_bar["z"]

    verify.vjp(f, hand, X, W1).check()
    assert np.std(seen[0]) > 0.1
    assert not verify.vjp(f, lambda args, y_bar: (y_bar["z"] @ args[1].T, args[0].T @ np.ones((5, 4))), X, W1).ok


def test_pytrees_integers_and_python_floats():
    def f(params, index, scale):
        return scale * jnp.sum(params["w"][index] ** 2)

    def hand(params, index, scale):
        w = np.zeros((4, 2))
        np.add.at(w, np.asarray(index), 2 * float(scale) * np.asarray(params["w"])[np.asarray(index)])
        return {"w": w}, None, np.sum(np.asarray(params["w"])[np.asarray(index)] ** 2)

    report = verify.gradient(f, hand, {"w": W2}, np.array([1, 1, 3]), 2.5)
    report.check()
    assert [row.name for row in report.rows] == ["params['w']", "scale"]


def test_the_truth_never_uses_a_rule_inside_the_loss():
    def lying(w, x):  # affine's own rule would give the same; a wrong rule must not become the truth
        return jnp.sum(optax_like(affine(x, w, jnp.zeros(4))))

    @jax.custom_vjp
    def optax_like(z):
        return z**2

    optax_like.defvjp(lambda z: (z**2, z), lambda z, bar: (bar * z,))
    assert verify.gradient(lying, lambda w, x: (x.T @ (2 * (x @ w)), 2 * (x @ w) @ w.T), W1, X).ok
    assert not verify.gradient(lying, lambda w, x: (x.T @ (x @ w), (x @ w) @ w.T), W1, X).ok


def test_wrong_shapes_are_a_wrong_row_and_wrong_structures_an_error():
    report = verify.gradient(lambda w: jnp.sum(w**2), lambda w: (2 * w.T,), W1)
    assert report.first_wrong is not None
    assert report.first_wrong.note == "shape [4, 3], wanted [3, 4]"
    for hand, message in [
        (lambda w: 2 * w, "hand returned a"),
        (lambda w: (2 * w, w), "hand returned 2 gradients"),
        (lambda w: (None,), "is None, wanted float64"),
        (lambda w: ({"w": w},), "holds a dict, wanted an array"),
    ]:
        with pytest.raises(ValueError, match=message):
            verify.gradient(lambda w: jnp.sum(w**2), hand, W1)


@pytest.mark.parametrize(
    ("f", "delta", "message"),
    [
        (lambda x: jnp.sum(checkpoint_name(x, "a")), "b", r"a delta for 'b', the function names only \['a'\]"),
        (lambda x: jnp.sum(checkpoint_name(x, "a") + checkpoint_name(x, "a")), "a", "2 values are named 'a'"),
        (
            lambda x: jnp.sum(jax.lax.scan(lambda c, r: (c, checkpoint_name(r, "a")), 0.0, x)[1]),
            "a",
            "'a' is inside a loop",
        ),
    ],
)
def test_a_delta_needs_one_named_value(f, delta, message):
    with pytest.raises(ValueError, match=message):
        verify.gradient(f, lambda x: ((np.ones(3),), {delta: np.ones(3)}), np.ones(3))


def test_a_loss_must_be_a_scalar():
    with pytest.raises(ValueError, match="wanted one scalar"):
        verify.gradient(lambda x: x, lambda x: (x,), np.ones(3))
