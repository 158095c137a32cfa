"""Strings of the Reber grammar and of the embedded Reber grammar.

A word is a way through a graph: each edge that is followed adds its symbol. Where two edges leave a node, each is taken
with probability 1/2. In the embedded grammar a word of the Reber grammar stands between two equal symbols, T or P:

    B T <word> T E        B P <word> P E

so the symbol before the last can only be foretold by who has kept the second one over the whole word.

Sources: A. S. Reber, "Implicit learning of artificial grammars", Journal of Verbal Learning and Verbal Behavior 6
(1967); A. Cleeremans, D. Servan-Schreiber, J. L. McClelland, "Finite state automata and simple recurrent networks",
Neural Computation 1 (1989); S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997),
section 5.1, figures 3 and 4.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from .counts import check_at_least

REBER_SYMBOLS = "BTSXPVE"
"""The alphabet of `reber` and `embedded_reber`; the code of a symbol is its index."""

_Grammar = tuple[dict[str, int], ...]

# For each node, the symbols on the edges that leave it, and the nodes that they lead to; from the first to the last.
_REBER: _Grammar = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
    {},
)


class GrammarStrings(NamedTuple):
    """Strings of a grammar, and what may follow each of their symbols.

    `symbols` holds codes of `REBER_SYMBOLS`. `legal[i, t]` tells for each of the seven whether it may come after the
    first t + 1 symbols of string i; after the string's last symbol, E, none may. After the end of a string, `symbols`
    is 0, which is B's code too, and `legal` is False. `time` is the length of the longest string.
    """

    symbols: Int32[np.ndarray, "n time"]
    lengths: Int32[np.ndarray, " n"]
    legal: Bool[np.ndarray, "n time 7"]


def reber(rng: np.random.Generator, n: int) -> GrammarStrings:
    """Return n random strings of the Reber grammar, B to E, of five symbols or more.

    Raises ValueError when n is below 1. Sources: see the module.
    """
    check_at_least("reber", "n", n, 1)
    return _draw(_REBER, rng, n)


def embedded_reber(rng: np.random.Generator, n: int) -> GrammarStrings:
    """Return n random strings of the embedded Reber grammar, B to E, of nine symbols or more.

    Before the last symbol but one only the second symbol, T or P, is legal. Raises ValueError when n is below 1.
    Sources: see the module.
    """
    check_at_least("embedded_reber", "n", n, 1)
    return _draw(_embed(_REBER), rng, n)


def unseen_strings(test: GrammarStrings, train: GrammarStrings) -> GrammarStrings:
    """Return the strings of `test` that are none of `train`, each once.

    Short strings are frequent: of many that are drawn, few are new. May return none.
    """
    seen, kept = set(_keys(train)), []
    for i, key in enumerate(_keys(test)):
        if key not in seen:
            seen.add(key)
            kept.append(i)
    return GrammarStrings(*(a[kept] for a in test))


def _keys(strings: GrammarStrings) -> list[bytes]:
    return [row[:length].tobytes() for row, length in zip(strings.symbols, strings.lengths, strict=True)]


def _embed(grammar: _Grammar) -> _Grammar:
    """Return the grammar between two Ts or two Ps: one copy of it for each, so that the node knows which it was."""
    upper = 2
    lower = upper + len(grammar)
    last = lower + len(grammar)

    def copy(first: int, symbol: str) -> _Grammar:
        return (*({name: first + node for name, node in edges.items()} for edges in grammar[:-1]), {symbol: last})

    return ({"B": 1}, {"T": upper, "P": lower}, *copy(upper, "T"), *copy(lower, "P"), {"E": last + 1}, {})


def _draw(grammar: _Grammar, rng: np.random.Generator, n: int) -> GrammarStrings:
    leaving = np.array([[symbol in edges for symbol in REBER_SYMBOLS] for edges in grammar])
    walks = [_walk(grammar, rng) for _ in range(n)]
    lengths = np.array([len(nodes) for _, nodes in walks], np.int32)
    symbols = np.zeros((n, lengths.max()), np.int32)
    legal = np.zeros((*symbols.shape, len(REBER_SYMBOLS)), bool)
    for i, (codes, nodes) in enumerate(walks):
        symbols[i, : len(codes)] = codes
        legal[i, : len(codes)] = leaving[nodes]
    return GrammarStrings(symbols, lengths, legal)


def _walk(grammar: _Grammar, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return the symbols of one way through the graph, and the node that each leads to."""
    codes, nodes, node = [], [], 0
    while grammar[node]:
        edges = list(grammar[node].items())
        symbol, node = edges[rng.integers(len(edges))]
        codes.append(REBER_SYMBOLS.index(symbol))
        nodes.append(node)
    return codes, nodes
