"""`jaxnets train seq2seq`: encoder and decoder on strings to be reversed and dates to be translated."""

import enum
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import typer

from jaxnets.cli.console import console
from jaxnets.cli.train.classifier import (
    BatchSize,
    Clip,
    Epochs,
    LearningRate,
    Optimizer,
    OptimizerOption,
    Plan,
    ScheduleOption,
    Seed,
    trained,
)
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.schedule import Schedule
from jaxnets.data import DATE_SOURCE, DATE_TARGET, END, LETTERS, START, date_translation, decode, reversal, unseen
from jaxnets.nets import seq2seq
from jaxnets.nets.decoding import greedy
from jaxnets.nets.seq2seq import ATTENTION, PLAIN, Pairs
from jaxnets.train import gradient_step, init_state, mean_in_batches


class PairTask(enum.Enum):
    """What to write."""

    DATES = "dates"
    REVERSAL = "reversal"


TEST = 1000
"""Pairs that are drawn to be tested, of which those whose source was trained on are left out."""


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
    clip: Clip = 1.0,
    seed: Seed = 0,
    *,
    run: Run,
) -> None:
    """Train an encoder and a decoder of LSTMs, and count the targets that are written without a mistake.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    if batch_size > examples:
        raise typer.BadParameter(f"--batch-size is {batch_size}, there are {examples} training pairs")
    model, init = (ATTENTION, seq2seq.init_attentive) if attention else (PLAIN, seq2seq.init_plain)
    draw, source_table, target_table = {
        PairTask.DATES: (date_translation, DATE_SOURCE, DATE_TARGET),
        PairTask.REVERSAL: (reversal, LETTERS, LETTERS),
    }[task]
    train = draw(np.random.default_rng([seed, 0]), examples)
    test = unseen(draw(np.random.default_rng([seed, 1]), TEST), train)
    train, test = (Pairs(*map(jnp.asarray, pairs)) for pairs in (train, test))
    params_key, order_key = jax.random.split(jax.random.key(seed))
    params = init(params_key, len(source_table), len(target_table), features=features, units=units)
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run)
    update = optax.chain(optax.clip_by_global_norm(clip), plan.update(examples))
    start, end = target_table.index(START), target_table.index(END)
    write = partial(greedy, model=model, start=start, end=end, longest=train.target.shape[1] - 1)

    def metrics(params: Any) -> dict[str, jax.Array]:
        def exact(pairs: Pairs) -> jax.Array:
            wanted = pairs.target[:, 1:]
            there = jnp.arange(wanted.shape[1])[None, :] < pairs.target_lengths[:, None] - 1
            words = write(params, pairs.source, pairs.source_lengths)
            return jnp.mean(jnp.all((words == wanted) | ~there, 1), dtype=jnp.float32)

        return {"exact": mean_in_batches(exact, test, batch_size=250)}

    console.print(f"{task.value}: {examples} training and {len(test.source)} test pairs, {jax.devices()[0]}")
    state = trained(
        gradient_step(partial(seq2seq.loss, model=model), update),
        init_state(params, update),
        train,
        evaluate=metrics,
        shown="exact",
        key=order_key,
        block=batch_size,
        epochs=epochs,
        run=run,
    )
    few: Pairs = jax.tree.map(lambda a: a[:5], test)
    for source, words in zip(few.source, jax.jit(write)(state.params, few.source, few.source_lengths), strict=True):
        console.print(
            f"{decode(np.asarray(source), source_table)!r} -> {decode(np.asarray(words), target_table)!r}",
            markup=False,
            highlight=False,
        )
