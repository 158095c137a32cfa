"""The fused layer, by its kernel and as the composition, against autodiff of XLA's own operations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxnets import verify
from jaxnets.kernels.conv_relu_pool import NONE, conv_relu_pool
from jaxnets.ops.convolution import conv_relu_pool as operation
from jaxnets.rule import autodiff

ZEROS = st.tuples(st.integers(0, 3), st.integers(0, 3))


def plain(x, w, b, *, padding=((0, 0), (0, 0))):
    """By XLA's operations, with their conventions: slope 0 at the kink, the first of several largest."""
    z = lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    a = jax.nn.relu(z + b[None, None, None])
    return lax.reduce_window(a, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def draw(seed, dtype, *shapes):
    """Small integers, among which there are many ties and zeros."""
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.integers(-2, 3, shape), dtype) for shape in shapes)


def pulled_back(f, *args):
    (y_bar,) = draw(7, args[0].dtype, jax.eval_shape(f, *args).shape)

    @jax.jit  # one program to compile in place of one for every operation
    def both(*args):
        y, pull_back = jax.vjp(f, *args)
        return y, *pull_back(y_bar)

    return both(*args)


def assert_exact(f, g, *args):
    for got, true in zip(pulled_back(f, *args), pulled_back(g, *args), strict=True):
        np.testing.assert_array_equal(got, true)


@settings(max_examples=4, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(ZEROS, ZEROS),
    st.integers(1, 3),
)
def test_exact_on_integers_with_ties(kernel, more, padding, batch):
    (height, width), (rows, columns) = kernel, more
    shapes = (batch, height + rows, width + columns, 2), (height, width, 2, 3), (3,)
    with jax.enable_x64():
        args = draw(rows + columns, float, *shapes)
        for f in (conv_relu_pool, autodiff(conv_relu_pool), operation, autodiff(operation)):
            assert_exact(partial(f, padding=padding), partial(plain, padding=padding), *args)


@pytest.mark.usefixtures("x64")
def test_large_batches_go_in_tiles():
    args = draw(1, float, (131, 4, 5, 2), (2, 3, 2, 3), (3,))
    assert_exact(conv_relu_pool, plain, *args)
    assert "scan" in str(jax.make_jaxpr(conv_relu_pool)(*args))


@pytest.mark.parametrize("f", [conv_relu_pool, operation])
@pytest.mark.parametrize("empty", [(0, 2, 3), (2, 0, 3), (2, 2, 0)])
def test_without_examples_channels_or_filters(f, empty):
    batch, channels, filters = empty
    args = draw(9, np.float32, (batch, 5, 6, channels), (3, 3, channels, filters), (filters,))
    assert_exact(f, plain, *args)


@pytest.mark.usefixtures("x64")
def test_verified():
    rng = np.random.default_rng(2)
    args = [jnp.asarray(rng.normal(size=shape)) for shape in ((2, 6, 8, 3), (4, 3, 3, 5), (5,))]
    for f in (conv_relu_pool, operation):
        verify.rules(partial(f, padding=((1, 0), (2, 1))), *args).check()


def test_the_winners_are_bytes_and_the_same_on_every_platform():
    args = draw(3, np.float32, (3, 7, 8, 2), (3, 2, 2, 4), (4,))
    y, by_kernel = conv_relu_pool.forward(*args)
    same_y, on_this_cpu = operation.forward(*args)
    with jax.enable_x64():
        _, by_composition = operation.forward(*(a.astype(float) for a in args))
    np.testing.assert_array_equal(y, same_y)
    for residuals in (by_kernel, on_this_cpu, by_composition):
        assert residuals.switches.dtype == jnp.int8
        np.testing.assert_array_equal(residuals.switches, by_kernel.switches)
    np.testing.assert_array_equal(by_kernel.switches == NONE, y == 0)
    assert set(np.unique(by_kernel.switches)) == {0, 1, 2, 3, NONE}


def test_the_kernel_is_chosen_on_a_cpu_in_float32_only():
    args = draw(4, np.float32, (3, 7, 8, 2), (3, 2, 2, 4), (4,))

    def lowered(f, args, platform):
        return jax.jit(f).trace(*args).lower(lowering_platforms=(platform,)).as_text()

    for f in (operation, jax.grad(lambda *args: operation(*args).sum(), (0, 1, 2))):
        assert "stablehlo.convolution" not in lowered(f, args, "cpu")
        assert "stablehlo.convolution" in lowered(f, args, "tpu")
    with jax.enable_x64():
        assert "stablehlo.convolution" in lowered(operation, [a.astype(float) for a in args], "cpu")


def test_under_vmap_and_scan():
    x, w, b = draw(5, np.float32, (2, 3, 7, 8, 2), (3, 2, 2, 4), (4,))

    def slope(f, x):
        return jax.grad(lambda w: (f(x, w, b) ** 2).sum())(w)

    true = jnp.stack([slope(plain, images) for images in x])
    np.testing.assert_array_equal(jax.vmap(partial(slope, operation))(x), true)
    np.testing.assert_array_equal(lax.scan(lambda c, images: (c, slope(operation, images)), None, x)[1], true)


@pytest.mark.parametrize("f", [conv_relu_pool, operation])
def test_nan_goes_through_and_has_no_cotangent(f):
    x, w, b = draw(6, np.float32, (1, 4, 4, 1), (1, 1, 1, 1), (1,))
    w = jnp.ones_like(w)
    y, pull_back = jax.vjp(f, x.at[0, 1, 0, 0].set(jnp.nan), w, b)
    assert jnp.isnan(y[0, :, :, 0]).tolist() == [[True, False], [False, False]]
    assert not pull_back(jnp.ones_like(y))[0][0, :2, :2].any()


@pytest.mark.parametrize("f", [conv_relu_pool, operation])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_stays(f, dtype):
    args = draw(8, dtype, (2, 5, 5, 2), (2, 2, 2, 3), (3,))
    got, true = pulled_back(f, *args), pulled_back(plain, *(a.astype(jnp.float32) for a in args))
    for ours, theirs in zip(got, true, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours.astype(jnp.float32), theirs)


X, W, B = jnp.ones((2, 5, 6, 4)), jnp.ones((3, 3, 4, 6)), jnp.ones(6)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize("f", [conv_relu_pool, operation])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X[0], W, B), r"wanted images NHWC and kernels HWIO, got x \(5, 6, 4\)"),
        ((X, W[:, :, :3], B), r"x has 4 channels, w expects 3"),
        ((X, W, B[:5]), r"b is float32\[5\], wanted float32\[6\]"),
        ((X[:, :3], W, B), r"the convolution has outputs \(1, 4\), wanted at least \(2, 2\) to pool"),
    ],
)
def test_what_does_not_fit_is_named(f, args, message):
    with pytest.raises(ValueError, match=f"conv_relu_pool: {message}"):
        f(*args)
