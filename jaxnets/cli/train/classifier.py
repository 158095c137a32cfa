"""What the training of every classifier of images has in common: options, data, and the run with its report."""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import numpy as np
import typer
from jaxtyping import Array

from jaxnets.cli.console import console
from jaxnets.cli.datasets import DataSet, load
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.learn import Data, Judge, evaluation, learn, split, trained
from jaxnets.cli.train.method import Learner, Plan
from jaxnets.cli.train.optimizers import Optimizer
from jaxnets.cli.train.schedule import Schedule
from jaxnets.data import Dataset, one_hot
from jaxnets.train import State, Step, accuracy

ACCURACY = "test accuracy"

DataOption = Annotated[DataSet, typer.Option("--data", help="mnist-small is part of the package.")]
OptimizerOption = Annotated[Optimizer, typer.Option(help="Update rule.")]
LearningRate = Annotated[float, typer.Option(min=0.0, help="Step size.")]
ScheduleOption = Annotated[Schedule, typer.Option(help="Of the step size; cosine is down at 0 after the last epoch.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Examples per step.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training set.")]
Seed = Annotated[int, typer.Option(help="Seed of the parameters and of the shuffling.")]
TrainSize = Annotated[int | None, typer.Option(min=1, help="Use only the first examples of the training set.")]


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


def image_data(plan: Plan, train: tuple[Any, Any], test: tuple[Any, Any], classes: int | None = None) -> Data:
    """Images, what is trained for (the labels, or one-hot codes of so many classes), and the labels."""

    def with_targets(images: Any, labels: Any) -> tuple[Any, Any, Any]:
        labels = np.asarray(labels, np.int32)
        return images, labels if classes is None else one_hot(labels, classes), labels

    return split(plan, with_targets(*train), with_targets(*test), "training images")


def learn_to_classify(
    plan: Plan, learner: Learner, data: Data, scores: Callable[[Any, Array], Array], name: str
) -> None:
    """Train as the options say, with a line for each epoch, and print the test accuracy.

    `scores(params, x)` are largest for the class that is recognised; `data` is of `image_data`.
    """
    console.print(f"{name}: {len(data.train[0])} training and {len(data.test[0])} test images, {jax.devices()[0]}")
    learn(plan, learner, data._replace(train=data.train[:2]), _judge(scores))


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
) -> State:
    """The same by a step of any kind, which takes `block` examples; `test` are images and their labels."""
    console.print(f"{name}: {len(data[0])} training and {len(test[0])} test images, {jax.devices()[0]}")
    evaluate = evaluation(_judge(scores), (test[0], test[0][:, :0], np.asarray(test[1], np.int32)), None)
    return trained(step, state, data, evaluate=evaluate, shown=ACCURACY, key=key, block=block, epochs=epochs, run=run)


def _judge(scores: Callable[[Any, Array], Array]) -> Judge:
    def metrics(params: Any, batch: tuple[Array, Array, Array]) -> dict[str, Array]:
        return {ACCURACY: accuracy(scores(params, batch[0]), batch[2])}

    return Judge(metrics, ACCURACY, 1000)
