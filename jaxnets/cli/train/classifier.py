"""What the training of every classifier of images has in common: options, data, and the run with its report."""

import enum
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import typer
from jaxtyping import Array

from jaxnets.cli.console import console
from jaxnets.cli.datasets import DataSet, load
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.schedule import Schedule
from jaxnets.data import Dataset
from jaxnets.train import NonFiniteError, State, Step, accuracy, mean_in_batches


class Optimizer(enum.Enum):
    """Optimizers, with Optax's defaults but for the learning rate."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"
    ADAM = "adam"


OPTIMIZERS: dict[Optimizer, Callable[[float | optax.Schedule], optax.GradientTransformation]] = {
    Optimizer.SGD: optax.sgd,
    Optimizer.MOMENTUM: lambda rate: optax.sgd(rate, momentum=0.9),
    Optimizer.ADAGRAD: optax.adagrad,
    Optimizer.RMSPROP: optax.rmsprop,
    Optimizer.ADAM: optax.adam,
}

DataOption = Annotated[DataSet, typer.Option("--data", help="mnist-small is part of the package.")]
OptimizerOption = Annotated[Optimizer, typer.Option(help="Update rule.")]


def _above_zero(clip: float) -> float:
    if not clip > 0:
        raise typer.BadParameter(f"{clip} leaves nothing of the gradient, wanted a number above 0 (inf for no limit)")
    return clip


Clip = Annotated[float, typer.Option(callback=_above_zero, help="Largest norm of the gradient, scaled down beyond it.")]
LearningRate = Annotated[float, typer.Option(min=0.0, help="Step size.")]
ScheduleOption = Annotated[Schedule, typer.Option(help="Of the step size; cosine is down at 0 after the last epoch.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Examples per step.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training set.")]
Seed = Annotated[int, typer.Option(help="Seed of the parameters and of the shuffling.")]
TrainSize = Annotated[int | None, typer.Option(min=1, help="Use only the first examples of the training set.")]


class Plan(NamedTuple):
    """How to train, as the options say."""

    optimizer: Optimizer
    learning_rate: float
    schedule: Schedule
    batch_size: int
    epochs: int
    seed: int
    run: Run

    def update(self, examples: int) -> optax.GradientTransformation:
        """The update rule, for so many examples in an epoch."""
        rate: float | optax.Schedule = self.learning_rate
        if self.schedule is Schedule.COSINE:
            rate = optax.cosine_decay_schedule(rate, self.epochs * (examples // self.batch_size))
        return OPTIMIZERS[self.optimizer](rate)


def training_data(data_set: DataSet, train_size: int | None, batch_size: int) -> Dataset:
    """The data set with the first `train_size` training images; bad usage if there are too few for it or a batch."""
    loaded = load(data_set)
    if train_size is not None:
        if train_size > len(loaded.train_images):
            raise typer.BadParameter(
                f"--train-size is {train_size}, {data_set.value} has {len(loaded.train_images)} training images"
            )
        loaded = loaded._replace(
            train_images=loaded.train_images[:train_size], train_labels=loaded.train_labels[:train_size]
        )
    if batch_size > len(loaded.train_images):
        raise typer.BadParameter(f"--batch-size is {batch_size}, there are {len(loaded.train_images)} training images")
    return loaded


def train_classifier(
    step: Step,
    state: State,
    data: tuple[Any, Any],
    *,
    scores: Callable[[Any, Array], Array],
    test: tuple[Any, Any],
    name: str,
    key: Array,
    block: int,
    epochs: int,
    run: Run,
) -> None:
    """Train, with a line for each epoch, and print the test accuracy.

    `scores(params, x)` are largest for the class that is recognised; `block` is how many examples a step takes.
    Exit status 1 if the loss becomes infinite or not a number.
    """
    test_images, test_labels = jax.tree.map(jnp.asarray, test)

    def evaluate(params: Any) -> dict[str, Array]:
        def score(batch: tuple[Array, Array]) -> Array:
            return accuracy(scores(params, batch[0]), batch[1])

        return {"test accuracy": mean_in_batches(score, (test_images, test_labels), batch_size=1000)}

    console.print(f"{name}: {len(data[0])} training and {len(test_images)} test images, {jax.devices()[0]}")
    trained(step, state, data, evaluate=evaluate, shown="test accuracy", key=key, block=block, epochs=epochs, run=run)


def trained(
    step: Step,
    state: State,
    data: Any,
    *,
    evaluate: Callable[[Any], Mapping[str, Array]],
    shown: str,
    key: Array,
    block: int,
    epochs: int,
    run: Run,
) -> State:
    """Train, with a line for each epoch; print the last value and the best of the metric `shown`, a fraction.

    Exit status 1 if the loss becomes infinite or not a number.
    """
    try:
        state, history = run.train(step, state, data, key=key, batch_size=block, epochs=epochs, evaluate=evaluate)
    except NonFiniteError as error:
        console.print(f"stopped: {error}", markup=False, highlight=False)
        raise typer.Exit(1) from None
    values = [epoch.metrics[shown] for epoch in history]
    best = max(range(len(values)), key=values.__getitem__)
    console.print(
        f"{shown} {values[-1]:.2%}, best {values[best]:.2%} after epoch {history[best].epoch}, "
        f"{sum(epoch.seconds for epoch in history):.1f} s of training"
    )
    return state
