"""Seconds to 99.0% of the test images of MNIST right: LeNet-5 by `fit`, by the same with autodiff, and by PyTorch.

All take the same steps: the same weights to begin with, the same batches in the same order, Adam with the same step
sizes.  They part only as far as float32 rounds otherwise, which after some hundred steps is another run of the same
kind; so each is run from several seeds.  Training ends with the first epoch after which the accuracy is reached;
evaluation is not counted.  The sides take turns.  A run during which other processes used the machine is repeated.
Run it with `python benchmarks/time_to_accuracy.py`; the results are written to benchmarks/results/time-to-accuracy,
with the endings .md and .json.
"""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from jaxnets import data
from jaxnets.nets import lenet
from jaxnets.rule import autodiff
from jaxnets.train import accuracy, apply_in_batches, epoch_order, fit_by_epoch, gradient_step, init_state

ACCURACY = 0.99
BATCH, EPOCHS, RATE = 60, 4, 3e-3
"""The batches have the same size all, so that `fit` compiles one step and not another one for a rest."""
SEEDS = (0, 1, 2)
SHOWN = 100
FOREIGN_LIMIT = 0.08
RESULTS = Path(__file__).parent / "results"


class Problem(NamedTuple):
    """The images, and how long to go on."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    accuracy: float = ACCURACY
    epochs: int = EPOCHS

    @property
    def rates(self) -> optax.Schedule:
        """Down to 0 at the end of the last epoch, along a cosine."""
        return optax.cosine_decay_schedule(RATE, self.epochs * -(-len(self.train[0]) // BATCH))


class Run(NamedTuple):
    """One training; `reached` is false if no epoch had the accuracy."""

    side: str
    seed: int
    seconds: float
    """Of training alone."""
    compile_seconds: float
    """Tracing and compiling, or what else comes before the first step."""
    accuracies: tuple[float, ...]
    reached: bool
    foreign: float
    """The part of the machine that other processes used meanwhile."""


class After(NamedTuple):
    """What an epoch took, and what it came to."""

    seconds: float
    compile_seconds: float
    accuracy: float
    outputs: np.ndarray
    """Logits of the first test images."""


Side = Callable[[Problem, int], Iterator[After]]
"""From a seed, epoch after epoch."""


def keys(seed: int) -> tuple[jax.Array, jax.Array]:
    """Of the parameters, and of the order of the examples."""
    params, order = jax.random.split(jax.random.key(seed))
    return params, order


def jax_side(problem: Problem, seed: int, *, loss: Callable[..., jax.Array]) -> Iterator[After]:
    params_key, order_key = keys(seed)
    optimizer = optax.adam(problem.rates)
    step, state = gradient_step(loss, optimizer), init_state(lenet.init(params_key), optimizer)
    x, t = jax.tree.map(jnp.asarray, problem.test)
    outputs = jax.jit(lambda params: apply_in_batches(partial(lenet.apply, params), x, batch_size=1000))
    begin = time.perf_counter()
    options = {"key": order_key, "batch_size": BATCH, "epochs": problem.epochs}
    for trained, epoch in fit_by_epoch(step, state, problem.train, **options):
        taken = time.perf_counter() - begin
        logits = outputs(trained.params)
        yield After(epoch.seconds, taken - epoch.seconds, float(accuracy(logits, t)), np.asarray(logits[:SHOWN]))
        begin = time.perf_counter()


class Torch(NamedTuple):
    """How PyTorch is run."""

    form: torch.memory_format
    fused: bool
    threads: int

    @property
    def name(self) -> str:
        layout = "channels_last" if self.form is torch.channels_last else "NCHW"
        return f"{layout}, {'fused' if self.fused else 'plain'} Adam, {self.threads} threads"


FORMS = (torch.contiguous_format, torch.channels_last)
WAYS = tuple(itertools.starmap(Torch, itertools.product(FORMS, (False, True), sorted({1, torch.get_num_threads()}))))


def torch_network(params: lenet.Params, form: torch.memory_format) -> torch.nn.Sequential:
    """With the same weights; images are NCHW, so the weights after them go by channels first."""
    c1, c3, c5, f6, output = jax.tree.map(np.asarray, params)
    convolutions = [torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Conv2d(6, 16, 5)]
    linears = [torch.nn.Linear(400, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)]
    by_channels = c5.w.reshape(5, 5, 16, 120).transpose(2, 0, 1, 3).reshape(400, 120)
    weights = [c1.w.transpose(3, 2, 0, 1), c3.w.transpose(3, 2, 0, 1), by_channels.T, f6.w.T, output.w.T]
    with torch.no_grad():
        for module, w, layer in zip([*convolutions, *linears], weights, (c1, c3, c5, f6, output), strict=True):
            module.weight.copy_(torch.tensor(w))
            assert module.bias is not None
            module.bias.copy_(torch.tensor(layer.b))
    head = [part for conv in convolutions for part in (conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2))]
    tail = [part for linear in linears for part in (linear, torch.nn.ReLU())][:-1]
    return torch.nn.Sequential(*head, torch.nn.Flatten(), *tail).to(memory_format=form)  # pyright: ignore


def torch_side(problem: Problem, seed: int, *, way: Torch) -> Iterator[After]:
    torch.set_num_threads(way.threads)
    params_key, order_key = keys(seed)
    network = torch_network(lenet.init(params_key), way.form)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=way.fused)
    steps = itertools.count()
    rates = np.asarray(jax.vmap(problem.rates)(jnp.arange(problem.epochs * -(-len(problem.train[0]) // BATCH))))
    x, t = (torch.tensor(part) for part in problem.train)
    x = x.permute(0, 3, 1, 2).contiguous(memory_format=way.form)
    test_x, test_t = (torch.tensor(part) for part in problem.test)
    test_x = test_x.permute(0, 3, 1, 2).contiguous(memory_format=way.form)
    criterion = torch.nn.CrossEntropyLoss()
    for number in range(1, problem.epochs + 1):
        order = torch.tensor(np.asarray(epoch_order(order_key, number, len(x))))
        begin = time.perf_counter()
        for xs, ts in zip(x[order].split(BATCH), t[order].split(BATCH), strict=True):
            optimizer.param_groups[0]["lr"] = float(rates[next(steps)])
            optimizer.zero_grad()
            criterion(network(xs), ts).backward()
            optimizer.step()
        seconds = time.perf_counter() - begin
        with torch.no_grad():
            logits = torch.cat([network(xs) for xs in test_x.split(1000)])
        right = (logits.argmax(1) == test_t).float().mean()
        yield After(seconds, 0.0, float(right), logits[:SHOWN].numpy())


def shortened(problem: Problem, images: int) -> Problem:
    return problem._replace(train=(problem.train[0][:images], problem.train[1][:images]), epochs=1)


def require_equal(sides: Mapping[str, Side], problem: Problem) -> None:
    """Train all for ten steps from the same seed; AssertionError unless they then say the same."""
    outputs = {name: next(side(shortened(problem, 10 * BATCH), 0)).outputs for name, side in sides.items()}
    wanted = next(iter(outputs.values()))
    for name, got in outputs.items():
        error = np.abs(got - wanted).max() / np.abs(wanted).max()
        assert error < 1e-3, f"{name}: outputs are off by {error:.1e} after ten steps"


def fastest_way(problem: Problem, images: int = 3200) -> Torch:
    """Of the ways to run PyTorch, by the better of two short runs each, in turns."""
    short = shortened(problem, images)
    times = dict.fromkeys(WAYS, float("inf"))
    for way in WAYS * 2:
        times[way] = min(times[way], next(torch_side(short, 0, way=way)).seconds)
    return min(times, key=times.__getitem__)


def run(name: str, side: Side, problem: Problem, seed: int) -> Run:
    before, start = harness.read_load(), time.perf_counter()
    epochs = []
    for epoch in side(problem, seed):
        epochs.append(epoch)
        if epoch.accuracy >= problem.accuracy:
            break
    cores = harness.THIS_MACHINE.cores
    foreign = harness.foreign_share(before, harness.read_load(), time.perf_counter() - start, cores)
    return Run(
        name,
        seed,
        sum(epoch.seconds for epoch in epochs),
        sum(epoch.compile_seconds for epoch in epochs),
        tuple(round(epoch.accuracy, 4) for epoch in epochs),
        epochs[-1].accuracy >= problem.accuracy,
        foreign,
    )


def measured(
    sides: Mapping[str, Side], problem: Problem, seeds: Sequence[int], *, limit_s: float, foreign_limit: float
) -> list[Run]:
    """A run of every side from every seed, the quietest of those that there was time for."""
    end = time.perf_counter() + limit_s
    best: dict[tuple[str, int], Run] = {}
    wanting = [(name, seed) for seed in seeds for name in sides]
    while wanting and (not best or time.perf_counter() < end):
        for name, seed in wanting:
            found = run(name, sides[name], problem, seed)
            print(found, flush=True)
            best[name, seed] = min(best.get((name, seed), found), found, key=lambda run: run.foreign)
        wanting = [key for key, run in best.items() if run.foreign >= foreign_limit]
    return [best[name, seed] for name in sides for seed in seeds]


def to_markdown(runs: Sequence[Run], way: str, problem: Problem, foreign_limit: float) -> str:
    machine = "; ".join(f"{key} {value}" for key, value in harness.describe_machine(["optax", "torch"]).items())
    names = list(dict.fromkeys(run.side for run in runs))
    seeds = len({run.seed for run in runs})
    lines = [
        f"# LeNet-5 on MNIST to {problem.accuracy:.1%} of the test images",
        "",
        f"Adam, batches of {BATCH}, step sizes from {RATE} down to 0 in {problem.epochs} epochs along a cosine; to the "
        f"end of the first epoch that has the accuracy, without evaluation. Medians of {seeds} seeds. PyTorch: {way}.",
        "",
        machine,
        "",
        "| | seconds of training | with compiling | epochs | seconds an epoch |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in names:
        of_side = [run for run in runs if run.side == name]
        if any(run.foreign >= foreign_limit or not run.reached for run in of_side):
            lines.append(f"| {name} | {_why_not(of_side, foreign_limit)} | | | |")
            continue
        seconds = [run.seconds for run in of_side]
        whole = [run.seconds + run.compile_seconds for run in of_side]
        epochs = [len(run.accuracies) for run in of_side]
        each = [run.seconds / len(run.accuracies) for run in of_side]
        cells = [f"{statistics.median(values):.1f}" for values in (seconds, whole, epochs, each)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| | seed | accuracy after each epoch | seconds | compiling | used by others |"]
    lines += ["| --- | ---: | --- | ---: | ---: | ---: |"]
    for run in runs:
        accuracies = ", ".join(f"{value:.2%}" for value in run.accuracies)
        numbers = f"{run.seconds:.1f} | {run.compile_seconds:.1f} | {run.foreign:.0%}"
        lines.append(f"| {run.side} | {run.seed} | {accuracies} | {numbers} |")
    return "\n".join(lines) + "\n"


def _why_not(runs: Sequence[Run], foreign_limit: float) -> str:
    missed = sum(not run.reached for run in runs)
    noisy = sum(run.foreign >= foreign_limit for run in runs)
    return f"{missed} of {len(runs)} runs did not reach it, {noisy} were not quiet"


def main(
    problem: Problem | None = None,
    seeds: Sequence[int] = SEEDS,
    folder: Path = RESULTS,
    *,
    limit_s: float = 300.0,
    foreign_limit: float = FOREIGN_LIMIT,
) -> None:
    problem = mnist() if problem is None else problem
    way = fastest_way(problem)
    sides: dict[str, Side] = {
        "jaxnets": partial(jax_side, loss=lenet.loss),
        "control: the same by autodiff": partial(jax_side, loss=autodiff(lenet.loss)),
        "PyTorch": partial(torch_side, way=way),
    }
    require_equal(sides, problem)
    runs = measured(sides, problem, seeds, limit_s=limit_s, foreign_limit=foreign_limit)
    text = to_markdown(runs, way.name, problem, foreign_limit)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "time-to-accuracy.md").write_text(text)
    record = {"machine": harness.describe_machine(["optax", "torch"]), "pytorch": way.name}
    (folder / "time-to-accuracy.json").write_text(
        json.dumps({**record, "runs": [run._asdict() for run in runs]}, indent=2) + "\n"
    )
    print(text)


def mnist() -> Problem:
    digits = data.mnist()
    train = data.as_images(digits.train_images), data.one_hot(digits.train_labels, 10)
    return Problem(train, (data.as_images(digits.test_images), digits.test_labels.astype(np.int32)))


if __name__ == "__main__":
    main()
