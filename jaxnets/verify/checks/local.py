"""Each equation alone, with the deltas by hand as its cotangents."""

from jaxnets.verify.checks.applicable import NotApplicable
from jaxnets.verify.point import equations_at
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.report import Row


def local(problem: Problem, level: Level) -> list[Row]:
    """A row for each delta and each leaf, what its own equation makes of the deltas that it is given.

    Several errors separate, and an error that was inherited is not blamed.  The names may stand inside `jit`, `vmap`,
    `cond`, `remat` and `scan`, where a delta has one entry a step.
    """
    answer = problem.hand(problem.operands, problem.cotangents)
    if not answer.deltas:
        raise NotApplicable("the derivation gives no deltas of named values")
    return equations_at(problem, problem.operands, problem.cotangents)
