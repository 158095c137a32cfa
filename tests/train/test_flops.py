"""Operations counted in the jaxpr: against closed forms, and against XLA's count where it is right."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from jax.experimental import pallas

from jaxnets.kernels.mlp_sgd import sgd_step
from jaxnets.nets import mlp
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic
from jaxnets.rule import autodiff
from jaxnets.train import Flops, State, flops, gradient_step, init_state


def of(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def xla_count(f, *args):
    return jax.jit(f).lower(*args).compile().cost_analysis()["flops"]


def test_a_matrix_product():
    assert flops(jnp.matmul, of(3, 5), of(5, 7)) == Flops(2 * 3 * 5 * 7, exact=True)
    assert flops(jnp.dot, of(5), of(5)) == Flops(10)
    assert flops(functools.partial(jnp.einsum, "bik,kbj->bij"), of(2, 3, 5), of(5, 2, 7)) == Flops(2 * 2 * 3 * 5 * 7)


def test_a_scan_counts_its_turns_and_xla_does_not():
    def powers(a):
        return lax.scan(lambda c, _: (c @ a, None), a, length=7)[0]

    a = jnp.ones((64, 64))
    assert flops(powers, a) == Flops(7 * 2 * 64**3)
    assert xla_count(powers, a) < 1.1 * 2 * 64**3
    nested = jax.jit(lambda a: lax.fori_loop(0, 3, lambda _, c: powers(c), a))
    assert flops(nested, a) == Flops(3 * 7 * 2 * 64**3)


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 9, 8, 3), (5, 3, 3, 4), {}),
        ((2, 9, 8, 3), (5, 3, 3, 4), {"padding": ((2, 2), (1, 0))}),
        ((2, 9, 8, 3), (5, 3, 3, 4), {"window_strides": (2, 3), "padding": ((2, 1), (1, 1))}),
        ((2, 9, 8, 3), (3, 2, 3, 4), {"rhs_dilation": (2, 3), "padding": ((1, 1), (2, 1))}),
        ((2, 5, 4, 3), (3, 2, 3, 4), {"lhs_dilation": (2, 3), "padding": ((2, 2), (1, 1))}),
        ((2, 9, 8, 6), (5, 3, 2, 9), {"feature_group_count": 3}),
        ((6, 9, 8, 3), (5, 3, 3, 9), {"batch_group_count": 3}),
    ],
)
def test_a_convolution_counts_what_xla_does(x, w, options):
    options = {"window_strides": (1, 1), "padding": ((0, 0), (0, 0))} | options

    def convolve(x, w):
        return lax.conv_general_dilated(x, w, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)

    counted = flops(convolve, of(*x), of(*w))
    assert counted == Flops(int(jax.jit(convolve).lower(of(*x), of(*w)).cost_analysis()["flops"]))


def test_a_convolution_in_closed_form():
    convolve = functools.partial(lax.conv, window_strides=(1, 1), padding="VALID")
    assert flops(convolve, of(8, 3, 28, 28), of(6, 3, 5, 5)) == Flops(2 * 8 * 24 * 24 * 6 * 3 * 5 * 5)


def test_what_is_not_needed_does_not_count():
    def one_of_two(a, b):
        _, second = jax.jit(lambda: (a @ b, b @ a))()
        return second

    assert flops(one_of_two, of(3, 5), of(5, 3)) == Flops(2 * 5 * 3 * 5)


def test_the_branch_of_the_platform():
    def product(a):
        return lax.platform_dependent(a, cpu=lambda a: a @ a, cuda=lambda a: a, default=lambda a: a @ a @ a)

    counts = {name: flops(product, of(4, 4), platform=name).count for name in ("cpu", "cuda", "tpu")}
    assert counts == {"cpu": 2 * 4**3, "cuda": 0, "tpu": 2 * 2 * 4**3}
    if jax.default_backend() == "cpu":
        assert flops(product, of(4, 4)).count == counts["cpu"]


def test_what_depends_on_values_is_not_exact():
    def either(a):
        return lax.cond(a[0, 0] > 0, lambda a: a @ a, lambda a: a @ a @ a, a)

    def until(a):
        return lax.while_loop(lambda a: a[0, 0] > 0, lambda a: a @ a, a)

    assert flops(either, of(4, 4)) == Flops(2 * 2 * 4**3, exact=False)
    assert flops(until, of(4, 4)) == Flops(2 * 4**3, exact=False)
    assert flops(lambda a: lax.scan(lambda c, _: (until(c), None), a, length=5)[0], of(4, 4)) == Flops(640, False)
    # Nothing is lost where no products depend on it.
    assert flops(lambda a: lax.while_loop(lambda a: a[0] > 0, lambda a: a - 1, a), of(4)) == Flops(0)
    assert flops(lambda a: lax.cond(a[0, 0] > 0, lambda a: a @ a, lambda a: a @ a.T, a), of(4, 4)) == Flops(128)


def test_functions_inside_functions():
    @jax.custom_jvp
    def square(a):
        return a @ a

    square.defjvp(lambda primals, tangents: (square(*primals), tangents[0]))
    assert flops(lambda a: jax.checkpoint(square)(a), of(4, 4)) == Flops(128)
    assert flops(jax.vmap(square), of(3, 4, 4)) == Flops(3 * 128)


def test_over_all_devices():
    mesh = jax.make_mesh((1,), ("examples",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.PartitionSpec("examples")
    product = jax.shard_map(lambda a: a @ a.T, mesh=mesh, in_specs=split, out_specs=split)
    assert flops(product, of(4, 4)) == Flops(128)
    abstract = jax.sharding.AbstractMesh((4,), ("examples",))
    product = jax.shard_map(lambda a: a @ jnp.ones((4, 4)), mesh=abstract, in_specs=split, out_specs=split)
    assert flops(product, of(8, 4)) == Flops(2 * 8 * 4 * 4)


def test_a_kernel_that_runs_it_is_not_known_how_often():
    def kernel(a, out):
        out[...] = a[...] @ a[...]

    with pytest.raises(NotImplementedError, match="how often 'pallas_call' runs the products"):
        flops(pallas.pallas_call(kernel, out_shape=of(4, 4)), of(4, 4))


def test_a_step_of_an_mlp_and_the_kernel_that_runs_several():
    loss = functools.partial(mlp.loss, activations=(sigmoid, sigmoid), cost=quadratic)
    params, optimizer = mlp.init(jax.random.key(0), (12, 6, 4)), optax.sgd(1.0)
    x, t = np.ones((10, 12), np.float32), np.ones((10, 4), np.float32)
    # Forward and to the weights in both layers, and to the input in the second: nothing asks for it in the first.
    wanted = Flops(2 * 10 * (2 * 12 * 6 + 3 * 6 * 4))
    assert flops(gradient_step(loss, optimizer), init_state(params, optimizer), (x, t)) == wanted
    assert flops(gradient_step(autodiff(loss), optimizer), init_state(params, optimizer), (x, t)) == wanted
    for group, more in ((1, 0), (5, 1)):
        several = sgd_step(activations=(sigmoid, sigmoid), cost=quadratic, learning_rate=1.0, batch_size=2, group=group)
        counted = flops(several, State(params, ()), (x, t))
        assert counted.exact
        assert (counted.count > wanted.count) == more
