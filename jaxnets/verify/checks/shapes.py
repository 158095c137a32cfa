"""The same comparison at other sizes: a batch of one, two steps, strides, squares, where a mistake may hide."""

import dataclasses
import inspect
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets.verify.checks.applicable import NotApplicable
from jaxnets.verify.leaves import is_inexact, to_float64
from jaxnets.verify.point import equations_at
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.report import Row, Verdict, brief

EXAMPLES = {Level.QUICK: 10, Level.FULL: 50}
"""How many sizes are tried.  Three are always among them: the smallest, equal ones, distinct primes."""

SIZES = range(1, 9)
"""What a size is drawn from, where its default is no range."""

EQUAL, PRIMES = 4, (2, 3, 5, 7)

AGAIN = 50
"""How many are drawn to find smaller ones, once some are wrong."""


def shapes(problem: Problem, level: Level) -> list[Row]:
    """One row for all sizes, or one for each equation that is wrong at the smallest sizes where one is.

    The sizes are the keyword-only parameters of `sampler(key, *, batch, stride=range(1, 4), depth=2)`: one without a
    default is drawn from 1 to 8, one whose default is a range from that range; any other default stays.  Sizes at which
    the sampler or the function raises, or the gradient is not finite, are passed over.  Each costs the time to compile
    both sides anew, and to draw the arguments: a sampler in NumPy (seeded by `jax.random.key_data(key)`) is fastest.
    """
    if problem.sampler is None:
        raise NotApplicable("no sampler is given, to draw arguments of other sizes")
    ranges = _ranges(problem.sampler)
    if not ranges:
        raise NotApplicable("the sampler has no keyword-only parameter that is a size")
    known: dict[tuple[int, ...], _Trial] = {}

    def wrong(sizes: Sizes) -> bool:
        key = tuple(sizes.values())
        if key not in known:
            known[key] = _trial(problem, sizes)
        return any(row.verdict is Verdict.WRONG for row in known[key].rows)

    found = _smallest(wrong, ranges, EXAMPLES[level], problem.seed)
    if found is not None:
        at = "smallest: " + ", ".join(f"{name}={size}" for name, size in found.items())
        return [
            dataclasses.replace(row, note="; ".join(filter(None, (at, row.note))), decisive=False)
            for row in known[tuple(found.values())].rows
            if row.verdict is Verdict.WRONG
        ]
    tried = [trial for trial in known.values() if trial.rows]
    reasons = [trial.passed_over for trial in known.values() if not trial.rows]
    if not tried:
        raise NotApplicable(f"at no size there is anything to compare: {reasons[0]}")
    note = f"{len(reasons)} more were passed over, the first since {reasons[0]}" if reasons else ""
    worst = max((row.error for trial in tried for row in trial.rows if row.verdict is Verdict.OK), default=0.0)
    return [Row(f"{len(tried)} sizes", Verdict.OK, worst, note=note, decisive=False)]


Sizes = dict[str, int]


def _ranges(sampler: Callable[..., Any]) -> dict[str, range]:
    parameters = [p for p in inspect.signature(sampler).parameters.values() if p.kind is p.KEYWORD_ONLY]
    ranges = {p.name: SIZES if p.default is p.empty else p.default for p in parameters}
    return {name: values for name, values in ranges.items() if isinstance(values, range)}


class _Trial(NamedTuple):
    """The rows at some sizes; none where they were passed over, for a reason."""

    rows: list[Row]
    passed_over: str = ""


def _trial(problem: Problem, sizes: Sizes) -> _Trial:
    assert problem.sampler is not None
    try:
        posed = problem.again(to_float64(problem.sampler(jax.random.key(problem.seed), **sizes)))
    except Exception as error:  # there may be no such sizes
        return _Trial([], brief(error))
    try:
        rows = equations_at(posed, posed.operands, posed.cotangents)
    except Exception as error:  # a derivation may stumble over a size
        rows = [Row("the derivation", Verdict.WRONG, float("inf"), note=brief(error))]
    if any(row.verdict is Verdict.WRONG for row in rows) and not _finite(posed):
        return _Trial([], "the function or its gradient is not finite")
    return _Trial(rows)


def _finite(problem: Problem) -> bool:
    _, truth = problem.truth(problem.operands, problem.cotangents, {}, {})
    values = [value for value in problem.value(problem.operands) if is_inexact(value)]
    return all(bool(np.all(np.isfinite(array))) for array in (*truth, *values))


def _smallest(wrong: Callable[[Sizes], bool], ranges: Mapping[str, range], examples: int, seed: int) -> Sizes | None:
    """The sizes that Hypothesis shrinks to, None if all that were tried are right."""
    from hypothesis import Phase, find, settings
    from hypothesis import strategies as st
    from hypothesis.errors import NoSuchExample

    def equal(size: int) -> Sizes:
        return _nearest(ranges, [size] * len(ranges))

    corners = [equal(1), equal(EQUAL), _nearest(ranges, _primes(len(ranges)))]
    corner = next((corner for corner in corners if wrong(corner)), None)
    drawn = st.tuples(*(st.sampled_from(values) for values in ranges.values()))
    try:
        return find(
            drawn.map(lambda values: dict(zip(ranges, values, strict=True))),
            wrong,
            settings=settings(
                max_examples=examples - len(corners) if corner is None else AGAIN,
                phases=(Phase.generate, Phase.shrink),
                database=None,
                deadline=None,
            ),
            random=random.Random(seed),
        )
    except NoSuchExample:
        # Few draws are all equal.
        return next((sizes for sizes in map(equal, range(1, EQUAL)) if corner and wrong(sizes)), corner)


def _nearest(ranges: Mapping[str, range], wanted: list[int]) -> Sizes:
    """The sizes that are nearest to those wanted, out of their ranges."""
    return {
        name: min(values, key=lambda value, goal=goal: abs(value - goal))
        for (name, values), goal in zip(ranges.items(), wanted, strict=True)
    }


def _primes(number: int) -> list[int]:
    return [PRIMES[position % len(PRIMES)] for position in range(number)]
