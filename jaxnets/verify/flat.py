"""A function of flat operands, with and without its rules, and its pull-backs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core

from jaxnets import jaxpr
from jaxnets.rule import without_rules
from jaxnets.verify import cut


class Flat(NamedTuple):
    """`closed` at flat operands; `wanted` are those that are differentiated, `kept` the outputs with cotangents."""

    closed: core.ClosedJaxpr
    wanted: list[bool]
    kept: list[bool]

    def inputs(self, operands: Sequence[Any]) -> list[Any]:
        """The operands that are differentiated."""
        return [operand for operand, wanted in zip(operands, self.wanted, strict=True) if wanted]

    def merge(self, operands: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """The operands, with `inputs` in the differentiated places."""
        given = iter(inputs)
        return [next(given) if wanted else operand for operand, wanted in zip(operands, self.wanted, strict=True)]

    def outputs(self, operands: Sequence[Any], inputs: Sequence[Any], handlers: jaxpr.Handlers) -> list[Any]:
        """The outputs that have cotangents."""
        outputs = jaxpr.evaluate(self.closed, self.merge(operands, inputs), handlers)
        return [output for output, kept in zip(outputs, self.kept, strict=True) if kept]


PullBack = Callable[..., tuple[dict[str, Any], list[Any]]]
"""(operands, cotangents, deltas, probes) -> (expected deltas, cotangents of the differentiated operands)."""


def plain(flat: Flat) -> Callable[[list[Any]], list[Any]]:
    """All outputs, without the rules."""
    return lambda operands: without_rules(flat.closed, operands)


def through_rules(flat: Flat) -> Callable[[list[Any]], list[Any]]:
    """All outputs, by the forward passes of the rules."""

    def value(operands: list[Any]) -> list[Any]:
        def f(*inputs: Any) -> list[Any]:
            return jaxpr.evaluate(flat.closed, flat.merge(operands, inputs), {})

        return jax.vjp(f, *flat.inputs(operands))[0]

    return value


def pull_back_by_rules(flat: Flat) -> Callable[[list[Any], list[Any]], list[Any]]:
    """(operands, cotangents) -> cotangents of the differentiated operands, by the rules."""

    def pull_back(operands: list[Any], cotangents: list[Any]) -> list[Any]:
        def f(*inputs: Any) -> list[Any]:
            return flat.outputs(operands, inputs, {})

        return list(jax.vjp(f, *flat.inputs(operands))[1](cotangents))

    return pull_back


def pull_back_by(flat: Flat, handlers: Callable[[cut.Env], jaxpr.Handlers]) -> PullBack:
    """The pull-back of the graph, cut at the deltas that are given, as `handlers` evaluate it (`cut.handlers`: as it
    is, without its rules).
    """

    def pull_back(
        operands: list[Any], cotangents: list[Any], deltas: Mapping[str, Any], probes: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[Any]]:
        def probed(probes: Mapping[str, Any], *inputs: Any) -> list[Any]:
            env = {("delta", name): delta for name, delta in deltas.items()}
            env |= {("probe", name): probe for name, probe in probes.items()}
            return flat.outputs(operands, inputs, handlers(env))

        expected, *bars = jax.vjp(probed, probes, *flat.inputs(operands))[1](cotangents)
        return expected, bars

    return pull_back
