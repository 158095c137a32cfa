"""What the race to an accuracy is made of: the same network on both sides, and runs repeated until they were quiet."""

import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxnets.nets import lenet

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
torch = pytest.importorskip("torch")
race = importlib.import_module("time_to_accuracy")

IMAGES = np.zeros((130, 28, 28, 1), np.float32), np.zeros((130, 10), np.float32)
PROBLEM = race.Problem(IMAGES, IMAGES, accuracy=0.9, epochs=3)


def test_the_network_of_pytorch_is_the_same():
    params = jax.tree.map(lambda leaf: leaf + 0.1, lenet.init(jax.random.key(0)))
    x = jax.random.normal(jax.random.key(1), (3, 28, 28, 1))
    wanted = np.asarray(lenet.apply(params, x))
    for form in race.FORMS:
        with torch.no_grad():
            images = torch.tensor(np.asarray(x)).permute(0, 3, 1, 2).contiguous(memory_format=form)
            got = race.torch_network(params, form)(images).numpy()
        assert np.linalg.norm(got - wanted) < 1e-5 * np.linalg.norm(wanted)


def test_step_sizes_end_at_zero_after_the_last_batch():
    steps = 3 * 3  # batches of 60, 60 and 10
    assert PROBLEM.rates(0) == pytest.approx(race.RATE)
    assert PROBLEM.rates(steps) == 0
    assert PROBLEM.rates(steps - 1) > 0


def after(accuracy, seconds=2.0, compile_seconds=0.0):
    return race.After(seconds, compile_seconds, accuracy, np.zeros((1, 10)))


def test_a_run_ends_with_the_first_epoch_that_has_the_accuracy():
    epochs = [after(0.8, compile_seconds=5.0), after(0.9), after(0.95)]
    found = race.run("side", lambda *_: iter(epochs), PROBLEM, 7)
    assert found[:6] == ("side", 7, 4.0, 5.0, (0.8, 0.9), True)
    assert not race.run("side", lambda *_: iter(epochs[:1]), PROBLEM, 7).reached


@pytest.mark.parametrize(("limit_s", "runs"), [(100.0, 5), (0.0, 4)])
def test_runs_that_were_not_quiet_are_repeated_while_there_is_time(monkeypatch, limit_s, runs):
    # The second run of all is disturbed, and only that.
    shares = iter([0.0, 0.5, 0.0, 0.0, 0.0])
    monkeypatch.setattr(race.harness, "foreign_share", lambda *_: next(shares))
    ran = []

    def side(name):
        return lambda _, seed: ran.append((name, seed)) or iter([after(1.0)])

    found = race.measured({"a": side("a"), "b": side("b")}, PROBLEM, (0, 1), limit_s=limit_s, foreign_limit=0.1)
    assert ran == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 0)][:runs]
    assert [(run.side, run.seed) for run in found] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert max(run.foreign for run in found) == (0.0 if runs == 5 else 0.5)


def test_the_report():
    quiet = [race.Run("jaxnets", seed, 9.0 + seed, 3.0, (0.98, 0.991), True, 0.01) for seed in range(3)]
    noisy = [race.Run("PyTorch", seed, 9.0, 0.0, (0.98,), seed > 0, 0.5 * seed) for seed in range(3)]
    lines = race.to_markdown([*quiet, *noisy], "NCHW", PROBLEM, 0.08).splitlines()
    assert "| jaxnets | 10.0 | 13.0 | 2.0 | 5.0 |" in lines
    assert "| PyTorch | 1 of 3 runs did not reach it, 2 were not quiet | | | |" in lines
    assert "| jaxnets | 1 | 98.00%, 99.10% | 10.0 | 3.0 | 1% |" in lines
