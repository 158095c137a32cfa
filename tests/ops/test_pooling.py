"""Pools against loops, JAX's own windows and Flax, full of ties too; exact on integers; their messages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax import lax

from jaxnets import verify
from jaxnets.ops.pooling import (
    global_mean_pool,
    max_over_time,
    max_pool,
    max_pool_with_switches,
    mean_pool,
    subsample,
    unpool,
)
from jaxnets.rule import autodiff

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


OVERLAPPING = (7, 8), {"window": (3, 2), "stride": (2, 1), "padding": ((1, 2), (0, 1))}
WITH_GAPS = (8, 9), {"window": (2, 1), "stride": (3, 2), "padding": ((0, 1), (0, 0))}


@st.composite
def pools(draw):
    """Windows that fit, side by side or overlapping or with gaps, and the size of the image."""
    window = draw(PAIR)
    padding = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in window)
    size = tuple(k + draw(st.integers(0, 4)) for k in window)
    return size, {"window": window, "stride": draw(st.none() | PAIR), "padding": padding}


def integers(seed, *shapes, size=8):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.integers(-size, size + 1, shape), float) for shape in shapes)


def by_lax(x, start, combine, options):
    window, stride = options["window"], options["stride"] or options["window"]
    return lax.reduce_window(x, start, combine, (1, *window, 1), (1, *stride, 1), ((0, 0), *options["padding"], (0, 0)))


def assert_same_cotangents(f, true, *args):
    """Without any tolerance: with small integers all is exact."""
    y, pull_back = jax.vjp(f, *args)
    wanted, pull_back_true = jax.vjp(true, *args)
    np.testing.assert_array_equal(y, wanted)
    (y_bar,) = integers(1, y.shape)
    for by_hand, by_autodiff in zip(pull_back(y_bar), pull_back_true(y_bar), strict=True):
        np.testing.assert_array_equal(by_hand, by_autodiff)
    return y


@settings(max_examples=3, deadline=None)
@given(pools(), st.integers(0, 2))
@example(OVERLAPPING, 1)
@example(WITH_GAPS, 1)
def test_max_pool_is_that_of_lax_on_arrays_full_of_ties(pool, largest):
    size, options = pool
    with jax.enable_x64():
        (x,) = integers(0, (2, *size, 3), size=largest)
        y = assert_same_cotangents(lambda x: max_pool(x, **options), lambda x: by_lax(x, -jnp.inf, lax.max, options), x)
        # Autodiff of the plain forward pass keeps to the same convention, so that `verify` sees no kink there.
        assert_same_cotangents(lambda x: max_pool(x, **options), autodiff(lambda x: max_pool(x, **options)), x)
        np.testing.assert_array_equal(max_pool_with_switches(x, **options)[0], y)


@settings(max_examples=3, deadline=None)
@given(pools())
@example(OVERLAPPING)
@example(WITH_GAPS)
def test_switches_and_unpooling(pool):
    size, options = pool
    with jax.enable_x64():
        (x,) = integers(1, (2, *size, 3))
        (y, q), pull_back = jax.vjp(lambda x: max_pool_with_switches(x, **options), x)
        assert q.dtype == jnp.int8
        (u,) = integers(2, y.shape)
        (x_bar,) = pull_back((u, np.zeros(q.shape, jax.dtypes.float0)))
        back = lambda y: unpool(y, q, size=size, **options)
        np.testing.assert_array_equal(assert_same_cotangents(back, autodiff(back), u), x_bar)
        np.testing.assert_array_equal(jax.vjp(back, u)[1](x)[0], y)
        # By loops: each switch names the place from which its maximum comes.
        (above, _), (left, _) = options["padding"]
        down, right = options["stride"] or options["window"]
        for n, r, s, c in np.ndindex(y.shape):
            i, j = divmod(int(q[n, r, s, c]), options["window"][1])
            assert x[n, down * r + i - above, right * s + j - left, c] == y[n, r, s, c]


@settings(max_examples=3, deadline=None)
@given(pools())
@example(OVERLAPPING)
@example(WITH_GAPS)
def test_mean_pool_is_that_of_lax(pool):
    size, options = pool
    count = options["window"][0] * options["window"][1]
    with jax.enable_x64():
        (x,) = integers(3, (2, *size, 3))
        true = lambda x: by_lax(x, 0.0, lax.add, options)
        y, pull_back = jax.vjp(lambda x: mean_pool(x, **options), x)
        np.testing.assert_allclose(y, true(x) / count, rtol=1e-14)
        (y_bar,) = integers(4, y.shape)
        np.testing.assert_array_equal(pull_back(count * y_bar)[0], jax.vjp(true, x)[1](y_bar)[0])


@settings(max_examples=3, deadline=None)
@given(PAIR, PAIR, st.integers(1, 3))
def test_subsampling(window, windows, more):
    size = [k * number + min(more, k - 1) for k, number in zip(window, windows, strict=True)]
    with jax.enable_x64():
        x, a, b = integers(5, (2, *size, 3), (3,), (3,))

        def true(x, a, b):
            sums = by_lax(x, 0.0, lax.add, {"window": window, "stride": None, "padding": ((0, 0), (0, 0))})
            return a[None, None, None] * sums + b[None, None, None]

        assert_same_cotangents(lambda x, a, b: subsample(x, a, b, window=window), true, x, a, b)


@pytest.mark.usefixtures("x64")
def test_as_flax_pools():
    (x,) = integers(6, (2, 9, 8, 4))
    window, stride, padding = (3, 2), (2, 1), ((1, 0), (0, 1))
    for ours, theirs in ((max_pool, nn.max_pool), (mean_pool, nn.avg_pool)):
        with jax.numpy_dtype_promotion("standard"):
            wanted = theirs(x, window, stride, padding)
        np.testing.assert_allclose(ours(x, window=window, stride=stride, padding=padding), wanted, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_the_first_of_a_window_of_zeros_gets_all():
    zeros = jnp.zeros((1, 4, 4, 1))
    x_bar = jax.grad(lambda x: max_pool(x).sum())(zeros)[0, :, :, 0]
    np.testing.assert_array_equal(x_bar, np.kron(np.ones((2, 2)), [[1, 0], [0, 0]]))
    overlapping = jax.grad(lambda x: max_pool(x, window=(3, 3), stride=(1, 1)).sum())(zeros)[0, :, :, 0]
    np.testing.assert_array_equal(overlapping, np.pad(np.ones((2, 2)), (0, 2)))


def test_no_number_hides_nan():
    x = jnp.array([[1.0, jnp.nan], [jnp.nan, 3.0]])[None, :, :, None]
    y, pull_back = jax.vjp(max_pool, x)
    assert jnp.isnan(y).all()
    assert pull_back(jnp.ones_like(y))[0].ravel().tolist() == [0, 0, 1, 0]


@pytest.mark.usefixtures("x64")
def test_padding_never_wins():
    x = jnp.full((1, 3, 3, 1), -5.0)
    y, pull_back = jax.vjp(lambda x: max_pool(x, window=(2, 2), stride=(1, 1), padding=((1, 1), (1, 1))), x)
    np.testing.assert_array_equal(y, np.full((1, 4, 4, 1), -5.0))
    assert pull_back(jnp.ones_like(y))[0].sum() == y.size


@pytest.mark.usefixtures("x64")
def test_large_windows_have_wider_switches():
    (x,) = integers(7, (2, 1, 129, 1), size=1000)
    y, q = max_pool_with_switches(x, window=(1, 129))
    assert q.dtype == jnp.int32
    np.testing.assert_array_equal(q.ravel(), x.reshape(2, -1).argmax(1))
    assert max_pool_with_switches.forward(x[:, :, :128], window=(1, 128))[0][1].dtype == jnp.int8
    np.testing.assert_array_equal(unpool(y, q, size=(1, 129), window=(1, 129)).sum((1, 2)), y[:, 0, 0])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("largest", [0, 1, 1000])
def test_over_time(largest):
    (x,) = integers(8, (3, 7, 5), size=largest)
    by_rows = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 7, 1), (1, 1, 1), "VALID")[:, 0]
    assert_same_cotangents(max_over_time, by_rows, x)
    assert_same_cotangents(max_over_time, autodiff(max_over_time), x)
    nan = x.at[1, 2, 3].set(jnp.nan)
    assert jnp.isnan(max_over_time(nan)).sum() == jnp.isnan(max_over_time(nan)[1, 3]).sum() == 1


@pytest.mark.usefixtures("x64")
def test_every_rule_is_right():
    x = jax.random.normal(jax.random.key(0), (2, 6, 7, 3))
    overlapping = {"window": (3, 3), "stride": (2, 1), "padding": ((1, 0), (0, 2))}
    y, q = max_pool_with_switches(x, **overlapping)
    for f, args in (
        (lambda x: max_pool(x, **overlapping), (x,)),
        (lambda x: max_pool_with_switches(x, **overlapping)[0], (x,)),
        (lambda y: unpool(y, q, size=(6, 7), **overlapping), (y,)),
        (lambda x: mean_pool(x, **overlapping), (x,)),
        (subsample, (x, x[0, 0, 0], x[0, 0, 1])),
        (max_over_time, (x[0],)),
    ):
        report = verify.rules(f, *args)
        assert report.first_wrong is None, str(report)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_stays(dtype):
    x, a = jnp.ones((2, 5, 5, 2), dtype), jnp.ones(2, dtype)
    for f, args in ((max_pool, (x,)), (mean_pool, (x,)), (subsample, (x, a, a)), (max_over_time, (x[0],))):
        y, pull_back = jax.vjp(f, *args)
        assert {leaf.dtype for leaf in (y, *pull_back(y))} == {jnp.dtype(dtype)}


X = jnp.ones((2, 5, 6, 3))
Y, Q = max_pool_with_switches(X)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: max_pool(X[0]), ValueError, r"max_pool: wanted images NHWC, got x \(5, 6, 3\)"),
        (lambda: max_pool(X.astype(int)), TypeError, r"max_pool: x is int32, wanted a floating-point array"),
        (
            lambda: max_pool(X, window=(6, 2)),
            ValueError,
            r"max_pool: a window \(6, 2\) does not fit into an image \(5, 6\)",
        ),
        (lambda: max_pool(X, window=(0, 2)), ValueError, r"max_pool: "),
        (lambda: mean_pool(X.astype(int)), TypeError, r"mean_pool: x is int32, wanted a floating-point array"),
        (lambda: global_mean_pool(X[0, 0, 0]), ValueError, r"global_mean_pool: wanted images NHWC, got x \(3,\)"),
        (
            lambda: subsample(X.astype(int), *2 * [jnp.ones(3, int)]),
            TypeError,
            r"subsample: x is int32, wanted a floating-point array",
        ),
        (lambda: max_pool(X, window=2), ValueError, r"max_pool: window is 2, wanted a pair of integers"),
        (lambda: mean_pool(X, stride=2), ValueError, r"mean_pool: stride is 2, wanted a pair of integers"),
        (lambda: unpool(Y, Q, size=5), ValueError, r"unpool: size is 5, wanted a pair of integers"),
        (lambda: max_pool(X, stride=(0, 1)), ValueError, r"max_pool: stride is \(0, 1\)"),
        (lambda: max_pool(X, padding=((0, -1), (0, 0))), ValueError, r"max_pool: padding is .* wanted no negative"),
        (
            lambda: max_pool(X, padding=((2, 0), (0, 0))),
            ValueError,
            r"max_pool: padding .* less than the window \(2, 2\)",
        ),
        (lambda: max_pool_with_switches(X[0]), ValueError, r"max_pool_with_switches: wanted images NHWC"),
        (
            lambda: unpool(Y, Q.astype(Y.dtype), size=X.shape[1:3]),
            ValueError,
            r"unpool: switches are float\d\d, wanted integers",
        ),
        (
            lambda: unpool(Y, Q[:, :1], size=(5, 6)),
            ValueError,
            r"unpool: y is \(2, 2, 3, 3\), switches are \(2, 1, 3, 3\)",
        ),
        (
            lambda: unpool(Y, Q, size=(6, 6)),
            ValueError,
            r"unpool: images \(6, 6\) have \(3, 3\) windows, y has \(2, 3\) \(y \(2, 2, 3, 3\)\)",
        ),
        (lambda: unpool(Y[0], Q[0], size=(5, 6)), ValueError, r"unpool: wanted images NHWC"),
        (lambda: mean_pool(X, window=(9, 9)), ValueError, r"mean_pool: a window \(9, 9\)"),
        (
            lambda: subsample(X, jnp.ones(2), jnp.ones(3)),
            ValueError,
            r"subsample: a is float32\[2\], wanted float32\[3\]",
        ),
        (
            lambda: subsample(X, jnp.ones(3), jnp.ones(4)),
            ValueError,
            r"subsample: b is float32\[4\], wanted float32\[3\]",
        ),
        (lambda: max_over_time(X), ValueError, r"max_over_time: wanted x \(batch, time, features\)"),
        (lambda: max_over_time(X[:, :0, 0]), ValueError, r"max_over_time: .* at least one step, got \(2, 0, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_narrow_dtypes_are_summed_in_float32():
    assert global_mean_pool(jnp.full((1, 28, 28, 1), 100.0, jnp.float16))[0, 0] == 100
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (1, 56, 56, 1)), jnp.bfloat16)
    wanted = np.asarray(x, float).mean()
    assert global_mean_pool(x).dtype == jnp.bfloat16
    assert abs(float(global_mean_pool(x)[0, 0]) - wanted) <= 2.0**-8
    z, saved = subsample.forward(
        jnp.full((1, 28, 28, 1), 100.0, jnp.float16), *2 * [jnp.zeros(1, jnp.float16)], window=(28, 28)
    )
    assert z[0, 0, 0, 0] == 0
    assert saved.sums[0, 0, 0, 0] == 78_400
