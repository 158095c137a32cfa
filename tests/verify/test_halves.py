"""Wide numbers survive a callback, which may run in a thread where JAX knows no float64."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.verify.halves import halved

VALUES = {
    "float64": np.array([[1 / 3, -0.0], [np.inf, 1e-310]]),
    "int64": np.array([[2**40 + 1, -1], [0, 7]]),
    "complex128": np.array([[1 / 3 - 1j / 7, 0], [1e300j, -2]]),
    "scalar": np.array(1 / 3),
    "empty": np.zeros((0, 3)),
    "float32": np.array([0.1, 0.2], np.float32),
    "bool": np.array([True, False]),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", VALUES)
def test_what_is_halved_is_joined_bit_by_bit(case):
    value = jnp.asarray(VALUES[case])
    seen = []

    def elsewhere(halves):
        """As JAX does it: an array made in another thread, under that thread's own settings."""
        thread = threading.Thread(target=lambda: seen.append(jax.device_put(np.asarray(halves))))
        thread.start()
        thread.join()

    halves, rebuild = halved(value)
    elsewhere(halves)
    again = rebuild(seen[0])
    assert again.dtype == value.dtype
    assert np.asarray(again).tobytes() == np.asarray(value).tobytes()


@pytest.mark.usefixtures("x64")
def test_whole_numbers_would_not_survive():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(jax.device_put(VALUES["float64"])))
    thread.start()
    thread.join()
    assert seen[0].dtype == jnp.float32


def test_a_key_is_a_key_again():
    for impl in ("threefry2x32", "rbg"):
        key = jax.random.key(3, impl=impl)
        data, rebuild = halved(key)
        again = rebuild(np.asarray(data))
        assert again.dtype == key.dtype
        assert (jax.random.bits(again) == jax.random.bits(key)).all()
