"""What recurrent networks are trained on: each task with its data, its loss and how well it is done."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import typer
from jaxtyping import Array

from jaxnets.data import (
    REBER_SYMBOLS,
    TEMPORAL_ORDER_SYMBOLS,
    adding_problem,
    as_rows,
    copy_task,
    embedded_reber,
    mnist_small,
    public_domain_text,
    temporal_order,
    unseen_strings,
    windows,
)
from jaxnets.nets import birnn, language_model, recurrent
from jaxnets.nets.recurrent import Cell, Sequences
from jaxnets.ops.losses import (
    quadratic,
    softmax_cross_entropy_with_integer_labels,
    token_cross_entropy,
)
from jaxnets.train import accuracy


class TaskName(enum.Enum):
    """What to learn."""

    ADDING = "adding"
    TEMPORAL_ORDER = "temporal-order"
    COPY = "copy"
    REBER = "reber"
    MNIST_ROWS = "mnist-rows"
    CHARACTERS = "characters"


class Reading(NamedTuple):
    """Networks of recurrent layers, by the way they read."""

    init: Callable[[Array, Cell, int, tuple[int, ...], int], Any]
    """(key, cell, inputs, units of each layer, outputs) -> parameters"""
    many_to_one: Callable[..., Array]
    """(parameters, sequences, *, cell) -> an output for each sequence"""
    many_to_many: Callable[..., Array]
    """(parameters, sequences, *, cell) -> an output for each step"""


ONE_WAY = Reading(recurrent.init, recurrent.many_to_one, recurrent.many_to_many)
BOTH_WAYS = Reading(birnn.init, birnn.many_to_one, birnn.many_to_many)


class Task(NamedTuple):
    """A task, for networks of any cell."""

    train: Any
    test: Any
    init: Callable[[Array, Cell, tuple[int, ...]], Any]
    """(key, cell, units of each layer) -> parameters"""
    loss: Callable[[Cell, Any, Any], Array]
    """(cell, params, batch) -> the mean over the batch"""
    metrics: Callable[[Cell, Any, Any], dict[str, Array]]
    """(cell, params, batch) -> means over the batch, the first of which tells how well the task is done, from 0 to 1"""


TEST = 2560
"""Sequences that are drawn for the test: as many as Hochreiter and Schmidhuber test with."""


def make(name: TaskName, length: int, examples: int, seed: int, reading: Reading = ONE_WAY) -> Task:
    """The task, with so many training examples where they are drawn at random."""
    if reading is BOTH_WAYS and name in (TaskName.REBER, TaskName.CHARACTERS):
        raise typer.BadParameter(
            f"--task {name.value} is to tell what comes next, which a network that reads from the end has seen; "
            "adding, temporal-order, copy and mnist-rows fit"
        )
    drawn = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    sizes = examples, TEST
    match name:
        case TaskName.ADDING:
            if length < 11:
                raise typer.BadParameter(f"--length is {length}, the adding problem wants at least 11")
            return _adding(reading, *(adding_problem(rng, n, length) for rng, n in zip(drawn, sizes, strict=True)))
        case TaskName.TEMPORAL_ORDER:
            return _labelled(
                reading,
                *(tuple(temporal_order(rng, n)) for rng, n in zip(drawn, sizes, strict=True)),
                features=len(TEMPORAL_ORDER_SYMBOLS),
                classes=4,
            )
        case TaskName.COPY:
            return _copy(reading, *(copy_task(rng, n, length) for rng, n in zip(drawn, sizes, strict=True)))
        case TaskName.REBER:
            # Most of what is drawn for the test is short, and among so many training strings too.
            train, test = (embedded_reber(rng, n) for rng, n in zip(drawn, (examples, 10 * TEST), strict=True))
            return _reber(train, unseen_strings(test, train))
        case TaskName.MNIST_ROWS:
            return _mnist_rows(reading, examples)
        case TaskName.CHARACTERS:
            longest = len(public_domain_text().test) - 1
            if length > longest:
                raise typer.BadParameter(f"--length is {length}, the text to be tested with has {longest} characters")
            return _characters(length)


def _adding(reading: Reading, train: Any, test: Any) -> Task:
    def error(cell: Cell, params: Any, batch: Any) -> tuple[Array, Array]:
        x, lengths, t = batch
        return reading.many_to_one(params, Sequences(x, lengths), cell=cell), t[:, None]

    def metrics(cell: Cell, params: Any, batch: Any) -> dict[str, Array]:
        y, t = error(cell, params, batch)
        return {"correct": jnp.mean(jnp.abs(y - t) < 0.04), "test error": jnp.mean((y - t) ** 2)}

    return Task(
        tuple(train),
        tuple(test),
        lambda key, cell, hidden: reading.init(key, cell, 2, hidden, 1),
        lambda cell, params, batch: quadratic(*error(cell, params, batch)),
        metrics,
    )


def _labelled(reading: Reading, train: Any, test: Any, *, features: int, classes: int) -> Task:
    """One label for each sequence."""

    def logits(cell: Cell, params: Any, batch: Any) -> Array:
        x, lengths, _ = batch
        return reading.many_to_one(params, Sequences(x, lengths), cell=cell)

    def loss(cell: Cell, params: Any, batch: Any) -> Array:
        return softmax_cross_entropy_with_integer_labels(logits(cell, params, batch), batch[2])

    return Task(
        train,
        test,
        lambda key, cell, hidden: reading.init(key, cell, features, hidden, classes),
        loss,
        lambda cell, params, batch: {"correct": accuracy(logits(cell, params, batch), batch[2])},
    )


def _copy(reading: Reading, train: Any, test: Any) -> Task:
    words = int(train.inputs.max()) + 1
    copied = int((train.targets[0] < words - 2).sum())

    def logits(cell: Cell, params: Any, batch: Any) -> Array:
        x = jax.nn.one_hot(batch[0], words)
        return reading.many_to_many(params, Sequences(x), cell=cell)

    return Task(
        tuple(train),
        tuple(test),
        lambda key, cell, hidden: reading.init(key, cell, words, hidden, words),
        lambda cell, params, batch: token_cross_entropy(logits(cell, params, batch), batch[1]),
        lambda cell, params, batch: {
            "correct": accuracy(logits(cell, params, batch)[:, -copied:], batch[1][:, -copied:])
        },
    )


def _reber(train: Any, test: Any) -> Task:
    symbols = len(REBER_SYMBOLS)

    def logits(cell: Cell, params: Any, batch: Any) -> Array:
        strings, lengths, _ = batch
        return recurrent.many_to_many(params, Sequences(jax.nn.one_hot(strings, symbols), lengths), cell=cell)

    def loss(cell: Cell, params: Any, batch: Any) -> Array:
        strings, lengths, _ = batch
        return token_cross_entropy(logits(cell, params, batch)[:, :-1], strings[:, 1:], lengths - 1)

    def metrics(cell: Cell, params: Any, batch: Any) -> dict[str, Array]:
        legal = batch[2]
        likely = jax.nn.one_hot(jnp.argmax(logits(cell, params, batch), -1), symbols, dtype=bool)
        right = jnp.any(likely & legal, -1) | ~jnp.any(legal, -1)
        steps = jnp.any(legal, -1)
        # Of every string the mean over its steps, so that the mean over strings can be taken in parts.
        of_string = jnp.sum(right & steps, 1) / jnp.sum(steps, 1)
        return {"legal": jnp.mean(of_string), "whole strings": jnp.mean(jnp.all(right, 1))}

    return Task(
        tuple(train),
        tuple(test),
        lambda key, cell, hidden: recurrent.init(key, cell, symbols, hidden, symbols),
        loss,
        metrics,
    )


def _mnist_rows(reading: Reading, examples: int) -> Task:
    loaded = mnist_small()

    def batch(images: np.ndarray, labels: np.ndarray) -> Any:
        rows = as_rows(images)
        return rows, np.full(len(rows), rows.shape[1], np.int32), labels.astype(np.int32)

    train = batch(loaded.train_images[:examples], loaded.train_labels[:examples])
    return _labelled(
        reading, train, batch(loaded.test_images, loaded.test_labels), features=train[0].shape[2], classes=10
    )


def _characters(length: int) -> Task:
    text = public_domain_text()

    def metrics(cell: Cell, params: Any, batch: Any) -> dict[str, Array]:
        (tokens,) = batch
        logits, _ = language_model.apply(params, tokens[:, :-1], cell=cell)
        nats = token_cross_entropy(logits, tokens[:, 1:])
        return {"correct": accuracy(logits, tokens[:, 1:]), "bits a character": nats / jnp.log(2.0)}

    return Task(
        (windows(text.train, length),),
        (windows(text.test, length),),
        lambda key, cell, hidden: language_model.init(key, cell, len(text.characters), hidden=hidden),
        lambda cell, params, batch: language_model.loss(params, batch[0], cell=cell),
        metrics,
    )
