"""Normalisations against Flax and the textbook, in every dtype; what they do not see; their messages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets import verify
from jaxnets.ops.normalization import (
    Statistics,
    batch_norm,
    batch_norm_inference,
    batch_norm_training,
    layer_norm,
    local_response_norm,
)
from jaxnets.rule import autodiff

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(lambda places: (*places, 3))


def arguments(*shape, seed=0):
    x_key, scale_key, shift_key = jax.random.split(jax.random.key(seed), 3)
    features = shape[-1:]
    x = 2 + 3 * jax.random.normal(x_key, shape)
    return x, 1 + jax.random.normal(scale_key, features), jax.random.normal(shift_key, features)


def statistics(features, seed=5):
    mean, spread = jax.random.normal(jax.random.key(seed), (2, features))
    return Statistics(mean, 0.5 + spread**2)


def assert_right(f, *args, checks=verify.AT_THE_INPUT):
    report = verify.rules(f, *args, checks=checks)
    assert report.first_wrong is None, str(report)


@settings(max_examples=5, deadline=None)
@given(SHAPES)
def test_batch_norm_of_any_shape(shape):
    with jax.enable_x64():
        x, scale, shift = arguments(*shape)
        assert_right(batch_norm, x, scale, shift)
        flat = x.reshape(-1, 3)
        np.testing.assert_allclose(
            batch_norm(x, scale, shift).reshape(-1, 3),
            scale[None] * (flat - flat.mean(0)[None]) / jnp.sqrt(flat.var(0) + 1e-5)[None] + shift[None],
            rtol=1e-9,
            atol=1e-11,
        )


@pytest.mark.usefixtures("x64")
def test_the_rules_are_right():
    x, scale, shift = arguments(4, 2, 3)
    assert_right(batch_norm_inference, x, scale, shift, statistics(3), checks=verify.BATTERY)
    assert_right(layer_norm, x, scale, shift, checks=verify.BATTERY)
    assert_right(lambda x: batch_norm_training(x, scale, shift, statistics(3))[0], x, checks=verify.BATTERY)
    for size in (1, 2, 5):
        assert_right(lambda a, size=size: local_response_norm(a, size=size, k=1.2, alpha=0.4, beta=0.6), x)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 4, 3)])
def test_as_flax_normalises_batches(shape):
    args, known = arguments(*shape), statistics(3)
    x, scale, shift = args
    flax = nn.BatchNorm(momentum=0.7, epsilon=1e-3, use_fast_variance=False)

    def theirs(x, scale, shift, known, training):
        variables = {"params": {"scale": scale, "bias": shift}, "batch_stats": {"mean": known[0], "var": known[1]}}
        with jax.numpy_dtype_promotion("standard"):  # Flax asks which dtype holds both float64 and float32
            y, state = flax.apply(variables, x, use_running_average=not training, mutable=["batch_stats"])
        return y, Statistics(state["batch_stats"]["mean"], state["batch_stats"]["var"])

    y, moved = batch_norm_training(*args, known, momentum=0.7, eps=1e-3)
    wanted, wanted_moved = theirs(*args, known, training=True)
    np.testing.assert_allclose(y, wanted, rtol=1e-11)
    for ours, other in zip(moved, wanted_moved, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-12)

    y_bar = jax.random.normal(jax.random.key(9), shape)
    ours = jax.vjp(lambda *args: batch_norm_inference(*args, eps=1e-3), *args, known)
    other = jax.vjp(lambda *args: theirs(*args, training=False)[0], *args, known)
    np.testing.assert_allclose(ours[0], other[0], rtol=1e-11)
    for bar, other_bar in zip(jax.tree.leaves(ours[1](y_bar)), jax.tree.leaves(other[1](y_bar)), strict=True):
        np.testing.assert_allclose(bar, other_bar, rtol=1e-9)

    by_hand = jax.vjp(lambda *args: batch_norm(*args, eps=1e-3), x, scale, shift)[1](y_bar)
    by_flax = jax.vjp(lambda *args: theirs(*args, known, training=True)[0], x, scale, shift)[1](y_bar)
    for bar, other_bar in zip(by_hand, by_flax, strict=True):
        np.testing.assert_allclose(bar, other_bar, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_as_flax_normalises_layers():
    x, scale, shift = arguments(4, 5, 6)
    flax = nn.LayerNorm(epsilon=1e-4, use_fast_variance=False)

    def wanted(x, scale, shift):
        with jax.numpy_dtype_promotion("standard"):
            return flax.apply({"params": {"scale": scale, "bias": shift}}, x)

    y, pull_back = jax.vjp(lambda *args: layer_norm(*args, eps=1e-4), x, scale, shift)
    theirs, pull_back_theirs = jax.vjp(wanted, x, scale, shift)
    np.testing.assert_allclose(y, theirs, rtol=1e-11)
    y_bar = jax.random.normal(jax.random.key(9), y.shape)
    for bar, other_bar in zip(pull_back(y_bar), pull_back_theirs(y_bar), strict=True):
        np.testing.assert_allclose(bar, other_bar, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_statistics_carry_no_gradient_and_converge():
    x, scale, shift = arguments(6, 3)

    def moved(x, known):
        return sum(leaf.sum() for leaf in batch_norm_training(x, scale, shift, known)[1])

    for bar in jax.tree.leaves(jax.grad(moved, (0, 1))(x, statistics(3))):
        np.testing.assert_array_equal(bar, np.zeros_like(bar))
    known = statistics(3)
    for _ in range(200):
        known = batch_norm_training(x, scale, shift, known, momentum=0.8)[1]
    np.testing.assert_allclose(known.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(known.variance, x.var(0), rtol=1e-12)
    np.testing.assert_allclose(
        batch_norm_inference(x, scale, shift, known), batch_norm(x, scale, shift), rtol=1e-9, atol=1e-12
    )


@pytest.mark.usefixtures("x64")
def test_shifts_and_scales_of_the_input_are_not_seen():
    x, _, shift = arguments(8, 3)
    y_bar = jax.random.normal(jax.random.key(9), x.shape)
    for f, axis in ((batch_norm, 0), (layer_norm, 1)):
        normalised = lambda x, f=f: f(x, jnp.ones(3), shift, eps=0.0)
        y, pull_back = jax.vjp(normalised, x)
        np.testing.assert_allclose(normalised(5 * x + 100), y, rtol=1e-9, atol=1e-11)
        (x_bar,) = pull_back(y_bar)
        np.testing.assert_allclose(x_bar.sum(axis), 0, atol=1e-13)
        np.testing.assert_allclose((x_bar * x).sum(axis), 0, atol=1e-12)


def test_a_large_mean_does_not_cancel():
    x, scale, shift = (a.astype(jnp.float32) for a in arguments(32, 4))
    far = x + 4096
    exact = batch_norm(far - 4096, scale, shift)  # the same numbers, near zero: the difference is exact
    np.testing.assert_allclose(batch_norm(far, scale, shift), exact, atol=2e-3)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_stays_and_sums_are_wide(dtype):
    x, scale, shift = (a.astype(dtype) for a in arguments(4000, 2))
    known = Statistics(jnp.zeros(2), jnp.ones(2))
    y, moved = batch_norm_training(x, scale, shift, known, momentum=0.0)
    assert (y.dtype, moved.mean.dtype) == (dtype, jnp.float32)
    np.testing.assert_allclose(moved.mean, np.asarray(x, np.float64).mean(0), rtol=1e-5)
    np.testing.assert_allclose(moved.variance, np.asarray(x, np.float64).var(0), rtol=1e-5)
    inference = lambda x, scale, shift: batch_norm_inference(x, scale, shift, known)
    responses = lambda x, scale, shift: local_response_norm(scale[None] * x + shift[None])
    for f in (batch_norm, layer_norm, inference, responses):
        y, pull_back = jax.vjp(f, x, scale, shift)
        assert {leaf.dtype for leaf in (y, *pull_back(y))} == {jnp.dtype(dtype)}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_responses_by_loops(size):
    a = jax.random.normal(jax.random.key(0), (2, 3, 6))
    b, pull_back = jax.vjp(lambda a: local_response_norm(a, size=size, k=1.5, alpha=0.5, beta=0.7), a)

    def loops(a):
        channels = []
        for i in range(6):
            around = a[..., max(0, i - size // 2) : i + (size - 1) // 2 + 1]
            channels.append(a[..., i] / (1.5 + 0.5 * (around**2).sum(-1)) ** 0.7)
        return jnp.stack(channels, -1)

    wanted, pull_back_wanted = jax.vjp(loops, a)
    np.testing.assert_allclose(b, wanted, rtol=1e-13)
    b_bar = jax.random.normal(jax.random.key(1), a.shape)
    np.testing.assert_allclose(pull_back(b_bar)[0], pull_back_wanted(b_bar)[0], rtol=1e-11, atol=1e-14)


def test_the_residuals_hold_one_array_of_the_size_of_x():
    x, scale, shift = arguments(4, 5, 3)
    for f in (batch_norm, layer_norm):
        residuals = f.forward(x, scale, shift)[1]
        assert [leaf.size for leaf in jax.tree.leaves(residuals)].count(x.size) == 1
        assert residuals.x is x


@pytest.mark.usefixtures("x64")
def test_one_entry_a_feature_gives_the_shift():
    x, scale, shift = arguments(1, 3)
    y, pull_back = jax.vjp(batch_norm, x, scale, shift)
    np.testing.assert_array_equal(y[0], shift)
    x_bar, scale_bar, shift_bar = pull_back(jnp.ones((1, 3)))
    np.testing.assert_array_equal((x_bar[0], scale_bar, shift_bar), [np.zeros(3), np.zeros(3), np.ones(3)])
    assert autodiff(batch_norm)(x, scale, shift).shape == (1, 3)


def test_without_features():
    x, none = jnp.ones((4, 0)), jnp.ones(0)
    for f in (batch_norm, layer_norm):
        y, pull_back = jax.vjp(f, x, none, none)
        assert [leaf.shape for leaf in (y, *pull_back(y))] == [(4, 0), (4, 0), (0,), (0,)]


X, ONES = jnp.ones((4, 3)), jnp.ones(3)


@pytest.mark.usefixtures("own_errors")
def test_integers_are_refused():
    x, ones = X.astype(int), ONES.astype(int)
    for f in (batch_norm, layer_norm):
        with pytest.raises(TypeError, match=rf"{f.__name__}: x is int32, wanted a floating-point array"):
            f(x, ONES, ONES)
        with pytest.raises(TypeError, match=rf"{f.__name__}: scale is int32, wanted a floating-point array"):
            f(X, ones, ONES)
    with pytest.raises(TypeError, match="local_response_norm: a is int32, wanted a floating-point array"):
        local_response_norm(x)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batch_norm(ONES, ONES, ONES), r"batch_norm: wanted x \(batch, ..., features\), got \(3,\)"),
        (lambda: batch_norm(X, ONES[:2], ONES), r"batch_norm: scale is \(2,\), x has 3 features \(x \(4, 3\)\)"),
        (lambda: batch_norm(X, ONES, ONES, eps=-1.0), r"batch_norm: eps is -1.0, wanted a number that is not negative"),
        (lambda: layer_norm(X, ONES, ONES, eps=-1.0), r"layer_norm: eps is -1.0"),
        (
            lambda: batch_norm(X, ONES.astype(jnp.bfloat16), ONES),
            r"batch_norm: scale is bfloat16, shift is float32, wanted one dtype",
        ),
        (
            lambda: layer_norm(X, ONES, ONES.astype(jnp.bfloat16)),
            r"layer_norm: scale is float32, shift is bfloat16, wanted one dtype",
        ),
        (
            lambda: batch_norm_inference(X, ONES, ONES.astype(jnp.bfloat16), Statistics(ONES, ONES)),
            r"batch_norm_inference: scale is float32, shift is bfloat16, wanted one dtype",
        ),
        (
            lambda: batch_norm_training(X[:0], ONES, ONES, Statistics(ONES, ONES)),
            r"batch_norm_training: x \(0, 3\) has no entries",
        ),
        (lambda: layer_norm(X, ONES, ONES[:1]), r"layer_norm: shift is \(1,\), x has 3 features"),
        (
            lambda: batch_norm_inference(X, ONES, ONES, Statistics(ONES, ONES[:2])),
            r"batch_norm_inference: variance is \(2,\), x has 3 features",
        ),
        (
            lambda: batch_norm_training(X, ONES, ONES, Statistics(ONES[:2], ONES)),
            r"batch_norm_training: mean is \(2,\), x has 3 features",
        ),
        (
            lambda: batch_norm_training(X, ONES, ONES, Statistics(ONES, ONES), momentum=1.5),
            r"batch_norm_training: momentum is 1.5, wanted 0 to 1",
        ),
        (lambda: local_response_norm(X, size=0), r"local_response_norm: size is 0"),
        (lambda: local_response_norm(X, k=0.0), r"local_response_norm: size is 5, k 0.0"),
        (lambda: local_response_norm(X, alpha=-1.0), r"local_response_norm: .* alpha -1.0"),
        (lambda: local_response_norm(jnp.ones(())), r"local_response_norm: wanted an array with channels last"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_response_norm_of_large_numbers_in_float16():
    """Their squares are beyond what the dtype can hold."""
    a = jnp.full((1, 3), 1000.0, jnp.float16)
    found = local_response_norm(a)
    wanted = local_response_norm(a.astype(jnp.float32))
    assert found.dtype == jnp.float16
    np.testing.assert_allclose(np.asarray(found, float), wanted, rtol=1e-3)
    slope = jax.grad(lambda a: jnp.sum(local_response_norm(a).astype(jnp.float32)))(a)
    assert slope.dtype == jnp.float16
    assert np.isfinite(np.asarray(slope, float)).all()
