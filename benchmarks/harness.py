"""The one harness of all benchmarks: interleaved variants, timed only while the machine is otherwise quiet.

On a shared machine a timing says more about the neighbours than about the code.  So the variants take turns, in random
order, in blocks of at least `block_s` seconds; a block counts only if all other processes together used less than
`foreign_limit` of the machine's cores during it; and a number is the median over the blocks that count.  While others
are busy no block is begun.  With fewer than `MIN_BLOCKS` that count no times are compared: the report says so instead.
"""

import importlib.metadata
import json
import math
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

MIN_BLOCKS = 3
"""A median over fewer quiet blocks than this is not compared with anything."""


class Variant(NamedTuple):
    """One competitor: `run()` does `units` units of work and returns when they are done.

    `compiled`, where the variant is a compiled JAX function, tells its peak temporary memory.
    """

    run: Callable[[], object]
    units: int = 1
    compiled: jax.stages.Compiled | None = None


class Load(NamedTuple):
    """Seconds of CPU time used so far: by everything on the machine, and by this process with all its threads."""

    machine: float
    own: float


class Row(NamedTuple):
    """The result of one variant; times are seconds a unit, over the quiet blocks only."""

    name: str
    quiet_blocks: int
    noisy_blocks: int
    time: float | None
    low: float | None
    high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    temp_bytes: int | None


class Report(NamedTuple):
    """A finished comparison: one row a variant, ratios to the row named `reference`."""

    title: str
    unit: str
    note: str
    reference: str
    load_measured: bool
    machine: Mapping[str, str]
    rows: tuple[Row, ...]


def read_load() -> Load | None:
    """CPU time of the machine (/proc/stat; stolen time is busy) and of this process; None without /proc/stat."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return Load(ticks / os.sysconf("SC_CLK_TCK"), time.process_time())


class Machine(NamedTuple):
    """What the harness asks of the computer that it runs on."""

    cores: int
    clock: Callable[[], float]
    load: Callable[[], Load | None]
    sleep: Callable[[float], None]


THIS_MACHINE = Machine(os.cpu_count() or 1, time.perf_counter, read_load, time.sleep)


def foreign_share(before: Load | None, after: Load | None, seconds: float, cores: int) -> float:
    """The part of the machine's cores that other processes used between two readings; 0 if they could not be taken."""
    if before is None or after is None:
        return 0.0
    return max(0.0, (after.machine - before.machine) - (after.own - before.own)) / (seconds * cores)


def measure(
    variants: Mapping[str, Variant],
    reference: str,
    *,
    title: str,
    unit: str = "call",
    note: str = "",
    packages: Sequence[str] = (),
    blocks: int = 9,
    block_s: float = 0.1,
    limit_s: float = 120.0,
    foreign_limit: float = 0.08,
    seed: int = 0,
    machine: Machine = THIS_MACHINE,
) -> Report:
    """Time the variants against each other until each has `blocks` quiet blocks, or `limit_s` seconds have passed.

    Args:
      variants: what to compare, by name.
      reference: the variant that the ratios are taken to: ratio = time of the variant / time of the reference.
      title: what is measured, for the report.
      unit: what one unit of work is called there.
      note: what else a reader of it must know.
      packages: distributions whose versions belong in the report beside those of jax and NumPy.
      blocks: quiet blocks wanted of each variant.
      block_s: least length of a block; the number of calls in it is calibrated once.
      limit_s: time after which the report is made with what there is.  A block begun is finished.
      foreign_limit: a block counts if other processes used less than this part of the machine's cores during it.
        Where the load cannot be read (no /proc/stat) every block counts, and the report says that it was not measured.
      seed: of the random order of the blocks.
      machine: where it runs, an argument for the sake of tests.

    Raises:
      ValueError: if `reference` is not one of the variants.
    """
    if reference not in variants:
        raise ValueError(f"measure: the reference {reference!r} is not among the variants {list(variants)}")
    end = machine.clock() + limit_s
    calls = {name: _calibrate(variant.run, block_s, machine.clock) for name, variant in variants.items()}
    quiet: dict[str, list[float]] = {name: [] for name in variants}
    noisy = dict.fromkeys(variants, 0)
    order = random.Random(seed)
    while wanting := [name for name in variants if len(quiet[name]) < blocks]:
        for name in order.sample(wanting, len(wanting)):
            if not _wait(block_s, foreign_limit, end, machine):
                break
            seconds, share = _block(variants[name].run, calls[name], machine)
            if share < foreign_limit:
                quiet[name].append(seconds / (calls[name] * variants[name].units))
            else:
                noisy[name] += 1
        if machine.clock() >= end:
            break
    rows = (
        _row(name, quiet[name], noisy[name], quiet[reference], _temp_bytes(variant.compiled))
        for name, variant in variants.items()
    )
    return Report(title, unit, note, reference, machine.load() is not None, describe_machine(packages), tuple(rows))


def ratio_spread(times: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """Median and quartiles of the ratios of every block's time to every block's time of the reference."""
    low, middle, high = np.quantile(np.divide.outer(np.asarray(times), np.asarray(reference)), [0.25, 0.5, 0.75])
    return float(middle), float(low), float(high)


def describe_machine(packages: Sequence[str] = ()) -> dict[str, str]:
    """Processor, cores, system and versions, for the head of a report."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy", *packages)}
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jax backend": jax.default_backend(),
        **versions,
    }


def to_markdown(report: Report) -> str:
    """The report as a Markdown document: a head with the machine, then one table."""
    head = "; ".join(f"{key} {value}" for key, value in report.machine.items())
    filtered = (
        "Medians over quiet blocks (quartiles in brackets)."
        if report.load_measured
        else "Medians over all blocks (quartiles in brackets): the load of other processes could not be measured here."
    )
    lines = [
        f"# {report.title}",
        "",
        " ".join([filtered, f"Ratio: time of the variant / time of `{report.reference}`.", report.note]).rstrip(),
        "",
        head,
        "",
        f"| variant | time a {report.unit} | ratio | quiet blocks | temporary memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in report.rows:
        blocks = f"{row.quiet_blocks} of {row.quiet_blocks + row.noisy_blocks}"
        memory = "" if row.temp_bytes is None else f"{row.temp_bytes / 1024:.0f} KiB"
        lines.append(f"| {row.name} | {time_cell(row)} | {_ratio_cell(row)} | {blocks} | {memory} |")
    return "\n".join(lines) + "\n"


def to_record(report: Report) -> dict[str, Any]:
    """The report as plain values, for JSON."""
    return {**report._asdict(), "machine": dict(report.machine), "rows": [row._asdict() for row in report.rows]}


def write(report: Report, name: str, folder: Path = Path(__file__).parent / "results") -> str:
    """Write `<name>.md` and `<name>.json` into the folder; return the Markdown text."""
    folder.mkdir(parents=True, exist_ok=True)
    text = to_markdown(report)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps(to_record(report), indent=2) + "\n")
    return text


def seconds_of(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes."""
    start = clock()
    run()
    return clock() - start


def _calibrate(run: Callable[[], object], block_s: float, clock: Callable[[], float]) -> int:
    """How many calls make a block of at least `block_s`, from the fastest of three calls after the first two."""
    run()
    run()
    fastest = min(seconds_of(run, clock) for _ in range(3))
    return max(1, math.ceil(block_s / max(fastest, 1e-9)))


def _wait(seconds: float, foreign_limit: float, end: float, machine: Machine) -> bool:
    """Sleep until others were quiet for that long (who sleeps disturbs nobody).  False if the time is over first."""
    while machine.clock() < end:
        before, start = machine.load(), machine.clock()
        machine.sleep(seconds)
        if foreign_share(before, machine.load(), machine.clock() - start, machine.cores) < foreign_limit:
            return True
    return False


def _block(run: Callable[[], object], calls: int, machine: Machine) -> tuple[float, float]:
    """Seconds that `calls` calls took, and the share of the cores that other processes used meanwhile."""
    run()  # brings this variant's code and data back into the caches
    before, start = machine.load(), machine.clock()
    for _ in range(calls):
        run()
    seconds = machine.clock() - start
    return seconds, foreign_share(before, machine.load(), seconds, machine.cores)


def _row(name: str, times: list[float], noisy: int, reference: list[float], temp_bytes: int | None) -> Row:
    if len(times) < MIN_BLOCKS:
        return Row(name, len(times), noisy, None, None, None, None, None, None, temp_bytes)
    low, high = (float(quantile) for quantile in np.quantile(times, [0.25, 0.75]))
    ratio = ratio_spread(times, reference) if len(reference) >= MIN_BLOCKS else (None, None, None)
    return Row(name, len(times), noisy, statistics.median(times), low, high, *ratio, temp_bytes)


def _temp_bytes(compiled: jax.stages.Compiled | None) -> int | None:
    analysis = None if compiled is None else compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def time_cell(row: Row) -> str:
    """The median with its quartiles."""
    if row.time is None or row.low is None or row.high is None:
        return "too few quiet blocks"
    return f"{seconds_cell(row.time)} ({seconds_cell(row.low)} to {seconds_cell(row.high)})"


def _ratio_cell(row: Row) -> str:
    if row.ratio is None or row.ratio_low is None or row.ratio_high is None:
        return "no ratio"
    return f"{row.ratio:.2f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})"


def seconds_cell(value: float) -> str:
    """Three significant digits with the unit that keeps them before the exponent."""
    for scale, name in ((1e-6, "µs"), (1e-3, "ms")):
        if value < 1000 * scale:
            return f"{value / scale:.3g} {name}"
    return f"{value:.3g} s"


def _processor() -> str:
    """The processor's name as /proc/cpuinfo has it, or as Python's platform module knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
