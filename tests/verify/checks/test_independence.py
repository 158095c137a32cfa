"""The check against the function alone: what it confirms, what only it catches, and what it must not blame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.verify.checks.independence import HIDDEN, independence

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5))
IMAGE, KERNEL = RNG.normal(size=(2, 6, 8, 3)), RNG.normal(size=(3, 3, 3, 4))


def judged(loss, hand, *args, level=verify.Level.QUICK):
    report = verify.gradient(loss, hand, *args, checks=(independence,), level=level)
    return report.rows[1] if report.rows[0].check == "contract" else report.rows[0]


def right(loss):
    """JAX's own gradient as a right derivation, None for what has no derivative."""

    def hand(*args):
        _, pull_back = jax.vjp(loss, *args)
        bars = pull_back(jnp.ones(()))
        return jax.tree.map(lambda bar: None if bar.dtype == jax.dtypes.float0 else bar, bars)

    return hand


def lstm(w, x):
    def step(carry, x_t):
        h, c = carry
        i, f, g, o = jnp.split(jnp.concatenate([x_t, h]) @ w, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = checkpoint_name(jax.nn.sigmoid(o) * jnp.tanh(c), "h")
        return (h, c), h

    _, h = jax.lax.scan(step, (jnp.zeros(3), jnp.zeros(3)), x)
    return jnp.sum(h**2)


def conv(x, w):
    return jax.lax.conv_general_dilated(x, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def max_pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def straight_through(x):
    return jnp.sum(jnp.sin(x + jax.lax.stop_gradient(jnp.round(2 * x) - x)) * x)


def identity_plus(x, change):
    return x + jax.lax.stop_gradient(change(x) - x)


@jax.custom_jvp
def rounded(x):
    return identity_plus(x, jnp.round)


rounded.defjvp(lambda primals, tangents: (rounded(*primals), tangents[0]))


@jax.custom_vjp
def rounded_again(x):
    return identity_plus(x, lambda x: jnp.round(4 * x) / 4)


rounded_again.defvjp(lambda x: (rounded_again(x), None), lambda _, y_bar: (y_bar,))


BY_COMPLEX_STEP = {
    "lstm": (lstm, RNG.normal(size=(8, 12)), X),
    "logsumexp": (lambda x, y: jnp.sum(jax.scipy.special.logsumexp(x * y, axis=1)), X, Y),
    "softmax": (lambda x, y: jnp.sum(y * jax.nn.softmax(3 * x)), X, Y),
    "relu": (lambda x, y: jnp.sum(jax.nn.relu(x @ y.T) ** 2), X, Y),
    "conv": (lambda x, w: jnp.sum(jnp.tanh(conv(x, w))), IMAGE, KERNEL),
    "straight through": (straight_through, X),
    "integers": (lambda w, i: jnp.sum(jnp.sin(w[i])), X, np.array([0, 2, 2])),
    "parameters": (lambda p, x: jnp.sum(jnp.tanh(x @ p["w"] + p["b"])), {"w": X.T, "b": np.ones((1, 4))}, Y),
    "zero gradient": (lambda x: jnp.sum(jnp.sign(x)), X),
    "huge": (lambda x: 1e40 * jnp.sum(x**3), X),
}


@pytest.mark.parametrize("case", BY_COMPLEX_STEP)
def test_a_right_derivation_is_confirmed_to_rounding(case):
    loss, *args = BY_COMPLEX_STEP[case]
    row = judged(loss, right(loss), *args)
    assert row.verdict is verify.Verdict.OK
    assert row.note.startswith("complex step")
    assert "kink" not in row.note
    assert row.error < 1e-14


BY_DIFFERENCES = {
    "max pool": (lambda x: jnp.sum(max_pool(x) ** 2), IMAGE),
    "erf": (lambda x, y: jnp.sum(jax.nn.gelu(x @ y.T, approximate=False)), X, Y),
    "lgamma": (lambda x: jnp.sum(jax.lax.lgamma(1 + x**2)), X),
    "cummax": (lambda x, y: jnp.sum(jax.lax.cummax(x, axis=1) * y), X, Y),
    "fft": (lambda x, y: jnp.sum(y * jnp.abs(jnp.fft.fft(x)) ** 2), X, Y),
    "erf, held": (lambda x: jnp.sum(jax.lax.erf(x + jax.lax.stop_gradient(jnp.round(x) - x)) * x), X),
    "held inside rules": (lambda x: jnp.sum(jax.lax.erf(rounded(rounded_again(x))) * x), X),
    "linear equations": (lambda x, y: jnp.sum(jnp.linalg.solve(x.T @ x + jnp.eye(x.shape[1]), x.T @ y) ** 2), X, Y),
    "inverse": (lambda x: jnp.sum(jnp.linalg.inv(x.T @ x + jnp.eye(x.shape[1])) ** 3), X),
    "complex argument": (lambda z: jnp.sum(jnp.abs(z) ** 4), X + 1j * Y),
    "near a kink": (lambda x: jnp.sum(jax.lax.cummax(x)) + jnp.sum(jax.lax.erf(x)), np.array([0.3, 0.301, 0.30101])),
}


@pytest.mark.parametrize("case", BY_DIFFERENCES)
def test_without_a_complex_form_differences_confirm_it(case):
    loss, *args = BY_DIFFERENCES[case]
    row = judged(loss, right(loss), *args)
    assert row.verdict is verify.Verdict.OK
    assert row.note.startswith("Richardson extrapolation")
    assert "kink" not in row.note
    assert row.error < 1e-8


def test_differences_find_what_is_wrong_too():
    def loss(x, y):
        return jnp.sum(y * max_pool(x) ** 2)

    y = RNG.normal(size=(2, 3, 4, 3))
    row = judged(loss, lambda *args: tuple(1.000001 * bar for bar in right(loss)(*args)), IMAGE, y)
    assert row.verdict is verify.Verdict.WRONG
    assert HIDDEN not in row.note


def test_outputs_of_two_precisions():
    f = lambda x: (jnp.sin(x), jnp.float32(2.0) * jnp.ones(3, jnp.float32), jnp.argmax(x))
    report = verify.vjp(f, lambda args, y_bar: (jnp.cos(args[0]) * y_bar[0],), X, checks=(independence,))
    assert report.rows[-1].verdict is verify.Verdict.OK
    assert report.rows[-1].note.startswith("complex step")


def test_a_wrong_imaginary_part_is_seen():
    loss = lambda z: jnp.sum(jnp.abs(z) ** 4)
    row = judged(loss, lambda z: (right(loss)(z)[0].real.astype(complex),), X + 1j * Y)
    assert row.verdict is verify.Verdict.WRONG


def test_numpy_derivations_and_keys():
    def loss(x, key):
        return jnp.sum(jnp.where(jax.random.bernoulli(key, 0.5, x.shape), jnp.tanh(x), 0.0))

    key = jax.random.key(1)
    kept = np.asarray(jax.random.bernoulli(key, 0.5, X.shape))
    assert 0 < kept.sum() < kept.size
    row = judged(loss, lambda x, key: (kept * (1 - np.tanh(np.asarray(x)) ** 2), None), X, key)
    assert (row.verdict, row.note) == (verify.Verdict.OK, "complex step; Taylor remainder of order 2.0")


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda primals, tangents: (cube(*primals), 2 * primals[0] ** 2 * tangents[0]))  # 3 x², not 2 x²


def loss_of_cubes(x, y):
    return jnp.sum(y * cube(x))


def test_a_rule_hidden_in_the_forward_pass_whose_mistake_the_derivation_shares_is_caught_by_this_check_alone():
    def hand(x, y):
        return 2 * y * x**2, x**3

    others = tuple(check for check in verify.BATTERY if check is not independence)
    verify.gradient(loss_of_cubes, hand, X, Y, checks=others).check()
    row = judged(loss_of_cubes, hand, X, Y)
    assert row.verdict is verify.Verdict.WRONG
    assert row.note.startswith(HIDDEN)
    assert row.note.endswith("Taylor remainder of order 1.0")


def test_where_autodiff_alone_is_wrong_it_says_so():
    row = judged(loss_of_cubes, lambda x, y: (3 * y * x**2, x**3), X, Y)
    assert row.verdict is verify.Verdict.WRONG
    assert row.note.startswith(HIDDEN)
    assert row.note.endswith("Taylor remainder of order 2.0")


def test_where_the_derivation_alone_is_wrong_autodiff_is_not_blamed():
    row = judged(lambda x, y: jnp.sum(y * x**3), lambda x, y: (2 * y * x**2, x**3), X, Y)
    assert row.verdict is verify.Verdict.WRONG
    assert row.note.startswith("by hand")


def test_a_relative_error_of_1e_8_in_every_entry_is_seen():
    def hand(x, y):
        return 3 * y * x**2 * (1 + 1e-8), x**3 * (1 + 1e-8)

    assert judged(lambda x, y: jnp.sum(y * x**3), hand, X, Y).verdict is verify.Verdict.WRONG


def test_a_rule_hidden_inside_a_custom_vjp_inside_a_scan_is_caught():
    @jax.custom_vjp
    def outer(x):
        return cube(x)

    outer.defvjp(lambda x: (cube(x), x), lambda x, y_bar: (2 * x**2 * y_bar,))

    def loss(x):
        return jnp.sum(jax.lax.scan(lambda c, x_t: (c, outer(x_t)), 0.0, x)[1])

    report = verify.rules(loss, X, checks=(independence,))
    assert report.rows[-1].verdict is verify.Verdict.WRONG
    assert report.rows[-1].note.startswith(HIDDEN)


def test_at_a_kink_it_is_compared_beside_it():
    at_zero = np.where(abs(X) < 0.7, 0.0, X)
    loss = lambda x, y: jnp.sum(y * jax.nn.relu(x))
    row = judged(loss, right(loss), at_zero, Y)
    assert row.verdict is verify.Verdict.OK
    assert row.note.startswith("complex step, beside a kink")
    wrong = judged(loss, lambda x, y: (np.where(x > 0, y, 0.1 * y), np.maximum(x, 0)), at_zero, Y)
    assert wrong.verdict is verify.Verdict.WRONG

    ties = np.round(2 * IMAGE) / 2
    pool = lambda x: jnp.sum(max_pool(x) ** 2)
    assert judged(pool, right(pool), ties).verdict is verify.Verdict.OK


V = RNG.normal(size=(5, 3))


def attention(q, k):
    return jnp.sum(jnp.sin(jax.nn.softmax(q @ k.T) @ V))


def attention_by_hand(q, k):
    q, k = np.asarray(q), np.asarray(k)
    p = np.exp(q @ k.T - (q @ k.T).max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    p_bar = np.cos(p @ V) @ V.T
    s_bar = p * (p_bar - (p_bar * p).sum(1, keepdims=True))
    return s_bar @ k, s_bar.T @ q


@pytest.mark.parametrize("hand", [attention_by_hand, right(attention)], ids=["NumPy", "JAX"])
def test_where_the_softmax_saturates_rounding_is_no_false_alarm(hand):
    generator = np.random.default_rng(0)
    q, k = generator.normal(size=(4, 6)), generator.normal(size=(5, 6))
    by_scale = [judged(attention, hand, scale * q, scale * k) for scale in (4, 8, 30)]
    assert all(row.ok for row in by_scale)
    assert [row.verdict for row in by_scale[:2]] == [verify.Verdict.OK, verify.Verdict.NO_POWER]
    assert all(row.error > 1e-10 for row in by_scale[:2])
    twice = judged(attention, lambda *args: tuple(2 * bar for bar in hand(*args)), 4 * q, 4 * k)
    assert twice.verdict is verify.Verdict.WRONG


def test_where_differences_have_no_power_nothing_is_concluded():
    def loss(x):
        return jnp.sum(jax.lax.erf(x) + 1e-7 * jnp.sin(1e6 * jnp.floor(1e9 * x)))

    row = judged(loss, right(loss), X)
    assert row.verdict is verify.Verdict.NO_POWER
    assert row.note.startswith("Richardson extrapolation is off by up to")
    assert row.ok


def test_full_level_looks_along_three_directions():
    row = judged(straight_through, right(straight_through), X, level=verify.Level.FULL)
    assert row.note == "complex step; Taylor remainder of order 2.0"
    wrong = verify.gradient(
        straight_through,
        lambda x: (2 * right(straight_through)(x)[0],),
        X,
        checks=(independence,),
        level=verify.Level.FULL,
    )
    assert [row.name for row in wrong.rows if row.check == "independence"] == [f"direction {i}" for i in (1, 2, 3)]


def test_a_cotangent_of_another_shape_is_wrong():
    assert judged(lambda x: jnp.sum(x**2), lambda x: (2 * x.T,), X).verdict is verify.Verdict.WRONG
