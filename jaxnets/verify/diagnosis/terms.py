"""Hypotheses about terms: a gradient is a sum over the reads of a value, and one of its terms is missing or scaled."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jaxnets.verify.diagnosis.edits import Gate
from jaxnets.verify.diagnosis.hypothesis import Hypothesis, Wrong, reproduces, same, says
from jaxnets.verify.diagnosis.numbers import in_words, named
from jaxnets.verify.diagnosis.record import Read, Record

MOST_PAIRED = 40
"""The most different terms of which two are tried together."""


def gates(record: Record) -> list[Gate]:
    """Each read left out, and each with the factor -1: what is linear in the factor is known from these."""
    return [Gate(read, factor) for read in record.reads.values() for factor in (0.0, -1.0)]


def terms(wrong: Wrong, results: Sequence[tuple[Gate, np.ndarray]]) -> Iterator[Hypothesis]:
    """One term has another factor, 0 if it is missing; or two terms have."""
    missing = np.asarray(wrong.hand - wrong.truth)
    basis: list[tuple[Read, np.ndarray, Mapping[float, np.ndarray]]] = []
    for read, of_read in itertools.groupby(results, key=lambda result: result[0].read):
        by_factor = {gate.factor: value for gate, value in of_read}
        if 0.0 not in by_factor:
            continue
        term = np.asarray(wrong.truth - by_factor[0.0])
        # Reads in a row, such as those of a sum and then of its root, carry the same term: the first stands for all.
        if np.any(term) and not same(term, wrong.truth) and not any(same(term, other) for _, other, _ in basis):
            basis.append((read, term, by_factor))
    alone = False
    for read, term, by_factor in basis:
        fitted = 1 + _fit([term], missing)[0]
        candidates = {**by_factor, fitted: wrong.truth + (fitted - 1) * term}
        for factor, value in candidates.items():
            if reproduces(value, wrong):
                alone = True
                yield _says(wrong, [(read, factor)])
    if alone:
        return
    for (first, one, _), (second, other, _) in itertools.combinations(basis[:MOST_PAIRED], 2):
        factors = 1 + _fit([one, other], missing)
        together = [(first, factors[0]), (second, factors[1])]
        if all(_name(wrong, factor) not in ("", "1") for _, factor in together) and reproduces(
            wrong.truth + (factors[0] - 1) * one + (factors[1] - 1) * other, wrong
        ):
            yield _says(wrong, together)


def _fit(terms: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray:
    columns = np.stack([term.ravel() for term in terms], 1)
    return np.linalg.lstsq(columns, target.ravel(), rcond=None)[0]


def _name(wrong: Wrong, factor: float) -> str:
    return "0" if abs(factor) < 1e-7 else named(factor, wrong.dimensions)


def _says(wrong: Wrong, factors: Sequence[tuple[Read, float]]) -> Hypothesis:
    parts = []
    for read, factor in factors:
        name, source = read.site.equation.primitive.name, read.site.source
        what = f"the term through `{source.text}` ({name})" if source.text else f"the term through {name}"
        scaled = f"has the factor {in_words(factor, wrong.dimensions)}"
        parts.append(f"{what} {'is missing' if _name(wrong, factor) == '0' else scaled}")
    plain = all(_name(wrong, factor) for _, factor in factors)
    # With two numbers to fit, and few entries to fit them to, anything can be fitted.
    surprise = (3.5 if any(_name(wrong, factor) != "0" for _, factor in factors) else 3.0) + 2.0 * (len(factors) - 1)
    surprise += 0.0 if plain else 5.0
    places = [read.site.source.place for read, _ in factors if read.site.source.place]
    return says(surprise, " and ".join(parts), ", ".join(dict.fromkeys(places)))
