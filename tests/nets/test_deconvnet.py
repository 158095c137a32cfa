"""Projections of features to the pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nets import deconvnet

KEY = jax.random.key(0)


@pytest.mark.usefixtures("x64")
def test_a_projection_is_linear_in_what_is_chosen_as_long_as_it_stays_positive():
    params = jax.tree.map(jnp.abs, deconvnet.init(KEY, (3, 2), (4, 3), dtype=float))
    x = jnp.abs(jax.random.normal(KEY, (2, 11, 12, 1)))
    found = deconvnet.features(params, x)
    one, other = (deconvnet.strongest(found[-1].a, channel) for channel in (0, 2))
    together = deconvnet.project(params, found, one + 2 * other)
    apart = deconvnet.project(params, found, one) + 2 * deconvnet.project(params, found, other)
    np.testing.assert_allclose(together, apart, rtol=1e-12)
    assert together.shape == x.shape


def test_only_what_the_feature_saw_is_lit():
    params = deconvnet.init(KEY, (3, 3), (4, 5))
    x = jax.random.normal(KEY, (1, 28, 28, 1))
    found = deconvnet.features(params, x)
    image = deconvnet.project(params, found, deconvnet.strongest(found[-1].a, 1))
    rows, columns = np.nonzero(np.asarray(image[0, :, :, 0]))
    # One entry of layer 2 sees 4 + 2·3 = 10 pixels along each axis (pool 2, kernel 3, pool 2, kernel 3).
    assert 0 < np.ptp(rows) < 10
    assert 0 < np.ptp(columns) < 10


def test_the_strongest_is_one_entry_for_each_image():
    a = jax.random.normal(KEY, (3, 4, 5, 6))
    kept = deconvnet.strongest(a, 2)
    assert (jnp.count_nonzero(kept, axis=(1, 2, 3)) == 1).all()
    np.testing.assert_array_equal(kept.sum((1, 2, 3)), a[..., 2].max((1, 2)))
    ties = deconvnet.strongest(jnp.ones((1, 2, 2, 1)), 0)
    assert ties[0, :, :, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    params = deconvnet.init(KEY, (3,), (4,))
    found = deconvnet.features(params, jnp.ones((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="chosen has shape"):
        deconvnet.project(params, found, jnp.ones((1, 2, 2, 4)))
    with pytest.raises(ValueError, match="channel is 4, there are 4"):
        deconvnet.strongest(found[0].a, 4)
    with pytest.raises(ValueError, match="wanted as many of both"):
        deconvnet.init(KEY, (3, 3), (4,))
    with pytest.raises(ValueError, match=r"filters \(0,\), channels 1, wanted positive numbers"):
        deconvnet.init(KEY, (3,), (0,))


def test_features_leave_a_compiled_function_with_their_sizes():
    params = deconvnet.init(KEY, (3,), (4,))
    x = jax.random.normal(KEY, (1, 9, 8, 1))
    found = jax.jit(deconvnet.features)(params, x)
    np.testing.assert_array_equal(
        deconvnet.project(params, found, found[-1].a),
        deconvnet.project(params, deconvnet.features(params, x), found[-1].a),
    )
