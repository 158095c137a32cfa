"""Strings of letters to be written backwards, the smallest task for a sequence-to-sequence network."""

from string import ascii_lowercase

import numpy as np

from .characters import END, PAD, START, TextPairs, encode_pairs
from .counts import check_at_least

LETTERS = PAD + START + END + ascii_lowercase
"""The table of `reversal`, for the source and for the target: PAD 0, START 1, END 2, a to z 3 to 28."""


def reversal(rng: np.random.Generator, n: int, shortest: int = 1, longest: int = 10) -> TextPairs:
    """Return n strings of random letters a to z, and each of them backwards.

    The length is random, from `shortest` to `longest`, all equally likely. `source` (n, longest) holds the letters
    alone. `target` (n, longest + 2) is START, the letters backwards, END, and `target_lengths` counts all of these: a
    decoder is fed with target[:, :-1] and is to answer target[:, 1:]. Codes are those of `LETTERS`, 0 after the end.

    Raises ValueError when n or `shortest` is below 1, or `longest` below `shortest`.

    Source: I. Sutskever, O. Vinyals, Q. V. Le, "Sequence to sequence learning with neural networks", NIPS (2014),
    section 3.3, for what the order of the source means to such a network.
    """
    check_at_least("reversal", "n", n, 1)
    check_at_least("reversal", "shortest", shortest, 1)
    check_at_least("reversal", "longest", longest, shortest)
    lengths = rng.integers(shortest, longest + 1, n)
    letters = rng.integers(0, len(ascii_lowercase), (n, longest))
    sources = ["".join(ascii_lowercase[i] for i in row[:end]) for row, end in zip(letters, lengths, strict=True)]
    targets = [source[::-1] for source in sources]
    return encode_pairs(sources, targets, (LETTERS, LETTERS), (longest, longest + 2))
