"""The affine map, jitted and not, over drawn shapes, in every dtype."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets import verify
from jaxnets.ops import activations, losses
from jaxnets.ops.affine import affine

SIZE = st.integers(1, 6)


def arguments(n, n_in, n_out, dtype=float):
    keys = jax.random.split(jax.random.key(n + 10 * n_in + 100 * n_out), 3)
    shapes = (n, n_in), (n_in, n_out), (n_out,)
    return tuple(jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True))


class AffineTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_value_and_cotangents(self):
        x, w, b = arguments(5, 3, 7, jnp.float32)
        np.testing.assert_allclose(self.variant(affine)(x, w, b), x @ w + b[None], rtol=1e-6)

        def pull_back(x, w, b, z_bar):
            return jax.vjp(affine, x, w, b)[1](z_bar)

        z_bar = jnp.arange(35, dtype=jnp.float32).reshape(5, 7)
        x_bar, w_bar, b_bar = self.variant(pull_back)(x, w, b, z_bar)
        np.testing.assert_allclose(x_bar, z_bar @ w.T, rtol=1e-5)
        np.testing.assert_allclose(w_bar, x.T @ z_bar, rtol=1e-5)
        np.testing.assert_allclose(b_bar, z_bar.sum(0), rtol=1e-6)


@settings(max_examples=5, deadline=None)
@given(SIZE, SIZE, SIZE)
def test_any_shape(n, n_in, n_out):
    with jax.enable_x64():
        verify.rules(affine, *arguments(n, n_in, n_out)).check()


ELEMENTWISE = st.sampled_from([activations.sigmoid, activations.tanh, activations.softplus, activations.log_softmax])
PAIRED = st.sampled_from([losses.quadratic, losses.log_cosh, losses.sigmoid_cross_entropy, losses.gaussian_kl])


@settings(max_examples=5, deadline=None)
@given(ELEMENTWISE, PAIRED, st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_activations_and_losses_of_any_rank(activation, loss, shape):
    with jax.enable_x64():
        z, t = jax.random.normal(jax.random.key(sum(shape)), (2, *shape))
        report = verify.rules(lambda z, t: loss(activation(z), t), z, t)
        assert report.first_wrong is None, str(report)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_stays(dtype):
    args = arguments(5, 3, 7, dtype)
    z, pull_back = jax.vjp(affine, *args)
    assert [leaf.dtype for leaf in (z, *pull_back(z))] == [dtype] * 4


def test_integers_give_exact_results():
    rng = np.random.default_rng(0)
    x, w, b, z_bar = (jnp.asarray(rng.integers(-8, 9, s), jnp.float32) for s in ((5, 3), (3, 7), (7,), (5, 7)))
    z, pull_back = jax.vjp(affine, x, w, b)
    exact = [np.asarray(a, np.int64) for a in (x, w, b, z_bar)]
    np.testing.assert_array_equal(z, exact[0] @ exact[1] + exact[2])
    for got, wanted in zip(
        pull_back(z_bar), (exact[3] @ exact[1].T, exact[0].T @ exact[3], exact[3].sum(0)), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((8, 4), (3, 2), (2,)), r"affine: x has 4 features, w expects 3 \(x \(8, 4\), w \(3, 2\)\)"),
        (((8, 3), (3, 2), (1,)), r"affine: b has 1 entries, w gives 2 \(w \(3, 2\), b \(1,\)\)"),
        (((3,), (3, 2), (2,)), r"affine: wanted a matrix x, a matrix w and a vector b, got \(3,\)"),
    ],
)
def test_bad_shapes_are_named(shapes, message):
    with pytest.raises(ValueError, match=message):
        affine(*map(jnp.ones, shapes))
