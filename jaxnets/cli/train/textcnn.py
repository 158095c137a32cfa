"""`jaxnets train textcnn`: convolution over characters, to tell which play a passage is from."""

from typing import Annotated, Any

import jax
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
from jaxnets.cli.train.method import Method, Plan, stateful_learner
from jaxnets.cli.train.schedule import Schedule
from jaxnets.data import encode, public_domain_text
from jaxnets.nets import textcnn
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.train import Stateful, accuracy

PLAYS = 3
WIDTHS = (3, 4, 5)
TEST_EVERY = 5
"""One in so many passages is left for the test."""


def passages(length: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Passages of so many characters, the play of each, and how many different characters there are."""
    text = public_domain_text()
    codes = np.concatenate([text.train, text.test])
    # Every play begins with its first act; nothing else is a line of these words.
    heading = encode("ACT I.\n", text.characters)
    starts = np.flatnonzero((np.lib.stride_tricks.sliding_window_view(codes, len(heading)) == heading).all(1))
    plays = np.split(codes, starts[1:])
    if len(plays) != PLAYS:
        raise AssertionError(f"found {len(plays)} plays, wanted {PLAYS}")
    cut = [play[: len(play) // length * length].reshape(-1, length) for play in plays]
    labels = np.repeat(np.arange(PLAYS, dtype=np.int32), [len(part) for part in cut])
    return np.concatenate(cut), labels, len(text.characters)


def train_textcnn(
    length: Annotated[int, typer.Option(min=max(WIDTHS), max=10_000, help="Characters of a passage.")] = 200,
    features: Annotated[int, typer.Option(min=1, help="Numbers that stand for a character.")] = 16,
    filters: Annotated[int, typer.Option(min=1, help="Filters of each width: 3, 4 and 5 characters.")] = 64,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.003,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 32,
    epochs: Epochs = 20,
    seed: Seed = 0,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train convolutions over text to tell which of three plays by Shakespeare a passage is from.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)
    tokens, labels, characters = passages(length)
    # In an order of no meaning, as what is held back for validation comes from the end.
    mixed = np.random.default_rng(0).permutation(len(labels))
    tested = mixed % TEST_EVERY == 0
    train, test = mixed[~tested], mixed[tested]
    data = split(plan, (tokens[train], labels[train]), (tokens[test], labels[test]), "training passages")

    def init(key: jax.Array) -> tuple[textcnn.Params, None]:
        return textcnn.init(key, characters, features=features, widths=WIDTHS, filters=filters, classes=PLAYS), None

    def loss(params: Any, carried: None, batch: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[jax.Array, None]:
        logits = textcnn.apply(params, batch[0], dropout_key=key)
        return softmax_cross_entropy_with_integer_labels(logits, batch[1]), None

    def metrics(trained: Stateful, batch: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        return {"test accuracy": accuracy(textcnn.apply(trained.params, batch[0]), batch[1])}

    counts = len(data.train[0]), len(data.test[0])
    console.print(f"plays: {counts[0]} training and {counts[1]} test passages, {jax.devices()[0]}")
    learn(plan, stateful_learner(plan, init, loss), data, Judge(metrics, "test accuracy", 256))
