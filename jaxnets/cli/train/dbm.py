"""`jaxnets train dbm`."""

from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import typer
from jaxtyping import Array, Float, Key

from jaxnets.cli.console import console
from jaxnets.cli.datasets import CLASSES, DataSet
from jaxnets.cli.train.classifier import BatchSize, DataOption, Epochs, Seed, TrainSize, training_data
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.not_finite import exit_where_not_finite
from jaxnets.cli.train.pictures import Picture, draw_images, require_plot
from jaxnets.cli.train.schedule import steps_in
from jaxnets.cli.train.stack import PretrainEpochs, PretrainRate, Sizes, pretrained, start, widths
from jaxnets.data import as_inputs
from jaxnets.nets import dbm, dbm_classifier, dbm_learning, dbm_pretraining, mlp, rbm
from jaxnets.nets.annealed_importance import estimate, temperatures
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.dbm_annealing import Interval, estimated_bound, of_dbm
from jaxnets.nets.dbn import activations_of
from jaxnets.nets.mean_field import mean_field, upward
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.train import accuracy, apply_in_batches, fit, gradient_step, init_state

CHAINS = 100
"""Persistent chains in training, and chains of annealed importance sampling."""

PICTURE_STEPS = 200
MEAN_FIELD_STEPS = 30
FINE_TUNING_RATE = 1e-3


def train_dbm(
    data_set: DataOption = DataSet.MNIST_SMALL,
    sizes: Sizes = "784,200,400",
    pretrain_epochs: PretrainEpochs = 10,
    pretrain_rate: PretrainRate = 0.05,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of the whole machine at first; it falls to 0.")] = 0.01,
    batch_size: BatchSize = 100,
    epochs: Epochs = 10,
    fine_tuning: Annotated[int, typer.Option(min=1, help="Passes of backpropagation, as a classifier.")] = 10,
    steps: Annotated[int, typer.Option("--temperatures", min=1, help="Of annealed importance sampling.")] = 20_000,
    seed: Seed = 0,
    train_size: TrainSize = None,
    picture: Picture = None,
    *,
    run: Run,
) -> None:
    """Train a deep Boltzmann machine without labels; print a bound on its likelihood, and its accuracy as a classifier.

    The bound is for binary test images: each pixel is drawn, black with a probability as large as its value.
    Pre-training is layer by layer; then the whole machine learns by mean field and persistent chains (the checkpoints
    are of this); then a network that has its weights, and its mean field for inputs, is fine-tuned.  Exit status: 0, 1
    if a loss becomes infinite or not a number, 2 if the command was wrong.
    """
    require_plot(picture)
    loaded = training_data(data_set, train_size, batch_size)
    images, test_images = (jnp.asarray(as_inputs(part)) for part in (loaded.train_images, loaded.test_images))
    layers = widths(sizes, images.shape[1], least=3)
    keys = jax.random.split(jax.random.key(seed), 9)
    console.print(f"{data_set.value}: {len(images)} training and {len(test_images)} test images, {jax.devices()[0]}")
    stack, _ = pretrained(
        start(keys[0], layers, images),
        images,
        key=keys[1],
        rate=pretrain_rate,
        batch_size=batch_size,
        epochs=pretrain_epochs,
        machines=dbm_pretraining.doubled(len(layers) - 1),
    )
    machine = dbm_pretraining.compose(stack)
    falling = optax.linear_schedule(learning_rate, 0.0, steps_in(epochs, len(images), batch_size))
    optimizer = optax.sgd(falling, momentum=0.5)
    chains = jax.jit(_first_chains)(machine, images[:CHAINS], keys[2])
    with exit_where_not_finite():
        state, _ = run.train(
            dbm_learning.pcd_step(optimizer),
            dbm_learning.init_pcd(machine, chains, optimizer, keys[3]),
            images,
            key=keys[4],
            batch_size=batch_size,
            epochs=epochs,
        )
    machine = state.params
    _print_bound(machine, sample_bernoulli(keys[8], test_images), rbm.data_biases(images), steps, keys[5])
    if picture is not None:
        draw_images(jax.jit(_drawn)(machine, state.opt_state.carried, keys[6]), 10, picture)
    _classify(
        machine, (images, loaded.train_labels), (test_images, loaded.test_labels), fine_tuning, batch_size, keys[7]
    )


def _first_chains(machine: dbm.Params, v: Float[Array, "chains pixels"], key: Key[Array, ""]) -> dbm.Layers:
    """From images, with what mean field says of them."""
    return dbm.gibbs_sweep(machine, upward(machine, v), key)


def _drawn(machine: dbm.Params, chains: dbm.Layers, key: Key[Array, ""]) -> Float[Array, "chains pixels"]:
    """Where the chains come to, as the probabilities that their pixels are drawn with."""
    return dbm.probabilities(machine, dbm_learning.gibbs(machine, chains, key, steps=PICTURE_STEPS), first=0)[0]


def _print_bound(
    machine: dbm.Params, v: Float[Array, "batch visible"], a: Float[Array, " visible"], steps: int, key: Key[Array, ""]
) -> None:
    betas = temperatures((0.5, max(steps // 10, 1)), (1.0, steps))

    @jax.jit
    def bound(machine: dbm.Params) -> Interval:
        log_z = estimate(of_dbm(machine, a), betas, key, chains=CHAINS)
        return estimated_bound(machine, v, mean_field(machine, v, steps=MEAN_FIELD_STEPS).mu, log_z)

    found = bound(machine)
    console.print(
        f"ln p of a test image, pixels drawn: at least {found.bound:.2f} on average, "
        f"with an interval of {found.low:.2f} to {found.high:.2f} for ln Z by annealed importance sampling"
    )


def _classify(
    machine: dbm.Params,
    train: tuple[Float[Array, "n pixels"], Any],
    test: tuple[Float[Array, "m pixels"], Any],
    epochs: int,
    batch_size: int,
    key: Key[Array, ""],
) -> None:
    """Fine-tune the network of the machine with Adam, and print its test accuracy."""
    network = activations_of(machine.w)

    @jax.jit
    def features(machine: dbm.Params, images: Float[Array, "n pixels"]) -> Float[Array, "n _"]:
        infer = partial(dbm_classifier.features, machine, steps=MEAN_FIELD_STEPS)
        return apply_in_batches(infer, images, batch_size=1000)

    (x, t), (test_x, test_t) = (
        (features(machine, images), jnp.asarray(labels, jnp.int32)) for images, labels in (train, test)
    )
    params = dbm_classifier.classifier(machine, CLASSES)
    update = optax.adam(optax.cosine_decay_schedule(FINE_TUNING_RATE, steps_in(epochs, len(x), batch_size)))

    def loss(params: mlp.Params, batch: Any) -> Array:
        return softmax_cross_entropy_with_integer_labels(mlp.apply(params, batch[0], activations=network), batch[1])

    def evaluate(params: mlp.Params) -> dict[str, Array]:
        return {"test accuracy": accuracy(mlp.apply(params, test_x, activations=network), test_t)}

    with exit_where_not_finite():
        _, history = fit(
            gradient_step(loss, update),
            init_state(params, update),
            (x, t),
            key=key,
            batch_size=batch_size,
            epochs=epochs,
            evaluate=evaluate,
        )
    console.print(f"test accuracy {history[-1].metrics['test accuracy']:.2%} after {epochs} epochs of backpropagation")
