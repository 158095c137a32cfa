"""A function along a line through its point, where `stop_gradient` holds what it had at that point."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.leaves import is_inexact
from jaxnets.verify.problem import Problem

Line = Callable[[Sequence[Any], Sequence[Any], float], float]
"""(operands, directions of the differentiated ones, t) -> <cotangents, f(x + t v)>."""


def line(problem: Problem) -> Line:
    """The scalar that is pulled back, along any line, from evaluations of the function alone."""
    held = jax.jit(_held(problem), compiler_options=FAST_COMPILE) if holds(problem) else None

    def along(operands: Sequence[Any], directions: Sequence[Any], t: float) -> float:
        base = [np.asarray(x) for x, moves in zip(operands, problem.wanted, strict=True) if moves]
        moved = [x + t * v for x, v in zip(base, directions, strict=True)]
        problem_there = problem._replace(operands=list(operands))
        values = problem.value(problem_there.merge(moved)) if held is None else held(list(operands), moved)
        return inner(problem.cotangents, [y for y in values if is_inexact(y)])

    return along


def holds(problem: Problem) -> bool:
    """Whether something stands still by `stop_gradient`: a line then needs a program of its own."""
    return any(equation.primitive is primitives.stop_gradient_p for equation in jaxpr.equations(problem.closed.jaxpr))


def inner(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Σ a b over all entries of all arrays, its real part; NaN where shapes differ.

    The pairing is JAX's, without a conjugate: the cotangent of a complex number acts by multiplication.
    """
    if any(np.shape(a) != np.shape(b) for a, b in zip(one, other, strict=True)):
        return float("nan")
    return float(sum(np.sum(np.asarray(a) * np.asarray(b)).real for a, b in zip(one, other, strict=True)))


def _held(problem: Problem) -> Callable[[list[Any], list[Any]], list[Any]]:
    """f(operands, moved inputs): both points in lock-step, so that one can take what it holds from the other."""

    def hold(equation: core.JaxprEqn, value: Any) -> list[Any]:
        return [jax.lax.all_gather(value, "point")[0]]

    def inside(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
        return jaxpr.evaluate(equation.params["call_jaxpr"], inputs, handlers)

    handlers = {
        primitives.stop_gradient_p: hold,
        primitives.linear_solve_p: _solved,
        primitives.custom_vjp_call_p: inside,
        primitives.custom_jvp_call_p: inside,
    }

    def held(operands: list[Any], moved: list[Any]) -> list[Any]:
        there = problem._replace(operands=operands)

        def f(*inputs: Any) -> list[Any]:
            return jaxpr.evaluate(problem.closed, there.merge(inputs), handlers)

        pairs = [jnp.stack(pair) for pair in zip(there.inputs(), moved, strict=True)]
        return [y[1] for y in jax.vmap(f, axis_name="point")(*pairs)]

    return held


REFINEMENTS = 50
"""Enough wherever a step along the line changes the matrix of an equation by less than half of it."""


def _solved(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
    """The solution of a linear equation, refined until the factors of the matrix do not matter.

    JAX's solvers factorise the matrix behind `stop_gradient`, since the derivative is that of the equation.  At the
    moved point they hold the factors of the matrix at the other one: good enough to make a small remainder smaller.
    """
    lengths, jaxprs = equation.params["const_lengths"], equation.params["jaxprs"]
    solve_from = lengths.matvec + lengths.vecmat
    of_matrix, of_solver = inputs[: lengths.matvec], inputs[solve_from : solve_from + lengths.solve]
    b = inputs[sum(lengths) :]

    def refine(_: Any, x: list[Any]) -> list[Any]:
        remainder = [
            wanted - got for wanted, got in zip(b, jaxpr.evaluate(jaxprs.matvec, [*of_matrix, *x], {}), strict=True)
        ]
        better = jaxpr.evaluate(jaxprs.solve, [*of_solver, *remainder], {})
        return [known + more for known, more in zip(x, better, strict=True)]

    return jax.lax.fori_loop(0, REFINEMENTS, refine, jaxpr.evaluate(jaxprs.solve, [*of_solver, *b], {}))
