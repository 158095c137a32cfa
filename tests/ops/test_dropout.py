"""Dropout: its mask is drawn as it says, its gradient has the same mask; the ends of its range; its messages."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.ops.dropout import dropout
from jaxnets.rule import autodiff, fix

KEY = jax.random.key(0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", [(), (1,), (5, 3), (2, 3, 3, 3)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_same_mask_forward_and_backward(shape, rate):
    x, y_bar = jax.random.normal(jax.random.key(1), (2, *shape))
    y, pull_back = jax.vjp(lambda x: dropout(KEY, x, rate=rate), x)
    scale = np.where(np.asarray(y) != 0, np.asarray(y / x), 0)
    np.testing.assert_allclose(np.unique(scale[scale != 0]), 1 / (1 - rate), rtol=1e-4)
    np.testing.assert_allclose(pull_back(y_bar)[0], y_bar * scale, rtol=1e-12)


class CompiledTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_compiled_or_not(self):
        x = jax.random.normal(jax.random.key(1), (5, 7))
        both = lambda key, x: jax.value_and_grad(lambda x: jnp.sum(dropout(key, x, rate=0.5) ** 2))(x)
        value, x_bar = self.variant(both)(KEY, x)
        y = autodiff(lambda x: dropout(KEY, x, rate=0.5))(x)
        np.testing.assert_allclose(value, jnp.sum(y**2), rtol=1e-6)
        np.testing.assert_allclose(x_bar, 4 * y, rtol=1e-6)


def test_each_entry_is_dropped_with_its_rate_and_independently():
    for rate in (0.1, 0.5, 0.8):
        m = np.asarray(
            jax.vmap(lambda key, rate=rate: dropout(key, jnp.ones(7), rate=rate))(jax.random.split(KEY, 5000))
        )
        deviation = np.sqrt(rate / (1 - rate))
        assert np.all(abs(m.mean(0) - 1) < 4 * deviation / np.sqrt(len(m)))
        # Neighbours come out of one draw of 32 bits.
        correlation = np.corrcoef(m.T) - np.eye(7)
        assert np.all(abs(correlation) < 4.5 / np.sqrt(len(m)))


def test_another_key_draws_another_mask():
    first, second = (dropout(key, jnp.ones(64), rate=0.5) for key in jax.random.split(KEY))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(dropout(KEY, jnp.ones(64), rate=0.5), dropout(KEY, jnp.ones(64), rate=0.5))


def test_at_the_ends_of_its_range():
    x = jnp.arange(1.0, 6.0)
    y, pull_back = jax.vjp(lambda x: dropout(KEY, x, rate=0.0), x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(pull_back(x)[0], x)
    np.testing.assert_array_equal(dropout(KEY, x, rate=1e-9), x)
    kept = dropout(KEY, jnp.ones(1000), rate=1 - 1e-9)  # one of 2^16 is kept at least
    assert set(np.unique(kept)) <= {0.0, 2.0**16}
    assert (kept == 0).mean() > 0.99


def test_the_mask_is_one_byte_an_entry():
    m = dropout.forward(KEY, jnp.ones((3, 5)), rate=0.5)[1]
    assert (m.dtype, m.shape) == (jnp.bool_, (3, 5))
    assert dropout.forward(KEY, jnp.ones((3, 5)), rate=0.0)[1] is None


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_stays_and_does_not_change_the_mask(dtype):
    y, pull_back = jax.vjp(lambda x: dropout(KEY, x, rate=0.4), jnp.ones(33, dtype))
    assert y.dtype == pull_back(y)[0].dtype == dtype
    with jax.enable_x64():
        np.testing.assert_array_equal(y != 0, dropout(KEY, jnp.ones(33, jnp.float64), rate=0.4) != 0)


@pytest.mark.usefixtures("x64")
def test_the_rule_is_right():
    x = jax.random.normal(jax.random.key(1), (5, 3))
    report = verify.rules(fix(dropout, rate=0.3), KEY, x)
    assert report.first_wrong is None, str(report)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: dropout(jax.random.PRNGKey(0), x, rate=0.5),
            TypeError,
            r"dropout: key is uint32\[2\], wanted a typed",
        ),
        (
            lambda x: dropout(jax.random.split(KEY), x, rate=0.5),
            ValueError,
            r"dropout: key has shape \(2,\), wanted one",
        ),
        (lambda x: dropout(KEY, x.astype(int), rate=0.5), TypeError, r"dropout: x is int32, wanted a floating-point"),
        (lambda x: dropout(KEY, x, rate=1.0), ValueError, r"dropout: rate is 1.0, wanted at least 0 and less than 1"),
        (lambda x: dropout(KEY, x, rate=-0.1), ValueError, r"dropout: rate is -0.1"),
        (lambda x: dropout(KEY, x, rate=float("nan")), ValueError, r"dropout: rate is nan"),
        (lambda x: dropout(KEY, x, rate=jnp.array(0.5)), TypeError, r"dropout: rate is static"),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        jax.jit(call)(jnp.ones((2, 3)))
