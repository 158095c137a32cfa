"""`jaxnets train NETWORK --profile`: what a step takes, as a table."""

from collections.abc import Callable
from typing import Any

import jax
from rich.table import Table

from jaxnets.cli.console import console
from jaxnets.train import Profile, State, Step, profile_step


def print_profile(step: Step, state: State, data: Any, batch_size: int) -> None:
    """Measure a step on the first batch of the data, and print the table."""
    console.print(profile_table(profile_step(step, state, jax.tree.map(lambda a: a[:batch_size], data)), batch_size))


def profile_table(profile: Profile, examples: int) -> Table:
    """The profile of a step that takes so many examples; where a call makes several updates, also of one of them."""
    updates, (count, exact) = profile.updates, profile.flops
    title = f"a step of {examples} examples" if updates == 1 else f"{updates} updates, {examples} examples, in one call"
    table = Table("", "a step" if updates == 1 else "a call", title=title, title_justify="left")
    table.columns[1].justify = "right"
    if updates > 1:
        table.add_column("an update", justify="right")

    def row(name: str, value: float, shown: Callable[[float], str]) -> None:
        table.add_row(name, shown(value), *[shown(value / updates)] * (updates > 1))

    row("time", profile.seconds, lambda value: _scaled(value, "s"))
    row("FLOP of products and convolutions", float(count), lambda value: "about " * (not exact) + _scaled(value))
    table.add_row("FLOP/s achieved", _scaled(profile.flops_per_second))
    table.add_row("of the measured peak of matrix products", f"{profile.share_of_peak:.1%}")
    table.add_row("that peak, FLOP/s", _scaled(profile.matmul_peak))
    memory = profile.memory
    if memory is not None:
        table.add_row("peak memory", _bytes(memory.peak))
        table.add_row("  arguments: state and batch", _bytes(memory.arguments))
        table.add_row("  temporary", _bytes(memory.temporary))
        table.add_row("  outputs", _bytes(memory.outputs))
        table.add_row("  of them in place of arguments", _bytes(memory.aliased))
        if memory.device_peak is not None:
            table.add_row("most held on the device so far", _bytes(memory.device_peak))
    table.add_row("time to compile", _scaled(profile.compile_seconds, "s"))
    return table


def _scaled(value: float, unit: str = "") -> str:
    """Three significant digits, with the prefix that keeps them before the exponent."""
    prefixes = {1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k", 1: "", 1e-3: "m", 1e-6: "µ"}
    scale = next((scale for scale in prefixes if value >= 0.9995 * scale), 1)
    return f"{float(f'{value / scale:.3g}'):g} {prefixes[scale]}{unit}".rstrip()


def _bytes(value: int) -> str:
    return f"{value / 1024:.0f} KiB" if value < 10 * 2**20 else f"{value / 2**20:.0f} MiB"
