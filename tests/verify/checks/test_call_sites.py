"""Every rule where it stands: the wrong one is found and named, wherever it is, and right ones are left in peace."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import verify
from jaxnets.ops.activations import softmax
from jaxnets.ops.affine import affine
from jaxnets.rule import rule
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.call_sites import call_sites


def tanh_forward(z):
    a = jnp.tanh(z)
    return a, a


def tanh_backward(a, a_bar):
    return ((1 - a**2) * a_bar,)


def slightly_wrong_backward(a, a_bar):
    return ((1 - a**2) * a_bar * (1 + 1e-6),)


tanh = rule(tanh_forward, tanh_backward)
wrong_tanh = rule(tanh_forward, slightly_wrong_backward)
wrong_affine = rule(affine.forward, lambda r, z_bar: (z_bar @ r.w.T, -(r.x.T @ z_bar), z_bar.sum(0)))

KEYS = jax.random.split(jax.random.key(1), 3)
X, W, B = jax.random.normal(KEYS[0], (5, 3)), jax.random.normal(KEYS[1], (3, 7)), jax.random.normal(KEYS[2], (7,))


def rules(f, *args):
    return verify.rules(f, *args, checks=(call_sites, against_autodiff))


def wrong(report):
    return [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]


def test_a_right_rule_passes_with_a_row_for_each_leaf_and_each_input_of_the_rule():
    report = rules(affine, X, W, B)
    assert report.ok
    assert report.first_wrong is None
    assert [row.name for row in report.rows] == [
        "rule affine, input 0",
        "rule affine, input 1",
        "rule affine, input 2",
        "x",
        "w",
        "b",
    ]
    assert report.worst_error <= 1e-15


def test_the_wrong_rule_is_named_and_the_right_one_before_it_is_not_blamed():
    report = rules(lambda x, w, b: tanh(wrong_affine(tanh(affine(x, w, b)) @ w.T, w, b)), X, W, B)
    assert report.first_wrong is not None
    assert report.first_wrong.name == "rule affine #2, input 1"
    assert wrong(report) == ["rule affine #2, input 1", "w"]


def test_a_part_in_a_million_is_seen_and_its_worst_entry_is_named():
    report = rules(lambda x: wrong_tanh(x), X)
    assert wrong(report) == ["rule tanh, input 0", "x"]
    assert report.first_wrong is not None
    assert report.first_wrong.error == pytest.approx(1e-6, rel=1e-4)


def in_scan(x):
    return jax.lax.scan(lambda c, row: (wrong_tanh(c + row), tanh(c)), x[0], x)


def in_vmap(x):
    return jax.vmap(lambda row: wrong_tanh(row) + tanh(row))(x)


def in_jit(x):
    return jax.jit(lambda x: tanh(wrong_tanh(x)))(x)


def in_cond(x):
    return jax.lax.cond(x[0, 0] < 100.0, wrong_tanh, tanh, x)


def in_remat(x):
    return jax.checkpoint(lambda x: tanh(wrong_tanh(x)))(x)


@pytest.mark.parametrize("f", [in_scan, in_vmap, in_jit, in_cond, in_remat])
def test_a_wrong_rule_is_found_inside_everything(f):
    report = rules(f, X)
    sites = [row for row in report.rows if row.name.startswith("rule")]
    assert len(sites) == 2
    assert [row.error for row in sites if row.verdict is verify.Verdict.WRONG] == [pytest.approx(1e-6, rel=1e-3)]


def test_a_branch_that_is_not_taken_is_not_blamed():
    report = rules(lambda x: jax.lax.cond(x[0, 0] < 100.0, tanh, wrong_tanh, x), X)
    assert report.ok


def test_rules_of_other_libraries_are_verified_too():
    report = rules(lambda x: optax.scale_gradient(x, 0.5) * 3.0, X)
    assert wrong(report)[0].startswith("rule _scale_gradient")

    def reversed_gradient(x):
        class Reverse(nn.Module):
            @nn.compact
            def __call__(self, x):
                def forward(module, x):
                    return nn.vjp(lambda module, x: x**3, module, x)

                def backward(pull_back, y_bar):
                    params_bar, x_bar = pull_back(y_bar)
                    return params_bar, -x_bar

                return nn.custom_vjp(lambda module, x: x**3, forward_fn=forward, backward_fn=backward)(self, x)

        return Reverse().apply({}, x)

    assert not rules(reversed_gradient, X).ok


def test_nan_equals_nothing():
    nan = rule(lambda x: (jnp.sqrt(x), x), lambda x, y_bar: (y_bar * jnp.nan,))
    report = rules(nan, jnp.ones(3))
    assert wrong(report) == ["rule <lambda>, input 0", "x"]
    assert np.isnan(report.worst_error)


def test_integers_and_static_arguments_pass_through():
    def take_forward(table, index, *, scale):
        return scale * table[index], (table, index)

    def take_backward(residuals, y_bar, *, scale):
        table, index = residuals
        return jnp.zeros_like(table).at[index].add(scale * y_bar), None

    take = rule(take_forward, take_backward)
    index = jnp.array([2, 2, 0])
    assert rules(lambda table, index: take(table, index, scale=3.0), X, index).ok
    overwriting = rule(
        take_forward,
        lambda r, y_bar, *, scale: (jnp.zeros_like(r[0]).at[r[1]].set(scale * y_bar), None),
    )
    report = rules(lambda table, index: overwriting(table, index, scale=3.0), X, index)
    assert report.first_wrong is not None
    assert report.first_wrong.worst is not None
    assert report.first_wrong.worst[0] == 2  # the row that is read twice


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_a_right_rule_is_not_called_wrong_where_it_cancels(seed):
    """At logits of ±100 p (p_bar - Σ p p_bar) loses all digits in some rows: rounding, which the noise explains."""
    report = rules(softmax, 60 * jax.random.normal(jax.random.key(seed), (5, 3)))
    assert report.first_wrong is None


def test_a_wrong_rule_is_still_called_wrong_where_it_cancels():
    wrong = rule(softmax.forward, lambda p, p_bar: (p * (p_bar - 0.5 * jnp.sum(p * p_bar, -1, keepdims=True)),))
    report = rules(wrong, 60 * jax.random.normal(jax.random.key(3), (5, 3)))
    assert report.first_wrong is not None
    assert report.first_wrong.name == "rule softmax, input 0"


@pytest.mark.parametrize(
    ("f", "args", "message"),
    [
        (jnp.tanh, (X,), "tanh holds no custom-VJP rule"),
        (tanh, (jnp.arange(3),), "no argument of tanh is a floating-point array"),
        (lambda x: jnp.argmax(tanh(x)), (X,), "returns no floating-point array"),
        (tanh, (jnp.array([1.0, jnp.nan]),), "z is not finite"),
    ],
)
def test_what_cannot_be_verified_is_refused(f, args, message):
    with pytest.raises(ValueError, match=message):
        rules(f, *args)


def test_a_rule_that_is_wrong_at_one_of_many_steps_is_found():
    """Wrong where its input is above 2, which happens at the first of 40 steps: the last one of the backward pass."""
    clipped = rule(lambda z: (jnp.sin(z), z), lambda z, bar: (bar * jnp.where(z < 2.0, jnp.cos(z), 0.0),))

    def f(x):
        return jax.lax.scan(lambda c, row: (c, clipped(row)), 0.0, x)[1]

    inputs = jnp.linspace(0.5, 1.5, 40)
    assert rules(f, inputs).ok
    report = verify.rules(f, inputs.at[0].set(2.5), checks=(call_sites,))
    assert wrong(report) == ["rule <lambda>, input 0"]


def test_another_subgradient_at_a_kink_is_no_mistake():
    def relu_with_slope(at_zero):
        return rule(
            lambda z: (jax.nn.relu(z), z),
            lambda z, bar: (bar * jnp.where(z == 0.0, at_zero, jnp.where(z > 0, 1.0, 0.0)),),
        )

    x = jnp.array([-1.0, 0.0, 2.0])
    report = rules(lambda x: 3.0 * relu_with_slope(1.0)(x), x)
    report.check()
    assert [row.verdict for row in report.rows[:2]] == [verify.Verdict.SUBGRADIENT] * 2
    assert wrong(rules(lambda x: 3.0 * relu_with_slope(5.0)(x), x)) == ["rule <lambda>, input 0", "x"]


def test_it_is_about_rules_only():
    report = verify.gradient(lambda x: jnp.sum(tanh(x)), lambda x: (1 - jnp.tanh(x) ** 2,), X, checks=(call_sites,))
    assert [check for check, _ in report.not_applicable] == ["call_sites"]
    assert report.rows == ()


def narrow(f):
    """A function of float64 that computes in float32, as mixed precision does."""
    return lambda z: f(z.astype(jnp.float32)).astype(z.dtype)


def test_a_rule_in_a_narrower_dtype_is_judged_by_its_own_rounding():
    verify.rules(narrow(tanh), np.ones(3)).check()
    doubled = rule(tanh_forward, lambda a, a_bar: (2 * tanh_backward(a, a_bar)[0],))
    report = verify.rules(narrow(doubled), np.linspace(0.1, 1, 3))
    assert report.first_wrong.name.startswith("rule tanh")
    assert "the constant factor 2" in report.first_wrong.diagnosis[0].text


def test_a_python_number_may_be_an_argument_of_a_rule():
    scaled = jax.custom_vjp(lambda z, by, upside_down: jnp.where(upside_down, -by * z, by * z))
    scaled.defvjp(lambda z, by, upside_down: (by * z, by), lambda by, y_bar: (1.5 * by * y_bar, None, None))
    report = verify.rules(lambda z: scaled(z, 2.0, False), np.linspace(0.1, 1, 3))
    assert report.first_wrong.name.endswith("input 0")


def test_a_wrong_rule_that_takes_a_key_is_named():
    masked = rule(
        lambda key, x: (jnp.where(mask := jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0), mask),
        lambda mask, y_bar: (None, jnp.where(mask, y_bar, 0)),
    )
    report = verify.rules(lambda x: masked(jax.random.key(1), x), np.linspace(0.1, 1, 9))
    assert report.first_wrong.name.endswith("input 1")
    assert "the constant factor 0.5" in report.first_wrong.diagnosis[0].text


WEIGHTS = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("factor", [1, 2])
def test_a_rule_may_close_over_an_array(factor):
    weighted = rule(
        lambda z: (jnp.sum(jnp.asarray(WEIGHTS) * z**2), z), lambda z, y_bar: (factor * y_bar * 2 * WEIGHTS * z,)
    )
    report = verify.rules(lambda z: jax.vmap(weighted)(z), np.linspace(0.1, 1, 6).reshape(2, 3))
    assert report.ok is (factor == 1)
    if factor == 2:
        assert report.first_wrong.name.endswith("input 0")
        assert "the constant factor 2" in report.first_wrong.diagnosis[0].text
