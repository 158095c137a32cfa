"""Strings to be written backwards."""

import re

import numpy as np
import pytest

from jaxnets.data import LETTERS, reversal


def test_targets_are_the_sources_backwards():
    source, source_lengths, target, target_lengths = reversal(np.random.default_rng(0), 500, 3, 7)
    assert source.shape == (500, 7)
    assert target.shape == (500, 9)
    assert all(array.dtype == np.int32 for array in (source, source_lengths, target, target_lengths))
    assert set(source_lengths) == {3, 4, 5, 6, 7}
    np.testing.assert_array_equal(target_lengths, source_lengths + 2)
    for row, end, wanted in zip(source.tolist(), source_lengths, target.tolist(), strict=True):
        assert wanted == [1, *row[:end][::-1], 2, *[0] * (7 - end)]
        assert row[end:] == [0] * (7 - end)
        assert all(3 <= code <= 28 for code in row[:end])


def test_letters_are_drawn_evenly():
    source, *_ = reversal(np.random.default_rng(1), 5000, 10, 10)
    np.testing.assert_allclose(np.bincount(source.ravel(), minlength=29)[3:] / source.size, 1 / 26, atol=0.005)


def test_the_table():
    assert LETTERS == "\x00\x02\x03abcdefghijklmnopqrstuvwxyz"


def test_the_seed_decides():
    first, again, other = (reversal(np.random.default_rng(seed), 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.source, again.source)
    assert (first.source != other.source).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "reversal: n is 0, wanted at least 1"),
        ((1, 0), "reversal: shortest is 0, wanted at least 1"),
        ((1, 5, 4), "reversal: longest is 4, wanted at least 5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        reversal(np.random.default_rng(0), *arguments)
