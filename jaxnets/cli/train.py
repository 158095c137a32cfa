"""`jaxnets train NETWORK`: train one of the library's networks on real data, with an epoch table."""

import enum
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import typer
from jax.nn.initializers import Initializer
from rich.console import Console

from jaxnets.cli.datasets import CLASSES, DataSet, load
from jaxnets.data import as_inputs, one_hot
from jaxnets.kernels.mlp_sgd import sgd_step
from jaxnets.nets import mlp
from jaxnets.ops import activations, losses
from jaxnets.rule import Rule
from jaxnets.train import NonFiniteError, State, Step, accuracy, fit, gradient_step, init_state, mean_in_batches
from jaxnets.train.progress import epoch_progress

train = typer.Typer(help="Train a network.", no_args_is_help=True)
console = Console()

KERNEL_STEPS = 20
"""Steps that the kernel runs in one call: enough to pay for turning the weights, few enough to stay in the cache."""


@train.callback()
def networks() -> None:
    """Train a network on real data, on whatever device JAX finds."""


class Optimizer(enum.Enum):
    """Optimizers, with Optax's defaults but for the learning rate."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"
    ADAM = "adam"


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


OPTIMIZERS: dict[Optimizer, Callable[[float], optax.GradientTransformation]] = {
    Optimizer.SGD: optax.sgd,
    Optimizer.MOMENTUM: lambda rate: optax.sgd(rate, momentum=0.9),
    Optimizer.ADAGRAD: optax.adagrad,
    Optimizer.RMSPROP: optax.rmsprop,
    Optimizer.ADAM: optax.adam,
}
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


@train.command("mlp")
def train_mlp(
    data_set: Annotated[DataSet, typer.Option("--data", help="mnist-small is part of the package.")] = (
        DataSet.MNIST_SMALL
    ),
    sizes: Annotated[str, typer.Option(help="Units per layer, the 784 pixels first and the 10 classes last.")] = (
        "784,30,10"
    ),
    optimizer: Annotated[Optimizer, typer.Option(help="Update rule.")] = Optimizer.SGD,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Step size.")] = 3.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per step.")] = 10,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training set.")] = 30,
    seed: Annotated[int, typer.Option(help="Seed of the parameters and of the shuffling.")] = 0,
    cost: Annotated[Cost, typer.Option(help="Cost; cross-entropy is of ten sigmoid outputs.")] = Cost.QUADRATIC,
    activation: Annotated[Activation, typer.Option(help="Activation of the hidden layers.")] = Activation.SIGMOID,
    weights: Annotated[Weights, typer.Option(help="Start of the weights: scaled is N(0, 1/n_in).")] = Weights.SCALED,
    l2: Annotated[float, typer.Option(min=0.0, help="Weight decay λ: the loss gains λ/2 Σ w².")] = 0.0,
    train_size: Annotated[
        int | None, typer.Option(min=1, help="Use only the first examples of the training set.")
    ] = None,
) -> None:
    """Train a fully connected network to classify images; print an epoch table and the test accuracy.

    The defaults are those of Nielsen's book, chapter 1.  Exit status: 0, 1 if the loss becomes infinite or not a number
    (the epoch and step are named), 2 if the command was wrong.
    """
    widths = _sizes(sizes)
    loaded = load(data_set)
    images, labels = as_inputs(loaded.train_images), loaded.train_labels
    if train_size is not None:
        if train_size > len(images):
            raise typer.BadParameter(
                f"--train-size is {train_size}, {data_set.value} has {len(images)} training images"
            )
        images, labels = images[:train_size], labels[:train_size]
    if batch_size > len(images):
        raise typer.BadParameter(f"--batch-size is {batch_size}, there are {len(images)} training images")
    if (widths[0], widths[-1]) != (images.shape[1], CLASSES):
        raise typer.BadParameter(f"--sizes is {sizes}, wanted {images.shape[1]} first (the pixels) and {CLASSES} last")
    test_images, test_labels = jnp.asarray(as_inputs(loaded.test_images)), jnp.asarray(loaded.test_labels)

    output, cost_rule = OUTPUTS[cost]
    network = (*(HIDDEN[activation],) * (len(widths) - 2), output)
    params_key, order_key = jax.random.split(jax.random.key(seed))
    params = mlp.init(params_key, widths, weights=WEIGHTS[weights])

    def evaluate(params: mlp.Params) -> dict[str, jax.Array]:
        def score(batch: tuple[jax.Array, jax.Array]) -> jax.Array:
            return accuracy(mlp.apply(params, batch[0], activations=network), batch[1])

        return {"test accuracy": mean_in_batches(score, (test_images, test_labels), batch_size=1000)}

    step, state, block = _step(optimizer, params, network, cost_rule, learning_rate, batch_size, l2, len(images))
    console.print(f"{data_set.value}: {len(images)} training and {len(test_images)} test images, {jax.devices()[0]}")
    try:
        with epoch_progress(epochs) as on_epoch:
            _, history = fit(
                step,
                state,
                (images, one_hot(labels, CLASSES)),
                key=order_key,
                batch_size=block,
                epochs=epochs,
                evaluate=evaluate,
                on_epoch=on_epoch,
            )
    except NonFiniteError as error:
        console.print(f"stopped: {error}", markup=False, highlight=False)
        raise typer.Exit(1) from None
    scores = [epoch.metrics["test accuracy"] for epoch in history]
    best = max(range(epochs), key=scores.__getitem__)
    console.print(
        f"test accuracy {scores[-1]:.2%}, best {scores[best]:.2%} after epoch {history[best].epoch}, "
        f"{sum(epoch.seconds for epoch in history):.1f} s of training"
    )


def _sizes(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--sizes is {text!r}, wanted numbers such as 784,30,10") from None
    if len(widths) < 2 or min(widths) < 1:
        raise typer.BadParameter(f"--sizes is {text!r}, wanted at least two positive numbers")
    return widths


def _step(
    optimizer: Optimizer,
    params: mlp.Params,
    network: tuple[Rule[..., Any], ...],
    cost: Rule[..., Any],
    learning_rate: float,
    batch_size: int,
    l2: float,
    examples: int,
) -> tuple[Step, State, int]:
    """The step, its first state, and the examples it takes at a time.

    On a CPU, plain gradient descent runs by the kernel, several exact steps in one call, where the batch size divides
    the data; everything else takes one Optax step on the gradient by hand.
    """
    if optimizer is Optimizer.SGD and examples % batch_size == 0 and jax.default_backend() == "cpu":
        step = sgd_step(activations=network, cost=cost, learning_rate=learning_rate, batch_size=batch_size, l2=l2)
        return step, State(params, ()), min(KERNEL_STEPS * batch_size, examples)
    update = OPTIMIZERS[optimizer](learning_rate)

    def loss(params: mlp.Params, batch: mlp.Batch) -> jax.Array:
        return mlp.loss(params, batch, activations=network, cost=cost, l2=l2)

    return gradient_step(loss, update), init_state(params, update), batch_size
