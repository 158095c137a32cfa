"""Along random directions, against the function alone: what shares nothing with autodiff.

Autodiff believes every rule for derivatives that it meets in the forward pass.  A wrong `custom_jvp` hidden there makes
it agree with a derivation that makes the same mistake.  Here the derivative along a direction comes from values of the
function (`jaxnets.verify.oracle`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnets.verify.checks.applicable import NotApplicable
from jaxnets.verify.compare import NOISE, POWERLESS
from jaxnets.verify.complex_step import NoComplexForm
from jaxnets.verify.line import holds, inner, line
from jaxnets.verify.noise import spread
from jaxnets.verify.oracle import Measured, Oracle, by_complex_step, oracle
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.remainder import order
from jaxnets.verify.report import Row, Verdict

DIRECTIONS = {Level.QUICK: 1, Level.FULL: 3}
"""Each moves every entry of every differentiated leaf."""

BESIDE = (1e-3, 1e-4, 1e-5)
"""How far from its point, relative to it, a function is looked at to see whether it is at a kink."""

HIDDEN = (
    "autodiff itself disagrees with the function: a rule for derivatives (custom_jvp or custom_vjp) hidden in the "
    "forward pass is wrong"
)


def independence(problem: Problem, level: Level) -> list[Row]:
    """One row for all directions, or those that are wrong or without power.

    The note says how the derivative was measured and, as evidence, the order of the Taylor remainder of the derivative
    by hand (with `stop_gradient`, where that takes another program, at level FULL only).  The order is no verdict: it
    is 2 for a right derivative of a smooth function, but 1 where a kink is nearer than the shortest step, and a small
    error hides in it.

    At a kink of the function each oracle shows one of its slopes; there the derivation is compared at points beside it,
    and what it makes of the kink itself is left to `against_autodiff`.

    A rule that is meant not to be the derivative (a gradient that is clipped, or reversed, by `custom_jvp`) is
    reported, and so is the implicit derivative of an iteration that stops early: leave this check out there.
    """
    generator = np.random.default_rng(problem.seed)
    directions = [[_normal(generator, x) for x in problem.inputs()] for _ in range(DIRECTIONS[level])]
    if not np.all([np.all(np.isfinite(bar)) for bar in problem.truth(problem.operands, problem.cotangents, {}, {})[1]]):
        raise NotApplicable("the gradient by autodiff is not finite")
    along = line(problem)
    measure = oracle(problem, along, directions[0])
    look = level is Level.FULL or not holds(problem)
    rows = []
    for number, v in enumerate(directions, start=1):
        here = _sides(problem, measure, problem.operands, v)
        evidence = _evidence(lambda t, v=v: along(problem.operands, v, t), here.hand) if look else ""
        rows.append(_row(f"direction {number}", problem, measure, v, here, evidence))
    worst = max(rows, key=lambda row: row.error)
    return [row for row in rows if row.verdict is not Verdict.OK] or [worst]


def _evidence(g: Callable[[float], float], by_hand: float) -> str:
    taylor = order(g, by_hand)
    return "; Taylor remainder " + ("all rounding" if taylor is None else f"of order {taylor:.1f}")


class _Sides(NamedTuple):
    """One derivative along one direction, by hand, by autodiff and measured; `scale` is Σ |bar · v|."""

    hand: float
    truth: float
    measured: Measured
    scale: float

    def errors(self) -> tuple[float, float]:
        return abs(self.hand - self.measured.value), abs(self.truth - self.measured.value)

    def right(self, noise: float = 0.0) -> tuple[bool, bool]:
        """Whether the hand is right, and autodiff.  NaN is neither."""
        by_hand, by_autodiff = self.errors()
        return by_hand <= self.measured.allowed + noise, by_autodiff <= self.measured.allowed + noise

    def relative(self) -> float:
        error = max(self.errors())
        return error / self.scale if self.scale > 0 else 0.0 if error == 0 else float("inf")


def _sides(problem: Problem, measure: Oracle, operands: list[Any], v: Sequence[Any]) -> _Sides:
    hand = problem.hand(operands, problem.cotangents).bars
    _, truth = problem.truth(operands, problem.cotangents, {}, {})
    scale = float(sum(np.sum(abs(np.asarray(bar) * v_leaf)) for bar, v_leaf in zip(truth, v, strict=True)))
    return _Sides(inner(hand, v), inner(truth, v), measure(operands, v, scale), scale)


def _row(name: str, problem: Problem, measure: Oracle, v: Sequence[Any], here: _Sides, evidence: str) -> Row:
    how = here.measured.how

    def row(verdict: Verdict, note: str, of: _Sides = here) -> Row:
        decisive = verdict is not Verdict.NO_POWER
        return Row(name, verdict, of.relative(), hand=of.hand, truth=of.truth, note=note + evidence, decisive=decisive)

    if here.measured.powerless():
        return row(Verdict.NO_POWER, f"{how} is off by up to {here.measured.error:.0e} here")
    hand_is_right, autodiff_is_right = here.right()
    if hand_is_right and autodiff_is_right:
        return row(Verdict.OK, how)
    # A derivation that is known to be wrong is looked into no more; autodiff is not blamed lightly.
    if problem.explain or not autodiff_is_right:
        beside = [_sides(problem, measure, point, v) for point in _beside(problem)]
        telling = [there for there in beside if not there.measured.powerless()]
        if all(all(there.right()) for there in telling):
            closest = telling[-1] if telling else here
            return row(Verdict.OK if telling else Verdict.NO_POWER, f"{how}, beside a kink", closest)
        noise = NOISE * _noise(problem, v)
        hand_is_right, autodiff_is_right = here.right(noise)
        if hand_is_right and autodiff_is_right:
            verdict = Verdict.NO_POWER if noise > POWERLESS * here.scale else Verdict.OK
            return row(verdict, f"{how}, as far as rounding allows")
    numbers = f"by hand {here.hand:.9g}, autodiff {here.truth:.9g}, {how} {here.measured.value:.9g}"
    return row(Verdict.WRONG, numbers if autodiff_is_right else f"{HIDDEN}; {numbers}")


def _beside(problem: Problem) -> Iterator[list[Any]]:
    """Points closer and closer to the given one, in random directions."""
    generator = np.random.default_rng(problem.seed)
    arrays = [np.asarray(x) for x in problem.inputs()]
    for by in BESIDE:
        yield problem.merge([x + by * np.maximum(1.0, abs(x)) * _normal(generator, x) for x in arrays])


def _normal(generator: np.random.Generator, like: Any) -> np.ndarray:
    draw = generator.standard_normal(np.shape(like))
    return draw + 1j * generator.standard_normal(np.shape(like)) if np.iscomplexobj(like) else draw


def _noise(problem: Problem, v: Sequence[Any]) -> float:
    """What rounding can do to the derivative along a random v: the spread of the gradient, and of the complex step."""
    of_leaves = [norm for side in problem.noise for norm in side(problem.operands, problem.cotangents, {})]
    step = by_complex_step(problem)
    try:
        of_step = spread(lambda operands, v: [step(operands, v)])(problem.operands, v)
    except NoComplexForm:
        of_step = []
    return float(np.linalg.norm([*of_leaves, *of_step]))
