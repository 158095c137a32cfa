"""Tasks in which what matters comes long before it is asked for."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from .counts import check_at_least

TEMPORAL_ORDER_SYMBOLS = "abcdXYEB"
"""What the eight features of `temporal_order` stand for: four of noise, two that matter, the first, the last."""

# First and last position of each symbol that matters, by the number of these symbols. Position 0 is E's.
_POSITIONS = {
    2: ((10, 20), (50, 60)),
    3: ((10, 20), (33, 43), (66, 76)),
}


class Sums(NamedTuple):
    """Sequences of pairs, 0 after the end of each, and the number wanted at the end of each."""

    inputs: Float32[np.ndarray, "n time 2"]
    lengths: Int32[np.ndarray, " n"]
    targets: Float32[np.ndarray, " n"]


class Orders(NamedTuple):
    """Sequences of one-hot symbols, 0 after the end of each, and the class wanted at the end of each."""

    inputs: Float32[np.ndarray, "n time 8"]
    lengths: Int32[np.ndarray, " n"]
    targets: Int32[np.ndarray, " n"]


class Copies(NamedTuple):
    """Sequences of codes of symbols, and the codes wanted at each step."""

    inputs: Int32[np.ndarray, "n time"]
    targets: Int32[np.ndarray, "n time"]


def adding_problem(rng: np.random.Generator, n: int, length: int) -> Sums:
    """Return n sequences of the adding problem; `length` is the paper's T.

    A sequence has T to T + T/10 pairs, all lengths equally likely; the inputs have time T + T/10, rounded down. The
    first component of a pair is random in [-1, 1], the second marks it: 1 for two of the pairs, -1 for the first and
    the last one, 0 for the others. One of the first ten pairs is marked, its first component is X1; then one of the
    first T/2 - 1 (rounded down) that are still unmarked, X2. The target, at the end of the sequence, is

        0.5 + (X1 + X2) / 4        in [0, 1]

    A sequence is answered correctly if the error is below 0.04. Where the first pair is drawn, its marker is -1 all the
    same, and its first component is 0; the paper says so of X1, and here it holds for X2 too.

    Raises ValueError when n is below 1, or `length` below 11, where the last pair could be one of the first ten.

    Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), section 5.4
    (experiment 4), with T = 100, 500 and 1000.
    """
    check_at_least("adding_problem", "n", n, 1)
    check_at_least("adding_problem", "length", length, 11)
    time = length + length // 10
    lengths = rng.integers(length, time + 1, n, dtype=np.int32)
    first = rng.integers(0, 10, n)
    second = rng.integers(0, length // 2 - 1, n)
    second += second >= first  # counted among the unmarked: from the marked one on, each is one further
    row = np.arange(n)
    values = rng.uniform(-1, 1, (n, time)).astype(np.float32)
    values[(first == 0) | (second == 0), 0] = 0
    markers = np.zeros((n, time), np.float32)
    markers[row, first] = 1
    markers[row, second] = 1
    markers[:, 0] = -1
    markers[row, lengths - 1] = -1
    targets = np.float32(0.5) + (values[row, first] + values[row, second]) / np.float32(4)
    values[np.arange(time) >= lengths[:, None]] = 0
    return Sums(np.stack([values, markers], axis=2), lengths, targets)


def temporal_order(rng: np.random.Generator, n: int, symbols: int = 2) -> Orders:
    """Return n sequences to be classified by the order of the Xs and Ys in them.

    A sequence starts with E, ends with B and is otherwise of random a, b, c, d, but for two or three `symbols`, each of
    them X or Y. It has 100 to 110 elements; the inputs have time 110. The positions of X and Y are random, 10 to 20 and
    50 to 60 for two symbols, 10 to 20, 33 to 43 and 66 to 76 for three, E being at 0. Every choice is one of equally
    likely ones. The features stand for the symbols in the order of `TEMPORAL_ORDER_SYMBOLS`.

    The classes are 0, 1, 2, 3 for XX, XY, YX, YY (the paper's Q, R, S, U), and 0 to 7 for XXX, XXY, XYX, XYY, YXX, YXY,
    YYX, YYY (Q, R, S, U, V, A, B, C). The class is wanted at the end of the sequence.

    Raises ValueError when n is below 1, or `symbols` is not 2 or 3.

    Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), section 5.6
    (experiments 6a, two symbols, and 6b, three).
    """
    check_at_least("temporal_order", "n", n, 1)
    if symbols not in _POSITIONS:
        raise ValueError(f"temporal_order: symbols is {symbols}, wanted 2 or 3")
    lengths = rng.integers(100, 111, n, dtype=np.int32)
    codes = rng.integers(0, 4, (n, 110))
    row = np.arange(n)
    targets = np.zeros(n, np.int32)
    for low, high in _POSITIONS[symbols]:
        is_y = rng.integers(0, 2, n, dtype=np.int32)
        codes[row, rng.integers(low, high + 1, n)] = TEMPORAL_ORDER_SYMBOLS.index("X") + is_y
        targets = 2 * targets + is_y
    codes[:, 0] = TEMPORAL_ORDER_SYMBOLS.index("E")
    codes[row, lengths - 1] = TEMPORAL_ORDER_SYMBOLS.index("B")
    inside = np.arange(110) < lengths[:, None]
    inputs = (codes[..., None] == np.arange(len(TEMPORAL_ORDER_SYMBOLS))) & inside[..., None]
    return Orders(inputs.astype(np.float32), lengths, targets)


def copy_task(rng: np.random.Generator, n: int, delay: int, symbols: int = 8, length: int = 10) -> Copies:
    """Return n sequences of the copying task: keep `length` random symbols, and write them after the `delay`.

    Both inputs and targets have time delay + 2 length. The symbols have codes 0, ..., symbols - 1, all equally likely;
    the code `symbols` is the blank, `symbols` + 1 the delimiter that asks for the copy:

        inputs     length symbols, delay - 1 blanks, the delimiter, length blanks
        targets    delay + length blanks, the length symbols

    So a one-hot input has symbols + 2 features and an output symbols + 1 classes. Who has no memory can at best answer
    with blanks and then guess: a mean cross-entropy of length log(symbols) / (delay + 2 length).

    Raises ValueError when n, `delay`, `symbols` or `length` is below 1.

    Source: M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks", ICML (2016), section 5.1,
    whose T is the delay; after S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997).
    """
    for argument, value in (("n", n), ("delay", delay), ("symbols", symbols), ("length", length)):
        check_at_least("copy_task", argument, value, 1)
    kept = rng.integers(0, symbols, (n, length), dtype=np.int32)
    inputs = np.full((n, delay + 2 * length), symbols, np.int32)
    targets = inputs.copy()
    inputs[:, :length] = kept
    inputs[:, length + delay - 1] = symbols + 1
    targets[:, -length:] = kept
    return Copies(inputs, targets)
