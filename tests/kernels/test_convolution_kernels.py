"""The kernels of convolution against XLA's own, where they stand and inside the operations that choose them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxnets import verify
from jaxnets.kernels.images import over_tiles
from jaxnets.kernels.patches import patches
from jaxnets.kernels.pointwise import pointwise
from jaxnets.kernels.winograd import winograd
from jaxnets.ops._geometry import window_of
from jaxnets.ops.convolution import conv2d, conv_transpose2d
from jaxnets.ops.convolution._cpu import kernel_for
from jaxnets.rule import autodiff

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
ZEROS = st.tuples(st.integers(0, 4), st.integers(0, 4))


def integers(seed, *shapes):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.integers(-8, 9, shape), float) for shape in shapes)


def normal(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)


def plain(x, w, b, *, stride=(1, 1), padding=((0, 0), (0, 0)), groups=1):
    """XLA's convolution, without any rule."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    z = lax.conv_general_dilated(x, w, stride, padding, dimension_numbers=dimensions, feature_group_count=groups)
    return z + b[None, None, None]


def pulled_back(f, *args):
    (z_bar,) = integers(7, jax.eval_shape(f, *args).shape)

    @jax.jit  # one program to compile in place of one for every operation
    def both(*args):
        z, pull_back = jax.vjp(f, *args)
        return z, *pull_back(z_bar.astype(z.dtype))

    return both(*args)


def assert_exact(kernel, wanted, *args):
    """Without any tolerance: everything is a sum of products of small integers."""
    for got, true in zip(pulled_back(kernel, *args), pulled_back(wanted, *args), strict=True):
        np.testing.assert_array_equal(got, true)


def error(got, true):
    got, true = np.asarray(got, np.float64), np.asarray(true, np.float64)
    return np.abs(got - true).max() / np.abs(true).max()


@pytest.mark.usefixtures("x64")
def test_pointwise():
    assert_exact(pointwise, plain, *integers(0, (3, 4, 5, 2), (1, 1, 2, 6), (6,)))


@settings(max_examples=4, deadline=None)
@given(PAIR, PAIR, st.tuples(ZEROS, ZEROS), PAIR, st.integers(1, 3))
def test_patches(kernel, stride, padding, more, batch):
    (height, width), (rows, columns) = kernel, more
    with jax.enable_x64():
        args = integers(1, (batch, height + rows, width + columns, 2), (height, width, 2, 3), (3,))
        assert_exact(*(partial(f, stride=stride, padding=padding) for f in (patches, plain)), *args)


@settings(max_examples=4, deadline=None)
@given(st.tuples(st.integers(3, 10), st.integers(3, 10)), st.tuples(ZEROS, ZEROS), st.integers(1, 3))
def test_winograd_of_any_size_and_padding(size, padding, batch):
    with jax.enable_x64():
        args = integers(2, (batch, *size, 2), (3, 3, 2, 3), (3,))
        assert_exact(*(partial(f, padding=padding) for f in (winograd, plain)), *args)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kernel", [winograd, patches])
@pytest.mark.parametrize("empty", [(0, 2, 3), (2, 0, 3), (2, 2, 0)])
def test_without_examples_channels_or_filters(kernel, empty):
    batch, channels, filters = empty
    assert_exact(kernel, plain, *integers(4, (batch, 8, 8, channels), (3, 3, channels, filters), (filters,)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("kernel", "shapes"),
    [
        (winograd, ((43, 18, 23, 2), (3, 3, 2, 3), (3,))),
        (partial(patches, stride=(1, 2)), ((53, 14, 26, 2), (2, 2, 2, 3), (3,))),
        (pointwise, ((7, 40, 40, 3), (1, 1, 3, 2), (2,))),
    ],
)
def test_batches_of_several_tiles(kernel, shapes, monkeypatch):
    monkeypatch.setattr("jaxnets.kernels.pointwise._LARGE", 7 * 40 * 40 * 3)
    wanted = partial(plain, **getattr(kernel, "keywords", {}))
    assert_exact(kernel, wanted, *integers(3, *shapes))
    assert "scan" in str(jax.make_jaxpr(kernel)(*integers(3, *shapes)))


def test_tiles_are_of_one_size_and_filled_up_with_zeros():
    seen = []

    def step(total, a):
        seen.append(a.shape)
        return total + a.sum(0), 2 * a

    a = jnp.arange(22.0).reshape(11, 2)
    total, doubled = over_tiles(step, jnp.zeros(2), (a,), 4)
    np.testing.assert_array_equal(total, a.sum(0))
    np.testing.assert_array_equal(doubled, 2 * a)
    assert set(seen) == {(4, 2)}
    for most, size in ((11, 11), (10, 6), (2, 1)):
        over_tiles(step, jnp.zeros(2), (a,), most)
        assert seen[-1] == (size, 2)
    over_tiles(step, jnp.zeros(2), (a[:8],), 7)
    assert seen[-1] == (4, 2)


def test_winograd_in_float32_is_within_its_bound():
    """The bound of the docstring, at the shapes of a deep network: 2e-5 of the largest entry of a result."""
    narrow = normal(4, np.float32, (8, 8, 8, 256), (3, 3, 256, 64), (64,))
    padding = ((1, 1), (1, 1))
    got = pulled_back(partial(winograd, padding=padding), *narrow)
    with jax.enable_x64():
        true = pulled_back(partial(plain, padding=padding), *(a.astype(float) for a in narrow))
    errors = [error(ours, theirs) for ours, theirs in zip(got, true, strict=True)]
    assert max(errors) <= 2e-5
    assert errors[0] > 1e-6  # and it is no better than the docstring says


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("kernel", [pointwise, patches, winograd])
def test_the_dtype_stays(kernel, dtype):
    size = 1 if kernel is pointwise else 3
    args = normal(5, dtype, (6, 14, 30, 2), (size, size, 2, 3), (3,))
    got = pulled_back(kernel, *args)
    assert [leaf.dtype for leaf in got] == [dtype] * 4
    with jax.enable_x64():
        true = pulled_back(plain, *(a.astype(float) for a in args))
    bound = max(16 * float(jnp.finfo(dtype).eps), 2e-5 if kernel is winograd else 0)
    assert max(error(ours, theirs) for ours, theirs in zip(got, true, strict=True)) <= bound


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kernel", [pointwise, patches, winograd])
def test_the_bias_may_be_left_out(kernel):
    size = 1 if kernel is pointwise else 3
    x, w = integers(6, (2, 5, 5, 2), (size, size, 2, 3))
    z, *bars = pulled_back(kernel, x, w)
    np.testing.assert_array_equal(z, plain(x, w, jnp.zeros(3)))
    assert len(bars) == 2


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("kernel", "size"), [(pointwise, 1), (partial(patches, stride=(2, 1), padding=((0, 1), (2, 0))), 3), (winograd, 3)]
)
def test_verified(kernel, size):
    verify.rules(kernel, *normal(8, np.float64, (2, 5, 7, 3), (size, size, 3, 4), (4,))).check()


ONES = {"padding": ((1, 1), (1, 1))}
CHOSEN = {
    "pointwise": ({}, (3, 5, 6, 4), (1, 1, 4, 2)),
    "winograd": (ONES, (9, 8, 7, 32), (3, 3, 32, 40)),
    "patches": ({**ONES, "stride": (2, 2)}, (3, 8, 7, 32), (3, 3, 32, 40)),
    "groups": ({**ONES, "groups": 2}, (9, 8, 7, 64), (3, 3, 32, 80)),
}


@pytest.mark.parametrize("name", CHOSEN)
class TestChosenByConv2d:
    """On a CPU by shape, in float32: XLA's convolution does not occur then, and occurs everywhere else."""

    def layer(self, name, dtype=np.float32):
        static, x, w = CHOSEN[name]
        return partial(conv2d, **static), partial(plain, **static), normal(9, dtype, x, w, w[3:])

    def lowered(self, function, args, platform):
        return jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text()

    def test_on_a_cpu_only(self, name):
        layer, _, args = self.layer(name)
        for f in (layer, jax.grad(lambda *args: layer(*args).sum(), (0, 1, 2))):
            assert "stablehlo.convolution" not in self.lowered(f, args, "cpu")
            assert "stablehlo.convolution" in self.lowered(f, args, "tpu")

    def test_in_float32_only(self, name):
        with jax.enable_x64():
            layer, _, args = self.layer(name, np.float64)
            assert "stablehlo.convolution" in self.lowered(layer, args, "cpu")

    def test_the_residuals_are_the_arguments(self, name):
        static, *_ = CHOSEN[name]
        layer, _, args = self.layer(name)
        _, residuals = layer.func.forward(*args, **static)
        for residual, argument in zip(residuals, args, strict=True):
            assert residual is argument

    def test_right_with_and_without_its_rule(self, name):
        layer, wanted, args = self.layer(name)
        true = pulled_back(wanted, *args)
        for f in (layer, autodiff(layer)):
            for got, theirs in zip(pulled_back(f, *args), true, strict=True):
                assert error(got, theirs) <= 2e-5

    def test_under_vmap_and_scan(self, name):
        layer, wanted, (x, w, b) = self.layer(name)

        def slope(f, x):
            return jax.grad(lambda w: (f(x, w, b) ** 2).sum())(w)

        images = jnp.stack([x, 2 * x])
        true = np.stack([slope(wanted, x) for x in images])
        assert error(jax.vmap(partial(slope, layer))(images), true) <= 2e-5
        scanned = lax.scan(lambda carry, x: (carry, slope(layer, x)), None, images)[1]
        assert error(scanned, true) <= 2e-5


@pytest.mark.parametrize("name", CHOSEN)
def test_the_transposed_convolution_has_the_same_kernels(name):
    """The way back of the layer, and back again: XLA's convolution does not occur, and the numbers are its own."""
    static, size, shape = CHOSEN[name]
    x, w = normal(11, np.float32, size, shape)
    u, pull_back = jax.vjp(lambda x: plain(x, w, jnp.zeros(shape[3:]), **static), x)
    back = partial(conv_transpose2d, size=size[1:3], **static)
    both = jax.jit(lambda u, w, y_bar: jax.vjp(back, u, w)[1](y_bar))
    assert "stablehlo.convolution" not in jax.jit(back).lower(u, w).as_text()
    assert "stablehlo.convolution" not in both.lower(u, w, x).as_text()
    assert error(back(u, w), pull_back(u)[0]) <= 2e-5
    with jax.enable_x64():
        true = both(*(a.astype(float) for a in (u, w, x)))
    assert max(error(ours, theirs) for ours, theirs in zip(both(u, w, x), true, strict=True)) <= 2e-5


def test_what_no_kernel_does_stays_with_xla():
    x, w = normal(10, np.float32, (2, 8, 8, 32), (3, 3, 32, 32))
    for kernels, static in ((w, {"dilation": (2, 2)}), (w[:, :, :2], {"groups": 16})):
        lowered = jax.jit(partial(conv2d, **static)).lower(x, kernels).as_text()
        assert "stablehlo.convolution" in lowered


@pytest.mark.parametrize(("examples", "size", "channels"), [(9, 8, 15), (1, 5, 64)])
def test_few_channels_or_blocks_are_not_for_winograd(examples, size, channels):
    x, w = normal(10, np.float32, (examples, size, size, channels), (3, 3, channels, channels))
    chosen = kernel_for(x, w, window_of("", x, w, (1, 1), ONES["padding"], (1, 1), 1))
    assert chosen.__name__ == "patches"


X, W = jnp.ones((2, 5, 6, 4)), jnp.ones((3, 3, 4, 6))


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pointwise(X, W), r"pointwise: w has kernels \(3, 3\), wanted \(1, 1\)"),
        (lambda: winograd(X, W[:2]), r"winograd: w has kernels \(2, 3\), wanted \(3, 3\)"),
        (lambda: patches(X[0], W), r"patches: wanted images NHWC and kernels HWIO, got x \(5, 6, 4\)"),
        (lambda: patches(X, W[:, :, :3]), r"patches: x has 4 channels, w expects 3"),
        (lambda: patches(X, W.astype(jnp.bfloat16)), r"patches: x is float32, w is bfloat16"),
        (lambda: winograd(X, W, jnp.ones(5)), r"winograd: b is float32\[5\], wanted float32\[6\]"),
        (lambda: patches(X, W, stride=(0, 1)), r"patches: stride is \(0, 1\)"),
        (lambda: winograd(X, W, padding=((0, -1), (0, 0))), r"winograd: padding is \(\(0, -1\), \(0, 0\)\), wanted"),
        (lambda: patches(X[:, :2], W), r"patches: a kernel \(3, 3\) does not fit into an image \(2, 6\)"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
