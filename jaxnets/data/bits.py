"""Exclusive or in time."""

import numpy as np
from jaxtyping import Float32

from .counts import check_at_least


def temporal_xor(rng: np.random.Generator, bits: int) -> Float32[np.ndarray, " bits"]:
    """Return a stream of so many bits, 0 and 1, in which every third is the exclusive or of the two before it.

    Bits 0, 1, 3, 4, 6, 7, ... are random, and stream[3k + 2] = stream[3k] xor stream[3k + 1]. The task is to foretell
    the next bit, stream[1:] from stream[:-1]. Only every third bit can be known, so a network that has learnt it errs
    less there and nowhere else. Raises ValueError when `bits` is below 1.

    Source: J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), section "Exclusive-or", with a stream
    of 3000 bits.
    """
    check_at_least("temporal_xor", "bits", bits, 1)
    pairs = rng.integers(0, 2, (-(-bits // 3), 2))
    return np.column_stack([pairs, pairs[:, 0] ^ pairs[:, 1]]).reshape(-1)[:bits].astype(np.float32)
