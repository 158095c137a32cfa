"""What was done wrong, in words.

A wrong array is compared with what certain mistakes would have made of it.  Some hypotheses look at the array alone
(`arrangement`, `places`); others make the mistake, at every read of a value in the function, and look whether the same
wrong array comes out (`terms`, `misreads`).  What fits is ranked by how surprising it is; if nothing fits, nothing is
said.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.verify.answer import Answer
from jaxnets.verify.diagnosis.arrangement import arrangement
from jaxnets.verify.diagnosis.edits import results
from jaxnets.verify.diagnosis.hypothesis import Hypothesis, Wrong, same, says
from jaxnets.verify.diagnosis.misreads import explained, misreads
from jaxnets.verify.diagnosis.part import Part, as_whole, cut_out, only_there, wrong_part
from jaxnets.verify.diagnosis.places import places
from jaxnets.verify.diagnosis.record import Record, record
from jaxnets.verify.diagnosis.terms import gates, terms
from jaxnets.verify.problem import Problem
from jaxnets.verify.report import Row, Verdict

MOST_ROWS = 6
"""The most rows that are explained; the rest are likely to be the same mistake."""

MOST_SHOWN = 3
CLEAR = 2.9
"""Hypotheses about the array alone that are less surprising than this are believed without a look at the graph."""

LARGEST = 2**20
"""The most entries of an array whose mistakes are tried on the graph."""


def diagnose(
    problem: Problem,
    operands: list[Any],
    cotangents: list[Any],
    rows: list[Row],
    given: Answer,
    both: tuple[dict[str, Any], dict[str, Any]],
) -> list[Row]:
    """The rows, the wrong ones with their explanations.

    `both` are the values by hand and by autodiff, by name; `given` holds the deltas by hand that cut the graph.
    """
    hand, truth = both
    wrong_names = [row.name for row in rows if row.verdict is Verdict.WRONG]
    finite = [name for name in wrong_names if np.all(np.isfinite(truth[name]))]
    found = {name: [_not_finite(hand[name])] for name in finite if not np.all(np.isfinite(hand[name]))}
    names = [name for name in finite if name not in found][:MOST_ROWS]
    if names:
        found |= _explained(problem, operands, cotangents, names, given, both)
    return [dataclasses.replace(row, diagnosis=_ranked(found[row.name])) if row.name in found else row for row in rows]


def _not_finite(hand: Any) -> Hypothesis:
    bad = ~np.isfinite(hand)
    return says(0.0, f"not finite in {bad.sum()} of {bad.size} entries, where it should be: as by a division by 0")


def _explained(
    problem: Problem,
    operands: list[Any],
    cotangents: list[Any],
    names: list[str],
    given: Answer,
    both: tuple[dict[str, Any], dict[str, Any]],
) -> dict[str, list[Hypothesis]]:
    hand, truth = both
    run = record(problem, operands)
    wrong = {name: _wrong(problem, operands, run, name, hand[name], truth[name]) for name in names}
    parts = {name: wrong_part(case) for name, case in wrong.items()}
    found = {name: [*arrangement(case), *_another(case, truth), *places(case)] for name, case in wrong.items()}
    for name, part in parts.items():
        inside = as_whole(part, wrong[name]) if part is not None else None
        if part is not None and inside is not None and _least(found[name]) > CLEAR:
            found[name] += [only_there(part, hypothesis) for hypothesis in arrangement(inside)]
    open_ = [
        name
        for name, hypotheses in found.items()
        if _least(hypotheses) > CLEAR
        and np.shape(hand[name]) == np.shape(truth[name])
        and np.size(truth[name]) <= LARGEST
    ]
    if open_:
        on_the_graph = _on_the_graph(problem, operands, cotangents, given.deltas, run, wrong, parts, open_)
        for name, hypotheses in on_the_graph.items():
            found[name] += hypotheses
    return found


def _another(wrong: Wrong, truth: dict[str, Any]) -> Iterator[Hypothesis]:
    """The right value of another equation."""
    for name, value in truth.items():
        if name != wrong.name and np.any(wrong.hand) and same(np.asarray(value), wrong.hand):
            yield says(6.8, f"exchanged: it holds the value of {name}")


def _least(hypotheses: list[Hypothesis]) -> float:
    return min((hypothesis.surprise for hypothesis in hypotheses), default=np.inf)


def _on_the_graph(
    problem: Problem,
    operands: list[Any],
    cotangents: list[Any],
    deltas: dict[str, Any],
    run: Record,
    wrong: dict[str, Wrong],
    parts: dict[str, Part | None],
    names: Sequence[str],
) -> dict[str, list[Hypothesis]]:
    def tried(edits: Sequence[Any]) -> list[tuple[Any, dict[str, np.ndarray]]]:
        values = results(problem, operands, cotangents, deltas, names, run, edits) if edits else []
        return [
            (edit, of_edit)
            for edit, of_edit in zip(edits, values, strict=True)
            if all(np.all(np.isfinite(value)) for value in of_edit.values())
        ]

    def explain(hypotheses: Callable[..., Iterator[Hypothesis]], tried: Any, name: str) -> list[Hypothesis]:
        """Those of the whole array, or else those of the part that is wrong."""
        part = parts[name]
        whole = list(hypotheses(wrong[name], [(edit, values[name]) for edit, values in tried]))
        inside = as_whole(part, wrong[name]) if part is not None else None
        if whole or part is None or inside is None:
            return whole
        of_part = [(edit, cut_out(part, values[name])) for edit, values in tried]
        return [only_there(part, hypothesis) for hypothesis in hypotheses(inside, of_part)]

    with_factors = tried(gates(run))
    found = {name: explain(terms, with_factors, name) for name in names}
    left = [name for name in names if not found[name]]
    reached = {
        gate.read.key
        for gate, values in with_factors
        if any(not np.array_equal(values[name], wrong[name].truth) for name in left)
    }
    with_misreads = tried(misreads(run, reached))
    for name in left:
        found[name] += explain(explained, with_misreads, name)
    return found


def _wrong(problem: Problem, operands: list[Any], run: Record, name: str, hand: Any, truth: Any) -> Wrong:
    dimensions = {
        f"{label}.shape[{axis}]": size
        for label, operand in zip(problem.names, operands, strict=True)
        for axis, size in enumerate(np.shape(operand))
    }
    integers = {
        label: np.asarray(operand)
        for label, operand in zip(problem.names, operands, strict=True)
        if jnp.issubdtype(operand.dtype, np.integer)
    }
    # Named values first: of two that tell the same, the reader knows those.
    values = sorted(run.values.values(), key=lambda value: not value.named)
    return Wrong(
        name,
        np.asarray(hand),
        np.asarray(truth),
        dimensions,
        integers,
        {value.words: run.arrays[value.key] for value in values if run.arrays[value.key].shape == np.shape(truth)},
    )


def _ranked(hypotheses: list[Hypothesis]) -> tuple[Any, ...]:
    ordered = sorted(hypotheses, key=lambda hypothesis: hypothesis.surprise)
    unique = list(dict.fromkeys(hypothesis.explanation for hypothesis in ordered))
    return tuple(unique[:MOST_SHOWN])
