"""At a kink a function has many subgradients: is the derivation's value one of them?

A row that is wrong at a point is *at a kink* if the same equation is right at points next to it.  There Clarke's
generalised gradient is the convex hull of the gradients at the neighbours.  A value is in a hull if no direction
separates them: tested along single entries, and sums and differences of two of them, since a tie that is counted twice
lies in the box around the hull and only the sum of its entries gives it away.

With one-hot cotangents, an output at a time, the neighbours show nearly every corner of the hull.  A scalar loss is a
sum over many kinks, whose corners are too many to visit: there the hull is taken twice as wide, so that a slope that is
outside by less than half of the jump passes.

Source: F. H. Clarke, Optimization and Nonsmooth Analysis (1983), section 2.5 and theorem 2.5.1.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxnets.verify.compare import compare, norm
from jaxnets.verify.leaves import one_hots
from jaxnets.verify.problem import Problem
from jaxnets.verify.report import Row, Verdict

NEIGHBOURS = 96
DISTANCE = 1e-6
SLACK = 1e-4
"""A neighbour's gradient differs from the one-sided limit by about the distance times the curvature."""

MOST_OUTPUTS = 64
"""The most outputs whose cotangents are tried one by one."""

MOST_ENTRIES = 40
"""The most entries of a wrong array that are tested pair by pair."""

Sides = Callable[[list[Any], list[Any]], tuple[dict[str, Any], dict[str, Any]]]
"""(operands, cotangents) -> (values by hand, values by autodiff), by name."""


def judge(
    problem: Problem,
    operands: list[Any],
    cotangents: list[Any],
    rows: list[Row],
    there: Sides,
    by_hand: Callable[[list[Any]], dict[str, Any]],
    around: Callable[[list[list[Any]], list[Any]], dict[str, Any]],
    one_by_one: bool,
) -> list[Row]:
    """The rows, with those that are wrong at a kink only, and a subgradient there, marked as such.

    `there` gives both sides at a point with the deltas of that point.  With the deltas of `operands`, `by_hand` gives
    the values by hand, and `around` those of autodiff at each of some points, stacked.  `one_by_one` tries one-hot
    cotangents where the outputs are few.
    """
    wrong = [row.name for row in rows if row.verdict is Verdict.WRONG and row.heat]
    if not wrong:
        return rows
    points = list(_neighbours(problem, operands))
    for point in points[:2]:
        hand, truth = there(point, cotangents)
        wrong = [name for name in wrong if compare(name, hand[name], truth[name]).verdict is Verdict.OK]
    if not wrong:
        return rows
    accepted = set(wrong)
    one_by_one = one_by_one and not problem.scalar_loss and sum(np.size(y_bar) for y_bar in cotangents) <= MOST_OUTPUTS
    for y_bar in (single for *_, single in one_hots(cotangents)) if one_by_one else [cotangents]:
        at_kink, corners = by_hand(y_bar), around(points, y_bar)
        accepted = {
            name
            for name in accepted
            if _in_hull(
                np.asarray(at_kink[name]).ravel(),
                np.asarray(corners[name]).reshape(NEIGHBOURS, -1),
                width=1.0 if one_by_one else 2.0,
            )
        }
    note = "at a kink: a valid subgradient, another convention than JAX's"
    return [
        dataclasses.replace(row, verdict=Verdict.SUBGRADIENT, note=note, heat=()) if row.name in accepted else row
        for row in rows
    ]


def _neighbours(problem: Problem, operands: list[Any]) -> Iterator[list[Any]]:
    generator = np.random.default_rng(problem.seed)

    scales = [
        norm(operand) / np.sqrt(max(np.size(operand), 1)) for operand in problem._replace(operands=operands).inputs()
    ]
    # As far from zero as the array's own scale asks; an array of zeros has none, and takes the least of the others.
    least = min((scale for scale in scales if scale), default=1.0)

    def near(operand: Any) -> Any:
        scale = norm(operand) / np.sqrt(max(np.size(operand), 1)) or least
        step = generator.choice([-1.0, 1.0], np.shape(operand)) * generator.uniform(0.5, 1.0, np.shape(operand))
        return (np.asarray(operand) + DISTANCE * scale * step).astype(operand.dtype)

    for _ in range(NEIGHBOURS):
        yield [near(operand) if moves else operand for operand, moves in zip(operands, problem.wanted, strict=True)]


def _in_hull(value: np.ndarray, corners: np.ndarray, width: float) -> bool:
    """Whether no tested direction separates a value from the hull of the rows of `corners`, made `width` as wide."""
    if not np.all(np.isfinite(value)):
        return False
    scale = max(np.max(abs(corners), initial=0.0), np.max(abs(value), initial=0.0))
    if scale == 0.0:
        return True

    def within(value: Any, corners: Any) -> np.ndarray:
        low, high = corners.min(0), corners.max(0)
        margin = SLACK * scale + (width - 1) / 2 * (high - low)
        return (low - margin <= value) & (value <= high + margin)

    if not np.all(within(value, corners)):
        return False
    jumping = np.argsort(corners.max(0) - corners.min(0))[::-1][:MOST_ENTRIES]
    pairs = np.array(list(itertools.combinations(jumping, 2)), dtype=int).reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    return all(
        bool(np.all(within(value[first] + sign * value[second], corners[:, first] + sign * corners[:, second])))
        for sign in (1, -1)
    )
