"""Derivations verified side by side, in processes of their own: nearly all the time is one core compiling programs."""

import functools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from jaxnets.catalog import DERIVATIONS
from jaxnets.verify import Derivation, Level, Report, derivation

MOST = 8
EACH = 8
"""A process of its own pays from about this many derivations on."""


def reports(chosen: Sequence[Derivation], seed: int, level: Level) -> Iterator[Report]:
    """A report for each, in order.  Those of a user's file stay in this process, which has imported it."""
    place = {id(entry): number for number, entry in enumerate(DERIVATIONS)}
    places = [place.get(id(entry)) for entry in chosen]
    jobs = min(os.cpu_count() or 1, MOST, 1 + len(chosen) // EACH)
    if jobs == 1 or None in places:
        yield from (derivation(entry, seed, level=level) for entry in chosen)
        return
    # JAX has threads, which a forked process would lack.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_share_the_device) as pool:
        yield from pool.map(functools.partial(_listed, seed=seed, level=level), places)


def _share_the_device() -> None:
    # By default a JAX process takes most of an accelerator's memory for itself.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"


def _listed(place: int, seed: int, level: Level) -> Report:
    return derivation(DERIVATIONS[place], seed, level=level)
