"""The one abstraction: `rule`, `fix`, and `autodiff` through everything that JAX can nest."""

import functools
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxnets.ops.affine import affine
from jaxnets.rule import autodiff, fix, rule

pytestmark = pytest.mark.usefixtures("x64")


def cube_forward(x):
    """x³, with a backward pass that is wrong on purpose: 2x² for 3x², so that each path shows which one it took."""
    return x**3, x


def cube_backward(x, y_bar):
    return (2 * x**2 * y_bar,)


cube = rule(cube_forward, cube_backward)

X = np.array([0.5, -1.5, 2.0])
BY_HAND, TRUE = 2 * X**2, 3 * X**2


def through(f):
    """The gradients of sum(f) by hand and by autodiff, and the two values."""
    return (
        jax.grad(lambda x: jnp.sum(f(x)))(X),
        jax.grad(autodiff(lambda x: jnp.sum(f(x))))(X),
        f(X),
        autodiff(f)(X),
    )


def scanned(x):
    return jax.lax.scan(lambda c, row: (c, cube(row)), 0.0, x)[1]


def switched(x):
    return jax.lax.switch(jnp.int32(1), [lambda v: v, cube, lambda v: -v], x)


def conditional(x):
    return jax.lax.cond(x[0] > 0, cube, lambda v: v, x)


def nested_forward(x):
    return cube(x), x


nested = rule(nested_forward, cube_backward)

PATHS = {
    "plain": cube,
    "jit": jax.jit(cube),
    "vmap": jax.vmap(cube),
    "jit of vmap of jit": jax.jit(jax.vmap(jax.jit(cube))),
    "scan": scanned,
    "scan under vmap": lambda x: jax.vmap(scanned)(x[None])[0],
    "jit in scan": lambda x: jax.lax.scan(lambda c, row: (c, jax.jit(cube)(row)), 0.0, x)[1],
    "switch": switched,
    "cond": conditional,
    "cond under jit": jax.jit(conditional),
    "remat": jax.checkpoint(cube),
    "remat of scan": jax.checkpoint(scanned),
    "rule in a rule": nested,
    "fori_loop": lambda x: jax.lax.fori_loop(0, 1, lambda _, v: cube(v), x),
    "map": lambda x: jax.lax.map(cube, x),
}


@pytest.mark.parametrize("path", PATHS)
def test_autodiff_takes_the_rule_out_wherever_it_stands(path):
    by_hand, true, value, plain_value = through(PATHS[path])
    np.testing.assert_array_equal(by_hand, BY_HAND)
    np.testing.assert_allclose(true, TRUE, rtol=1e-15)
    np.testing.assert_array_equal(value, plain_value)


def test_autodiff_enters_while_loops_forward():
    def f(x):
        return jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, cube(c[1])), (0, x))[1]

    np.testing.assert_array_equal(autodiff(f)(X), f(X))
    # Forward mode passes a while loop, but no custom VJP: it works only on the stripped function.
    _, tangent = jax.jvp(autodiff(f), (X,), (np.ones(3),))
    np.testing.assert_allclose(tangent, 9 * X**8, rtol=1e-14)
    with pytest.raises(TypeError):
        jax.jvp(f, (X,), (np.ones(3),))


def test_autodiff_enters_shard_map_and_shared_arguments_sum_over_the_shards():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    x, w, b = jnp.ones((4, 3)), jnp.ones((3, 2)), jnp.ones(2)
    shared = PartitionSpec()
    sharded = jax.shard_map(
        lambda x, w, b: affine(x, w, b),
        mesh=mesh,
        in_specs=(PartitionSpec("data"), shared, shared),
        out_specs=PartitionSpec("data"),
    )
    for f in (sharded, autodiff(sharded)):
        np.testing.assert_array_equal(jax.grad(lambda w, f=f: f(x, w, b).sum())(w), np.full((3, 2), 4.0))


def test_autodiff_keeps_pytrees_static_and_keyword_arguments():
    class Pair(NamedTuple):
        left: jax.Array
        right: jax.Array

    def f(pair, power, *, name, scale=1.0):
        assert isinstance(power, int)
        assert name == "kept"
        return {"out": cube(pair.left) * scale + pair.right**power, "none": None}

    pair = Pair(jnp.asarray(X), jnp.asarray(X))
    got = autodiff(f)(pair, 2, name="kept", scale=jnp.asarray(2.0))
    chex.assert_trees_all_equal(got, f(pair, 2, name="kept", scale=jnp.asarray(2.0)))
    grad = jax.grad(lambda pair: autodiff(f)(pair, 2, name="kept")["out"].sum())(pair)
    np.testing.assert_allclose(grad.left, TRUE, rtol=1e-15)
    np.testing.assert_allclose(grad.right, 2 * X, rtol=1e-15)


def test_autodiff_keeps_integers_and_keys():
    def f(key, index, x):
        return cube(x)[index] + jax.random.normal(key, dtype=x.dtype)

    key, index = jax.random.key(3), jnp.int32(2)
    assert autodiff(f)(key, index, X) == f(key, index, X)
    np.testing.assert_allclose(jax.grad(autodiff(f), 2)(key, index, X), [0, 0, 12.0], rtol=1e-15)


def test_a_function_without_rules_comes_back_with_identical_results():
    @jax.jit
    def f(x):
        return jnp.tanh(x) @ x, {"n": len(x), "norm": jnp.linalg.norm(x)}

    got, wanted = autodiff(f)(jnp.asarray(X)), f(jnp.asarray(X))
    chex.assert_trees_all_equal(got, wanted)
    assert autodiff(f).__name__ == "f"
    assert isinstance(autodiff(lambda x: (x, 2))(jnp.asarray(X))[1], int)


def test_autodiff_of_an_explicitly_sharded_jit_keeps_its_shardings():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, PartitionSpec("data"))
    f = jax.jit(cube, in_shardings=sharding, out_shardings=sharding)
    got = autodiff(f)(jax.device_put(X, sharding))
    assert got.sharding == f(jax.device_put(X, sharding)).sharding


def flax_gradient_reversal(x):
    """A plain custom_vjp held by a Flax module: the gradient is reversed, a rule that no autodiff would find."""

    class Reverse(nn.Module):
        @nn.compact
        def __call__(self, x):
            def f(module, x):
                return x**3

            def forward(module, x):
                y, pull_back = nn.vjp(f, module, x)
                return y, pull_back

            def backward(pull_back, y_bar):
                params_bar, x_bar = pull_back(y_bar)
                return params_bar, -x_bar

            return nn.custom_vjp(f, forward_fn=forward, backward_fn=backward)(self, x)

    return Reverse().apply({}, x)


def test_autodiff_takes_out_the_rules_of_other_libraries():
    # Flax: nn.custom_vjp hides a reversed gradient, autodiff sees the truth.
    by_hand, true, value, plain_value = through(flax_gradient_reversal)
    np.testing.assert_allclose(by_hand, -TRUE, rtol=1e-15)
    np.testing.assert_allclose(true, TRUE, rtol=1e-15)
    np.testing.assert_array_equal(value, plain_value)
    # Optax: scale_gradient is the identity whose rule scales what comes back.
    by_hand, true, value, plain_value = through(lambda x: optax.scale_gradient(x, 0.5))
    np.testing.assert_array_equal(by_hand, [0.5] * 3)
    np.testing.assert_array_equal(true, [1.0] * 3)
    np.testing.assert_array_equal(value, plain_value)


def test_autodiff_leaves_custom_jvp_rules_as_they_are():
    # jax.nn.relu is a custom JVP with slope 0 at 0; its plain computation, maximum(x, 0), has 1/2 there.
    f = lambda x: jax.nn.relu(x) + 0 * cube(x)
    assert jax.grad(autodiff(f))(0.0) == 0.0
    assert "custom_jvp_call" in str(jax.make_jaxpr(autodiff(f))(0.0))
    assert "custom_vjp_call" not in str(jax.make_jaxpr(autodiff(f))(0.0))


def test_autodiff_says_which_primitive_it_cannot_enter():
    @jax.custom_batching.custom_vmap
    def f(x):
        return cube(x)

    f.def_vmap(lambda size, batched, x: (x, True))
    with pytest.raises(NotImplementedError, match="cannot look inside the primitive 'custom_vmap_call'"):
        autodiff(f)(X)


def test_rule_keeps_its_name_doc_and_passes():
    assert (cube.__name__, cube.__doc__) == ("cube", cube_forward.__doc__)
    assert (cube.forward, cube.backward) == (cube_forward, cube_backward)


def test_second_derivatives_go_through_the_hand_derived_pass():
    second = jax.grad(jax.grad(lambda x: cube(x)))(2.0)
    assert second == 4 * 2.0  # d/dx 2x²


def scaled_forward(x, *, factor=2.0):
    return factor * x, ()


def scaled_backward(_, y_bar, *, factor):
    return (factor * y_bar,)


scaled = rule(scaled_forward, scaled_backward)


def test_static_arguments_are_keyword_only_and_have_defaults():
    assert scaled(jnp.float32(3.0)) == 6.0
    assert jax.jit(functools.partial(scaled, factor=3.0))(1.0) == 3.0
    assert jax.grad(scaled)(1.0) == 2.0
    assert jax.grad(functools.partial(scaled, factor=5.0))(1.0) == 5.0
    with pytest.raises(TypeError, match=r"factor is static .* got an array"):
        scaled(1.0, factor=jnp.asarray(2.0))
    with pytest.raises(TypeError, match=r"factor is static .* hashable"):
        scaled(1.0, factor=[2.0])


def test_fix_makes_a_rule_of_a_rule_with_its_static_arguments():
    steep = fix(scaled, factor=7.0)
    assert (steep.__name__, steep(1.0), jax.grad(steep)(1.0)) == ("scaled", 7.0, 7.0)
    with pytest.raises(TypeError):
        steep(1.0, factor=2.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no static argument 'slope'"):
        fix(scaled, slope=1.0)


def test_integers_and_keys_get_the_zero_that_jax_wants():
    def gather_forward(table, index, key):
        return table[index], (table, index)

    def gather_backward(residuals, y_bar):
        table, index = residuals
        return jnp.zeros_like(table).at[index].add(y_bar), None, None

    gather = rule(gather_forward, gather_backward)
    table, index, key = jnp.ones((4, 2)), jnp.array([1, 1, 3]), jax.random.key(0)
    grads = jax.grad(lambda *args: gather(*args).sum(), (0, 1, 2), allow_int=True)(table, index, key)
    np.testing.assert_array_equal(grads[0], [[0, 0], [2, 2], [0, 0], [1, 1]])
    assert grads[1].dtype == jax.dtypes.float0


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        ((1.0,), r"pair: backward returned 1 cotangents, wanted a tuple of 2, one for each of \['left', 'right'\]"),
        ([1.0, 1.0], "pair: backward returned a list"),
        ((np.ones(3), None), r"pair: the cotangent of right is None, wanted an array float64\[2\]"),
        ((np.ones(2), np.ones(2)), r"pair: the cotangent of left is float64\[2\], the argument is float64\[3\]"),
        ((np.ones(3), np.ones(2, np.float32)), r"the cotangent of right is float32\[2\], the argument is float64\[2\]"),
        (({"a": 1}, np.ones(2)), "the cotangent of left"),
    ],
)
def test_a_backward_pass_of_the_wrong_form_is_named_when_it_is_traced(bars, message):
    def pair_forward(left, right):
        return left.sum() + right.sum(), ()

    pair = rule(pair_forward, lambda _, y_bar: bars)
    with pytest.raises(ValueError, match=message):
        jax.make_jaxpr(jax.grad(pair, (0, 1)))(np.ones(3), np.ones(2))


def test_a_rule_names_all_its_arguments():
    def f(*args):
        return args, ()

    with pytest.raises(TypeError, match=r"f takes \*args"):
        rule(f, lambda residuals, y_bar: ())
