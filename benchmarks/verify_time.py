"""How long it takes to verify a right derivation at level QUICK, compilation included, and where that time goes.

    python benchmarks/verify_time.py [--runs N] [--only SUBSTRING]

Each verification runs in a fresh process, since JAX keeps what it has compiled.  Imports are not counted, except for
`jaxnets verify` over the whole catalog, which is timed as a user waits for it.  A run counts if other processes used
little of the machine meanwhile; where too few do, all are counted, and the report says how busy the machine was.  The
results are written to benchmarks/results/verify-time.md.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify
from jaxnets.nets import mlp
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic
from jaxnets.verify.battery import Check
from jaxnets.verify.checks.contract import contract

RESULTS = Path(__file__).parent / "results" / "verify-time.md"
SUBJECT_LIMIT, CATALOG_LIMIT = 5.0, 90.0
FOREIGN_LIMIT = 0.08
"""A run counts if other processes used less than this part of the cores."""


class Subject(NamedTuple):
    """A loss, its derivation with deltas, and the shapes of its arguments (a number of classes: labels)."""

    title: str
    loss: Callable[..., jax.Array]
    hand: Callable[..., tuple[tuple[Any, ...], dict[str, jax.Array]]]
    sample: Callable[[np.random.Generator], tuple[Any, ...]]


NETWORK = {"activations": (sigmoid, sigmoid), "cost": quadratic}


def mlp_sample(random: np.random.Generator) -> tuple[Any, ...]:
    arrays = [(dense(random, n, m), random.normal(size=m)) for n, m in ((784, 30), (30, 10))]
    return tuple(mlp.Layer(*map(jnp.asarray, layer)) for layer in arrays), (random.uniform(size=(10, 784)), np.eye(10))


def dense(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal weights, scaled by the number of inputs (all axes but the last)."""
    return random.normal(size=shape) / np.prod(shape[:-1]) ** 0.5


# An LSTM of 20 steps, with the squared distance of its states from targets.


class Lstm(NamedTuple):
    """Weights of input and state, and biases, for the gates in the order input, forget, output, cell."""

    w: Any
    u: Any
    b: Any


def lstm_cell(params: Lstm, state: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], tuple[Any, ...]]:
    """One step: the new (h, c), and what its backward pass needs."""
    h, c = state
    z = checkpoint_name(x @ params.w + h @ params.u + params.b[None], "z")
    (i, f, o), g = jnp.split(jax.nn.sigmoid(z[:, : -h.shape[1]]), 3, axis=1), jnp.tanh(z[:, -h.shape[1] :])
    c_next = checkpoint_name(f * c + i * g, "c")
    h_next = checkpoint_name(o * jnp.tanh(c_next), "h")
    return (h_next, c_next), (h, c, i, f, o, g, h_next, c_next)


def lstm_loss(params: Lstm, h_start: Any, c_start: Any, x: Any, t: Any) -> jax.Array:
    def step(state: tuple[Any, Any], x: Any) -> Any:
        state, _ = lstm_cell(params, state, x)
        return state, state[0]

    return 0.5 * jnp.sum((lax.scan(step, (h_start, c_start), x)[1] - t) ** 2)


def lstm_cell_back(params: Lstm, later: tuple[Any, Any], saved: tuple[Any, ...], t: Any) -> tuple[Any, Any]:
    """One step back: what it hands on to the (h, c) before it, and the deltas (z, c, h)."""
    h_later, c_later = later
    _, c_before, i, f, o, g, h, c = saved
    h_bar = h - t + h_later
    c_bar = h_bar * o * (1 - jnp.tanh(c) ** 2) + c_later
    gates = (c_bar * g * i * (1 - i), c_bar * c_before * f * (1 - f), h_bar * jnp.tanh(c) * o * (1 - o))
    z_bar = jnp.concatenate([*gates, c_bar * i * (1 - g**2)], axis=1)
    return (z_bar @ params.u.T, c_bar * f), (z_bar, c_bar, h_bar)


def lstm_by_loop(params: Lstm, h_start: Any, c_start: Any, x: Any, t: Any) -> Any:
    state, saved = (h_start, c_start), []
    for x_now in x:
        state, of_step = lstm_cell(params, state, x_now)
        saved.append(of_step)
    later, found = (jnp.zeros_like(h_start), jnp.zeros_like(c_start)), []
    for of_step, t_now in zip(reversed(saved), reversed(t), strict=True):
        later, deltas = lstm_cell_back(params, later, of_step, t_now)
        found.append(deltas)
    before, after = (jnp.stack([of_step[k] for of_step in saved]) for k in (0, 6))
    z, c_bar, h_bar = (jnp.stack(of_name[::-1]) for of_name in zip(*found, strict=True))
    return lstm_bars(params, x, t, before, after, later, (z, c_bar, h_bar))


def lstm_by_scan(params: Lstm, h_start: Any, c_start: Any, x: Any, t: Any) -> Any:
    _, saved = lax.scan(functools.partial(lstm_cell, params), (h_start, c_start), x)
    start = jnp.zeros_like(h_start), jnp.zeros_like(c_start)
    later, deltas = lax.scan(lambda later, at: lstm_cell_back(params, later, *at), start, (saved, t), reverse=True)
    return lstm_bars(params, x, t, saved[0], saved[6], later, deltas)


def lstm_bars(params: Lstm, x: Any, t: Any, before: Any, after: Any, first: Any, deltas: tuple[Any, Any, Any]) -> Any:
    """All gradients from the deltas; `before` and `after` are h around each step, `first` the deltas of (h, c)."""
    z, c, h = deltas
    bars = Lstm(jnp.einsum("tnd,tnk->dk", x, z), jnp.einsum("tnd,tnk->dk", before, z), z.sum((0, 1)))
    return (bars, *first, z @ params.w.T, t - after), {"z": z, "c": c, "h": h}


def lstm_sample(random: np.random.Generator) -> tuple[Any, ...]:
    params = Lstm(dense(random, 7, 64), dense(random, 16, 64), random.normal(size=64))
    return params, *(random.normal(size=shape) for shape in ((5, 16), (5, 16), (20, 5, 7), (20, 5, 16)))


# LeNet-5 (LeCun et al. 1998) with softmax cross entropy, images (batch, height, width, channel).


class LeNet(NamedTuple):
    """Kernels (height, width, in, out) or weights (in, out), and biases, of the five layers."""

    w: tuple[Any, ...]
    b: tuple[Any, ...]


class Squashing(NamedTuple):
    """How LeNet squashes and pools, with derivatives: slope(a) of activation(z) = a, unpool(a, pooled, its bar)."""

    activation: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    pool: Callable[[Any], Any]
    unpool: Callable[[Any, Any, Any], Any]


PADDING = (2, 0)
"""Of the two convolutions: 28x28 stays so, and 14x14 becomes 10x10."""


def convolve(x: Any, w: Any, padding: int, layout: tuple[str, str, str] = ("NHWC", "HWIO", "NHWC")) -> Any:
    return lax.conv_general_dilated(x, w, (1, 1), [(padding, padding)] * 2, dimension_numbers=layout)


def lenet_forward(how: Squashing, params: LeNet, images: Any) -> tuple[Any, list[Any], list[Any]]:
    """The logits, the input of each layer, and the activation of each layer but the last, before pooling."""
    inputs, activations = [images], []
    for number, (w, b) in enumerate(zip(params.w, params.b, strict=True), start=1):
        if number <= 2:
            z = convolve(inputs[-1], w, PADDING[number - 1]) + b[None, None, None]
        else:
            z = inputs[-1].reshape(len(images), -1) @ w + b[None]
        z = checkpoint_name(z, f"z{number}")
        if number == 5:
            return z, inputs, activations
        activations.append(how.activation(z))
        inputs.append(how.pool(activations[-1]) if number <= 2 else activations[-1])
    raise ValueError(f"LeNet-5 has 5 layers, got {len(params.w)}")


def lenet_loss(how: Squashing, params: LeNet, images: Any, labels: Any) -> jax.Array:
    z, _, _ = lenet_forward(how, params, images)
    return -jnp.sum(jax.nn.log_softmax(z) * jax.nn.one_hot(labels, 10, dtype=z.dtype)) / len(images)


def lenet_hand(how: Squashing, params: LeNet, images: Any, labels: Any) -> Any:
    z, inputs, activations = lenet_forward(how, params, images)
    delta = (jax.nn.softmax(z) - jax.nn.one_hot(labels, 10, dtype=z.dtype)) / len(images)
    deltas, w_bars, b_bars, bar = {}, [], [], images
    for number in (5, 4, 3, 2, 1):
        x, w = inputs[number - 1], params.w[number - 1]
        if number < 5:
            a = activations[number - 1]
            delta = how.slope(a) * (bar if number > 2 else how.unpool(a, inputs[number], bar))
        deltas[f"z{number}"] = delta
        b_bars.append(delta.sum(range(delta.ndim - 1)))
        if number > 2:
            w_bars.append(x.reshape(len(x), -1).T @ delta)
            bar = (delta @ w.T).reshape(x.shape)
        else:
            padding = PADDING[number - 1]
            # The examples are summed over, as channels are in a convolution, and the channels of x stand as examples.
            w_bars.append(convolve(x, delta, padding, ("CHWN", "IHWO", "HWNC")))
            bar = convolve(delta, w[::-1, ::-1].swapaxes(2, 3), w.shape[0] - 1 - padding)
    return (LeNet(tuple(w_bars[::-1]), tuple(b_bars[::-1])), bar, None), deltas


def blocks(a: Any) -> Any:
    """The entries of each 2x2 window along the last axis."""
    n, height, width, channels = a.shape
    windows = a.reshape(n, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    return windows.reshape(n, height // 2, width // 2, channels, 4)


def unblocks(windows: Any) -> Any:
    """The inverse of `blocks`."""
    n, height, width, channels, _ = windows.shape
    a = windows.reshape(n, height, width, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return a.reshape(n, 2 * height, 2 * width, channels)


def average_pool(a: Any) -> Any:
    return lax.reduce_window(a, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def average_unpool(a: Any, pooled: Any, bar: Any) -> Any:
    return jnp.repeat(jnp.repeat(bar, 2, axis=1), 2, axis=2) / 4


def max_pool(a: Any) -> Any:
    return lax.reduce_window(a, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def max_unpool(a: Any, pooled: Any, bar: Any) -> Any:
    """To the first of the largest entries, by rows."""
    return unblocks(jax.nn.one_hot(jnp.argmax(blocks(a), -1), 4, dtype=a.dtype) * bar[..., None])


TANH_AVERAGE = Squashing(jnp.tanh, lambda a: 1 - a**2, average_pool, average_unpool)
RELU_MAX = Squashing(jax.nn.relu, lambda a: (a > 0).astype(a.dtype), max_pool, max_unpool)


def lenet_sample(random: np.random.Generator) -> tuple[Any, ...]:
    shapes = (5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)
    params = LeNet(
        tuple(dense(random, *shape) for shape in shapes), tuple(0.1 * random.normal(size=shape[-1]) for shape in shapes)
    )
    return params, random.uniform(size=(4, 28, 28, 1)), random.integers(10, size=4)


def lenet(title: str, how: Squashing) -> Subject:
    return Subject(title, functools.partial(lenet_loss, how), functools.partial(lenet_hand, how), lenet_sample)


SUBJECTS: dict[str, Subject] = {
    "mlp": Subject(
        "MLP 784-30-10, batch 10",
        functools.partial(mlp.loss, **NETWORK),
        functools.partial(mlp.gradient, **NETWORK),
        mlp_sample,
    ),
    "lstm-loop": Subject("LSTM, 20 steps, by hand in a Python loop", lstm_loss, lstm_by_loop, lstm_sample),
    "lstm-scan": Subject("LSTM, 20 steps, by hand in a scan", lstm_loss, lstm_by_scan, lstm_sample),
    "lenet": lenet("LeNet-5, tanh and average pooling, batch 4", TANH_AVERAGE),
    "lenet-max": lenet("LeNet-5, ReLU and max pooling, batch 4", RELU_MAX),
}


class Cost(NamedTuple):
    """Seconds, and processor time; the programs that XLA compiled in them, and the seconds that this took."""

    seconds: float
    cpu: float
    programs: float
    compiling: float

    def less(self, other: "Cost") -> "Cost":
        return Cost(*(mine - yours for mine, yours in zip(self, other, strict=True)))


BASE = "posing, contract"
"""What every verification does, whichever checks are chosen."""


class Outcome(NamedTuple):
    """One run in a fresh process: seconds, processor time, the cores' part that others used, the cost of each check."""

    seconds: float
    cpu: float
    foreign: float
    by_check: dict[str, Cost]


def meter() -> Callable[[], Cost]:
    """What this process has spent so far, compilations from now on.  One a process: JAX keeps its listeners."""
    compiled: list[float] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: Cost(time.perf_counter(), time.process_time(), len(compiled), sum(compiled))


def cost_by_check(
    subject: Subject, args: tuple[Any, ...], checks: Sequence[Check], read: Callable[[], Cost]
) -> dict[str, Cost]:
    """Verify, and say what each check cost.  What checks share is paid by the first that needs it."""
    spent: dict[str, Cost] = {}

    def metered(check: Check) -> Check:
        @functools.wraps(check)
        def run(problem: Any, level: verify.Level) -> list[verify.Row]:
            before = read()
            try:
                return check(problem, level)
            finally:
                spent[check.__name__] = read().less(before)

        return run

    before = read()
    # Every verification begins with `contract`, chosen or not.
    chosen = [metered(check) for check in checks if check is not contract]
    report = verify.gradient(subject.loss, subject.hand, *args, checks=chosen)
    whole = read().less(before)
    if not report.ok:
        raise RuntimeError(f"{subject.title}: a right derivation is not verified\n{report}")
    return {BASE: functools.reduce(Cost.less, spent.values(), whole), **spent}


def first(subject: Subject, args: tuple[Any, ...], read: Callable[[], Cost]) -> dict[str, Cost]:
    """The first verification of a process, all checks."""
    return cost_by_check(subject, args, verify.BATTERY, read)


def alone(subject: Subject, args: tuple[Any, ...], read: Callable[[], Cost]) -> dict[str, Cost]:
    """Each check without the others, after a whole verification: what they share is paid by each."""
    first(subject, args, read)
    costs = cost_by_check(subject, args, (), read)
    for check in verify.BATTERY:
        costs = {**cost_by_check(subject, args, (check,), read), **costs}
    return costs


MODES = {"first": first, "alone": alone}


def child(mode: str, name: str) -> None:
    """Run one mode on one subject, and print the outcome as JSON."""
    read, args = meter(), SUBJECTS[name].sample(np.random.default_rng(0))
    load, before = harness.read_load(), read()
    costs = MODES[mode](SUBJECTS[name], args, read)
    spent = read().less(before)
    share = harness.foreign_share(load, harness.read_load(), spent.seconds, os.cpu_count() or 1)
    print(json.dumps(Outcome(spent.seconds, spent.cpu, share, costs)))


def fresh(mode: str, name: str) -> Outcome:
    """`child` in a fresh process."""
    command = [sys.executable, __file__, "--child", mode, name]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, cpu, share, costs = json.loads(printed.splitlines()[-1])
    return Outcome(seconds, cpu, share, {check: Cost(*cost) for check, cost in costs.items()})


def catalog() -> tuple[Outcome, str]:
    """`jaxnets verify`, from its start to its end, and its last line."""

    def children() -> float:
        return os.times().children_user + os.times().children_system

    def load() -> harness.Load | None:
        reading = harness.read_load()
        return reading and reading._replace(own=reading.own + children())

    before, started, cpu = load(), time.perf_counter(), children()
    command = [sys.executable, "-c", "from jaxnets.cli import app; app(['verify'])"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - started
    share = harness.foreign_share(before, load(), seconds, os.cpu_count() or 1)
    return Outcome(seconds, children() - cpu, share, {}), printed.strip().splitlines()[-1]


def repeated(run: Callable[[], Outcome], runs: int) -> tuple[list[Outcome], bool]:
    """The quiet ones of at most twice as many runs, and True; or, if they are too few, all of them, and False."""
    outcomes: list[Outcome] = []
    while len(outcomes) < 2 * runs:
        outcomes.append(run())
        quiet = [outcome for outcome in outcomes if outcome.foreign < FOREIGN_LIMIT]
        if len(quiet) == runs:
            return quiet, True
    return outcomes, False


def limit_row(title: str, outcomes: list[Outcome], quiet: bool, limit: float) -> str:
    seconds = [outcome.seconds for outcome in outcomes]
    others = statistics.median(outcome.foreign for outcome in outcomes)
    middle = statistics.median(seconds)
    verdict = ("kept" if middle < limit else "NOT kept") + ("" if quiet else ", on a busy machine")
    cpu = statistics.median(outcome.cpu for outcome in outcomes)
    spread = f"{middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}) | {cpu:.2f} s"
    return f"| {title} | {spread} | {limit:.0f} s: {verdict} | {len(outcomes)} | {100 * others:.0f} % |"


def check_rows(title: str, of_first: list[Outcome], of_alone: list[Outcome]) -> list[str]:
    """A row for each check, with medians over the runs."""
    rows = []
    for check in of_first[0].by_check:
        inside, by_itself = (
            Cost(*map(statistics.median, zip(*(outcome.by_check[check] for outcome in outcomes), strict=True)))
            for outcomes in (of_first, of_alone)
        )
        cells = [f"{part:.2f} s" for part in (inside.seconds, inside.cpu, inside.compiling, by_itself.cpu)]
        programs = f"{inside.programs:.0f} | {by_itself.programs:.0f}"
        rows.append(f"| {title} | {check} | {' | '.join(cells)} | {programs} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="quiet runs of each subject that are wanted")
    parser.add_argument("--only", default="", help="subjects whose name contains this; nothing is written")
    parser.add_argument("--child", nargs=2, metavar=("MODE", "SUBJECT"), help="one run, in this process")
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    limits, checks = [], []
    for name, subject in SUBJECTS.items():
        if options.only in name:
            outcomes, quiet = repeated(functools.partial(fresh, "first", name), options.runs)
            limits.append(limit_row(subject.title, outcomes, quiet, SUBJECT_LIMIT))
            checks += check_rows(subject.title, outcomes, [fresh("alone", name)])
            print(limits[-1], flush=True)
    said = ""
    if not options.only:
        outcome, said = catalog()
        row = limit_row("`jaxnets verify`", [outcome], outcome.foreign < FOREIGN_LIMIT, CATALOG_LIMIT)
        limits.append(row)
    text = document(limits, checks, said)
    print(text)
    if not options.only:
        RESULTS.write_text(text)


def document(limits: list[str], checks: list[str], said: str) -> str:
    lines = [
        "# How long a verification takes",
        "",
        "A right derivation with its deltas, `verify.gradient(loss, hand, *args)` at level QUICK, first of its "
        "process: tracing and compilation are counted, imports are not.  Medians over the runs (least to most).  "
        "`jaxnets verify` is a whole process over the whole catalog, imports included.",
        "",
        "; ".join(f"{key} {value}" for key, value in harness.describe_machine().items()),
        "",
        "| subject | time | processor time | limit | runs | cores used by others |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
        *limits,
        "",
        *([f"The catalog: {said}.", ""] if said else []),
        "Where it goes.  In the battery, as above, a program that several checks share is compiled by the first that "
        "needs it, and what JAX does once in a process is paid too.  Alone: each check without the others, in a "
        "process that has verified this subject before, so that it compiles all that it needs.",
        "",
        "| subject | check | in the battery | processor time | of that compiling | alone, processor time "
        "| programs compiled | alone |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *checks,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
