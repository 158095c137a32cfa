"""`jaxnets train rnn`, `lstm`, `gru` and `birnn`: recurrent networks on the tasks that they are known by."""

import enum
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import typer

from jaxnets.cli.console import console
from jaxnets.cli.train.classifier import (
    BatchSize,
    Epochs,
    LearningRate,
    Optimizer,
    OptimizerOption,
    ScheduleOption,
    Seed,
)
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.learn import Judge, learn, split
from jaxnets.cli.train.method import Method, Plan, learner
from jaxnets.cli.train.schedule import Schedule
from jaxnets.cli.train.tasks import BOTH_WAYS, ONE_WAY, Reading, TaskName, make
from jaxnets.data import decode, encode, public_domain_text
from jaxnets.nets import gru, language_model, lstm, rnn
from jaxnets.nets.recurrent import Cell

TaskOption = Annotated[TaskName, typer.Option(help="What to learn.")]
Length = Annotated[
    int, typer.Option(min=1, help="Time lag of adding and copy; characters read at once; else without effect.")
]
Units = Annotated[int, typer.Option(min=1, help="Units of each layer.")]
Layers = Annotated[int, typer.Option(min=1, help="Number of recurrent layers.")]
Examples = Annotated[int, typer.Option(min=1, help="Training sequences, where they are drawn at random.")]
CLIP = 1.0
"""Largest norm of the gradient, unless another is asked for."""


class CellName(enum.Enum):
    """Recurrent layers."""

    RNN = "rnn"
    LSTM = "lstm"
    GRU = "gru"


CELLS = {CellName.RNN: rnn.CELL, CellName.LSTM: lstm.CELL, CellName.GRU: gru.CELL}


def train_rnn(
    task: TaskOption = TaskName.MNIST_ROWS,
    length: Length = 100,
    units: Units = 64,
    layers: Layers = 1,
    examples: Examples = 74_000,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.002,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 50,
    epochs: Epochs = 10,
    seed: Seed = 0,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train simple recurrent networks (Elman).

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method, CLIP)
    _train(rnn.CELL, task, length, (units,) * layers, examples, plan)


def train_lstm(
    task: TaskOption = TaskName.ADDING,
    length: Length = 100,
    units: Units = 32,
    layers: Layers = 1,
    memory: Annotated[int, typer.Option(min=3, help="The longest time lag that units begin with.")] = 100,
    examples: Examples = 40_000,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.005,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 20,
    epochs: Epochs = 1,
    seed: Seed = 0,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train LSTM networks, the gates initialised for all time lags up to `--memory` (chrono initialisation).

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method, CLIP)
    cell = lstm.CELL._replace(init=partial(lstm.chrono_init, longest=memory))
    _train(cell, task, length, (units,) * layers, examples, plan)


def train_gru(
    task: TaskOption = TaskName.REBER,
    length: Length = 100,
    units: Units = 32,
    layers: Layers = 1,
    examples: Examples = 20_000,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.01,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 50,
    epochs: Epochs = 3,
    seed: Seed = 0,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train networks of gated recurrent units.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method, CLIP)
    _train(gru.CELL, task, length, (units,) * layers, examples, plan)


def train_birnn(
    task: TaskOption = TaskName.TEMPORAL_ORDER,
    cell: Annotated[CellName, typer.Option(help="What a layer is, in each direction.")] = CellName.LSTM,
    length: Length = 100,
    units: Annotated[int, typer.Option(min=1, help="Units of each layer in each direction.")] = 32,
    layers: Layers = 1,
    examples: Examples = 20_000,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.005,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 50,
    epochs: Epochs = 3,
    seed: Seed = 0,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train bidirectional networks, which read every sequence from its beginning and from its end.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method, CLIP)
    _train(CELLS[cell], task, length, (units,) * layers, examples, plan, BOTH_WAYS)


def _train(
    cell: Cell,
    name: TaskName,
    length: int,
    hidden: tuple[int, ...],
    examples: int,
    plan: Plan,
    reading: Reading = ONE_WAY,
) -> None:
    task = make(name, length, examples, plan.seed, reading)
    data = split(plan, task.train, task.test, "training sequences")
    count, tested = (len(jax.tree.leaves(part)[0]) for part in (data.train, data.test))
    console.print(f"{name.value}: {count} training and {tested} test sequences, {jax.devices()[0]}")

    def init(key: jax.Array) -> Any:
        return task.init(key, cell, hidden)

    judge = Judge(partial(task.metrics, cell), "legal" if name is TaskName.REBER else "correct", 256)
    params = learn(plan, learner(plan, init, partial(task.loss, cell)), data, judge)
    if name is TaskName.CHARACTERS:
        console.print(written(params, cell, jax.random.key(plan.seed)), markup=False, highlight=False)


def written(params: language_model.Params, cell: Cell, key: jax.Array, length: int = 400) -> str:
    """What a model of the characters of the plays writes after a line's end."""
    characters = public_domain_text().characters
    prompt = jnp.asarray(encode("\n", characters))[None]
    codes = jax.jit(partial(language_model.generate, length=length, cell=cell, temperature=0.8))(params, key, prompt)
    return decode(np.asarray(codes[0]), characters)
