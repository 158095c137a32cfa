"""Wrong and right derivations, run through jaxnets.verify, JAX's check_grads, Chex and PyTorch's gradcheck.

    python benchmarks/verifiers.py [--only SUBSTRING]

Every verifier sees the same loss, the same gradient by hand and the same sample of arguments.  Only jaxnets sees the
deltas, and draws arguments of other sizes where a derivation has a sampler: the others have no use for either.  PyTorch
gets loss and gradient as a `torch.autograd.Function` in float64, the way its own documentation says.

Caught: the verifier complains about a wrong derivation.  False alarm: it complains about a right one.  First: the first
equation that jaxnets names is one of those that are wrong.  Explained: it says how, see the table.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.test_util import check_grads
from torch.autograd.gradcheck import GradcheckError
from trials import CASES, Case

from jaxnets import verify

RESULTS = Path(__file__).parent / "results" / "verifiers.md"


class Outcome(NamedTuple):
    """What one verifier said of one derivation."""

    complains: bool
    seconds: float
    report: verify.Report | None = None


def by_jaxnets(case: Case) -> Outcome:
    with jax.enable_x64():
        args = case.sample(jax.random.key(0))
    started = time.perf_counter()
    report = verify.gradient(case.loss, case.hand, *args, sampler=case.sampler, level=verify.Level.FULL)
    return Outcome(not report.ok, time.perf_counter() - started, report)


def by_check_grads(case: Case) -> Outcome:
    return _timed(lambda: check_grads(*_rule(case), order=1, modes=("rev",)))


def by_check_grads_x64(case: Case) -> Outcome:
    with jax.enable_x64():
        return by_check_grads(case)


def by_chex(case: Case) -> Outcome:
    return _timed(lambda: chex.assert_numerical_grads(*_rule(case), order=1, modes=("rev",)))


def by_gradcheck(case: Case) -> Outcome:
    return _gradcheck(case, fast_mode=False)


def by_gradcheck_fast(case: Case) -> Outcome:
    return _gradcheck(case, fast_mode=True)


VERIFIERS: dict[str, Callable[[Case], Outcome]] = {
    "jaxnets": by_jaxnets,
    "check_grads float32": by_check_grads,
    "check_grads float64": by_check_grads_x64,
    "chex": by_chex,
    "gradcheck": by_gradcheck,
    "gradcheck fast": by_gradcheck_fast,
}


def _timed(verify_it: Callable[[], object]) -> Outcome:
    started = time.perf_counter()
    try:
        verify_it()
    except (AssertionError, GradcheckError):
        return Outcome(True, time.perf_counter() - started)
    return Outcome(False, time.perf_counter() - started)


def _of_floats(case: Case, args: tuple[Any, ...]) -> tuple[Callable[..., Any], Callable[..., list[Any]], list[Any]]:
    """The loss and the gradient by hand as functions of the floating-point leaves alone, and these."""
    leaves, tree = jax.tree.flatten(args)
    moves = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def rebuilt(floats: Any) -> tuple[Any, ...]:
        given = iter(floats)
        return jax.tree.unflatten(tree, [next(given) if m else leaf for m, leaf in zip(moves, leaves, strict=True)])

    def loss(*floats: Any) -> Any:
        return case.loss(*rebuilt(floats))

    def hand(*floats: Any) -> list[Any]:
        bars, _ = case.hand(*rebuilt(floats))
        flat = [
            bar
            for arg, bar_tree in zip(args, bars, strict=True)
            for bar in (
                [None] * len(jax.tree.leaves(arg))
                if bar_tree is None
                else jax.tree.structure(arg).flatten_up_to(bar_tree)
            )
        ]
        return [bar for m, bar in zip(moves, flat, strict=True) if m]

    return loss, hand, [leaf for m, leaf in zip(moves, leaves, strict=True) if m]


def _rule(case: Case) -> tuple[Callable[..., Any], list[Any]]:
    """The derivation as a `jax.custom_vjp`, and its arguments."""
    loss, hand, floats = _of_floats(case, case.sample(jax.random.key(0)))
    f = jax.custom_vjp(loss)
    f.defvjp(lambda *args: (loss(*args), args), lambda args, y_bar: tuple(y_bar * bar for bar in hand(*args)))
    return f, floats


def _gradcheck(case: Case, fast_mode: bool) -> Outcome:
    with jax.enable_x64():
        loss, hand, floats = _of_floats(case, case.sample(jax.random.key(0)))
        loss, hand = jax.jit(loss), jax.jit(hand)

        class Derivation(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *inputs: torch.Tensor) -> torch.Tensor:
                ctx.save_for_backward(*inputs)
                return torch.from_numpy(np.array(loss(*(jnp.asarray(x.detach().numpy()) for x in inputs))))

            @staticmethod
            def backward(ctx: Any, *y_bar: torch.Tensor) -> tuple[torch.Tensor, ...]:
                bars = hand(*(jnp.asarray(x.detach().numpy()) for x in ctx.saved_tensors))
                return tuple(y_bar[0] * torch.from_numpy(np.array(bar, dtype=np.float64)) for bar in bars)

        inputs = [torch.from_numpy(np.array(x)).requires_grad_() for x in floats]
        return _timed(lambda: torch.autograd.gradcheck(Derivation.apply, inputs, fast_mode=fast_mode))


def first_is_right(case: Case, report: verify.Report) -> bool:
    return report.first_wrong is not None and report.first_wrong.name in case.wrong


def explanation(report: verify.Report) -> str:
    row = report.first_wrong
    return str(row.diagnosis[0]) if row is not None and row.diagnosis else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this; no table is written")
    parser.add_argument("--verifiers", default=",".join(VERIFIERS), help="some of them, separated by commas")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    chosen = options.verifiers.split(",")
    outcomes: dict[str, dict[str, Outcome]] = {}
    for case in cases:
        outcomes[case.name] = {name: VERIFIERS[name](case) for name in chosen}
        print(_line(case, outcomes[case.name]), flush=True)
    text = table(cases, outcomes, chosen)
    print(text)
    if len(cases) == len(CASES) and len(chosen) == len(VERIFIERS):
        RESULTS.write_text(text)


def _line(case: Case, of_case: dict[str, Outcome]) -> str:
    said = " ".join(f"{name}:{'x' if outcome.complains else '.'}" for name, outcome in of_case.items())
    report = of_case["jaxnets"].report if "jaxnets" in of_case else None
    if report is None or report.first_wrong is None:
        return f"{case.name}: {said}"
    row = report.first_wrong
    right = "" if not case.wrong else "right" if first_is_right(case, report) else f"wanted {case.wrong}"
    return f"{case.name}: {said} | {row.check}: {row.name} {right} | {explanation(report)}"


def table(cases: list[Case], outcomes: dict[str, dict[str, Outcome]], chosen: list[str]) -> str:
    wrong = [case for case in cases if case.wrong]
    right = [case for case in cases if not case.wrong]
    lines = [
        "# Verifiers of hand-derived gradients",
        "",
        f"{len(wrong)} wrong derivations and {len(right)} right ones; `python benchmarks/verifiers.py`.  One sample of "
        "arguments each.  Seconds are wall-clock per derivation, the median over all; compilation is included, but for "
        "what an earlier derivation of the same process has compiled.",
        "",
        "| verifier | caught | first equation right | explained | false alarms | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in chosen:
        caught = sum(outcomes[case.name][name].complains for case in wrong)
        alarms = sum(outcomes[case.name][name].complains for case in right)
        seconds = statistics.median(outcomes[case.name][name].seconds for case in cases) if cases else 0.0
        first, explained = "", ""
        if name == "jaxnets":
            reports = [(case, outcomes[case.name][name].report) for case in wrong]
            first = str(sum(first_is_right(case, report) for case, report in reports if report is not None))
            explained = str(sum(bool(explanation(report)) for _, report in reports if report is not None))
        lines.append(
            f"| {name} | {caught} of {len(wrong)} | {first} | {explained} | {alarms} of {len(right)} | {seconds:.2f} |"
        )
    lines += [
        "",
        f"| wrong derivation | the mistake | {' | '.join(chosen)} | found by | first equation | explanation |",
    ]
    lines += ["| --- | --- |" + " --- |" * len(chosen) + " --- | --- | --- |"]
    for case in wrong:
        report = outcomes[case.name]["jaxnets"].report if "jaxnets" in chosen else None
        row = report.first_wrong if report is not None else None
        said = " | ".join("caught" if outcomes[case.name][name].complains else "" for name in chosen)
        equation = f"`{row.name}`" + ("" if row.name in case.wrong else " (another)") if row is not None else ""
        words = explanation(report).replace("|", "\\|") if report is not None else ""
        lines.append(f"| {case.name} | {case.mistake} | {said} | {row.check if row else ''} | {equation} | {words} |")
    lines += ["", f"| right derivation | {' | '.join(chosen)} |", "| --- |" + " --- |" * len(chosen)]
    for case in right:
        said = " | ".join("false alarm" if outcomes[case.name][name].complains else "ok" for name in chosen)
        lines.append(f"| {case.name} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
