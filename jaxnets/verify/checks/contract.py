"""Is the answer an answer at all?  Structure, dtypes, the value itself, determinism, finiteness."""

import copy
from typing import Any

import jax
import numpy as np

from jaxnets.verify.answer import Answer, Malformed
from jaxnets.verify.compare import compare
from jaxnets.verify.problem import Level, Problem, trace_hand
from jaxnets.verify.report import Row, Verdict


def contract(problem: Problem, level: Level) -> list[Row]:
    """Rows, each of them a promise that every derivation makes:

    - `structure`: a cotangent for each argument, of its structure, None for integers and PRNG keys.  The first promise:
      without it no other check can be made.
    - `dtypes`: each cotangent has its argument's dtype; at level FULL it is also as strongly typed as that.
    - `value`: a rule's forward pass does not change what is computed.
    - `deterministic`: the same answer twice, bit by bit, and the arguments' containers left as they were.
    - `finite`: where autodiff is finite, so is the derivation.  NaN is never equal to NaN.
    """
    try:
        answer = problem.hand(problem.operands, problem.cotangents)
    except Malformed as error:
        return [_row("structure", str(error))]
    return [
        _row("structure", ""),
        _row("dtypes", _dtypes(problem, answer, level)),
        *_values(problem),
        _row("deterministic", _deterministic(problem, answer)),
        _row("finite", _finite(problem, answer)),
    ]


def _row(name: str, fault: str) -> Row:
    return Row(name, Verdict.WRONG if fault else Verdict.OK, float("inf") if fault else 0.0, note=fault)


def _dtypes(problem: Problem, answer: Answer, level: Level) -> str:
    for name, operand, bar in zip(problem.input_names(), problem.inputs(), answer.bars, strict=True):
        if bar.dtype != operand.dtype:
            return f"the cotangent of {name} is {bar.dtype}, wanted {operand.dtype}"
        weak = getattr(bar, "weak_type", False) and not getattr(operand, "weak_type", False)
        if weak and level is Level.FULL:
            return f"the cotangent of {name} is weakly typed, and would follow any dtype that it meets"
    return ""


def _values(problem: Problem) -> list[Row]:
    """What is computed, with the rules and without: only rules could change it."""
    if not problem.rules:
        return []
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(problem.output)[0]]
    both = zip(paths, problem.value_by_rules(problem.operands), problem.value(problem.operands), strict=True)
    return [compare(f"value{path}", ours, theirs) for path, ours, theirs in both]


def _deterministic(problem: Problem, answer: Answer) -> str:
    operands = copy.copy(problem.operands)
    again = problem.hand(operands, problem.cotangents)
    names = [*problem.input_names(), *answer.deltas]
    first, second = ([*each.bars, *each.deltas.values()] for each in (answer, again))
    for name, one, other in zip(names, first, second, strict=True):
        if not np.array_equal(one, other, equal_nan=True):
            return f"{name} is another one at the second call"
    if problem.program is not None and not problem.rules:
        # Drawn while tracing, a random number is a constant of the compiled program: only a second trace shows it.
        once, again = problem.program, trace_hand(problem.hand_as_written, problem.operands, problem.cotangents)
        if str(once.closed) != str(again.closed) or not _same(once.closed.consts, again.closed.consts):
            return "it is another program when it is traced again"
    return ""


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _finite(problem: Problem, answer: Answer) -> str:
    _, truth = problem.truth(problem.operands, problem.cotangents, {}, {})
    for name, ours, theirs in zip(problem.input_names(), answer.bars, truth, strict=True):
        ours = np.asarray(ours)
        if np.all(np.isfinite(theirs)) and not np.all(np.isfinite(ours)):
            worst = [int(i) for i in np.argwhere(~np.isfinite(ours))[0]]
            return f"{name} is {ours[tuple(worst)]} at {worst}, where autodiff is finite"
    return ""
