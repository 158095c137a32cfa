"""Every entry of every cotangent against autodiff's, in float64."""

import dataclasses

import numpy as np

from jaxnets.verify.leaves import one_hots
from jaxnets.verify.point import leaves_at
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.report import Row, Verdict

MOST_OUTPUTS = {Level.QUICK: 8, Level.FULL: 64}
"""The most outputs whose cotangents are also tried one by one."""


def against_autodiff(problem: Problem, level: Level) -> list[Row]:
    """A row for each differentiated leaf, at a dense random cotangent; where the outputs are few, also at each one-hot
    cotangent.  A row without power (see `jaxnets.verify.compare`) is neither right nor wrong.
    """
    rows = leaves_at(problem, problem.operands, problem.cotangents)
    sizes = [np.size(cotangent) for cotangent in problem.cotangents]
    all_right = all(row.verdict is not Verdict.WRONG for row in rows)
    if problem.scalar_loss or not all_right or sum(sizes) > MOST_OUTPUTS[level]:
        return rows
    return rows + _one_by_one(problem)


def _one_by_one(problem: Problem) -> list[Row]:
    """One row for all one-hot cotangents, or those that are wrong."""
    wrong: list[Row] = []
    for position, entry, single in one_hots(problem.cotangents):
        rows = leaves_at(problem, problem.operands, single)
        note = f"with the cotangent of output {position} one-hot at {list(entry)}"
        wrong += [_noted(row, note) for row in rows if row.verdict is Verdict.WRONG]
    return wrong or [Row("one-hot cotangents", Verdict.OK, 0.0)]


def _noted(row: Row, note: str) -> Row:
    return dataclasses.replace(row, note="; ".join(filter(None, (row.note, note))))
