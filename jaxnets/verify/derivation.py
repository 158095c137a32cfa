"""A derivation as a value: what the catalog lists, what a user's own file declares, what the command line verifies."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from jaxnets.verify.battery import BATTERY, Check
from jaxnets.verify.entry import Sampler, gradient, rules
from jaxnets.verify.problem import Level
from jaxnets.verify.report import Report


class Derivation(NamedTuple):
    """One hand-derived gradient.

    `function` holds one or more rules; or, where `gradient` is given, it is a scalar loss and `gradient(*args)` is its
    hand-written gradient (see `jaxnets.verify.gradient`).  `sample(key)` gives the tuple of arguments, with dimensions
    that are all distinct, so that a transposed result cannot pass for the right one.  `document` is the Markdown file
    that derives it and `equations` are the tags of its equations.
    """

    name: str
    function: Callable[..., Any]
    sample: Callable[[jax.Array], tuple[Any, ...]]
    document: str = ""
    equations: tuple[str, ...] = ()
    gradient: Callable[..., Any] | None = None
    sampler: Sampler | None = None
    """Arguments of other sizes, see `jaxnets.verify.checks.shapes`."""


def derivation(
    entry: Derivation, seed: int = 0, *, checks: Sequence[Check] = BATTERY, level: Level = Level.QUICK
) -> Report:
    """Verify one derivation at its own sample, drawn in float64."""
    with jax.enable_x64():
        args = entry.sample(jax.random.key(seed))
    if entry.gradient is None:
        report = rules(entry.function, *args, checks=checks, level=level, seed=seed, sampler=entry.sampler)
    else:
        report = gradient(
            entry.function, entry.gradient, *args, checks=checks, level=level, seed=seed, sampler=entry.sampler
        )
    reproduce = f"verify.derivation(entry, seed={seed}, level=verify.{level})  # the entry {entry.name!r}"
    return dataclasses.replace(report, title=entry.name, reproduce=reproduce)
