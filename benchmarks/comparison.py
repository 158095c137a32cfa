"""Comparisons of a hand-derived gradient with autodiff and with PyTorch: one case after the other, one document.

Every variant gets the same arrays and gives the same results: before anything is timed, the gradients are compared with
those of autodiff in float64.  The control is autodiff of the same reformulated forward pass, which tells what the
hand-derived way back adds to it.
"""

import importlib
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np

HAND, CONTROL, NATURAL = "jaxnets", "control: the same by autodiff", "jax.grad of XLA's operations"
RATE = 0.1
LIMIT_S = 120.0
"""Time for one case."""

Gradients = Callable[..., Any]
"""From arguments to (value, gradients)."""


class Case(NamedTuple):
    """What all variants of a comparison do; `others` make what runs those of other libraries."""

    title: str
    hand: Gradients
    control: Gradients
    natural: Gradients
    arguments: tuple[Any, ...]
    others: Mapping[str, Callable[[], Callable[[], Any]]]
    more: Mapping[str, Gradients] = {}
    """Further variants of ours, by name."""


class Record(NamedTuple):
    """Where the results of a script are kept, and what is said of them."""

    script: str
    """The module, of which `CASES` are functions that make a case each."""
    title: str
    note: str

    @property
    def path(self) -> Path:
        return Path(__file__).parent / "results" / f"{self.script}.json"


class Result(NamedTuple):
    """A finished comparison, and how far off the results of a variant are, as a part of the largest entry of each."""

    report: harness.Report
    errors: Mapping[str, float]


def measured(script: str, number: int) -> Result:
    """The case of this number."""
    case = importlib.import_module(script).CASES[number]()
    exact = float64_results(case)
    variants, errors = {}, {}
    arguments = jax.tree.map(jnp.asarray, case.arguments)
    functions = {HAND: case.hand, **case.more, CONTROL: case.control, NATURAL: case.natural}
    for name, function in functions.items():
        compiled = jax.jit(function).lower(*arguments).compile()
        errors[name] = largest_error(compiled(*arguments), exact)
        variants[name] = harness.Variant(
            lambda compiled=compiled: jax.block_until_ready(compiled(*arguments)), 1, compiled
        )
    for name, error in errors.items():
        assert error < max(1e-4, 4 * errors[NATURAL]), f"{case.title}: {name} is off by {error:.1e}"
    variants |= {name: harness.Variant(make()) for name, make in case.others.items()}
    report = harness.measure(variants, HAND, title=case.title, packages=("torch",), blocks=5, limit_s=LIMIT_S)
    return Result(report, errors)


def float64_results(case: Case) -> list[np.ndarray]:
    with jax.enable_x64():
        wide = jax.tree.map(lambda a: jnp.asarray(a, np.float64 if a.dtype == np.float32 else None), case.arguments)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(case.natural)(*wide))]


def largest_error(results: Any, exact: list[np.ndarray]) -> float:
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(results)]
    return max(float(np.abs(ours - true).max() / np.abs(true).max()) for ours, true in zip(leaves, exact, strict=True))


def to_markdown(record: Record, results: list[Result]) -> str:
    """A table for each case."""
    machine = "; ".join(f"{key} {value}" for key, value in results[0].report.machine.items())
    lines = [
        f"# {record.title}",
        "",
        f"{record.note} Medians over quiet blocks (quartiles in brackets). Ratio: time of "
        f"the variant / time of `{HAND}`. Error: the largest of any entry of any result, as a part of the largest "
        "entry of that result, against autodiff in float64.",
        "",
        machine,
        "",
        f"Geometric means of the ratios over all {len(results)} cases: "
        + ", ".join(f"{name} {geometric_mean(results, name):.2f}" for name in (NATURAL, CONTROL, "PyTorch"))
        + " (the fastest of its variants).",
    ]
    for report, errors in results:
        lines += [
            "",
            f"## {report.title}",
            "",
            "| variant | time | ratio | quiet blocks | temporary memory | error |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row, table_line in zip(
            report.rows, harness.to_markdown(report).splitlines()[-len(report.rows) :], strict=True
        ):
            error = f"{errors[row.name]:.1e}" if row.name in errors else ""
            lines.append(f"{table_line} {error} |")
    return "\n".join(lines) + "\n"


def geometric_mean(results: list[Result], variant: str) -> float:
    """Of the ratios of the variants whose names begin so, over the cases that have one: of the fastest of them."""
    fastest = [
        min(row.ratio for row in result.report.rows if row.name.startswith(variant) and row.ratio is not None)
        for result in results
    ]
    return statistics.geometric_mean(fastest)


def main(record: Record, cases: Sequence[Callable[[], Case]]) -> None:
    """Measure the cases whose titles hold one of the words of the command line, all without any."""
    wanted = sys.argv[1:]
    results = earlier(record)
    titles = [make().title for make in cases]
    for number, title in enumerate(titles):
        if wanted and not any(part in title for part in wanted):
            continue
        # Each in a process of its own: what an earlier case left of the heap changes the times of the next.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            result = results[title] = process.submit(measured, record.script, number).result()
        print(harness.to_markdown(result.report), result.errors, flush=True)
        write(record, [results[title] for title in titles if title in results])


def earlier(record: Record) -> dict[str, Result]:
    """The results of earlier runs by their titles, so that a part can be measured again."""
    if not record.path.exists():
        return {}
    results = {}
    for entry in json.loads(record.path.read_text()):
        rows = tuple(harness.Row(**row) for row in entry.pop("rows"))
        errors = entry.pop("errors")
        results[entry["title"]] = Result(harness.Report(**entry, rows=rows), errors)
    return results


def write(record: Record, results: list[Result]) -> None:
    """The JSON record, and the document beside it."""
    entries = [{**harness.to_record(report), "errors": dict(errors)} for report, errors in results]
    record.path.write_text(json.dumps(entries, indent=2) + "\n")
    record.path.with_suffix(".md").write_text(to_markdown(record, results))
