"""Exclusive or in time."""

import numpy as np
import pytest

from jaxnets.data import temporal_xor


def test_every_third_bit_is_the_exclusive_or_of_the_two_before():
    stream = temporal_xor(np.random.default_rng(0), 3000)
    assert stream.shape == (3000,)
    assert stream.dtype == np.float32
    assert set(stream) == {0.0, 1.0}
    first, second, third = stream.reshape(1000, 3).T
    np.testing.assert_array_equal(third, first != second)


def test_the_other_bits_are_random():
    """Each of the four pairs is as frequent, and no triple tells the next."""
    first, second, third = temporal_xor(np.random.default_rng(1), 30_000).reshape(-1, 3).astype(int).T
    np.testing.assert_allclose(np.bincount(2 * first + second) / 10_000, 1 / 4, atol=0.02)
    np.testing.assert_allclose(np.bincount(2 * third[:-1] + first[1:]) / 10_000, 1 / 4, atol=0.02)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 10])
def test_a_shorter_stream_is_the_start_of_a_longer_one(bits):
    stream = temporal_xor(np.random.default_rng(2), bits)
    assert stream.shape == (bits,)
    np.testing.assert_array_equal(stream, temporal_xor(np.random.default_rng(2), 30)[:bits])


def test_no_bits():
    with pytest.raises(ValueError, match=r"^temporal_xor: bits is 0, wanted at least 1$"):
        temporal_xor(np.random.default_rng(0), 0)
