"""`jaxnets verify` and `jaxnets list`: the catalog, or the derivations of a user's own file."""

import importlib.util
import json
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jaxnets.catalog import DERIVATIONS
from jaxnets.cli.console import console
from jaxnets.cli.workers import reports
from jaxnets.verify import Derivation, Level, Report, Verdict
from jaxnets.verify.html import to_html


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|FILE.py]...", help="Derivations by name, or Python files that declare some."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write every row of every report to this file.")
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", dir_okay=False, help="Write the reports to this file, as a page to look at."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All that each check can try, not only what is quick.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the samples and of the random cotangents.")] = 0,
) -> None:
    """Check hand-derived gradients against autodiff, in float64.

    Without a name, every derivation of the library.  A name may stand for a group: `losses` is every
    loss, `sigmoid` is the sigmoid and its derivatives.
    Exit status: 0 if every derivation is right, 1 if one is not, 2 if the command was wrong.
    """
    chosen = _choose(names or [])
    for option, file in (("--json", json_file), ("--html", html_file)):
        if file is not None and not file.parent.is_dir():
            raise typer.BadParameter(f"{option}: there is no folder {file.parent}")
    started = time.perf_counter()
    found = _run(chosen, seed, Level.FULL if full else Level.QUICK)
    seconds = time.perf_counter() - started
    console.print(_table(chosen, found))
    if json_file is not None:
        json_file.write_text(json.dumps(_record(chosen, found, seed), indent=2) + "\n")
    if html_file is not None:
        html_file.write_text(to_html(found), encoding="utf-8")
    failed = [report for report in found if not report.ok]
    for report in failed:
        try:
            report.check()
        except AssertionError as error:
            console.print(f"\n{error}", markup=False, highlight=False)
    worst = max((report.worst_error for report in found), key=lambda error: (math.isnan(error), error))
    console.print(
        f"{len(found) - len(failed)} of {len(found)} derivations ok, worst error {worst:.1e}, {seconds:.0f} s"
    )
    raise typer.Exit(1 if failed else 0)


def list_derivations() -> None:
    """List the derivations: their names, equations and documents."""
    table = _columns("derivation", "equations", "document")
    for entry in DERIVATIONS:
        table.add_row(entry.name, " ".join(entry.equations), entry.document)
    console.print(table)


def _choose(names: list[str]) -> list[Derivation]:
    if not names:
        return list(DERIVATIONS)
    chosen: list[Derivation] = []
    for name in names:
        found = _declared(Path(name)) if name.endswith(".py") else _named(name)
        chosen += [entry for entry in found if all(entry is not other for other in chosen)]
    return chosen


def _named(name: str) -> list[Derivation]:
    found = [entry for entry in DERIVATIONS if f"/{name}/" in f"/{entry.name}/"]
    if not found:
        raise typer.BadParameter(f"no derivation is called {name!r}; `jaxnets list` shows them all")
    return found


def _declared(path: Path) -> list[Derivation]:
    """The `Derivation` values among a file's module-level names, alone or in a list or tuple."""
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickles look their module up
    sys.path.insert(0, str(path.parent))  # so that the file can import its neighbours, as `python file.py` would
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise typer.BadParameter(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    found = [entry for value in vars(module).values() for entry in _derivations_in(value)]
    if not found:
        raise typer.BadParameter(f"{path} declares no jaxnets.verify.Derivation at module level")
    return [entry for number, entry in enumerate(found) if all(entry is not other for other in found[:number])]


def _derivations_in(value: Any) -> Iterable[Derivation]:
    if isinstance(value, Derivation):
        return [value]
    return [entry for entry in value if isinstance(entry, Derivation)] if isinstance(value, list | tuple) else []


def _run(chosen: list[Derivation], seed: int, level: Level) -> list[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    done: list[Report] = []
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("verifying", total=len(chosen))
        try:
            for report in reports(chosen, seed, level):
                done.append(report)
                progress.update(task, advance=1, description=report.title)
        except (ValueError, TypeError, NotImplementedError) as error:
            name = chosen[len(done)].name
            raise typer.BadParameter(f"{name} cannot be verified: {type(error).__name__}: {error}") from error
    return done


def _table(chosen: list[Derivation], reports: list[Report]) -> Table:
    table = _columns("derivation", "equations", "error", "verdict")
    for entry, report in zip(chosen, reports, strict=True):
        style = "green" if report.ok else "red"
        table.add_row(
            entry.name, " ".join(entry.equations), f"{report.worst_error:.1e}", f"[{style}]{_verdict(report)}"
        )
    return table


def _columns(*names: str) -> Table:
    table = Table(box=None, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name == "derivation", overflow="fold")
    return table


def _verdict(report: Report) -> str:
    if report.first_wrong is not None:
        return f"{Verdict.WRONG.value}: {report.first_wrong.name}"
    return next((row.verdict.value for row in report.rows if not row.ok), Verdict.OK.value)


def _record(chosen: list[Derivation], reports: list[Report], seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "ok": all(report.ok for report in reports),
        "derivations": [
            report.as_dict() | {"document": entry.document, "equations": list(entry.equations)}
            for entry, report in zip(chosen, reports, strict=True)
        ],
    }
