"""What the report on scaling is made of: bounds, the work of a step, and what devices send. No time is asserted."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import harness
import plans
import points
import roofline
import scaling

COMPILED = """
  %all-reduce.8 = (f32[16]{0}, f32[400,120]{1,0}, /*index=5*/f64[]) all-reduce(%fusion, %dot.11, %sum), channel_id=4
  %all-gather = f32[6,1,14]{2,1,0} all-gather(%bitcast.4), channel_id=1, metadata={op_name="all-reduce(x)"}
  ROOT %done = bf16[3]{0} all-reduce-done(%start)
  %start = bf16[3]{0} all-reduce-start(%x), channel_id=2
"""


def test_a_bound_is_the_longer_of_two():
    roof = roofline.Roof(1e9, {4096: 1e8, 8192: 1e6})
    assert roof.bound(roofline.Work(1_000_000, 100)) == (1e-3, "operations")
    assert roof.bound(roofline.Work(1000, 1_000)) == (1e-5, "bytes")
    assert roof.bound(roofline.Work(1000, 4097)) == (4097e-6, "bytes")


def test_sizes_for_which_bandwidths_are_measured():
    assert [roofline.array_size(size) for size in (1, 4096, 4097, 1 << 40)] == [4096, 4096, 8192, roofline.LARGEST]
    roof = roofline.measured({4096}, seconds=1e-4)
    assert roof.flops > 0
    assert roof.bandwidths[4096] > 0


def test_the_work_of_a_step():
    batch, width = 8, 16
    point = points.mlp_point("", 0, batch, width)
    weights = 784 * width + width**2 + width * 10
    numbers = 2 * (weights + 2 * width + 10) + batch * (784 + 10) + 1  # the parameters there and back, and the loss
    work = scaling.work_of(point)
    assert work.bytes == 4 * numbers
    assert work.flops == 2 * batch * (3 * weights - 784 * width)


def test_what_devices_send():
    assert plans.collectives(COMPILED) == {"all-reduce": 4 * (16 + 400 * 120) + 8 + 2 * 3, "all-gather": 4 * 6 * 14}
    assert plans.collectives("%add = f32[3]{0} add(%a, %b)") == {}


def test_a_plan_for_one_device_sends_nothing():
    plan = plans.plan_of("net", points.mlp_point("", 0, 4, 16), 1, timed=False)
    assert plan == ("net", 1, 4 * (784 * 16 + 16**2 + 16 * 10 + 42), {}, 0.0, None)


def test_differences_are_parts_of_the_update():
    before, alone = jnp.array([1.0, 1.0]), jnp.array([3.0, 2.0])
    assert plans.largest_difference(before, alone, jnp.array([3.0, 2.5])) == 0.25


def test_the_report():
    row = harness.Row("", 5, 1, 2e-3, 1e-3, 3e-3, 1.0, 1.0, 1.0, None)
    bound = roofline.Bound(1e-3, "operations")
    found = [
        scaling.Measured("series", 8, roofline.Work(2_000_000, 4096), bound, row),
        scaling.Measured("series", 9, roofline.Work(2_000_000, 4096), bound, row._replace(time=None)),
    ]
    planned = [plans.Plan("net", 4, 100, {"all-reduce": 104, "all-gather": 7}, 1e-6, None)]
    lines = scaling.to_markdown(roofline.Roof(1e11, {4096: 1e10}), found, planned).splitlines()
    assert "Peak of float32 matrix products 100 GFLOP/s. Bandwidth, read and written: 4 KiB 10 GB/s." in lines
    assert "| 8 | 2 ms (1 ms to 3 ms) | 2 | 4 KiB | 1 ms | operations | 2.0 | 5 of 6 |" in lines
    assert "| 9 | too few quiet blocks | 2 | 4 KiB | 1 ms | operations |  | 5 of 6 |" in lines
    assert "| net | 4 | 100 | 104 | 156 | 7 | 1e-06 |  |" in lines


def test_a_variant_runs_as_many_steps_as_it_says():
    def step(state, batch):
        jax.debug.callback(lambda _: ran.append(1), state.params)
        return state._replace(params=state.params + 1), batch.mean()

    ran = []
    point = points.Point("", 0, step, points.State(jnp.zeros((), np.int32), ()), jnp.ones(2))
    variant = points.variant_of(point, least_s=0.001)
    for _ in range(2):
        jax.effects_barrier()
        ran.clear()
        variant.run()
        jax.effects_barrier()
        assert len(ran) == variant.units
    assert point.state.params == 0
