"""Convolutions against loops, autodiff, Flax and SciPy, over drawn shapes; exact on integers; their messages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets.ops.convolution import conv1d, conv2d, conv_transpose2d, convolve2d, local2d, rotate180, same
from jaxnets.rule import autodiff

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
ZEROS = st.tuples(st.integers(0, 3), st.integers(0, 3))
WINDOW = st.fixed_dictionaries(
    {"stride": PAIR, "padding": st.tuples(ZEROS, ZEROS), "dilation": PAIR, "groups": st.integers(1, 3)}
)


def integers(seed, *shapes):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.integers(-8, 9, shape), float) for shape in shapes)


def wide(*arrays):
    return (a.astype(jnp.float64) for a in arrays)


def assert_same_cotangents(f, *args):
    """By hand and by autodiff, without any tolerance: both sides are sums of products of small integers."""
    z, pull_back = jax.vjp(f, *args)
    (z_bar,) = (a.astype(z.dtype) for a in integers(len(args), z.shape))
    for by_hand, true in zip(pull_back(z_bar), jax.vjp(autodiff(f), *args)[1](z_bar), strict=True):
        np.testing.assert_array_equal(by_hand, true)
    return z


@settings(max_examples=8, deadline=None)
@given(WINDOW, PAIR, PAIR, st.integers(0, 4), st.integers(1, 3))
def test_any_window(window, kernel, per_group, more, batch):
    groups, (channels, filters) = window["groups"], per_group
    size = [d * (k - 1) + 1 + more for d, k in zip(window["dilation"], kernel, strict=True)]
    shapes = (batch, *size, groups * channels), (*kernel, channels, groups * filters), (groups * filters,)
    with jax.enable_x64():
        x, w, b = integers(more, *shapes)
        z = assert_same_cotangents(lambda x, w, b: conv2d(x, w, b, **window), x, w, b)
        u, c = integers(more + 1, z.shape, (groups * channels,))
        back = assert_same_cotangents(lambda u, w, c: conv_transpose2d(u, w, c, size=tuple(size), **window), u, w, c)
        assert jnp.vdot(u, z - b[None, None, None]) == jnp.vdot(back - c[None, None, None], x)


@settings(max_examples=8, deadline=None)
@given(WINDOW, st.sampled_from([(1, 1), (3, 3), (2, 3), (1, 4)]), PAIR, st.integers(0, 4), st.integers(1, 3))
def test_any_window_in_float32_is_exact_too(window, kernel, per_group, more, batch):
    groups, (channels, filters) = window["groups"], per_group
    size = [d * (k - 1) + 1 + more for d, k in zip(window["dilation"], kernel, strict=True)]
    shapes = (batch, *size, groups * channels), (*kernel, channels, groups * filters), (groups * filters,)
    x, w, b = (a.astype(jnp.float32) for a in integers(more, *shapes))
    # On a CPU, other formulas compute it in float32 than in float64.
    z = assert_same_cotangents(lambda x, w, b: conv2d(x, w, b, **window), x, w, b)
    spread = lambda u, w: conv_transpose2d(u, w, size=tuple(size), **window)
    (u,) = (a.astype(jnp.float32) for a in integers(more + 1, z.shape))
    back = assert_same_cotangents(spread, u, w)
    with jax.enable_x64():
        np.testing.assert_array_equal(z, conv2d(*wide(x, w, b), **window))
        np.testing.assert_array_equal(back, spread(*wide(u, w)))


def test_over_time_in_float32_is_exact_too():
    x, w, b = (a.astype(jnp.float32) for a in integers(3, (3, 11, 2), (3, 2, 4), (4,)))
    z = assert_same_cotangents(lambda x, w, b: conv1d(x, w, b, stride=2, padding=(1, 2), dilation=2), x, w, b)
    with jax.enable_x64():
        np.testing.assert_array_equal(z, conv1d(*wide(x, w, b), stride=2, padding=(1, 2), dilation=2))


def test_the_bias_may_be_left_out():
    with jax.enable_x64():
        x, w = integers(0, (2, 4, 5, 3), (2, 2, 3, 4))
        assert_same_cotangents(conv2d, x, w)
        np.testing.assert_array_equal(conv2d(x, w), conv2d(x, w, jnp.zeros(4)))
        assert_same_cotangents(conv_transpose2d, conv2d(x, w), w)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("groups", [1, 2])
def test_as_flax_computes_it(groups):
    x, w, b = integers(1, (2, 9, 8, 4), (3, 2, 4 // groups, 6), (6,))
    flax = nn.Conv(6, (3, 2), (2, 1), [(1, 0), (0, 2)], kernel_dilation=(1, 2), feature_group_count=groups)
    z = conv2d(x, w, b, stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), groups=groups)
    np.testing.assert_array_equal(z, flax.apply({"params": {"kernel": w, "bias": b}}, x))


@pytest.mark.usefixtures("x64")
def test_transposed_as_flax_computes_it():
    x, w = integers(2, (2, 3, 4, 5), (3, 2, 6, 5))
    flax = nn.ConvTranspose(6, (3, 2), (2, 3), "VALID", transpose_kernel=True, use_bias=False)
    wanted = flax.apply({"params": {"kernel": w}}, x)
    np.testing.assert_array_equal(conv_transpose2d(x, w, stride=(2, 3), size=wanted.shape[1:3]), wanted)


@pytest.mark.usefixtures("x64")
def test_over_time():
    x, w, b = integers(3, (3, 11, 2), (3, 2, 4), (4,))
    z = assert_same_cotangents(lambda x, w, b: conv1d(x, w, b, stride=2, padding=(1, 2), dilation=2), x, w, b)
    flax = nn.Conv(4, (3,), (2,), [(1, 2)], kernel_dilation=(2,))
    np.testing.assert_array_equal(z, flax.apply({"params": {"kernel": w, "bias": b}}, x))


@pytest.mark.usefixtures("x64")
def test_of_two_matrices():
    a, b = integers(4, (5, 4), (3, 6))
    y = assert_same_cotangents(convolve2d, a, b)
    np.testing.assert_array_equal(y, scipy.signal.convolve2d(a, b, mode="full"))
    np.testing.assert_array_equal(rotate180(convolve2d(rotate180(a), rotate180(b))), y)


@pytest.mark.usefixtures("x64")
def test_of_two_small_matrices_as_scipy_convolves_and_correlates_them():
    a, b = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.arange(1.0, 10.0).reshape(3, 3)
    full = [[1, 4, 7, 6], [7, 23, 33, 24], [19, 53, 63, 42], [21, 52, 59, 36]]
    for y in (convolve2d(a, b), convolve2d(b, a), scipy.signal.convolve2d(a, b)):
        np.testing.assert_array_equal(y, full)
    z = conv2d(b[None, :, :, None], a[:, :, None, None])[0, :, :, 0]
    for y in (z, convolve2d(b, rotate180(a))[1:-1, 1:-1], scipy.signal.correlate2d(b, a, mode="valid")):
        np.testing.assert_array_equal(y, [[37, 47], [67, 77]])


@pytest.mark.usefixtures("x64")
def test_without_sharing():
    window = {"stride": (2, 1), "padding": ((1, 0), (0, 2))}
    x, w, b = integers(5, (3, 8, 7, 2), (4, 6, 3, 4, 2, 5), (4, 6, 5))
    z = assert_same_cotangents(lambda x, w, b: local2d(x, w, b, **window), x, w, b)
    # Every place is a convolution of its own kernel, read at that place.
    for r, s in [(0, 0), (3, 5), (2, 1)]:
        np.testing.assert_array_equal(z[:, r, s], conv2d(x, w[r, s], b[r, s], **window)[:, r, s])
    patches = jax.lax.conv_general_dilated_local(
        x, w.transpose(0, 1, 4, 2, 3, 5).reshape(4, 6, 24, 5), (2, 1), ((1, 0), (0, 2)), (3, 4),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    np.testing.assert_array_equal(local2d(x, w, **window), patches)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (4, 5)])
def test_same_keeps_the_size(kernel):
    x, w = jnp.ones((1, 6, 7, 2)), jnp.ones((*kernel, 2, 3))
    assert conv2d(x, w, padding=same(kernel)).shape == (1, 6, 7, 3)
    assert conv2d(x, w, padding=same(kernel, (2, 1)), dilation=(2, 1)).shape == (1, 6, 7, 3)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_stays(dtype):
    args = jnp.ones((2, 5, 5, 2), dtype), jnp.ones((3, 3, 2, 4), dtype), jnp.ones(4, dtype)
    z, pull_back = jax.vjp(conv2d, *args)
    assert [leaf.dtype for leaf in (z, *pull_back(z))] == [dtype] * 4


def test_without_sharing_narrow_dtypes_are_summed_in_float32():
    """Twenty sums of 33 ones each: in bfloat16, one after the other, they would be 648."""
    x, w = jnp.ones((1, 1, 20, 33), jnp.bfloat16), jnp.ones((1, 1, 1, 20, 33, 1), jnp.bfloat16)
    z, pull_back = jax.vjp(local2d, x, w)
    assert (z.dtype, z.item()) == (jnp.bfloat16, 660)
    assert [bar.dtype for bar in pull_back(z)] == [jnp.bfloat16] * 2


X, W = jnp.ones((2, 5, 6, 4)), jnp.ones((3, 3, 4, 6))
LOCAL = jnp.ones((3, 4, 3, 3, 4, 2))


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("f", "args"),
    [
        (conv2d, (X, W)),
        (conv_transpose2d, (X[..., :3], W[..., :3])),
        (conv1d, (X[0], W[0])),
        (local2d, (X, LOCAL)),
        (convolve2d, (X[0, 0], X[0, 1])),
    ],
)
def test_integers_are_refused(f, args):
    with pytest.raises(TypeError, match=rf"{f.__name__}: [xa] is int32, wanted a floating-point array"):
        f(*(a.astype(int) for a in args))


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv2d(X[0], W), r"conv2d: wanted images NHWC and kernels HWIO, got x \(5, 6, 4\)"),
        (lambda: conv2d(X, W[:, :, :3]), r"conv2d: x has 4 channels, w expects 3"),
        (lambda: conv2d(X, W, groups=2), r"conv2d: x has 4 channels, w expects 4 in each of 2 groups"),
        (lambda: conv2d(X, W, groups=4), r"conv2d: groups is 4, wanted .* divides 4 channels and 6 filters"),
        (lambda: conv2d(X, W, groups=1.0), r"conv2d: groups is 1.0, wanted a positive integer"),
        (
            lambda: conv_transpose2d(X, W[..., :4], groups=3),
            r"conv_transpose2d: groups is 3, wanted .* divides the 4 channels of x",
        ),
        (lambda: conv2d(X, W, jnp.ones(5)), r"conv2d: b is float32\[5\], wanted float32\[6\]"),
        (lambda: conv2d(X, W.astype(jnp.bfloat16)), r"conv2d: x is float32, w is bfloat16"),
        (lambda: conv2d(X, W, stride=2), r"conv2d: stride is 2, wanted a pair of integers"),
        (lambda: conv2d(X, W, padding="SAME"), r"conv2d: padding is 'SAME', wanted pairs of integers"),
        (lambda: conv2d(X, W, padding=(1, 1)), r"conv2d: padding is \(1, 1\), wanted pairs of integers"),
        (lambda: conv_transpose2d(X[0], W), r"conv_transpose2d: wanted x NHWC and kernels HWIO"),
        (lambda: conv_transpose2d(jnp.ones((2, 5, 6, 6)), W, size=9), r"conv_transpose2d: size is 9, wanted a pair"),
        (lambda: local2d(X, jnp.ones((3, 5, 3, 3, 4, 2)), stride=1), r"local2d: stride is 1, wanted a pair"),
        (lambda: conv2d(X, W, stride=(0, 1)), r"conv2d: stride is \(0, 1\)"),
        (lambda: conv2d(X, W, padding=((0, -1), (0, 0))), r"conv2d: padding is .* wanted no negative number"),
        (lambda: conv2d(X, W, dilation=(3, 1)), r"conv2d: a kernel \(3, 3\) with dilation \(3, 1\) does not fit"),
        (lambda: conv_transpose2d(X, W), r"conv_transpose2d: x has 4 channels, w expects 6"),
        (
            lambda: conv_transpose2d(jnp.ones((2, 5, 6, 6)), W, size=(9, 8)),
            r"conv_transpose2d: an image of size \(9, 8\) is convolved to \(7, 6\), x has size \(5, 6\)",
        ),
        (
            lambda: conv_transpose2d(X[:, :1, :1], W[..., :4], padding=((3, 3), (3, 3))),
            r"conv_transpose2d: the result would have size \(-3, -3\)",
        ),
        (lambda: conv1d(X, W), r"conv1d: wanted x \(batch, time, features\)"),
        (lambda: conv1d(X[0], W[0], stride=(1, 1)), r"conv1d: stride is \(1, 1\), wanted an integer"),
        (lambda: conv1d(X[0], W[0], padding=1), r"conv1d: padding is 1, wanted a pair of integers \(before, after\)"),
        (lambda: same(3), r"same: kernel is 3, wanted a pair of integers"),
        (lambda: same((3, 0)), r"same: kernel is \(3, 0\) and dilation \(1, 1\), wanted positive numbers"),
        (
            lambda: convolve2d(X[0, 0], X[0, 0].astype(jnp.bfloat16)),
            r"convolve2d: a is float32, b is bfloat16, wanted one dtype",
        ),
        (lambda: convolve2d(X, W), r"convolve2d: wanted two matrices"),
        (lambda: local2d(X, W), r"local2d: wanted x of rank 4 and w of rank 6"),
        (
            lambda: local2d(X.astype(jnp.bfloat16), jnp.ones((3, 5, 3, 3, 4, 2))),
            r"local2d: x is bfloat16, w is float\d\d, wanted one dtype",
        ),
        (
            lambda: local2d(X, jnp.ones((3, 5, 3, 3, 4, 2))),
            r"local2d: w has kernels for \(3, 5\) places, the image has",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
