"""Text to integers and back.

A table is a string in which each character stands once; the code of a character is its index. Tables for padded
sequences start with `PAD`, so that the padding is 0. Where a decoder has to be told that a text begins, and has to tell
that it is over, the table has `START` and `END` too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Integer

# Control characters, which no text holds: ASCII's null, start of text and end of text.
PAD, START, END = "\x00", "\x02", "\x03"


class Encoded(NamedTuple):
    """Texts as rows of codes, 0 after the end of each."""

    codes: Int32[np.ndarray, "n time"]
    lengths: Int32[np.ndarray, " n"]


class TextPairs(NamedTuple):
    """Texts and what each of them is to be turned into, as rows of codes, 0 after the end of each."""

    source: Int32[np.ndarray, "n source_time"]
    source_lengths: Int32[np.ndarray, " n"]
    target: Int32[np.ndarray, "n target_time"]
    target_lengths: Int32[np.ndarray, " n"]


def encode(text: str, characters: str) -> Int32[np.ndarray, " time"]:
    """Return the code of each character of the text.

    Raises ValueError when the text has a character that is not in the table.
    """
    codes = {character: code for code, character in enumerate(characters)}
    unknown = next((character for character in text if character not in codes), None)
    if unknown is not None:
        raise ValueError(f"encode: text has {unknown!r}, wanted characters of {characters!r}")
    return np.array([codes[character] for character in text], np.int32)


def decode(codes: Integer[np.ndarray, " time"], characters: str) -> str:
    """Return the text that the codes stand for, up to the first END, without START and PAD.

    What a decoder writes after END is thus left out. Raises ValueError when a code is outside of the table.
    """
    outside = codes[(codes < 0) | (codes >= len(characters))]
    if outside.size:
        raise ValueError(f"decode: codes has {outside[0]}, wanted 0 to {len(characters) - 1}")
    text = "".join(characters[code] for code in codes)
    return text.partition(END)[0].replace(START, "").replace(PAD, "")


def encode_all(texts: Sequence[str], characters: str, time: int) -> Encoded:
    """Return the codes of each text, padded to as many as `time`, and how many there are.

    Raises ValueError when the table does not start with PAD, a text is longer than `time`, or a text has a character
    that is not in the table.
    """
    if not characters.startswith(PAD):
        raise ValueError(f"encode_all: characters is {characters!r}, wanted PAD ({PAD!r}) first")
    lengths = np.array([len(text) for text in texts], np.int32)
    if lengths.max(initial=0) > time:
        raise ValueError(f"encode_all: texts has one of {lengths.max()} characters, wanted at most {time} (time)")
    codes = np.zeros((len(texts), time), np.int32)
    for row, text in zip(codes, texts, strict=True):
        row[: len(text)] = encode(text, characters)
    return Encoded(codes, lengths)


def encode_pairs(
    sources: Sequence[str], targets: Sequence[str], tables: tuple[str, str], times: tuple[int, int]
) -> TextPairs:
    """Return sources and targets encoded, each with its table and padded to its time; a target as START, text, END."""
    framed = [START + target + END for target in targets]
    return TextPairs(*encode_all(sources, tables[0], times[0]), *encode_all(framed, tables[1], times[1]))


def unseen(test: TextPairs, train: TextPairs) -> TextPairs:
    """Return the pairs of `test` whose source is none of `train`.

    Raises ValueError when the two have sources of different lengths in time.
    """
    if test.source.shape[1] != train.source.shape[1]:
        raise ValueError(f"unseen: test has sources of {test.source.shape[1]} codes, train of {train.source.shape[1]}")
    seen = {row.tobytes() for row in train.source}
    return TextPairs(*(a[[row.tobytes() not in seen for row in test.source]] for a in test))
