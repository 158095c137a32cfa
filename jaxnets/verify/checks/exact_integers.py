"""With integers there is no rounding: a right derivation of a polynomial is exact, and any error is a mistake.

Where a function is a polynomial with integer coefficients (`jaxnets.verify.polynomial`), its values and derivatives at
small integers are integers that floating-point numbers hold exactly, in whatever order they are computed.  So the
derivation must be *equal* to autodiff, without a tolerance behind which a small error could hide.  Where it is linear
in an argument, <A v, u> = <v, Aᵀ u> must hold exactly too, with A v from values of the function alone.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import jaxpr
from jaxnets.verify.checks.applicable import NotApplicable
from jaxnets.verify.checks.call_sites import own, rule_calls, rule_name
from jaxnets.verify.compare import compare
from jaxnets.verify.leaves import is_inexact
from jaxnets.verify.polynomial import Form, NotPolynomial, forms
from jaxnets.verify.problem import Level, Problem, pose
from jaxnets.verify.report import Row, Verdict

RANGES = (8, 2, 1)
"""Integers are drawn up to the first of these with which the results stay exact."""

EXACT = 2.0**43
"""Results up to here are exact: with ten of the 53 digits to spare for sums on the way that cancel."""

DRAWS = {Level.QUICK: 1, Level.FULL: 3}
"""How many times the integers are drawn."""


def exact_integers(problem: Problem, level: Level) -> list[Row]:
    """One row if every leaf is exact, else one for each that is not.

    It is made of the function as a whole or, where that is no polynomial, of each rule inside it that is one (at level
    QUICK where it is called first).

    A right derivation that computes with fractions which are not binary, such as a fast convolution with 1/6, is
    reported: leave this check out there.
    """
    found = [(part, _rows(part, DRAWS[level])) for part in _parts(problem, level)]
    made = [(part, rows) for part, rows in found if rows is not None]
    if not made:
        raise NotApplicable("its values are too large to be exact, even at integers in [-1, 1]")
    linear = [part.names[leaf] for part, _ in made for leaf in range(len(part.names)) if part.linear(leaf)]
    note = f"<A v, u> = <v, Aᵀ u> too in {', '.join(linear)}" if linear else ""
    exact = Row("integers", Verdict.OK, 0.0, decisive=False, note=note)
    return [row for _, rows in made for row in rows] or [exact]


class _Part(NamedTuple):
    """A polynomial, with the names of its leaves and the forms of its outputs."""

    problem: Problem
    names: list[str]
    forms: list[Form]

    def position(self, leaf: int) -> int:
        """Which operand a leaf is."""
        return [position for position, moves in enumerate(self.problem.wanted) if moves][leaf]

    def linear(self, leaf: int) -> bool:
        """Whether the function is linear in a leaf, up to a constant."""
        return all(form.degrees.get(self.position(leaf), 0) <= 1 for form in self.forms)


def _parts(problem: Problem, level: Level) -> list[_Part]:
    try:
        known = forms(problem.closed)
    except NotPolynomial as reason:
        parts = list(_rules(problem, level)) if problem.rules else []
        if not parts:
            raise NotApplicable(f"it is no polynomial with integer coefficients: {reason}") from None
        return parts
    return [_Part(problem, problem.input_names(), [form for form in known if form is not None])]


def _rules(problem: Problem, level: Level) -> Iterator[_Part]:
    """Each rule call that is a polynomial of its inputs, as a problem of its own."""
    generator = np.random.default_rng(problem.seed)
    seen = set()
    for site in rule_calls(problem.closed.jaxpr):
        closed = site.params["call_jaxpr"]
        name = rule_name(site)
        try:
            known = forms(closed)
        except NotPolynomial:
            continue
        if level is Level.QUICK and name in seen:
            continue
        seen.add(name)
        avals: list[Any] = [atom.aval for atom in site.invars]
        if any(jnp.issubdtype(aval.dtype, jax.dtypes.extended) for aval in avals) or own(site) != site.invars:
            continue  # neither a PRNG key nor what a rule closes over can be drawn
        # An index may be out of its range, which is known to the rule only: 0 and 1 are likely not.
        operands = [generator.integers(0, 2, aval.shape).astype(aval.dtype) for aval in avals]
        alone = pose("verify.rules", lambda *inputs, site=site: list(jaxpr.bind(site, inputs)), tuple(operands))
        names = [f"rule {name}, input {position}" for position, aval in enumerate(avals) if is_inexact(aval)]
        yield _Part(alone, names, [form for form in known if form is not None])


def _rows(part: _Part, draws: int) -> list[Row] | None:
    """The rows of leaves that are not exact, in the first draw that has some; None where no draw can be exact."""
    found = None
    for draw in range(draws):
        generator = np.random.default_rng([part.problem.seed, draw])
        point = next((at for size in RANGES if (at := _point(part, generator, size)) is not None), None)
        if point is not None:
            found = [*_unequal(part, point), *_not_adjoint(part, point, generator)]
        if found:
            return found
    return found


class _Point(NamedTuple):
    """Integers up to `size`, and the gradients there."""

    size: int
    operands: list[Any]
    cotangents: list[Any]
    hand: list[Any]
    truth: list[Any]


def _point(part: _Part, generator: np.random.Generator, size: int) -> _Point | None:
    problem = part.problem
    operands = problem.merge([_integers(generator, operand, size) for operand in problem.inputs()])
    # A scalar loss knows no other cotangent than 1.
    drawn = [_integers(generator, y_bar, size) for y_bar in problem.cotangents]
    cotangents = problem.cotangents if problem.scalar_loss else drawn
    _, truth = problem.truth(operands, cotangents, {}, {})
    values = [value for value in problem.value(operands) if is_inexact(value)]
    largest = max((float(np.max(abs(np.asarray(array)), initial=0.0)) for array in [*values, *truth]), default=0.0)
    if not largest * 2.0 ** max(form.digits for form in part.forms) <= EXACT:
        return None
    return _Point(size, operands, cotangents, problem.hand(operands, cotangents).bars, truth)


def _integers(generator: np.random.Generator, like: Any, size: int) -> np.ndarray:
    return generator.integers(-size, size + 1, np.shape(like)).astype(like.dtype)


def _unequal(part: _Part, point: _Point) -> list[Row]:
    note = f"at integers in [-{point.size}, {point.size}], where a right derivation is exact"
    return [
        dataclasses.replace(compare(name, hand, truth), verdict=Verdict.WRONG, decisive=False, note=note)
        for name, hand, truth in zip(part.names, point.hand, point.truth, strict=True)
        if not np.array_equal(hand, truth)
    ]


def _not_adjoint(part: _Part, point: _Point, generator: np.random.Generator) -> list[Row]:
    """The leaves with <A v, u> ≠ <v, Aᵀ u>, where the function is A v + b in that leaf, and u are the cotangents.

    Aᵀ u is the derivation's, A v is a difference of two values of the function: this does not hear what autodiff says.
    """
    problem = part.problem
    rows = []
    for leaf, (name, hand, truth) in enumerate(zip(part.names, point.hand, point.truth, strict=True)):
        if not part.linear(leaf) or not np.array_equal(hand, truth):
            continue
        position = part.position(leaf)
        v = _integers(generator, problem.operands[position], point.size)
        before, after = point.operands[:position], point.operands[position + 1 :]
        at_v, at_zero = (problem.value([*before, x, *after]) for x in (v, np.zeros_like(v)))
        moved = [np.asarray(y) - np.asarray(y_0) for y, y_0 in zip(at_v, at_zero, strict=True) if is_inexact(y)]
        forward, backward = _inner(moved, point.cotangents), _inner([v], [hand])
        if forward != backward:
            error = abs(forward - backward) / abs(forward) if forward else math.inf
            note = (
                f"<A v, u> = {forward:.17g} by values of the function, <v, Aᵀ u> = {backward:.17g} by hand and by "
                "autodiff: a rule for derivatives hidden in the forward pass is wrong"
            )
            rows.append(Row(name, Verdict.WRONG, error, decisive=False, note=note))
    return rows


def _inner(one: list[Any], other: list[Any]) -> float:
    """Σ a b, exactly rounded."""
    products = [(np.asarray(a) * np.asarray(b)).ravel() for a, b in zip(one, other, strict=True)]
    return math.fsum(np.concatenate(products).tolist())
