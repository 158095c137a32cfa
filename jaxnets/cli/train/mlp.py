"""`jaxnets train mlp`."""

import enum
from functools import partial
from typing import Annotated, Any

import jax
import typer
from jax.nn.initializers import Initializer

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
from jaxnets.cli.train.method import Keys, Learner, Method, Plan, learner
from jaxnets.cli.train.schedule import Schedule
from jaxnets.data import as_inputs
from jaxnets.kernels.mlp_sgd import sgd_step
from jaxnets.nets import mlp
from jaxnets.ops import activations, losses
from jaxnets.rule import Rule
from jaxnets.train import State

KERNEL_STEPS = 20
"""Steps that the kernel runs in one call: enough to pay for turning the weights, few enough to stay in the cache."""


class Cost(enum.Enum):
    """The cost, and with it the output layer."""

    QUADRATIC = "quadratic"
    CROSS_ENTROPY = "cross-entropy"
    SOFTMAX = "softmax"


class Activation(enum.Enum):
    """The activation of the hidden layers."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    RELU = "relu"


class Weights(enum.Enum):
    """How the weights start."""

    SCALED = "scaled"
    UNIT = "unit"
    GLOROT = "glorot"
    HE = "he"


OUTPUTS: dict[Cost, tuple[Rule[..., Any], Rule[..., Any]]] = {
    Cost.QUADRATIC: (activations.sigmoid, losses.quadratic),
    Cost.CROSS_ENTROPY: (activations.linear, losses.sigmoid_cross_entropy),  # the cost holds the sigmoid
    Cost.SOFTMAX: (activations.linear, losses.softmax_cross_entropy),  # the cost holds the softmax
}
HIDDEN: dict[Activation, Rule[..., Any]] = {
    Activation.SIGMOID: activations.sigmoid,
    Activation.TANH: activations.tanh,
    Activation.RELU: activations.relu,
}
WEIGHTS: dict[Weights, Initializer] = {
    Weights.SCALED: mlp.SCALED_GAUSSIAN,
    Weights.UNIT: mlp.UNIT_GAUSSIAN,
    Weights.GLOROT: mlp.GLOROT,
    Weights.HE: mlp.HE,
}


def train_mlp(
    data_set: DataOption = DataSet.MNIST_SMALL,
    sizes: Annotated[str, typer.Option(help="Units per layer, the 784 pixels first and the 10 classes last.")] = (
        "784,30,10"
    ),
    optimizer: OptimizerOption = Optimizer.SGD,
    learning_rate: LearningRate = 3.0,
    schedule: ScheduleOption = Schedule.CONSTANT,
    batch_size: BatchSize = 10,
    epochs: Epochs = 30,
    seed: Seed = 0,
    cost: Annotated[Cost, typer.Option(help="Cost; cross-entropy is of ten sigmoid outputs.")] = Cost.QUADRATIC,
    activation: Annotated[Activation, typer.Option(help="Activation of the hidden layers.")] = Activation.SIGMOID,
    weights: Annotated[Weights, typer.Option(help="Start of the weights: scaled is N(0, 1/n_in).")] = Weights.SCALED,
    l2: Annotated[
        float, typer.Option(min=0.0, help="λ: the loss gains λ/2 Σ w², of the weights and not of the biases.")
    ] = 0.0,
    train_size: TrainSize = None,
    *,
    method: Method,
    run: Run,
) -> None:
    """Train a fully connected network to classify images; print an epoch table and the test accuracy.

    The defaults are those of Nielsen's book, chapter 1.  Exit status: 0, 1 if the loss becomes infinite or not a number
    (the epoch and step are named), 2 if the command was wrong.
    """
    widths = _sizes(sizes)
    loaded = training_data(data_set, train_size, batch_size)
    images = as_inputs(loaded.train_images)
    if (widths[0], widths[-1]) != (images.shape[1], CLASSES):
        raise typer.BadParameter(f"--sizes is {sizes}, wanted {images.shape[1]} first (the pixels) and {CLASSES} last")
    output, cost_rule = OUTPUTS[cost]
    network = (*(HIDDEN[activation],) * (len(widths) - 2), output)
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)
    data = image_data(plan, (images, loaded.train_labels), (as_inputs(loaded.test_images), loaded.test_labels), CLASSES)

    def init(key: jax.Array) -> mlp.Params:
        return mlp.init(key, widths, weights=WEIGHTS[weights])

    def loss(params: mlp.Params, batch: mlp.Batch) -> jax.Array:
        return mlp.loss(params, batch, activations=network, cost=cost_rule, l2=l2)

    examples = len(data.train[0])
    if plan.is_plain() and examples % batch_size == 0 and jax.default_backend() == "cpu":
        # The kernel: the same in a faster order, several exact steps in one call.
        step = sgd_step(activations=network, cost=cost_rule, learning_rate=learning_rate, batch_size=batch_size, l2=l2)
        block = min(KERNEL_STEPS * batch_size, examples)
        network_learner = Learner(lambda key, update: State(init(Keys.of(key).params), ()), lambda update: step, block)
    else:
        network_learner = learner(plan, init, loss)
    learn_to_classify(plan, network_learner, data, partial(mlp.apply, activations=network), data_set.value)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--sizes is {text!r}, wanted numbers such as 784,30,10") from None
    if len(widths) < 2 or min(widths) < 1:
        raise typer.BadParameter(f"--sizes is {text!r}, wanted at least two positive numbers")
    return widths
