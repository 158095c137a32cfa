"""Activation functions: values, derivatives of first and second order, kinks, tails and dtypes of every one of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.ops import activations, steps
from jaxnets.ops.affine import affine
from jaxnets.rule import Rule, autodiff, fix


class Case(NamedTuple):
    """An element-wise activation, its two derivatives, and another implementation of its value."""

    function: Rule[..., Any]
    prime: Callable[..., Any]
    second: Callable[..., Any]
    reference: Callable[..., Any]


def with_slope(slope):
    def prime(z):
        return activations.leaky_relu_prime(z, slope=slope)

    def second(z):
        return activations.leaky_relu_second(z, slope=slope)

    return Case(
        fix(activations.leaky_relu, slope=slope), prime, second, lambda z: jax.nn.leaky_relu(z, negative_slope=slope)
    )


CASES = {
    "unit_step": Case(
        steps.unit_step, steps.unit_step_prime, steps.unit_step_second, lambda z: jnp.heaviside(z, jnp.ones_like(z))
    ),
    "sign": Case(steps.sign, steps.sign_prime, steps.sign_second, jnp.sign),
    "piecewise_linear": Case(
        steps.piecewise_linear,
        steps.piecewise_linear_prime,
        steps.piecewise_linear_second,
        lambda z: jnp.clip(z + 0.5, 0, 1),
    ),
    "linear": Case(activations.linear, activations.linear_prime, activations.linear_second, lambda z: z),
    "sigmoid": Case(activations.sigmoid, activations.sigmoid_prime, activations.sigmoid_second, jax.nn.sigmoid),
    "tanh": Case(
        activations.tanh, activations.tanh_prime, activations.tanh_second, lambda z: 1 - 2 / (jnp.exp(2 * z) + 1)
    ),
    "softplus": Case(activations.softplus, activations.softplus_prime, activations.softplus_second, jax.nn.softplus),
    "relu": Case(activations.relu, activations.relu_prime, activations.relu_second, jax.nn.relu),
    "leaky_relu": Case(
        activations.leaky_relu, activations.leaky_relu_prime, activations.leaky_relu_second, jax.nn.leaky_relu
    ),
    "leaky_relu, slope 0.25": with_slope(0.25),
    "leaky_relu, slope -1": with_slope(-1.0),
}
OVER_AXIS = {
    "softmax": (activations.softmax, jax.nn.softmax),
    "log_softmax": (activations.log_softmax, jax.nn.log_softmax),
}
PUBLIC = [
    getattr(module, name + suffix)
    for module, names in (
        (steps, ["unit_step", "sign", "piecewise_linear"]),
        (activations, ["linear", "sigmoid", "tanh", "softplus", "relu", "leaky_relu"]),
    )
    for name in names
    for suffix in ("", "_prime", "_second")
]

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
over_axis = pytest.mark.parametrize(("function", "reference"), OVER_AXIS.values(), ids=OVER_AXIS.keys())
jitted = pytest.mark.parametrize("compiled", [lambda f: f, jax.jit], ids=["eager", "jit"])


def normal(seed, *shape, scale=1.0):
    return scale * jax.random.normal(jax.random.key(seed), shape)


def each(f, order=1):
    """The derivative of that order of a scalar function, at every entry of a vector."""
    for _ in range(order):
        f = jax.grad(f)
    return jax.vmap(f)


@every
@jitted
@pytest.mark.usefixtures("x64")
def test_value_is_that_of_another_implementation(case, compiled):
    z = normal(0, 5, 7, scale=3.0)
    chex.assert_trees_all_close(compiled(case.function)(z), case.reference(z), rtol=1e-12, atol=1e-15)


@every
@pytest.mark.usefixtures("x64")
def test_backward_pass_equals_autodiff_and_the_derivative_for_a_random_cotangent(case):
    z, a_bar = normal(1, 5, 7, scale=2.0), normal(2, 5, 7)
    (z_bar,) = jax.jit(lambda z, a_bar: jax.vjp(case.function, z)[1](a_bar))(z, a_bar)
    (true,) = jax.jit(lambda z, a_bar: jax.vjp(autodiff(case.function), z)[1](a_bar))(z, a_bar)
    chex.assert_trees_all_close(z_bar, true, rtol=1e-10)
    chex.assert_trees_all_close(z_bar, a_bar * case.prime(z), rtol=1e-10)


@every
@pytest.mark.usefixtures("x64")
def test_both_derivatives_equal_those_of_autodiff(case):
    z = normal(3, 40, scale=3.0)
    plain = autodiff(case.function)
    chex.assert_trees_all_close(case.prime(z), jax.jit(each(plain))(z), rtol=1e-10, atol=1e-14)
    chex.assert_trees_all_close(case.second(z), jax.jit(each(case.prime))(z), rtol=1e-10, atol=1e-14)
    chex.assert_trees_all_close(case.second(z), jax.jit(each(plain, order=2))(z), rtol=1e-10, atol=1e-14)


@every
@pytest.mark.usefixtures("x64")
def test_the_rule_can_be_differentiated_twice(case):
    z = normal(4, 40, scale=3.0)
    chex.assert_trees_all_close(jax.jit(each(case.function, order=2))(z), case.second(z), rtol=1e-10, atol=1e-14)


@every
@pytest.mark.usefixtures("x64")
def test_any_activation_serves_in_a_neuron_with_a_threshold(case):
    """y = a(Σ w x - θ), so ∂y/∂w = a'(z) x, ∂y/∂x = a'(z) w and ∂y/∂θ = -a'(z)."""
    x, w, theta = normal(5, 1, 3), normal(6, 3, 1), normal(7, 1)
    z = affine(x, w, -theta)
    gradient = jax.grad(lambda x, w, theta: case.function(affine(x, w, -theta))[0, 0], argnums=(0, 1, 2))
    x_bar, w_bar, theta_bar = jax.jit(gradient)(x, w, theta)
    slope = case.prime(z)
    chex.assert_trees_all_close(x_bar, slope * w.T, rtol=1e-12)
    chex.assert_trees_all_close(w_bar, x.T * slope, rtol=1e-12)
    chex.assert_trees_all_close(theta_bar, -slope[0], rtol=1e-12)


@every
def test_vmap_changes_nothing(case):
    z = normal(8, 4, 3)
    for f in (case.function, case.prime, case.second, jax.grad(lambda z: case.function(z).sum())):
        chex.assert_trees_all_close(*jax.jit(lambda z, f=f: (jax.vmap(f)(z), f(z)))(z), rtol=1e-6)


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_nothing_overflows_far_out_in_any_derivative(case, dtype):
    z = jnp.array([-1e4, -1e3, -104, -89, -20, -12, -1, -0.0, 0, 1, 12, 20, 89, 104, 1e3, 1e4], dtype)
    plain = autodiff(case.function)
    functions = [
        case.function,
        case.prime,
        case.second,
        *(each(case.function, order) for order in (1, 2)),
        *(each(plain, order) for order in (1, 2)),
        *(each(case.prime, order) for order in (1, 2)),
        each(case.second),
    ]
    chex.assert_tree_all_finite(jax.jit(lambda z: [f(z) for f in functions])(z))


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtype_is_kept(case, dtype):
    z = normal(9, 3, 2).astype(dtype)

    def everything(z):
        return case.function(z), case.prime(z), case.second(z), jax.vjp(case.function, z)[1](jnp.ones_like(z))[0]

    for y in jax.jit(everything)(z):
        assert y.dtype == jnp.dtype(dtype)
        assert not y.weak_type
        assert y.shape == (3, 2)


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_values_and_derivatives_are_accurate_to_a_few_units_in_the_last_place(case, dtype):
    z = normal(10, 200, scale=3.0).astype(dtype)
    tiny = float(jnp.finfo(dtype).smallest_normal)

    def everything(z):
        return case.function(z), case.prime(z), case.second(z)

    with jax.enable_x64():
        exact = jax.jit(everything)(z.astype(jnp.float64))
    for y, true in zip(everything(z), exact, strict=True):
        error = np.abs(np.asarray(y).astype(np.float64) - np.asarray(true))
        assert np.max(error / np.maximum(np.abs(true), tiny)) <= 8 * float(jnp.finfo(dtype).eps)


@every
def test_not_a_number_stays_visible(case):
    assert jnp.isnan(case.function(jnp.array(jnp.nan)))


@pytest.mark.parametrize(
    ("function", "left", "right"),
    [
        (steps.unit_step, 0.0, 1.0),
        (steps.sign, -1.0, 1.0),
        (steps.piecewise_linear, 0.0, 1.0),
        (activations.sigmoid, 0.0, 1.0),
        (activations.tanh, -1.0, 1.0),
        (activations.softplus, 0.0, np.inf),
        (activations.relu, 0.0, np.inf),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_limits_at_infinity(function, left, right):
    assert function(jnp.array([-jnp.inf, jnp.inf])).tolist() == [left, right]


# Kinks


@pytest.mark.parametrize(
    ("name", "z", "value", "slope"),
    [
        ("unit_step", 0.0, 1.0, 0.0),
        ("sign", 0.0, 0.0, 0.0),
        ("piecewise_linear", -0.5, 0.0, 0.0),
        ("piecewise_linear", 0.5, 1.0, 0.0),
        ("relu", 0.0, 0.0, 0.0),
        ("leaky_relu", 0.0, 0.0, 1.0),
        ("leaky_relu, slope 0.25", 0.0, 0.0, 1.0),
        ("leaky_relu, slope -1", 0.0, 0.0, 1.0),
    ],
)
def test_at_the_kink_value_and_slope_are_those_of_the_convention(name, z, value, slope):
    case = CASES[name]
    z = jnp.array(z)
    assert case.function(z) == value
    assert jax.grad(case.function)(z) == slope
    assert case.prime(z) == slope
    assert case.second(z) == 0
    assert jax.grad(jax.grad(case.function))(z) == 0


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_the_slope_at_the_kink_is_that_of_jax_nn(name):
    z = jnp.array([-0.0, 0.0])
    chex.assert_trees_all_equal(each(CASES[name].function)(z), each(CASES[name].reference)(z))


def test_other_ways_to_write_the_same_functions_have_other_slopes_at_the_kink():
    """What derivations/activations.md says of `jnp.clip` and `jnp.maximum`."""
    assert each(lambda z: jnp.clip(z + 0.5, 0, 1))(jnp.array([-0.5, 0.5])).tolist() == [0.5, 0.5]
    assert jax.grad(lambda z: jnp.maximum(z, 0))(0.0) == 0.5


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus"])
@pytest.mark.usefixtures("x64")
def test_where_the_stable_form_changes_its_branch_there_is_no_kink(name):
    case, zero = CASES[name], jnp.array(0.0)
    expected = {"sigmoid": (0.5, 0.25, 0.0), "tanh": (0.0, 1.0, 0.0), "softplus": (np.log(2.0), 0.5, 0.25)}[name]
    assert (case.function(zero), case.prime(zero), case.second(zero)) == expected
    for f in (case.function, autodiff(case.function)):
        derivatives = jax.jit(lambda z, f=f: (f(z), jax.grad(f)(z), jax.grad(jax.grad(f))(z)))(zero)
        np.testing.assert_allclose(derivatives, expected, rtol=1e-15)


@pytest.mark.parametrize("at_zero", [1.0, 0.0, 0.5])
def test_unit_step_in_its_three_conventions(at_zero):
    z = jnp.array([-2.0, -1e-30, -0.0, 0.0, 1e-30, 2.0])
    assert steps.unit_step(z, at_zero=at_zero).tolist() == [0.0, 0.0, at_zero, at_zero, 1.0, 1.0]
    chex.assert_trees_all_equal(each(lambda z: steps.unit_step(z, at_zero=at_zero))(z), jnp.zeros_like(z))
    chex.assert_trees_all_equal(steps.unit_step_prime(z, at_zero=at_zero), jnp.zeros_like(z))
    chex.assert_trees_all_equal(steps.unit_step_second(z, at_zero=at_zero), jnp.zeros_like(z))


@pytest.mark.usefixtures("x64")
def test_just_inside_its_kinks_the_piecewise_linear_unit_still_learns():
    inside = jnp.array([np.nextafter(-0.5, 0.0), np.nextafter(0.5, 0.0)])
    assert steps.piecewise_linear(inside)[1] == 1
    assert each(steps.piecewise_linear)(inside).tolist() == [1.0, 1.0]
    assert steps.piecewise_linear_prime(inside).tolist() == [1.0, 1.0]


def test_leaky_relu_is_a_maximum_only_for_slopes_between_0_and_1():
    z = jnp.array([-2.0, 3.0])
    for slope in (0.0, 0.25, 1.0):
        chex.assert_trees_all_equal(activations.leaky_relu(z, slope=slope), jnp.maximum(slope * z, z))
    assert activations.leaky_relu(z, slope=3.0).tolist() == [-6.0, 3.0]
    assert jnp.maximum(3.0 * z, z).tolist() == [-2.0, 9.0]


# Tails


@pytest.mark.parametrize("z", [40.0, 50.0, 300.0, 700.0])
@pytest.mark.usefixtures("x64")
def test_tails_keep_their_relative_accuracy(z):
    """All of these are e^-|z| times a constant; the terms left out are below one unit in the last place."""
    e = np.exp(-z)
    left, right = jnp.array(-z), jnp.array(z)
    for value, expected in (
        (activations.sigmoid(left), e),
        (jax.grad(activations.sigmoid)(left), e),
        (activations.sigmoid_prime(left), e),
        (activations.sigmoid_prime(right), e),
        (activations.sigmoid_second(left), e),
        (activations.sigmoid_second(right), -e),
        (activations.softplus(left), e),
        (jax.grad(activations.softplus)(left), e),
        (activations.softplus_prime(left), e),
        (activations.softplus_second(left), e),
        (activations.softplus_second(right), e),
        (activations.tanh_prime(left / 2), 4 * e),
        (activations.tanh_prime(right / 2), 4 * e),
        (activations.tanh_second(left / 2), 8 * e),
        (activations.tanh_second(right / 2), -8 * e),
        (activations.log_softmax(jnp.array([z, 0.0]))[1], -z),
        (-activations.log_softmax(jnp.array([z, 0.0]))[0], 0.0),
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-14, atol=e * 1e-14 if expected else e)


@pytest.mark.usefixtures("x64")
def test_from_a_rounded_output_the_right_tail_of_the_sigmoid_is_lost():
    """The price of keeping only a, as derivations/activations.md says; autodiff of `jax.nn.sigmoid` pays it too."""
    z = jnp.array(50.0)
    assert jax.grad(activations.sigmoid)(z) == jax.grad(jax.nn.sigmoid)(z) == 0
    assert jax.grad(autodiff(activations.sigmoid))(z) > 0


@pytest.mark.usefixtures("x64")
def test_second_derivative_of_the_sigmoid_is_accurate_near_its_zero():
    z = jnp.array([1e-12, -1e-9, 1e-6])
    np.testing.assert_allclose(activations.sigmoid_second(z), -z / 8, rtol=1e-11)  # its Taylor series begins so
    np.testing.assert_allclose(activations.tanh_second(z), -2 * z, rtol=1e-11)


@pytest.mark.usefixtures("x64")
def test_extremes_of_the_derivatives_of_the_sigmoid():
    z = jnp.linspace(-6, 6, 1201)
    assert activations.sigmoid_prime(z).max() <= activations.sigmoid_prime(jnp.array(0.0)) == 0.25
    top = jnp.array(-np.log(2 + np.sqrt(3)))
    np.testing.assert_allclose(activations.sigmoid_second(top), np.sqrt(3) / 18, rtol=1e-14)
    assert activations.sigmoid_second(z).max() <= np.sqrt(3) / 18


# Softmax


@over_axis
@pytest.mark.parametrize("shape", [(5,), (1,), (3, 1), (1, 4), (2, 3, 5)])
@pytest.mark.usefixtures("x64")
def test_softmax_value_and_backward_pass(function, reference, shape):
    z, y_bar = normal(11, *shape, scale=2.0), normal(12, *shape)

    @jax.jit
    def both(z, y_bar):
        return [(f(z), jax.vjp(f, z)[1](y_bar)[0]) for f in (function, autodiff(function), reference)]

    hand, true, jax_nn = both(z, y_bar)
    chex.assert_trees_all_close(hand, true, rtol=1e-12, atol=1e-15)
    chex.assert_trees_all_close(hand, jax_nn, rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("x64")
def test_softmax_jacobians_are_the_matrices_of_the_derivation():
    z = normal(13, 6)
    p = jax.nn.softmax(z)
    chex.assert_trees_all_close(jax.jacrev(activations.softmax)(z), jnp.diag(p) - jnp.outer(p, p), rtol=1e-13)
    chex.assert_trees_all_close(
        jax.jacrev(activations.log_softmax)(z), jnp.eye(6) - jnp.ones((6, 1)) * p[None], rtol=1e-13
    )


@pytest.mark.usefixtures("x64")
def test_softmax_sums_to_1_and_does_not_see_a_common_shift():
    z = normal(14, 4, 6, scale=5.0)
    p = activations.softmax(z)
    chex.assert_trees_all_close(p.sum(-1), jnp.ones(4), rtol=1e-15)
    chex.assert_trees_all_close(activations.softmax(z + 100.0), p, rtol=1e-12)
    chex.assert_trees_all_close(activations.log_softmax(z), jnp.log(p), rtol=1e-12)
    (z_bar,) = jax.vjp(activations.softmax, z)[1](normal(15, 4, 6))
    chex.assert_trees_all_close(z_bar.sum(-1), jnp.zeros(4), atol=1e-15)


@pytest.mark.usefixtures("x64")
def test_softmax_of_two_units_is_a_sigmoid():
    z = normal(16, 5, 2)
    chex.assert_trees_all_close(activations.softmax(z)[:, 0], activations.sigmoid(z[:, 0] - z[:, 1]), rtol=1e-14)


@over_axis
@pytest.mark.usefixtures("x64")
def test_softmax_can_be_differentiated_twice(function, reference):
    z, weights = normal(17, 5), normal(18, 5)

    @jax.jit
    def curvature(z):
        costs = [lambda z, f=f: jnp.sum(weights * f(z) ** 2) for f in (function, reference)]
        return [jax.jacrev(jax.grad(cost))(z) for cost in costs]

    chex.assert_trees_all_close(*curvature(z), atol=1e-13)


@over_axis
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_softmax_neither_overflows_nor_promotes(function, reference, dtype):
    z = jnp.array([[-1e4, 1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], dtype)

    @jax.jit
    def everything(z):
        (by_hand,) = jax.vjp(function, z)[1](jnp.ones_like(z))
        (true,) = jax.vjp(autodiff(function), z)[1](jnp.ones_like(z))
        twice = jax.grad(lambda z: jax.grad(lambda z: jnp.sum(function(z) ** 2))(z).sum())(z)
        return function(z), by_hand, true, twice

    for value in everything(z):
        chex.assert_tree_all_finite(value)
        assert value.dtype == jnp.dtype(dtype)
        assert not value.weak_type
    chex.assert_trees_all_close(function(z), reference(z), rtol=float(jnp.finfo(dtype).eps))


@over_axis
def test_softmax_of_a_masked_entry_has_no_gradient_there(function, reference):
    z = jnp.array([-jnp.inf, 1.0, 2.0])
    chex.assert_trees_all_close(function(z), reference(z), rtol=1e-6)
    z_bar = jax.grad(lambda z: function(z)[1])(z)
    assert z_bar[0] == 0
    chex.assert_tree_all_finite(z_bar)


@over_axis
def test_softmax_rows_are_independent(function, reference):
    del reference
    z = normal(19, 4, 5)
    chex.assert_trees_all_close(jax.vmap(function)(z), function(z), rtol=1e-6)
    (z_bar,) = jax.vjp(function, z)[1](jnp.zeros((4, 5)).at[2].set(normal(20, 5)))
    assert jnp.all(z_bar[2] != 0)
    assert jnp.all(jnp.delete(z_bar, 2, axis=0) == 0)


# Bad arguments


@pytest.mark.parametrize("function", PUBLIC, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("own_errors")
def test_integers_are_refused_by_name(function):
    with pytest.raises(TypeError, match=f"^{function.__name__}: z is int32, wanted a floating-point array"):
        function(jnp.arange(3))


@pytest.mark.usefixtures("own_errors")
def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match=r"^tanh: z is complex64, wanted a floating-point array"):
        activations.tanh(jnp.ones(3, jnp.complex64))


@over_axis
@pytest.mark.usefixtures("own_errors")
def test_softmax_refuses_what_has_no_entries_to_compare(function, reference):
    del reference
    name = function.__name__
    with pytest.raises(ValueError, match=rf"^{name}: z has shape \(\), wanted a last axis with at least one entry"):
        function(jnp.array(1.0))
    with pytest.raises(ValueError, match=rf"^{name}: z has shape \(2, 0\), wanted a last axis with at least one entry"):
        function(jnp.ones((2, 0)))
    with pytest.raises(TypeError, match=f"^{name}: z is bool, wanted a floating-point array"):
        function(jnp.array([True, False]))


# What the choice of the activation does to a network


def test_half_of_the_relus_are_exactly_0_for_symmetric_inputs_and_no_sigmoid_is():
    z = normal(21, 100_000)
    active = jnp.sum(activations.relu(z) > 0)
    assert jnp.sum(activations.relu(z) == 0) == z.size - active
    assert abs(int(active) / z.size - 0.5) < 0.01
    assert jnp.all(activations.sigmoid(z) > 0)
    # Counting a sigmoid as active above 1/2, it is active exactly as often as the relu of the same input.
    assert jnp.sum(activations.sigmoid(z) > 0.5) == active
    # A bias of minus one standard deviation leaves Φ(-1) = 15.9 % of the relus active.
    assert abs(int(jnp.sum(activations.relu(z - 1) > 0)) / z.size - 0.1587) < 0.01


@pytest.mark.usefixtures("x64")
def test_a_chain_of_sigmoids_multiplies_its_gradient_by_at_most_a_quarter_a_layer():
    def chain(z, length, bias):
        for _ in range(length):
            z = activations.sigmoid(z) + bias
        return z

    bounds = [0.25, 0.0625, 0.015625, 0.00390625, 0.0009765625]
    for length, bound in enumerate(bounds, 1):
        slope = jax.grad(chain)(jnp.array(0.0), length, -0.5)  # every weighted input is 0, where the slope is 1/4
        assert slope == bound
        slopes = jax.vmap(jax.grad(lambda z, length=length: chain(z, length, 0.3)))(normal(22, 200, scale=4.0))
        assert slopes.min() > 0
        assert slopes.max() < bound
