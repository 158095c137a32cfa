"""Three plays by Shakespeare, for a language model over characters."""

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Integer

from .characters import encode
from .files import read_contents
from .idx import DataError

_SHA256 = "b518a57462bb82d736a4ea506de61082cdcbf674a03a1fefd015c08e4d4ee930"


class Text(NamedTuple):
    """A text as codes of its characters, in two parts that follow each other; code i stands for characters[i]."""

    train: Int32[np.ndarray, " n_train"]
    test: Int32[np.ndarray, " n_test"]
    characters: str


def public_domain_text() -> Text:
    """Return A Midsummer Night's Dream, Macbeth and The Tempest: 264,815 characters to train on, 29,423 to test on.

    The test part is the last tenth, from the end of The Tempest's third act on. There are 68 different characters,
    all ASCII, in ASCII's order; `decode` gives the text back. The text is part of the package and in the public domain
    (`shakespeare/ATTRIBUTION.md` says where it is from and how it was tidied). Raises DataError when the installed file
    is damaged.
    """
    text = read_text(resources.files("jaxnets.data") / "shakespeare" / "plays.txt.gz", _SHA256)
    characters = "".join(sorted(set(text)))
    codes = encode(text, characters)
    n_test = len(codes) // 10
    return Text(codes[:-n_test], codes[-n_test:], characters)


def windows(codes: Integer[np.ndarray, " n"], length: int) -> Integer[np.ndarray, "rows {length}+1"]:
    """Return a text as rows of `length` codes and the one after them, which the next row begins with.

    A rest that does not fill a row is left out. Raises ValueError when `length` is below 1, or not below that of the
    text.
    """
    if not 1 <= length < len(codes):
        raise ValueError(f"windows: length is {length}, wanted 1 to {len(codes) - 1}: there are {len(codes)} codes")
    starts = np.arange(0, (len(codes) - 1) // length * length, length)
    return codes[starts[:, None] + np.arange(length + 1)]


def read_text(path: Traversable, sha256: str) -> str:
    """Return the ASCII text in a file, gzipped or plain; DataError unless its contents have the checksum."""
    data = read_contents(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise DataError(f"{path}: the contents have SHA-256 {digest}, wanted {sha256}: install the package again")
    return data.decode("ascii")
