"""What is verified: a function, a hand-derived pull-back of it, and the point where it must agree with autodiff."""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxnets import jaxpr
from jaxnets.verify import cut
from jaxnets.verify.answer import Answer, read
from jaxnets.verify.fast_compile import compiled
from jaxnets.verify.flat import Flat, PullBack, plain, pull_back_by, pull_back_by_rules, through_rules
from jaxnets.verify.leaves import is_inexact, leaf_names, random_cotangent
from jaxnets.verify.noise import spread


class Level(enum.Enum):
    """How much a check does."""

    QUICK = "quick"
    FULL = "full"


class Problem(NamedTuple):
    """`closed` at `operands` is the function; `wanted[i]` says whether operand i is differentiated.

    `hand(operands, cotangents)` and `truth(operands, cotangents, deltas, probes)` work at any operands of these shapes.
    `truth` gives (expected deltas, cotangents of the differentiated operands), for the deltas by hand that it is given.
    """

    title: str
    closed: core.ClosedJaxpr
    operands: list[Any]
    names: list[str]
    wanted: list[bool]
    output: Any
    cotangents: list[Any]  # one for each floating-point leaf of the output
    value: Callable[[list[Any]], list[Any]]
    value_by_rules: Callable[[list[Any]], list[Any]]  # by the forward passes of the rules
    truth: PullBack
    truth_by: Callable[
        ..., Callable[..., tuple[dict[str, Any], list[Any]]]
    ]  # the same by other handlers of a cut graph
    hand: Callable[[list[Any], list[Any]], Answer]
    truth_at_each: Callable[..., tuple[dict[str, Any], list[Any]]]  # (stacked inputs, *what `truth` is given), stacked
    # The rounding spread of the deltas, by name, and of the bars: autodiff's, then that of a derivation that is traced.
    noise: tuple[Callable[[list[Any], list[Any], Mapping[str, Any]], list[float]], ...]
    hand_as_written: Callable[[list[Any], list[Any]], Answer]
    program: "Program | None"  # `hand` as JAX traced it
    traced: bool  # whether `hand` could be traced by JAX
    scalar_loss: bool  # whether 1 is the only cotangent that `hand` knows
    rules: bool  # whether `hand` is JAX's own reverse pass through the custom-VJP rules in `closed`
    seed: int
    sampler: Callable[..., tuple[Any, ...]] | None
    explain: bool  # whether wrong rows are looked into: noise, kinks, diagnosis
    arguments: Callable[[Sequence[Any]], tuple[Any, ...]]  # of `f`, out of operands
    again: Callable[[tuple[Any, ...]], "Problem"]  # the same question at arguments of other shapes or dtypes

    def inputs(self) -> list[Any]:
        """The operands that are differentiated."""
        return [operand for operand, wanted in zip(self.operands, self.wanted, strict=True) if wanted]

    def input_names(self) -> list[str]:
        """Their names."""
        return [name for name, wanted in zip(self.names, self.wanted, strict=True) if wanted]

    def merge(self, inputs: Sequence[Any]) -> list[Any]:
        """All operands, with `inputs` in the differentiated places."""
        given = iter(inputs)
        return [next(given) if wanted else operand for operand, wanted in zip(self.operands, self.wanted, strict=True)]


def pose(
    entry: str,
    f: Callable[..., Any],
    args: tuple[Any, ...],
    hand: Callable[[tuple[Any, ...], Any], Any] | None = None,
    *,
    scalar_loss: bool = False,
    seed: int = 0,
    sampler: Callable[..., tuple[Any, ...]] | None = None,
) -> Problem:
    """Trace f at its arguments, as they are.  Without `hand`, the rules inside f are what is verified.

    Raises:
      ValueError: if there is nothing to differentiate, or an argument is not finite.
    """
    trace = jaxpr.trace(f, args)
    operands, named = trace.operands, cut.places(trace.jaxpr.jaxpr)
    # An argument may be called what an intermediate value is called, whose delta then has that name.
    names = [f"argument {name}" if name in named else name for name in leaf_names(f, args)]
    leaves = jax.tree.leaves(trace.output)
    flat = Flat(trace.jaxpr, [is_inexact(operand) for operand in operands], [is_inexact(leaf) for leaf in leaves])
    _check(entry, title(f), names, operands, leaves, flat, scalar_loss)
    cotangents = _cotangents(leaves, seed, scalar_loss)
    truth = pull_back_by(flat, cut.handlers)
    as_written = _by_rules(flat) if hand is None else _by_hand(hand, trace, flat, title(f))
    program = _traced(as_written, operands, cotangents)
    traced = program is not None
    sides = (_in_order(truth), _in_order_by_hand(as_written)) if traced else (_in_order(truth),)
    return Problem(
        title(f),
        flat.closed,
        operands,
        names,
        flat.wanted,
        trace.output,
        cotangents,
        value=compiled(plain(flat), flat.closed.jaxpr),
        value_by_rules=compiled(through_rules(flat), flat.closed.jaxpr),
        truth=compiled(truth, flat.closed.jaxpr),
        truth_by=lambda handlers: pull_back_by(flat, handlers),
        truth_at_each=compiled(_at_each(truth, flat), flat.closed.jaxpr),
        hand=as_written if program is None else _run(program),
        noise=tuple(spread(side) for side in sides),
        hand_as_written=as_written,
        program=program,
        traced=traced,
        scalar_loss=scalar_loss,
        rules=hand is None,
        seed=seed,
        sampler=sampler,
        explain=True,
        arguments=lambda operands: trace.arguments(operands)[0],
        again=lambda args: pose(entry, f, args, hand, scalar_loss=scalar_loss, seed=seed, sampler=sampler),
    )


def _check(
    entry: str, of: str, names: list[str], operands: list[Any], leaves: list[Any], flat: Flat, scalar_loss: bool
) -> None:
    if not any(flat.wanted):
        raise ValueError(f"{entry}: no argument of {of} is a floating-point array, there is nothing to differentiate")
    for name, operand, wanted in zip(names, operands, flat.wanted, strict=True):
        if wanted and not np.all(np.isfinite(operand)):
            raise ValueError(f"{entry}: {name} is not finite")
    shapes = [leaf.shape for leaf in leaves]
    if scalar_loss and shapes != [()]:
        raise ValueError(f"{entry}: {of} returns shapes {shapes}, wanted one scalar")
    if not any(flat.kept):
        raise ValueError(f"{entry}: {of} returns no floating-point array, there is nothing to differentiate")


def _cotangents(leaves: list[Any], seed: int, scalar_loss: bool) -> list[Any]:
    if scalar_loss:
        return [jnp.ones((), leaves[0].dtype)]
    # Arguments are often drawn by the seed alone, or by the two words of a key: no cotangent may be equal to them.
    generator = np.random.default_rng([seed, 2**32])
    return [random_cotangent(generator, leaf) for leaf in leaves if is_inexact(leaf)]


def _by_rules(flat: Flat) -> Callable[[list[Any], list[Any]], Answer]:
    pull_back = pull_back_by_rules(flat)
    return lambda operands, cotangents: Answer(pull_back(operands, cotangents), {})


def _by_hand(
    hand: Callable[[tuple[Any, ...], Any], Any], trace: jaxpr.Trace, flat: Flat, of: str
) -> Callable[[list[Any], list[Any]], Answer]:
    leaves, tree = jax.tree.flatten(trace.output)

    def by_hand(operands: list[Any], cotangents: list[Any]) -> Answer:
        given = iter(cotangents)
        y_bar = [
            next(given) if kept else np.zeros(leaf.shape, jax.dtypes.float0)
            for leaf, kept in zip(leaves, flat.kept, strict=True)
        ]
        args, _ = trace.arguments(operands)
        return read(hand(args, jax.tree.unflatten(tree, y_bar)), args, of)

    return by_hand


def _at_each(truth: PullBack, flat: Flat) -> Callable[..., tuple[dict[str, Any], list[Any]]]:
    def at_each(points: list[Any], operands: list[Any], *rest: Any) -> tuple[dict[str, Any], list[Any]]:
        return jax.lax.map(lambda inputs: truth(flat.merge(operands, inputs), *rest), points)

    return at_each


def _in_order(truth: PullBack) -> Callable[[list[Any], list[Any], Mapping[str, Any]], list[Any]]:
    """The expected deltas, by name, then the cotangents."""

    def flat(operands: list[Any], cotangents: list[Any], deltas: Mapping[str, Any]) -> list[Any]:
        probes = {name: jnp.zeros_like(delta) for name, delta in deltas.items()}
        expected, bars = truth(operands, cotangents, deltas, probes)
        return [*(expected[name] for name in sorted(deltas)), *bars]

    return flat


def _in_order_by_hand(
    hand: Callable[[list[Any], list[Any]], Answer],
) -> Callable[[list[Any], list[Any], Mapping[str, Any]], list[Any]]:
    """The deltas by hand, by name, then the cotangents by hand."""

    def flat(operands: list[Any], cotangents: list[Any], deltas: Mapping[str, Any]) -> list[Any]:
        answer = hand(operands, cotangents)
        return [*(answer.deltas[name] for name in sorted(deltas)), *answer.bars]

    return flat


class Program(NamedTuple):
    """A derivation as a jaxpr, and how to read its results."""

    closed: core.ClosedJaxpr
    results: Any  # the structure of an Answer


def _traced(hand: Callable[..., Answer], operands: list[Any], cotangents: list[Any]) -> Program | None:
    """A derivation that is JAX code.  NumPy and Python's own numbers refuse tracers, each in its own way, and a mistake
    in it shows when it is called.
    """
    try:
        return trace_hand(hand, operands, cotangents)
    except Exception:
        return None


def trace_hand(hand: Callable[..., Answer], operands: list[Any], cotangents: list[Any]) -> Program:
    """A derivation as a program."""
    closed, results = jax.make_jaxpr(lambda *given: hand(*given), return_shape=True)(operands, cotangents)
    return Program(closed, jax.tree.structure(results))


def _run(program: Program) -> Callable[[list[Any], list[Any]], Answer]:
    def hand(operands: list[Any], cotangents: list[Any]) -> Answer:
        results = jaxpr.evaluate(program.closed, [*operands, *cotangents], {})
        return jax.tree.unflatten(program.results, results)

    return compiled(hand, program.closed.jaxpr)


def title(f: Callable[..., Any]) -> str:
    """The name of a function, through functools.partial."""
    return getattr(f, "__name__", None) or getattr(getattr(f, "func", None), "__name__", type(f).__name__)
