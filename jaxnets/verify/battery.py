"""Every check in its order, and the report of those that apply."""

import dataclasses
from collections.abc import Callable, Sequence

from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.applicable import NotApplicable
from jaxnets.verify.checks.call_sites import call_sites
from jaxnets.verify.checks.contract import contract
from jaxnets.verify.checks.exact_integers import exact_integers
from jaxnets.verify.checks.independence import HIDDEN, independence
from jaxnets.verify.checks.local import local
from jaxnets.verify.checks.precision import precision
from jaxnets.verify.checks.regimes import regimes
from jaxnets.verify.checks.shapes import shapes
from jaxnets.verify.checks.transformations import transformations
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.report import Report, Row, Verdict

AT_THE_INPUT = (contract, call_sites, local, against_autodiff, independence)
"""The checks at the given input itself: for a derivation that holds in a part of the inputs only."""

Check = Callable[[Problem, Level], list[Row]]

BATTERY: tuple[Check, ...] = (*AT_THE_INPUT, exact_integers, regimes, shapes, precision, transformations)
"""What names an equation comes before what names a leaf: the first wrong row is where to look first."""


def run(problem: Problem, checks: Sequence[Check], level: Level, reproduce: str) -> Report:
    """The rows of each check.

    Once an equation is wrong it is not looked for at other inputs, sizes and dtypes: those checks are for a derivation
    that is right at the given input.
    """
    rows: list[Row] = []
    idle: list[tuple[str, str]] = []
    # Without the structure that the contract promises there is nothing that the other checks could read.
    promises = contract(problem, level)
    broken = promises[0].verdict is Verdict.WRONG
    for check in (contract,) if broken else checks:
        name = check.__name__
        wrong = any(row.verdict is Verdict.WRONG for row in rows)
        if wrong and check not in AT_THE_INPUT:
            idle.append((name, "something is wrong at the given input already"))
            continue
        try:
            found = promises if check is contract else check(problem._replace(explain=not wrong), level)
        except NotApplicable as reason:
            idle.append((name, str(reason)))
            continue
        rows += [dataclasses.replace(row, check=name) for row in found]
    return Report(problem.title, tuple(_with_heirs(rows)), problem.seed, reproduce, tuple(idle))


def _with_heirs(rows: list[Row]) -> list[Row]:
    """Where an equation is wrong, the leaves whose own equations are right have inherited what is wrong with them, and
    so has every direction in which autodiff is right.
    """
    right = {row.name for row in rows if row.check == local.__name__ and row.verdict is Verdict.OK}
    named = any(row.verdict is Verdict.WRONG and row.check != independence.__name__ for row in rows)

    def inherits(row: Row) -> bool:
        of_a_leaf = row.check == against_autodiff.__name__ and row.name in right
        of_a_direction = row.check == independence.__name__ and named and HIDDEN not in row.note
        return row.verdict is Verdict.WRONG and (of_a_leaf or of_a_direction)

    return [dataclasses.replace(row, verdict=Verdict.INHERITED) if inherits(row) else row for row in rows]
