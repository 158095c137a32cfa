"""`jaxnets train alexnet`, `inception` and `resnet`: deep networks at sizes for small images."""

import enum
from collections.abc import Callable
from typing import Annotated, Any

import jax
import typer
from jax.nn import initializers

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
from jaxnets.cli.train.method import Method, Plan, stateful_learner
from jaxnets.cli.train.schedule import Schedule
from jaxnets.data import as_images
from jaxnets.nets import alexnet, inception, resnet
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.train import Stateful


class ShortcutOption(enum.Enum):
    """What leads past the layers of a block."""

    IDENTITY = "identity"
    PROJECTION = "projection"
    NONE = "none"


SHORTCUTS = {
    ShortcutOption.IDENTITY: resnet.Shortcut.IDENTITY,
    ShortcutOption.PROJECTION: resnet.Shortcut.PROJECTION,
    ShortcutOption.NONE: resnet.Shortcut.NONE,
}


Logits = Callable[[Any, Any, jax.Array, jax.Array | None], tuple[jax.Array, Any]]
"""(params, carried, images, key) -> (logits, carried), in training; without a key, when the network is asked"""


def train_alexnet(
    data_set: DataOption = DataSet.MNIST_SMALL,
    width: Annotated[float, typer.Option(min=0.01, help="Of every layer, as a part of the paper's.")] = 0.125,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.002,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 32,
    epochs: Epochs = 6,
    seed: Seed = 0,
    train_size: TrainSize = None,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train AlexNet's eight layers, with a first kernel for small images, and dropout.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    architecture = alexnet.small_images(width)

    def init(key: jax.Array, image: tuple[int, int, int]) -> tuple[alexnet.Params, None]:
        he = initializers.he_normal()  # the paper's small weights need many epochs to leave the plateau
        return alexnet.init(key, architecture, image, classes=CLASSES, weights=he), None

    def logits(params: Any, carried: None, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, None]:
        return alexnet.apply(params, x, architecture=architecture, dropout_key=key), None

    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)
    _train(data_set, train_size, plan, init, logits)


def train_inception(
    data_set: DataOption = DataSet.MNIST_SMALL,
    width: Annotated[int, typer.Option(min=4, help="Channels of a module's 1x1 branch in the first stage.")] = 8,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.004,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 32,
    epochs: Epochs = 3,
    seed: Seed = 0,
    train_size: TrainSize = None,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train two stages of two inception modules each, with dropout before the classifier.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    architecture = inception.small_images(width)

    def init(key: jax.Array, image: tuple[int, int, int]) -> tuple[inception.Params, None]:
        return inception.init(key, architecture, channels=image[2], classes=CLASSES), None

    def logits(params: Any, carried: None, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, None]:
        return inception.apply(params, x, architecture=architecture, dropout_key=key).final, None

    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)
    _train(data_set, train_size, plan, init, logits)


def train_resnet(
    data_set: DataOption = DataSet.MNIST_SMALL,
    depth: Annotated[int, typer.Option(min=8, help="Number of layers, 6 n + 2: 8, 14, 20, 32, 44, 56, 110.")] = 8,
    shortcut: Annotated[ShortcutOption, typer.Option(help="none is the plain network.")] = ShortcutOption.IDENTITY,
    optimizer: OptimizerOption = Optimizer.MOMENTUM,
    learning_rate: LearningRate = 0.05,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 32,
    epochs: Epochs = 3,
    seed: Seed = 0,
    train_size: TrainSize = None,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train a residual network for small images, or the plain network of the same depth.

    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    if (depth - 2) % 6:
        raise typer.BadParameter(f"--depth is {depth}, wanted 6 n + 2, such as 8, 20 or 56")
    architecture = resnet.small_images(depth, SHORTCUTS[shortcut])

    def init(key: jax.Array, image: tuple[int, int, int]) -> tuple[resnet.Params, resnet.NetworkStatistics]:
        return resnet.init(key, architecture, channels=image[2], classes=CLASSES)

    def logits(params: Any, carried: Any, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, Any]:
        return resnet.apply(params, carried, x, architecture=architecture, training=key is not None)

    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)
    _train(data_set, train_size, plan, init, logits)


def _train(
    data_set: DataSet,
    train_size: int | None,
    plan: Plan,
    init: Callable[[jax.Array, tuple[int, int, int]], tuple[Any, Any]],
    logits: Logits,
) -> None:
    loaded = training_data(data_set, train_size, plan.batch_size)
    train_x, test_x = as_images(loaded.train_images), as_images(loaded.test_images)
    _, height, width, channels = train_x.shape
    data = image_data(plan, (train_x, loaded.train_labels), (test_x, loaded.test_labels))

    def loss(params: Any, carried: Any, batch: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[jax.Array, Any]:
        found, moved = logits(params, carried, batch[0], key)
        return softmax_cross_entropy_with_integer_labels(found, batch[1]), moved

    def scores(trained: Stateful, x: jax.Array) -> jax.Array:
        return logits(*trained, x, None)[0]

    learner = stateful_learner(plan, lambda key: init(key, (height, width, channels)), loss)
    learn_to_classify(plan, learner, data, scores, data_set.value)
