"""How a check says that it has nothing to say."""

from jaxnets import jaxpr
from jaxnets.verify.problem import Level, Problem


class NotApplicable(Exception):
    """The reason why a check does not apply to a problem."""


LARGE = 500
"""The most operations of a derivation that level QUICK compiles more than once."""


def unless_too_large(problem: Problem, level: Level) -> None:
    """Leave a check that compiles the derivation again to level FULL, where that takes long.

    Raises:
      NotApplicable: at level QUICK, for a derivation of many operations, such as a loop that Python unrolled.
    """
    if level is Level.FULL or problem.program is None:
        return
    count = sum(1 for _ in jaxpr.equations(problem.program.closed.jaxpr))
    if count > LARGE:
        raise NotApplicable(f"the derivation's {count} operations would be compiled once more, which level FULL does")
