"""A walk over every operation of a function, with a name for each operation and each value, the same in every walk.

Custom rules, `jit` and `remat` are entered, the body of a scan too, where a value stands for all its steps.  A turn of
a Python loop repeats operations of the same place in the program: they share a key, and are told apart by their
`occurrence`.
"""

import collections
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr
from jaxnets.verify import cut
from jaxnets.verify.diagnosis.source import Source, source_of


class Site(NamedTuple):
    """One operation in a walk: in which scan, of which place, and which turn of a Python loop."""

    scope: str
    source: Source
    occurrence: int
    equation: core.JaxprEqn

    @property
    def key(self) -> str:
        """The same for all turns of a loop."""
        return f"{self.scope}|{self.source.key}"

    def value(self, position: int) -> str:
        """The name of one of its results."""
        return f"{self.key}|{position}#{self.occurrence}"


class Visitor(NamedTuple):
    """What a walk does."""

    operation: Callable[[Site, tuple[Any, ...], cut.Env], list[Any]]
    """The results of an operation at its operands."""
    name: Callable[[cut.Env], Callable[..., list[Any]]] = cut.namer
    """The handler of a naming equation."""
    step: Callable[[str, core.JaxprEqn, list[Any], list[Any]], Callable[[list[Any]], Any]] = (
        lambda scope, scan, outside, inputs: lambda outputs: None
    )
    """Is told of a scan: the scope of its body, the equation, its inputs, those of the body, then the body's outputs;
    what that returns is stacked over the steps.
    """
    stacked: Callable[[Any], None] = lambda collected: None
    """Is told what was stacked."""


def handlers(root: core.Jaxpr, env: cut.Env, visitor: Visitor) -> jaxpr.Handlers:
    """Handlers that visit every operation; entries ("value", ...) of `env` are sliced in their scan."""
    operations = {equation.primitive for equation in jaxpr.equations(root)} - _ENTERED
    return _in_scope("", env, operations, visitor)


_ENTERED = {
    primitives.jit_p,
    primitives.remat_p,
    primitives.custom_vjp_call_p,
    primitives.scan_p,
    primitives.cond_p,
    primitives.while_p,
    primitives.name_p,
}


def _in_scope(scope: str, env: cut.Env, operations: set[Any], visitor: Visitor) -> jaxpr.Handlers:
    turns: collections.Counter[str] = collections.Counter()

    def operation(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
        source = source_of(equation)
        turns[source.key] += 1
        return visitor.operation(Site(scope, source, turns[source.key] - 1, equation), inputs, env)

    def inline(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
        return jaxpr.evaluate(equation.params["jaxpr"], inputs, now)

    def inline_open(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
        return jaxpr.evaluate(core.ClosedJaxpr(equation.params["jaxpr"], ()), inputs, now)

    def scan(equation: core.JaxprEqn, *inputs: Any) -> Any:
        turns["scan"] += 1
        within = f"{scope}{turns['scan']}/"
        mine = [*cut.named_inside(equation), *(key for key in env if key[0] == "value" and key[1].startswith(within))]

        def at(slices: Mapping[tuple[str, str], Any], body_inputs: list[Any]) -> Any:
            finish = visitor.step(within, equation, list(inputs), body_inputs)
            return _in_scope(within, {**env, **slices}, operations, visitor), finish

        outputs, collected = jaxpr.scan(equation, inputs, at, {key: env[key] for key in mine if key in env})
        visitor.stacked(collected)
        return outputs

    def opaque(equation: core.JaxprEqn, *inputs: Any) -> Any:
        return jaxpr.enter(equation, inputs, cut.handlers(env))

    now = jaxpr.inlining(
        primitives.custom_vjp_call_p,
        {
            **dict.fromkeys(operations, operation),
            primitives.name_p: visitor.name(env),
            primitives.jit_p: inline,
            primitives.remat_p: inline_open,
            primitives.scan_p: scan,
            # Which branch runs, and how often, is known at run time only.
            primitives.cond_p: opaque,
            primitives.while_p: opaque,
        },
    )
    return now
