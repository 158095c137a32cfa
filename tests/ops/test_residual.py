"""The rectified sum and the shortcut without parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.ops.residual import identity_shortcut, residual_sum

pytestmark = pytest.mark.usefixtures("x64")


def normal(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def test_the_sum_hands_on_what_is_positive():
    f, s = jnp.array([1.0, -3.0, 2.0]), jnp.array([1.0, 1.0, -2.0])
    y, pull_back = jax.vjp(residual_sum, f, s)
    assert y.tolist() == [2.0, 0.0, 0.0]
    f_bar, s_bar = pull_back(jnp.array([5.0, 7.0, 11.0]))
    assert f_bar.tolist() == s_bar.tolist() == [5.0, 0.0, 0.0]  # 0 at the kink
    verify.rules(residual_sum, normal(2, 3, 4, 5), normal(2, 3, 4, 5)).check()


@pytest.mark.parametrize(("stride", "size"), [(1, (3, 4)), (2, (5, 4)), (2, (4, 5)), (3, (7, 8))])
def test_the_shortcut_is_a_linear_map_and_its_adjoint(stride, size):
    x = normal(2, *size, 3)
    s, pull_back = jax.vjp(lambda x: identity_shortcut(x, stride=stride, channels=5), x)
    np.testing.assert_array_equal(s[..., :3], x[:, ::stride, ::stride])
    assert s.shape[3] == 5
    assert not s[..., 3:].any()
    u = normal(*s.shape)
    np.testing.assert_allclose(jnp.vdot(s, u), jnp.vdot(x, pull_back(u)[0]), rtol=1e-12)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: residual_sum(normal(2, 3), normal(2, 4)), r"residual_sum: f is float64\[2, 3\], s is float64\[2, 4\]"),
        (lambda: identity_shortcut(normal(2, 3)), "identity_shortcut: x has shape"),
        (lambda: identity_shortcut(normal(2, 4, 4, 3), channels=2), "stride 1 and channels 2, wanted at least 1 and 3"),
        (lambda: identity_shortcut(normal(2, 4, 4, 3), stride=0), "stride 0 and channels 3"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
