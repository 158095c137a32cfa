"""The forward pass once, with every value that it computes, and every read of one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from jaxnets import jaxpr
from jaxnets.verify import cut
from jaxnets.verify.diagnosis import graph
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.leaves import is_inexact
from jaxnets.verify.problem import Problem


class Value(NamedTuple):
    """A value of the forward pass: in which scan it lives, and what a reader would call it."""

    key: str
    scope: str
    shape: tuple[int, ...]  # without the steps of scans
    words: str
    named: bool  # by the user: an argument, or a checkpoint_name


class Read(NamedTuple):
    """An operand of an operation: `own` is the value that is read, in each turn of a Python loop."""

    site: graph.Site
    position: int
    shape: tuple[int, ...]
    own: list[str]

    @property
    def key(self) -> tuple[str, int]:
        """The same for all turns."""
        return self.site.key, self.position


class Record(NamedTuple):
    """All values, by key (with leading axes for the steps of scans), and all reads of floating-point operands."""

    values: Mapping[str, Value]
    arrays: Mapping[str, np.ndarray]
    reads: Mapping[tuple[str, int], Read]
    turns: Mapping[str, int]  # how often each operation ran, in a Python loop


def record(problem: Problem, operands: list[Any]) -> Record:
    """Run the function without its rules."""
    values: dict[str, Value] = {}
    reads: dict[tuple[str, int], Read] = {}
    turns: dict[str, int] = {}

    def run(operands: list[Any]) -> dict[str, Any]:
        # A value is recognised by the tracer that holds it, which is the same object wherever it is read.
        held: dict[int, str] = {}
        alive: list[Any] = []
        stores: list[dict[str, Any]] = [{}]
        names: dict[str, str] = {}
        before: dict[str, tuple[str, str]] = {}  # a carry -> which step's value of what it is

        def keep(key: str, scope: str, value: Any, words: str, named: bool = False) -> None:
            if not hasattr(value, "dtype") or not is_inexact(value):
                return
            alive.append(value)
            held[id(value)] = key
            stores[-1][key] = value
            values[key] = Value(key, scope, np.shape(value), words, named)

        def visit(site: graph.Site, inputs: tuple[Any, ...], env: cut.Env) -> list[Any]:
            outputs = list(jaxpr.bind(site.equation, inputs))
            turns[site.key] = site.occurrence + 1
            for position, (value, atom) in enumerate(zip(inputs, site.equation.invars, strict=True)):
                if not isinstance(atom, core.Literal) and is_inexact(value):
                    read = Read(site, position, np.shape(value), [])
                    reads.setdefault(read.key, read).own.append(held.get(id(value), ""))
            for position, output in enumerate(outputs):
                source = site.source
                words = f"`{source.text}`" if source.text else f"the result of {site.equation.primitive.name}"
                keep(site.value(position), site.scope, output, words)
            return outputs

        def step(scope: str, scan: Any, outside: list[Any], inputs: list[Any]) -> Any:
            stores.append({})
            first = scan.params["num_consts"]
            carried = range(first, first + scan.params["num_carry"])
            for position, value in enumerate(inputs):
                if position in carried:
                    keep(f"{scope}|carry {position - first}", scope, value, "a carry")
                elif position >= carried.stop:
                    whole = held.get(id(outside[position]))
                    words = f"a slice of {values[whole].words}" if whole is not None else "a slice"
                    keep(f"{scope}|slice {position - carried.stop}", scope, value, words)

            def finish(outputs: list[Any]) -> dict[str, Any]:
                order = "next" if scan.params["reverse"] else "previous"
                for number in range(len(carried)):
                    carry, source = f"{scope}|carry {number}", held.get(id(outputs[number]))
                    if carry in values and source is not None:
                        before[carry] = (order, source)
                return stores.pop()

            return finish

        def stacked(collected: dict[str, Any]) -> None:
            stores[-1].update(collected)

        def name(equation: Any, value: Any) -> list[Any]:
            label = equation.params["name"]
            key = held.get(id(value))
            if key is not None:
                names[key] = label
            return [value]

        for label, operand in zip(problem.names, operands, strict=True):
            keep(f"argument {label}", "", operand, label, named=True)
        visitor = graph.Visitor(visit, lambda env: name, step, stacked)
        jaxpr.evaluate(problem.closed, operands, graph.handlers(problem.closed.jaxpr, {}, visitor))
        for key, label in names.items():
            values[key] = values[key]._replace(words=label, named=True)
        for carry, (order, key) in before.items():
            values[carry] = values[carry]._replace(
                words=f"the {order} step's {values[key].words}", named=values[key].named
            )
        return stores[0]

    arrays = jax.jit(run, compiler_options=FAST_COMPILE)(operands)
    _tell_apart(values)
    stacked = {key: np.asarray(array) for key, array in arrays.items()}
    for key, array in list(stacked.items()):
        scope = values[key].scope
        if scope:
            # In a scan inside a scan the steps are those of the inner one.
            depth = scope.count("/") - 1
            steps = np.arange(array.shape[depth]).reshape([-1 if axis == depth else 1 for axis in range(depth + 1)])
            stacked[f"{scope}{STEP}"] = np.broadcast_to(steps, array.shape[: depth + 1])
            stacked |= {f"{key}{EARLIER}": _moved(array, 1), f"{key}{LATER}": _moved(array, -1)}
    return Record(values, stacked, reads, turns)


def _tell_apart(values: dict[str, Value]) -> None:
    """Number the values of operations that are written alike, such as the parts of one call."""
    alike: dict[str, list[str]] = {}
    for key, value in values.items():
        families = alike.setdefault(value.words, [])
        family = key.partition("#")[0]
        if family not in families:
            families.append(family)
    for key, value in values.items():
        families = alike[value.words]
        if len(families) > 1 and not value.named:
            words = f"{value.words} (result {1 + families.index(key.partition('#')[0])})"
            values[key] = value._replace(words=words)


STEP = "|step"
"""What is added to a scope for the number of the step."""

EARLIER, LATER = "~before", "~after"
"""What is added to the key of a value inside a scan for its values a step before and after."""


def _moved(array: np.ndarray, by: int) -> np.ndarray:
    """The values of a neighbouring step; at the end, where there is none, its own."""
    moved = np.roll(array, by, axis=0)
    moved[0 if by > 0 else -1] = array[0 if by > 0 else -1]
    return moved
