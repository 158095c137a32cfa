"""Hypotheses about what an equation reads: another value than it should, or the derivative of another function."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from jaxnets.verify import cut
from jaxnets.verify.diagnosis.edits import Slope, Substitution, Turn, like
from jaxnets.verify.diagnosis.hypothesis import Hypothesis, Wrong, reproduces, says
from jaxnets.verify.diagnosis.record import EARLIER, LATER, STEP, Read, Record, Value
from jaxnets.verify.leaves import is_inexact

_LINEAR = {
    *(p.add_p, p.sub_p, p.neg_p, p.reduce_sum_p, p.reshape_p, p.transpose_p, p.broadcast_in_dim_p, p.squeeze_p),
    *(p.concatenate_p, p.slice_p, p.dynamic_slice_p, p.gather_p, p.scatter_add_p, p.pad_p, p.rev_p, p.select_n_p),
    *(p.convert_element_type_p, p.copy_p, p.cumsum_p, p.add_jaxvals_p),
}
"""What these read does not matter to their derivatives."""

_SLOPES: dict[Any, tuple[tuple[str, Callable[[Any, Any], Any]], ...]] = {
    p.tanh_p: (
        ("the derivative of {f} taken as 1 - x² of its input, not of its output", lambda x, y: 1 - x**2),
        ("the derivative of {f} taken as 1 - y of its output, not 1 - y²", lambda x, y: 1 - y),
        ("the derivative of {f} taken as y (1 - y), which is the sigmoid's", lambda x, y: y * (1 - y)),
    ),
    p.logistic_p: (
        ("the derivative of {f} taken as x (1 - x) of its input, not of its output", lambda x, y: x * (1 - x)),
        ("the derivative of {f} taken as 1 - y², which is the hyperbolic tangent's", lambda x, y: 1 - y**2),
        ("the derivative of {f} taken as 1 - y of its output, without the factor y", lambda x, y: 1 - y),
        ("the derivative of {f} taken as its output y, without the factor 1 - y", lambda x, y: y),
    ),
    p.exp_p: (("the derivative of {f} taken to be its input", lambda x, y: x),),
    p.log_p: (("the derivative of {f} taken to be 1/y of its output", lambda x, y: 1 / y),),
}

MOST_SUBSTITUTIONS = 1200
MOST_TURNS = 64


def misreads(record: Record, reached: set[tuple[str, int]]) -> list[Substitution | Slope | Turn]:
    """The mistakes that can be made at the operations whose terms reach what is wrong."""
    operations = {site for site, _ in reached}
    found: list[Substitution | Slope | Turn] = []
    for read in record.reads.values():
        if read.key in reached:
            found += _turns(read, record)
        if read.site.key in operations and read.site.equation.primitive not in _LINEAR:
            found += _slopes(read)
            found += _substitutions(read, record)
    return sorted(found, key=lambda edit: edit.surprise)[:MOST_SUBSTITUTIONS]


def explained(wrong: Wrong, results: Sequence[tuple[Substitution | Slope | Turn, np.ndarray]]) -> Iterator[Hypothesis]:
    """Those edits that reproduce the wrong value."""
    for edit, value in results:
        if reproduces(value, wrong):
            yield says(edit.surprise, edit.words, edit.read.site.source.place)


def _slopes(read: Read) -> Iterator[Slope]:
    equation = read.site.equation
    results: list[Any] = [atom.aval for atom in equation.outvars]
    operand: Any = equation.invars[read.position].aval
    if (
        len(results) != 1
        or _floats(read) != 1
        or (results[0].shape, results[0].dtype) != (operand.shape, operand.dtype)
    ):
        return
    f = _words(read)
    yield Slope(read, f"the derivative of {f} is left out", 4.0, lambda x, y: jnp.ones_like(x))
    for words, slope in _SLOPES.get(equation.primitive, ()):
        yield Slope(read, words.format(f=f), 4.2, slope)


def _substitutions(read: Read, record: Record) -> Iterator[Substitution]:
    equation, own = read.site.equation, _own(read, record)
    if not all(key not in record.values or _fits(record, key, read) for key in read.own):
        return  # it is infinite, or of another shape in another turn
    where = f"in {_words(read)}"
    is_binary = _floats(read) > 1
    if is_binary:
        if equation.primitive is p.div_p and read.position == 1:
            text = f"the division by {own} is left out {where}"
        elif equation.primitive is p.mul_p:
            text = f"the factor {own} is left out {where}"
        else:
            text = f"as if {own} were 1 {where}"
        yield Substitution(read, text, 4.1, lambda value, turn, env: jnp.ones_like(value))
        yield from _rearranged(read, own, where)
    yield from _others(read, record, where, is_binary)
    yield from _inside_a_concatenation(read, record, where)


def _turns(read: Read, record: Record) -> Iterator[Turn]:
    """A value from outside of a scan or a loop, which is read in each turn: its gradient is a sum over the turns."""
    inside = f"{read.site.scope}{STEP}"
    own = record.values.get(read.own[0])
    if own is not None and own.scope != read.site.scope and inside in record.arrays:
        turns = record.arrays[inside].shape[-1]
    else:
        turns = len(read.own) if len(set(read.own)) == 1 else 1
    for turn in range(turns) if 1 < turns <= MOST_TURNS else ():
        yield Turn(read, turn, True, f"only the term of step {turn} through {_words(read)}, not the sum over all", 3.2)
        yield Turn(read, turn, False, f"the term of step {turn} through {_words(read)} is missing", 3.3)


def _floats(read: Read) -> int:
    """How many operands of the operation have a derivative."""
    avals: list[Any] = [atom.aval for atom in read.site.equation.invars]
    return sum(is_inexact(aval) for aval in avals)


def _others(read: Read, record: Record, where: str, is_binary: bool) -> Iterator[Substitution]:
    own = _own(read, record)
    for value in record.values.values():
        yield from _another(read, record, value, own, where, is_binary)
        yield from _of_a_neighbouring_step(read, value, own, where)


def _inside_a_concatenation(read: Read, record: Record, where: str) -> Iterator[Substitution]:
    """What is read was concatenated, of parts one of which is another value."""
    maker = read.own[0].rpartition("|")[0]
    parts = [record.reads[key] for key in record.reads if key[0] == maker]
    if not parts or parts[0].site.equation.primitive is not p.concatenate_p or maker == read.site.key:
        return
    if record.turns[maker] != record.turns[read.site.key] or not all(key for part in parts for key in part.own):
        return

    def concatenated(chosen: int, edit: Substitution) -> Callable[[Any, int, cut.Env], Any]:
        def at(own: Any, turn: int, env: cut.Env) -> Any:
            values = [env["value", part.own[turn]] for part in parts]
            values[chosen] = like(values[chosen], edit.at(values[chosen], turn, env))
            return jnp.concatenate(values, parts[0].site.equation.params["dimension"])

        return at

    for position, part in enumerate(parts):
        for edit in _others(part, record, where, is_binary=True):
            yield Substitution(read, edit.words, edit.surprise + 0.1, concatenated(position, edit))


def _rearranged(read: Read, own: str, where: str) -> Iterator[Substitution]:
    shape = read.shape
    axes = range(len(shape))
    for one, other in itertools.combinations(axes, 2):
        if shape[one] == shape[other] > 1:
            yield Substitution(
                read,
                f"{own} is used transposed, axes {one} and {other} exchanged, {where}",
                5.0,
                lambda value, turn, env, one=one, other=other: jnp.swapaxes(value, one, other),
            )
    for count in range(1, min(len(shape), 4) + 1):
        for chosen in itertools.combinations(axes, count):
            if all(shape[axis] > 1 for axis in chosen):
                yield Substitution(
                    read,
                    f"{own} is used flipped along {list(chosen)} {where} (or not flipped, where it should be)",
                    5.1,
                    lambda value, turn, env, chosen=chosen: jnp.flip(value, chosen),
                )


def _another(read: Read, record: Record, value: Value, own: str, where: str, is_binary: bool) -> Iterator[Substitution]:
    """Another value of the same shape: of the same turn of the loop, the turn before, the turn after."""
    inside = read.site.scope.startswith(value.scope)
    if value.shape != read.shape or not inside or not _fits(record, value.key, read):
        return
    is_own = value.key in read.own[:1]
    family, _, occurrence = value.key.rpartition("#")
    in_loop = occurrence.isdigit() and record.turns.get(family.rpartition("|")[0], 1) > 1
    if not in_loop:
        if is_own:
            return
        words = f"{value.words} is used where {own} belongs, {where}"
        if not is_binary and value.key in _outputs(read):
            words = f"the derivative of {_words(read)} is taken at its output instead of its input"
        surprise = 4.3 if not is_binary and value.key in _outputs(read) else 6.0 if value.named else 6.5

        def at(own: Any, turn: int, env: cut.Env, key: str = value.key) -> Any:
            return env["value", key]

        yield Substitution(read, words, surprise, at)
        return
    turns = [f"{family}#{turn}" for turn in range(record.turns[family.rpartition("|")[0]])]
    if int(occurrence) > 0 or not all(_fits(record, key, read) for key in turns):
        return  # the first turn stands for the family
    output = not is_binary and value.key in _outputs(read)
    # What is read in the last turn has the family's own name; in the first it may be an initial value.
    last = record.values[turns[-1]].words
    for shift in (1, -1) if is_own else (0, 1, -1):

        def of_turn(own: Any, turn: int, env: cut.Env, shift: int = shift) -> Any:
            return env.get(("value", f"{family}#{turn + shift}"), own)

        when = {0: "", 1: "the next turn's ", -1: "the previous turn's "}[shift]
        words = f"{when}{last} is used where {own} belongs, {where}"
        if output and not shift:
            words = f"the derivative of {_words(read)} is taken at its output instead of its input"
        yield Substitution(read, words, 4.3 if output and not shift else 6.2 if value.named else 6.7, of_turn)


def _fits(record: Record, key: str, read: Read) -> bool:
    """Whether a value can stand where another is read."""
    array, own = record.arrays.get(key), record.arrays.get(read.own[0])
    if array is None or own is None or array.dtype != own.dtype or record.values[key].shape != read.shape:
        return False
    return bool(np.all(np.isfinite(array)))


def _of_a_neighbouring_step(read: Read, value: Value, own: str, where: str) -> Iterator[Substitution]:
    """In a scan: a value of the step before, or after."""
    is_own = value.key in read.own[:1]
    if value.shape != read.shape or value.scope != read.site.scope or not value.scope or not (value.named or is_own):
        return
    for which, words in ((EARLIER, "before"), (LATER, "after")):

        def at(own: Any, turn: int, env: cut.Env, key: str = f"{value.key}{which}") -> Any:
            return env["value", key]

        text = f"{value.words} of the step {words} is used where {own} belongs, {where}"
        yield Substitution(read, text, 6.1 if is_own else 6.3, at)


def _outputs(read: Read) -> tuple[str, ...]:
    return tuple(f"{read.site.key}|{position}#0" for position in range(len(read.site.equation.outvars)))


def _own(read: Read, record: Record) -> str:
    value = record.values.get(read.own[-1])
    return value.words if value is not None else f"operand {read.position}"


def _words(read: Read) -> str:
    source = read.site.source
    return f"`{source.text}`" if source.text else read.site.equation.primitive.name
