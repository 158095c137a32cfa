"""How the time of a training step grows with the batch, the width and the devices, beside the machine's roofline.

Run it with `python benchmarks/scaling.py`; the results are written to benchmarks/results/scaling.md and .json.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import plans
import roofline
from points import Point, lenet_point, mlp_point, variant_of

from jaxnets.train import flops

RESULTS = Path(__file__).parent / "results"
NOTE = """\
Steps of gradient descent in a compiled loop; medians over quiet blocks (quartiles in brackets). FLOP: of matrix
products and convolutions, as the kernels of the device compute them (those of LeNet-5 on a CPU multiply zeros too,
which a plain convolution has not). Bytes: arguments and results, once each. Bound: the longer of FLOP by the measured
peak, and bytes by the measured bandwidth of arrays of that size."""


class Measured(NamedTuple):
    """What came out."""

    series: str
    size: int
    work: roofline.Work
    bound: roofline.Bound
    row: harness.Row


POINTS: tuple[Callable[[], Point], ...] = (
    *(partial(mlp_point, "784-n-n-10, batch 128, by width n", n, 128, n) for n in (64, 128, 256, 512, 1024, 2048)),
    *(partial(mlp_point, "784-1024-1024-10, by batch", n, n, 1024) for n in (1, 8, 32, 128, 512)),
    *(partial(lenet_point, n) for n in (1, 8, 32, 128, 512)),
)


def measure(
    points: Sequence[Point], *, blocks: int = 5, limit_s: float = 240.0
) -> tuple[roofline.Roof, list[Measured]]:
    """All points in turn, and the roof, measured before and after: the better of the two, which nobody disturbed."""
    works = [work_of(point) for point in points]
    sizes = {roofline.array_size(work.bytes) for work in works}
    before = roofline.measured(sizes)
    names = [f"{point.series}: {point.size}" for point in points]
    variants = {name: variant_of(point) for name, point in zip(names, points, strict=True)}
    report = harness.measure(variants, names[0], title="", blocks=blocks, limit_s=limit_s)
    after = roofline.measured(sizes)
    bandwidths = {size: max(before.bandwidths[size], after.bandwidths[size]) for size in sizes}
    roof = roofline.Roof(max(before.flops, after.flops), dict(sorted(bandwidths.items())))
    found = zip(points, works, report.rows, strict=True)
    return roof, [Measured(point.series, point.size, work, roof.bound(work), row) for point, work, row in found]


def work_of(point: Point) -> roofline.Work:
    moved = jax.tree.leaves((point.state, point.batch)), jax.tree.leaves(jax.eval_shape(point.step, *point[3:]))
    total = sum(leaf.size * leaf.dtype.itemsize for leaves in moved for leaf in leaves)
    return roofline.Work(flops(point.step, point.state, point.batch).count, total)


def to_markdown(roof: roofline.Roof, found: Sequence[Measured], planned: Sequence[plans.Plan]) -> str:
    machine = "; ".join(f"{key} {value}" for key, value in harness.describe_machine(["optax"]).items())
    bandwidths = ", ".join(f"{bytes_cell(size)} {speed / 1e9:.0f} GB/s" for size, speed in roof.bandwidths.items())
    lines = [
        "# A step of training by batch, width and devices, beside the roofline",
        "",
        NOTE,
        "",
        machine,
        "",
        f"Peak of float32 matrix products {roof.flops / 1e9:.0f} GFLOP/s. Bandwidth, read and written: {bandwidths}.",
    ]
    for series in dict.fromkeys(point.series for point in found):
        lines += [
            "",
            f"## {series}",
            "",
            "| size | time a step | MFLOP | bytes | bound | set by | time / bound | quiet blocks |",
            "| ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
        ]
        lines += [point_line(point) for point in found if point.series == series]
    return "\n".join([*lines, "", *plans.to_lines(planned)]) + "\n"


def point_line(point: Measured) -> str:
    row, bound = point.row, point.bound
    cells = [
        str(point.size),
        harness.time_cell(row),
        f"{point.work.flops / 1e6:.3g}",
        bytes_cell(point.work.bytes),
        harness.seconds_cell(bound.seconds),
        bound.by,
        "" if row.time is None else f"{row.time / bound.seconds:.1f}",
        f"{row.quiet_blocks} of {row.quiet_blocks + row.noisy_blocks}",
    ]
    return "| " + " | ".join(cells) + " |"


def bytes_cell(value: int) -> str:
    return f"{value / 1024:.0f} KiB" if value < 1 << 20 else f"{value / 2**20:.1f} MiB"


def main(points: Sequence[Callable[[], Point]] = POINTS, folder: Path = RESULTS, **options: Any) -> None:
    planned = plans.measured((1, 2, 4, 8))
    roof, found = measure([make() for make in points], **options)
    text = to_markdown(roof, found, planned)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scaling.md").write_text(text)
    record = {
        "machine": harness.describe_machine(["optax"]),
        "roof": roof._asdict(),
        "steps": [
            {
                **point._asdict(),
                "work": point.work._asdict(),
                "bound": point.bound._asdict(),
                "row": point.row._asdict(),
            }
            for point in found
        ],
        "devices": [plan._asdict() for plan in planned],
    }
    (folder / "scaling.json").write_text(json.dumps(record, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
