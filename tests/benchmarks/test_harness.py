"""The harness with a clock and a load reader of the test's own: no timing is asserted."""

import importlib.util
import itertools
import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "harness.py"
spec = importlib.util.spec_from_file_location("benchmark_harness", PATH)
harness = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = harness
spec.loader.exec_module(harness)


class Machine:
    """Two cores whose time passes only while a variant runs, or sleeps.

    `foreign` is the part of the machine that others use while a variant runs, `foreign_asleep` while none does.
    """

    def __init__(self, foreign=lambda: 0.0, foreign_asleep=lambda: 0.0):
        self.now = self.own = self.machine = 0.0
        self.foreign = foreign
        self.foreign_asleep = foreign_asleep
        self.ran = []

    def sleep(self, seconds):
        self.now += seconds
        self.machine += self.foreign_asleep() * 2 * seconds

    def variant(self, name, seconds, units=1):
        def run():
            self.ran.append(name)
            self.now += seconds
            self.own += seconds
            self.machine += seconds + self.foreign() * 2 * seconds

        return harness.Variant(run, units)

    def measure(self, variants, reference, **options):
        return harness.measure(
            variants,
            reference,
            title="Test",
            machine=harness.Machine(2, lambda: self.now, lambda: harness.Load(self.machine, self.own), self.sleep),
            **options,
        )


def row(report, name):
    (found,) = [row for row in report.rows if row.name == name]
    return found


def test_median_time_and_ratio():
    machine = Machine()
    report = machine.measure({"fast": machine.variant("fast", 0.01), "slow": machine.variant("slow", 0.03)}, "fast")
    slow = row(report, "slow")
    assert math.isclose(row(report, "fast").time, 0.01)
    assert math.isclose(slow.time, 0.03)
    assert math.isclose(slow.ratio, 3)
    assert math.isclose(slow.ratio_low, 3)
    assert row(report, "fast").ratio == 1
    assert (slow.quiet_blocks, slow.noisy_blocks) == (9, 0)


def test_time_is_that_of_one_unit():
    machine = Machine()
    report = machine.measure({"epoch": machine.variant("epoch", 0.5, units=100)}, "epoch")
    assert math.isclose(row(report, "epoch").time, 0.005)


def test_a_block_is_as_many_calls_as_fill_it():
    machine = Machine()
    machine.measure({"a": machine.variant("a", 0.03)}, "a", blocks=1, block_s=0.1)
    warm_up, calibration, before_block, block = 2, 3, 1, 4
    assert len(machine.ran) == warm_up + calibration + before_block + block


def test_blocks_are_interleaved_and_their_order_varies_with_the_seed():
    def order(seed):
        machine = Machine()
        machine.measure({name: machine.variant(name, 0.2) for name in "abc"}, "a", blocks=6, seed=seed)
        return [name for name, _ in itertools.groupby(machine.ran[15:])]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert len(order(0)) > 12  # never all blocks of one variant after another


def test_noisy_blocks_do_not_count():
    # Five calls to calibrate, then two a block, of which the second counts: that sees 0 and 0.5 by turns.
    shares = itertools.cycle([0.5, 0.5, 0.0, 0.0])
    machine = Machine(lambda: next(shares))
    report = machine.measure({"a": machine.variant("a", 0.2)}, "a", blocks=4)
    assert (row(report, "a").quiet_blocks, row(report, "a").noisy_blocks) == (4, 3)

    busy = Machine(lambda: 0.081)
    report = busy.measure({"a": busy.variant("a", 0.2)}, "a", limit_s=3.0)
    assert row(report, "a").quiet_blocks == 0
    assert row(report, "a").noisy_blocks > 3

    nearly_busy = Machine(lambda: 0.079)
    report = nearly_busy.measure({"a": nearly_busy.variant("a", 0.2)}, "a", limit_s=3.0)
    assert row(report, "a").noisy_blocks == 0


def test_no_block_is_begun_while_others_are_busy():
    shares = iter([0.9, 0.9, 0.9, 0.0, 0.9, 0.0])
    machine = Machine(foreign_asleep=lambda: next(shares))
    report = machine.measure({"a": machine.variant("a", 0.2)}, "a", blocks=2, block_s=0.1)
    assert (row(report, "a").quiet_blocks, row(report, "a").noisy_blocks) == (2, 0)
    assert next(shares, None) is None
    calls, sleeps = 9, 6
    assert math.isclose(machine.now, calls * 0.2 + sleeps * 0.1)


def test_waiting_for_quiet_ends_with_the_time():
    machine = Machine(foreign_asleep=lambda: 0.9)
    report = machine.measure({"a": machine.variant("a", 0.2)}, "a", limit_s=5.0)
    assert machine.now < 5.5
    assert (row(report, "a").quiet_blocks, row(report, "a").noisy_blocks) == (0, 0)


def test_it_stops_at_the_limit_and_refuses_a_ratio_of_too_few_blocks():
    machine = Machine()
    variants = {"a": machine.variant("a", 0.2), "b": machine.variant("b", 0.2)}
    report = machine.measure(variants, "a", limit_s=3.0, blocks=100)  # 2 of the 3 seconds go into calibration
    assert machine.now < 4
    for name in variants:
        assert row(report, name).quiet_blocks < harness.MIN_BLOCKS
        assert row(report, name).time is None
        assert row(report, name).ratio is None
    text = harness.to_markdown(report)
    assert "too few quiet blocks" in text
    assert "no ratio" in text


def test_no_ratio_to_a_reference_without_quiet_blocks():
    machine = Machine()
    running = ["b"]
    machine.foreign = lambda: 0.5 if machine.ran[-1] == running[0] else 0.0
    report = machine.measure({"a": machine.variant("a", 0.2), "b": machine.variant("b", 0.2)}, "b", limit_s=10.0)
    assert math.isclose(row(report, "a").time, 0.2)
    assert row(report, "a").ratio is None


def test_own_time_is_not_foreign():
    before, after = harness.Load(10.0, 1.0), harness.Load(12.1, 2.9)
    assert math.isclose(harness.foreign_share(before, after, 1.0, 2), 0.1)
    assert harness.foreign_share(harness.Load(10.0, 1.0), harness.Load(11.0, 2.5), 1.0, 2) == 0


def test_without_a_load_reader_every_block_counts_and_the_report_says_so():
    fake = Machine()
    machine = harness.Machine(2, lambda: fake.now, lambda: None, fake.sleep)
    report = harness.measure({"a": fake.variant("a", 0.2)}, "a", title="Test", machine=machine, blocks=3)
    assert row(report, "a").quiet_blocks == 3
    assert not report.load_measured
    assert "could not be measured" in harness.to_markdown(report)


def test_load_of_this_machine():
    first = harness.read_load()
    if first is None:
        assert not Path("/proc/stat").exists()
        return
    sum(range(10**6))
    second = harness.read_load()
    assert second.own > first.own
    assert second.machine >= first.machine


def test_spread_is_of_all_pairs():
    middle, low, high = harness.ratio_spread([2.0, 4.0], [1.0, 2.0])  # ratios 1, 2, 2, 4
    assert (middle, low, high) == (2.0, 1.75, 2.5)


def test_temporary_memory_of_a_compiled_function():
    compiled = jax.jit(lambda x: jnp.sin(x @ x) @ x).lower(jnp.ones((64, 64))).compile()
    machine = Machine()
    variant = machine.variant("a", 0.2)._replace(compiled=compiled)
    report = machine.measure({"a": variant, "b": machine.variant("b", 0.2)}, "a", blocks=3)
    assert row(report, "a").temp_bytes >= 64 * 64 * 4
    assert row(report, "b").temp_bytes is None


def test_unknown_reference():
    with pytest.raises(ValueError, match="reference 'c' is not among the variants"):
        harness.measure({"a": harness.Variant(lambda: None)}, "c", title="Test")


def test_table_and_record(tmp_path):
    rows = (
        harness.Row("slow", 9, 2, 3.1e-5, 3.05e-5, 3.2e-5, 1.55, 1.5, 1.62, 4096),
        harness.Row("fast", 9, 0, 2.0e-2, 1.9e-2, 2.1e-2, 1.0, 0.97, 1.03, None),
        harness.Row("busy", 1, 7, None, None, None, None, None, None, None),
    )
    report = harness.Report("Title", "step", "A note.", "fast", True, harness.describe_machine(["optax"]), rows)
    text = harness.write(report, "name", tmp_path)
    assert (tmp_path / "name.md").read_text() == text
    lines = text.splitlines()
    assert lines[0] == "# Title"
    assert lines[2].endswith("Ratio: time of the variant / time of `fast`. A note.")
    assert "| variant | time a step | ratio | quiet blocks | temporary memory |" in lines
    assert "| slow | 31 µs (30.5 µs to 32 µs) | 1.55 (1.50 to 1.62) | 9 of 11 | 4 KiB |" in lines
    assert "| fast | 20 ms (19 ms to 21 ms) | 1.00 (0.97 to 1.03) | 9 of 9 |  |" in lines
    assert "| busy | too few quiet blocks | no ratio | 1 of 8 |  |" in lines
    assert f"jax {jax.__version__}" in text
    assert "optax" in text

    record = json.loads((tmp_path / "name.json").read_text())
    assert record["reference"] == "fast"
    assert record["machine"]["jax"] == jax.__version__
    assert record["rows"][0]["time"] == 3.1e-5
    assert record["rows"][2]["ratio"] is None


def test_it_runs_for_real():
    product = jax.jit(lambda x: x @ x)
    x = jnp.ones((32, 32))
    variants = {
        name: harness.Variant(lambda: product(x).block_until_ready(), compiled=product.lower(x).compile())
        for name in ("one", "other")
    }
    report = harness.measure(variants, "one", title="Smoke", blocks=1, block_s=0.001, limit_s=0.5)
    assert [row.name for row in report.rows] == ["one", "other"]
    assert "Smoke" in harness.to_markdown(report)
