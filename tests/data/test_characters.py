"""Text to integers and back."""

import re

import numpy as np
import pytest

from jaxnets.data import END, PAD, START, TextPairs, decode, encode, encode_all, unseen

TABLE = PAD + START + END + "abc"


def test_codes_are_places_in_the_table():
    codes = encode("bac", "abc")
    assert codes.dtype == np.int32
    assert codes.tolist() == [1, 0, 2]
    assert decode(codes, "abc") == "bac"
    assert encode("", "abc").shape == (0,)


def test_special_characters_differ():
    assert len({PAD, START, END}) == 3


def test_a_text_ends_where_END_is():
    assert decode(encode(START + "ab" + END + "cc" + PAD, TABLE), TABLE) == "ab"
    assert decode(encode("ab" + PAD + PAD, TABLE), TABLE) == "ab"


def test_rows_are_padded_with_zeros():
    codes, lengths = encode_all(["ab", "", "cab"], TABLE, 4)
    assert codes.dtype == lengths.dtype == np.int32
    assert codes.tolist() == [[3, 4, 0, 0], [0, 0, 0, 0], [5, 3, 4, 0]]
    assert lengths.tolist() == [2, 0, 3]
    assert encode_all([], TABLE, 4).codes.shape == (0, 4)


def pairs(*rows):
    source = np.array(rows, np.int32)
    numbers = np.arange(len(rows), dtype=np.int32)
    return TextPairs(source, numbers, source[:, :1], numbers)


def test_what_was_trained_on_is_left_out():
    left = unseen(pairs([1, 2], [3, 4], [1, 3]), pairs([3, 4], [5, 6]))
    assert left.source.tolist() == [[1, 2], [1, 3]]
    assert left.target_lengths.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode("abd", "abc"), "encode: text has 'd', wanted characters of 'abc'"),
        (lambda: decode(np.array([0, 3]), "abc"), "decode: codes has 3, wanted 0 to 2"),
        (lambda: decode(np.array([-1]), "abc"), "decode: codes has -1, wanted 0 to 2"),
        (lambda: encode_all(["a"], "abc", 4), "encode_all: characters is 'abc', wanted PAD ('\\x00') first"),
        (
            lambda: unseen(pairs([1, 2]), pairs([1, 2, 3])),
            "unseen: test has sources of 2 codes, train of 3",
        ),
        (
            lambda: encode_all(["a", "abcab"], TABLE, 4),
            "encode_all: texts has one of 5 characters, wanted at most 4 (time)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
