"""`jaxnets train cnn` and `jaxnets train lenet5`."""

import enum
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import typer

from jaxnets.cli.datasets import CLASSES, DataSet
from jaxnets.cli.train.classifier import (
    BatchSize,
    DataOption,
    Epochs,
    LearningRate,
    Optimizer,
    OptimizerOption,
    ScheduleOption,
    Seed,
    TrainSize,
    image_data,
    learn_to_classify,
    training_data,
)
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.method import Method, Plan, learner
from jaxnets.cli.train.schedule import Schedule
from jaxnets.data import Dataset, as_images
from jaxnets.nets import cnn, lenet, lenet1998
from jaxnets.nets.rbf import map_criterion, mse_criterion
from jaxnets.rule import Rule


class Variant(enum.Enum):
    """Which LeNet-5."""

    MODERN = "modern"
    PAPER = "1998"


class Criterion(enum.Enum):
    """Which of the paper's two costs."""

    MSE = "mse"
    MAP = "map"


CRITERIA: dict[Criterion, Rule[..., Any]] = {Criterion.MSE: mse_criterion, Criterion.MAP: map_criterion}


def train_cnn(
    data_set: DataOption = DataSet.MNIST_SMALL,
    filters: Annotated[int, typer.Option(min=1, help="Number of filters.")] = 10,
    kernel: Annotated[int, typer.Option(min=1, help="Height and width of a filter; odd, for even maps.")] = 5,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.001,
    schedule: ScheduleOption = Schedule.CONSTANT,
    batch_size: BatchSize = 10,
    epochs: Epochs = 10,
    seed: Seed = 0,
    train_size: TrainSize = None,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train a network of one layer of filters, max pooling and ten sigmoid outputs, with the quadratic cost.

    It is the network of 6 x 6 images at the size of MNIST's.  Exit status: 0, 1 if the loss becomes infinite or not a
    number, 2 if the command was wrong.
    """
    loaded = training_data(data_set, train_size, batch_size)
    height, width = loaded.train_images.shape[1:]
    if kernel >= min(height, width) or (height - kernel) % 2 == 0 or (width - kernel) % 2 == 0:
        raise typer.BadParameter(f"--kernel is {kernel}, wanted an odd number below {min(height, width)}")
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)

    def init(key: jax.Array) -> cnn.Params:
        return cnn.init(key, image=(height, width, 1), filters=filters, kernel=kernel, outputs=CLASSES)

    _train(loaded, data_set, plan, init, cnn.loss, cnn.apply)


def train_lenet5(
    data_set: DataOption = DataSet.MNIST_SMALL,
    variant: Annotated[Variant, typer.Option(help="Of the paper, or as it is taught today.")] = Variant.MODERN,
    criterion: Annotated[Criterion, typer.Option(help="Cost of the variant 1998.")] = Criterion.MAP,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.001,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 20,
    epochs: Epochs = 8,
    seed: Seed = 0,
    train_size: TrainSize = None,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train LeNet-5: `modern` with ReLU, max pooling and softmax, or `1998` with the paper's layers, codes and costs.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    loaded = training_data(data_set, train_size, batch_size)
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)
    match variant:
        case Variant.MODERN:
            _train(loaded, data_set, plan, lenet.init, lenet.loss, lenet.apply)
        case Variant.PAPER:
            loss = partial(lenet1998.loss, cost=CRITERIA[criterion])
            _train(loaded, data_set, plan, lenet1998.init, loss, _nearness, prepare=_as_input)


def _nearness(params: lenet1998.Params, x: jax.Array) -> jax.Array:
    return -lenet1998.apply(params, x)


def _as_input(images: np.ndarray) -> jax.Array:
    return lenet1998.as_input(jnp.asarray(images))


def _train(
    loaded: Dataset,
    data_set: DataSet,
    plan: Plan,
    init: Callable[[jax.Array], Any],
    loss: Callable[[Any, Any], jax.Array],
    scores: Callable[[Any, jax.Array], jax.Array],
    *,
    prepare: Callable[[Any], Any] = np.asarray,
) -> None:
    train_x, test_x = (np.asarray(prepare(as_images(images))) for images in (loaded.train_images, loaded.test_images))
    data = image_data(plan, (train_x, loaded.train_labels), (test_x, loaded.test_labels), CLASSES)
    learn_to_classify(plan, learner(plan, init, loss), data, scores, data_set.value)
