"""`jaxnets train seq2seq`: encoder and decoder on strings to be reversed and dates to be translated."""

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
from jaxnets.data import DATE_SOURCE, DATE_TARGET, END, LETTERS, START, date_translation, decode, reversal, unseen
from jaxnets.nets import seq2seq
from jaxnets.nets.decoding import greedy
from jaxnets.nets.seq2seq import ATTENTION, PLAIN, Pairs


class PairTask(enum.Enum):
    """What to write."""

    DATES = "dates"
    REVERSAL = "reversal"


TEST = 1000
"""Pairs that are drawn to be tested, of which those whose source was trained on are left out."""


CLIP = 1.0
"""Largest norm of the gradient, unless another is asked for."""


def train_seq2seq(
    task: Annotated[PairTask, typer.Option(help="Dates into ISO form, or strings backwards.")] = PairTask.DATES,
    attention: Annotated[bool, typer.Option(help="Whether the decoder looks at the whole source.")] = True,
    units: Annotated[int, typer.Option(min=1, help="Units of encoder and decoder.")] = 64,
    features: Annotated[int, typer.Option(min=1, help="Numbers that stand for a character.")] = 32,
    examples: Annotated[int, typer.Option(min=1, help="Training pairs, drawn at random.")] = 20_000,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.005,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 64,
    epochs: Epochs = 3,
    seed: Seed = 0,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train an encoder and a decoder of LSTMs, and count the targets that are written without a mistake.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    model, init_model = (ATTENTION, seq2seq.init_attentive) if attention else (PLAIN, seq2seq.init_plain)
    draw, source_table, target_table = {
        PairTask.DATES: (date_translation, DATE_SOURCE, DATE_TARGET),
        PairTask.REVERSAL: (reversal, LETTERS, LETTERS),
    }[task]
    drawn = draw(np.random.default_rng([seed, 0]), examples)
    test = unseen(draw(np.random.default_rng([seed, 1]), TEST), drawn)
    train, test = (Pairs(*map(jnp.asarray, pairs)) for pairs in (drawn, test))
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method, CLIP)
    data = split(plan, train, test, "training pairs")
    start, end = target_table.index(START), target_table.index(END)
    write = partial(greedy, model=model, start=start, end=end, longest=train.target.shape[1] - 1)

    def init(key: jax.Array) -> Any:
        return init_model(key, len(source_table), len(target_table), features=features, units=units)

    def exact(params: Any, pairs: Pairs) -> dict[str, jax.Array]:
        wanted = pairs.target[:, 1:]
        there = jnp.arange(wanted.shape[1])[None, :] < pairs.target_lengths[:, None] - 1
        words = write(params, pairs.source, pairs.source_lengths)
        return {"exact": jnp.mean(jnp.all((words == wanted) | ~there, 1), dtype=jnp.float32)}

    kept = len(data.train.source)
    console.print(f"{task.value}: {kept} training and {len(data.test.source)} test pairs, {jax.devices()[0]}")
    params = learn(plan, learner(plan, init, partial(seq2seq.loss, model=model)), data, Judge(exact, "exact", 250))
    few: Pairs = jax.tree.map(lambda a: a[:5], data.test)
    for source, words in zip(few.source, jax.jit(write)(params, few.source, few.source_lengths), strict=True):
        console.print(
            f"{decode(np.asarray(source), source_table)!r} -> {decode(np.asarray(words), target_table)!r}",
            markup=False,
            highlight=False,
        )
