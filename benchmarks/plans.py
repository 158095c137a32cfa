"""Training steps on several devices: whether they compute what one device does, and what they send.

On a computer without accelerators the devices are forced: parts of the same cores, which tell whether the plan is right
and what it sends, and nothing about its speed.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
from points import Point, lenet_point, mlp_point

from jaxnets.train import data_parallel

NAMES = {"f64": "float64", "f32": "float32", "bf16": "bfloat16", "f16": "float16", "s32": "int32", "u32": "uint32"}
"""The dtypes of what is sent, by XLA's names."""
NOTE = """\
Each has an equal part of a batch of 64, and all parameters. Bytes of a step, as it was compiled: all-reduced, those of
the sums over the devices; sent, by each device around a ring, 2 (D - 1)/D of them; gathered, of all else that devices
send: on a CPU the kernels of convolutions take the examples together. Difference: of the update from that of one
device, as a part of the largest entry."""


class Plan(NamedTuple):
    """What a step on so many devices sends, and how far its gradient is from that of one, as a part of the largest."""

    network: str
    devices: int
    parameter_bytes: int
    collectives: Mapping[str, int]
    """Bytes of the results, by the kind."""
    error: float
    seconds: float | None
    """Of a call of a step; None if the devices share their cores, or nothing was quiet."""


def measured(devices: Sequence[int]) -> list[Plan]:
    """What steps on so many devices do; each in a process of its own, as the forced devices of one are fixed."""
    if jax.default_backend() != "cpu":
        return [plan for count in devices if count <= jax.device_count() for plan in plans_on(count)]
    found, flags = [], os.environ.get("XLA_FLAGS", "")
    for count in devices:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}"
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found += process.submit(plans_on, count).result()
    os.environ["XLA_FLAGS"] = flags
    return found


def plans_on(count: int, batch: int = 64, *, timed: bool | None = None) -> list[Plan]:
    """The plans of both networks for the first devices, so many of them."""
    timed = jax.default_backend() != "cpu" if timed is None else timed
    points = {"784-256-256-10": mlp_point("", 0, batch, 256), "LeNet-5": lenet_point(batch)}
    return [plan_of(name, point, count, timed=timed) for name, point in points.items()]


def plan_of(network: str, point: Point, count: int, *, timed: bool) -> Plan:
    placement = data_parallel(jax.devices()[:count])
    step = jax.jit(point.step)
    alone, _ = step(point.state, point.batch)
    state, batch = placement.state(point.state), placement.examples(point.batch)
    compiled = step.lower(state, batch).compile()
    split, _ = compiled(state, batch)
    seconds = None
    if timed:
        variant = harness.Variant(lambda: jax.block_until_ready(compiled(state, batch)), 1, compiled)
        (row,) = harness.measure({"": variant}, "", title="", blocks=5).rows
        seconds = row.time
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(point.state.params))
    error = largest_difference(point.state.params, alone.params, split.params)
    return Plan(network, count, parameters, collectives(compiled.as_text() or ""), error, seconds)


def largest_difference(before: Any, alone: Any, split: Any) -> float:
    """Between two updates of the same parameters, as a part of the largest entry of each array's update."""

    def of_array(old: jax.Array, a: jax.Array, b: jax.Array) -> float:
        moved = np.asarray(a) - np.asarray(old)
        return float(np.abs(np.asarray(b) - np.asarray(a)).max() / np.abs(moved).max())

    return max(jax.tree.leaves(jax.tree.map(of_array, before, alone, split)))


def collectives(text: str) -> dict[str, int]:
    """What the devices send each other in a compiled program, as XLA prints it: bytes of the results, by the kind."""
    kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    total: dict[str, int] = {}
    for results, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", text):
        for dtype, shape in re.findall(r"([a-z]+\d+)\[([\d,]*)\]", results):
            entries = math.prod(int(size) for size in shape.split(",") if size)
            total[kind] = total.get(kind, 0) + entries * jnp.dtype(NAMES[dtype]).itemsize
    return total


def to_lines(planned: Sequence[Plan]) -> list[str]:
    """A chapter of the report."""
    return [
        "## Devices",
        "",
        NOTE + (" The devices are parts of the same cores: no times." if jax.default_backend() == "cpu" else ""),
        "",
        "| network | devices | parameters | all-reduced | sent | gathered | difference | time a step |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_line(plan) for plan in sorted(planned, key=lambda plan: (plan.network, plan.devices))),
    ]


def _line(plan: Plan) -> str:
    reduced = plan.collectives.get("all-reduce", 0)
    others = sum(plan.collectives.values()) - reduced
    cells = [
        plan.network,
        str(plan.devices),
        str(plan.parameter_bytes),
        str(reduced),
        str(2 * (plan.devices - 1) * reduced // plan.devices),
        str(others),
        f"{plan.error:.0e}",
        "" if plan.seconds is None else harness.seconds_cell(plan.seconds),
    ]
    return "| " + " | ".join(cells) + " |"
