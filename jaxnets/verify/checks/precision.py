"""The derivation in float32 and bfloat16, where formulas that are right but cancel lose their digits."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.verify import cut
from jaxnets.verify.answer import Answer
from jaxnets.verify.checks.applicable import NotApplicable, unless_too_large
from jaxnets.verify.compare import norm
from jaxnets.verify.nearby import nearby
from jaxnets.verify.point import deltas_in_place, equations_at
from jaxnets.verify.problem import Level, Problem
from jaxnets.verify.report import Row, Verdict, brief

DTYPES = {Level.QUICK: (jnp.float32,), Level.FULL: (jnp.float32, jnp.bfloat16)}

RATIO = 8.0
"""Right derivations have at most 2.7 times the error of autodiff, in both dtypes; the median is 1."""

NEARBY, BY = 2, 0.01
"""How many points, and how far off, must show the same: at one of them rounding may step over a kink."""


def precision(problem: Problem, level: Level) -> list[Row]:
    """A row for each dtype, or for each delta and leaf that is wrong in it.

    The truth is autodiff in float64, at the arguments and at the deltas by hand as the narrow dtype rounds them.  The
    derivation in that dtype may be off by 8 times the error of autodiff in that dtype, or by 8 units in the last place.
    Each cotangent must have its argument's dtype.  Only a derivation in NumPy, which knows no bfloat16, may be wider.

    What is not finite in float64, or by autodiff in the narrow dtype, is passed over.
    """
    unless_too_large(problem, level)
    rows = [row for dtype in DTYPES[level] for row in _in(problem, dtype)]
    if not rows:
        raise NotApplicable("autodiff itself is not finite in a narrow dtype")
    return rows


def _in(problem: Problem, dtype: Any) -> list[Row]:
    """The rows for one dtype."""
    name = jnp.dtype(dtype).name
    if dtype is jnp.bfloat16 and not problem.traced:
        return [_left_out(name, "the derivation is in NumPy, which knows no bfloat16")]
    try:
        with jax.enable_x64(False):
            narrow = problem.again(problem.arguments(_rounded(problem, problem.operands, dtype)))
    except Exception as error:  # a function may refuse a dtype in any way
        return [_left_out(name, f"the function does not take {name}: {brief(error)}")]
    try:
        here = _at(problem, narrow, narrow.operands)
    except Exception as error:  # and so may a derivation
        if _closes_over_float64(problem):
            return [_left_out(name, f"JAX keeps an array that it closes over in float64: {brief(error)}")]
        return [_row(name, Verdict.WRONG, float("inf"), f"{name}: {brief(error)}")]
    dtypes = _dtypes(narrow, here.answer) if problem.traced else {}
    off = [leaf for leaf, error in here.errors.items() if error.too_large()]
    confirmed = _confirmed(problem, narrow, dtype, here, off) if off else {}
    wrong = [leaf for leaf in [*here.given, *narrow.input_names()] if leaf in dtypes or leaf in confirmed]
    if wrong:
        faults = {**confirmed, **dtypes}
        known = {leaf: error.relative() for leaf, error in here.errors.items()}
        return [_row(leaf, Verdict.WRONG, known.get(leaf, float("inf")), f"{name}: {faults[leaf]}") for leaf in wrong]
    right = {leaf: error for leaf, error in here.errors.items() if leaf not in off}
    worst = max(right, key=lambda leaf: right[leaf].relative(), default=None)
    return [] if worst is None else [_row(name, Verdict.OK, right[worst].relative(), f"{worst}: {right[worst]}")]


def _closes_over_float64(problem: Problem) -> bool:
    """Whether there are arrays that JAX may have met in float64: a NumPy array stays so in a process that has both."""
    programs = [problem.closed] if problem.program is None else [problem.closed, problem.program.closed]
    return any(getattr(const, "dtype", None) == np.float64 for closed in programs for const in closed.consts)


def _row(name: str, verdict: Verdict, error: float, note: str) -> Row:
    return Row(name, verdict, error, note=note, decisive=False)


def _left_out(name: str, why: str) -> Row:
    return _row(name, Verdict.NO_POWER, 0.0, why)


class _Error(NamedTuple):
    """The norm of an error against float64; `floor` is the least that counts, `autodiff` is None if nobody asked."""

    hand: float
    scale: float
    floor: float
    autodiff: float | None = None

    def too_large(self) -> bool:
        """NaN is."""
        return not self.hand <= RATIO * max(self.autodiff or 0.0, self.floor)

    def relative(self) -> float:
        return self._over_scale(self.hand)

    def _over_scale(self, error: float) -> float:
        return error / self.scale if self.scale > 0 else 0.0 if error == 0 else float("inf")

    def __str__(self) -> str:
        autodiffs = "" if self.autodiff is None else f", autodiff's {self._over_scale(self.autodiff):.1e}"
        return f"error {self.relative():.1e}{autodiffs}"


class _Here(NamedTuple):
    """The derivation in a narrow dtype at one point: what it gives, and by how much each delta and leaf is off."""

    answer: Answer
    given: dict[str, Any]  # the deltas that are handed on
    operands: list[Any]  # the point in float64
    cotangents: list[Any]
    errors: dict[str, _Error]  # in the order of the backward pass


def _at(problem: Problem, narrow: Problem, operands: list[Any]) -> _Here:
    """`operands` are those of `narrow`."""
    with jax.enable_x64(False):
        answer = narrow.hand(operands, narrow.cotangents)
        given, moved = _deltas(narrow, answer)
    point = [
        _wide(operand) if wanted else wide
        for operand, wide, wanted in zip(operands, problem.operands, problem.wanted, strict=True)
    ]
    cotangents = [_wide(cotangent) for cotangent in narrow.cotangents]
    truth = _by_autodiff(problem, point, cotangents, {name: _wide(delta) for name, delta in given.items()})
    hand = {**moved, **dict(zip(problem.input_names(), answer.bars, strict=True))}
    ulp = float(jnp.finfo(narrow.inputs()[0].dtype).eps)
    errors = {
        name: _Error(norm(_wide(hand[name]) - exact), norm(exact), ulp * norm(exact))
        for name, exact in truth.items()
        if np.all(np.isfinite(exact)) and np.shape(hand[name]) == np.shape(exact)
    }
    # Most derivations are right to the last place: then nobody asks how good autodiff would have been.
    if any(error.too_large() for error in errors.values()):
        with jax.enable_x64(False):
            autodiff = _by_autodiff(narrow, operands, narrow.cotangents, given)
        errors = {
            name: error._replace(autodiff=norm(_wide(autodiff[name]) - truth[name]))
            for name, error in errors.items()
            if np.all(np.isfinite(_wide(autodiff[name])))
        }
    return _Here(answer, given, point, cotangents, errors)


def _deltas(narrow: Problem, answer: Answer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The deltas that fit, the last first: in the dtypes of the named values, and as they are."""
    moved = deltas_in_place(narrow, answer)
    places = cut.find(narrow.closed.jaxpr, moved)
    order = [name for name in reversed(places) if np.shape(moved[name]) == places[name].shape]
    dtypes: dict[str, Any] = {name: places[name].equation.outvars[0].aval for name in order}
    return {name: jnp.asarray(moved[name], dtypes[name].dtype) for name in order}, {name: moved[name] for name in order}


def _by_autodiff(
    problem: Problem, operands: list[Any], cotangents: list[Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """What each equation makes of the deltas that are given, in the order of the backward pass."""
    probes = {name: np.zeros(np.shape(delta), delta.dtype) for name, delta in given.items()}
    expected, bars = problem.truth(operands, cotangents, dict(given), probes)
    bars = dict(zip(problem.input_names(), map(np.asarray, bars), strict=True))
    return {**{name: np.asarray(expected[name]) for name in given}, **bars}


def _confirmed(problem: Problem, narrow: Problem, dtype: Any, here: _Here, off: list[str]) -> dict[str, _Error]:
    """Which of those that are off are so because of the precision: not at a kink, not by chance."""
    ulp = float(jnp.finfo(dtype).eps)
    double = equations_at(problem._replace(explain=False), here.operands, here.cotangents)
    wide_enough = {row.name for row in double if row.verdict is not Verdict.WRONG or row.error <= ulp}
    confirmed = {name: here.errors[name] for name in off if name in wide_enough}
    for point in nearby(problem, NEARBY, BY) if confirmed else ():
        with jax.enable_x64(False):
            rounded = _rounded(problem, point, dtype)
        there = _at(problem, narrow, rounded).errors
        confirmed = {name: e for name, e in confirmed.items() if name in there and there[name].too_large()}
    if not confirmed:
        return {}
    # Autodiff may be lucky: where rounding alone can do more to it, that much is allowed.
    given = {name: _wide(delta) for name, delta in here.given.items()}
    norms = problem.noise[0](here.operands, here.cotangents, given)
    noise = dict(zip([*sorted(given), *problem.input_names()], norms, strict=True))
    in_double = float(jnp.finfo(jnp.float64).eps)
    floors = {name: max(e.floor, noise[name] * ulp / in_double) for name, e in confirmed.items()}
    return {name: e for name, e in confirmed.items() if e._replace(floor=floors[name]).too_large()}


def _rounded(problem: Problem, operands: list[Any], dtype: Any) -> list[Any]:
    """The operands in a narrow dtype; integers in JAX's default width, where they are JAX's."""
    return [
        _narrow(operand, dtype) if wanted else operand if not _is_wide(operand) else jnp.asarray(np.asarray(operand))
        for operand, wanted in zip(operands, problem.wanted, strict=True)
    ]


def _narrow(operand: Any, dtype: Any) -> Any:
    if not np.iscomplexobj(operand):
        return jnp.asarray(np.asarray(operand), dtype)
    if dtype is not jnp.float32:
        raise TypeError(f"there are no complex numbers of {jnp.dtype(dtype).name}")
    return jnp.asarray(np.asarray(operand), jnp.complex64)


def _is_wide(operand: Any) -> bool:
    return isinstance(operand, jax.Array) and operand.dtype in (np.int64, np.uint64)


def _wide(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def _dtypes(narrow: Problem, answer: Answer) -> dict[str, str]:
    return {
        name: f"dtype {bar.dtype}, wanted {operand.dtype}"
        for name, operand, bar in zip(narrow.input_names(), narrow.inputs(), answer.bars, strict=True)
        if bar.dtype != operand.dtype
    }
