"""The Reber grammar and the embedded one, against a regular expression of their words."""

import itertools
import re

import numpy as np
import pytest

from jaxnets.data import REBER_SYMBOLS, embedded_reber, reber, unseen_strings

# From the lower left node on: any Ts, and V to the lower right node; there V ends it, or P leads to the upper right
# node; there S ends it, or X leads back to the lower left one.
TO_END = "(?:T*VPX)*T*V(?:V|PS)"
WORD = f"B(?:TS*X(?:S|X{TO_END})|P{TO_END})E"
EMBEDDED = f"B(?:T{WORD}T|P{WORD}P)E"
GRAMMARS = [pytest.param(reber, WORD, id="reber"), pytest.param(embedded_reber, EMBEDDED, id="embedded")]


def spelled(strings):
    rows = zip(strings.symbols, strings.lengths, strict=True)
    return ["".join(REBER_SYMBOLS[code] for code in row[:end]) for row, end in rows]


def words_up_to(pattern, length):
    """All words of at most so many symbols, by trying all strings of symbols between B and E."""
    between = (itertools.product(REBER_SYMBOLS, repeat=k) for k in range(length - 1))
    strings = ("B" + "".join(symbols) + "E" for symbols in itertools.chain.from_iterable(between))
    return {string for string in strings if re.fullmatch(pattern, string)}


def test_the_regular_expression():
    """Words that the literature prints, and strings that are none."""
    for word in ("BTXSE", "BPVVE", "BTSXSE", "BTSSXXTVVE", "BPTVPSE", "BTXXVPSE", "BPVPXVVE"):
        assert re.fullmatch(WORD, word)
    for string in ("BTXE", "BTVVE", "BPSE", "BTXXE", "BPVPE", "BTSSPXSE", "BTXS"):
        assert not re.fullmatch(WORD, string)
    assert re.fullmatch(EMBEDDED, "BTBPVVETE")
    assert not re.fullmatch(EMBEDDED, "BTBPVVEPE")


@pytest.mark.parametrize(("function", "pattern"), GRAMMARS)
def test_shapes(function, pattern):
    symbols, lengths, legal = function(np.random.default_rng(0), 50)
    assert symbols.shape == (50, lengths.max())
    assert legal.shape == (*symbols.shape, 7)
    assert [array.dtype for array in (symbols, lengths, legal)] == [np.int32, np.int32, np.bool_]
    after = np.arange(symbols.shape[1]) >= lengths[:, None]
    assert not symbols[after].any()
    assert not legal[after].any()


@pytest.mark.parametrize(("function", "pattern"), GRAMMARS)
def test_strings_are_words(function, pattern):
    for string in spelled(function(np.random.default_rng(0), 1000)):
        assert re.fullmatch(pattern, string), string


def test_all_short_words_are_drawn():
    drawn = set(spelled(reber(np.random.default_rng(0), 3000)))
    short = words_up_to(WORD, 7)
    assert len(short) == 9  # two of five symbols, three of six, four of seven
    assert {word for word in drawn if len(word) <= 7} == short
    embedded = set(spelled(embedded_reber(np.random.default_rng(0), 3000)))
    assert {word for word in embedded if len(word) <= 11} == {f"B{x}{word}{x}E" for x in "TP" for word in short}


def test_edges_are_taken_with_probability_one_half():
    """A word of which k choices decide comes with probability 2^-k."""
    strings = spelled(reber(np.random.default_rng(3), 10_000))
    for word, choices in (("BTXSE", 3), ("BTSXSE", 4), ("BPVVE", 3), ("BPTVVE", 4), ("BPVPSE", 4)):
        assert abs(strings.count(word) / 10_000 - 2.0**-choices) < 0.01
    second = [string[1] for string in spelled(embedded_reber(np.random.default_rng(3), 10_000))]
    assert abs(second.count("T") / 10_000 - 0.5) < 0.02


@pytest.mark.parametrize(("function", "pattern"), GRAMMARS)
def test_legal_is_what_some_word_goes_on_with(function, pattern):
    """A symbol may follow what has been read if and only if some word begins with both.

    From every node of the graph one of `ends` leads to the end: a string begins a word if one of them completes it.
    """
    shortest = ["", "E", "SE", "VE", "XSE", "VVE", "TXSE", "BTXSE"]
    ends = shortest + [end + x + "E" for end in shortest for x in "TP"] + [f"{x}BTXSE{x}E" for x in "TP"]
    begins = {}

    def begins_a_word(string):
        if string not in begins:
            begins[string] = any(re.fullmatch(pattern, string + end) for end in ends)
        return begins[string]

    strings = function(np.random.default_rng(5), 100)
    for word, rows in zip(spelled(strings), strings.legal, strict=True):
        for t, row in enumerate(rows[: len(word)]):
            want = [begins_a_word(word[: t + 1] + symbol) for symbol in REBER_SYMBOLS]
            assert row.tolist() == want, (word, t)


def test_the_second_symbol_decides_what_comes_before_the_last():
    """After the inner word's E, the only legal symbol is the one in the second place, however long ago that was."""
    strings = embedded_reber(np.random.default_rng(7), 500)
    row = np.arange(500)
    legal = strings.legal[row, strings.lengths - 3]
    assert (legal.sum(1) == 1).all()
    np.testing.assert_array_equal(legal.argmax(1), strings.symbols[:, 1])
    assert set(strings.symbols[:, 1]) == {REBER_SYMBOLS.index("T"), REBER_SYMBOLS.index("P")}


@pytest.mark.parametrize("function", [reber, embedded_reber])
def test_the_seed_decides(function):
    first, again, other = (spelled(function(np.random.default_rng(seed), 20)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("function", [reber, embedded_reber])
def test_no_strings(function):
    with pytest.raises(ValueError, match=f"^{function.__name__}: n is 0, wanted at least 1$"):
        function(np.random.default_rng(0), 0)


def test_unseen_strings_are_new_and_each_is_there_once():
    train, test = (embedded_reber(np.random.default_rng(seed), 3000) for seed in (0, 1))
    new = unseen_strings(test, train)
    assert sorted(spelled(new)) == sorted(set(spelled(test)) - set(spelled(train)))
    assert 0 < len(new.lengths) < 1000
    first = spelled(new)[0]
    place = spelled(test).index(first)
    np.testing.assert_array_equal(new.legal[0], test.legal[place])
    assert not len(unseen_strings(train, train).lengths)
