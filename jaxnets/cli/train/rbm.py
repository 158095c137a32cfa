"""`jaxnets train rbm`."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import typer
from jaxtyping import Array, Float, Key

from jaxnets.cli.console import console
from jaxnets.cli.datasets import DataSet
from jaxnets.cli.train.classifier import (
    BatchSize,
    DataOption,
    Epochs,
    LearningRate,
    ScheduleOption,
    Seed,
    TrainSize,
    training_data,
)
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.not_finite import exit_where_not_finite
from jaxnets.cli.train.pictures import Picture, draw_images, require_plot
from jaxnets.cli.train.schedule import Schedule, steps_in
from jaxnets.data import as_inputs
from jaxnets.nets import annealed_importance, rbm
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.contrastive_divergence import (
    Reconstruction,
    Sparsity,
    contrastive_divergence,
    gibbs,
    persistent_contrastive_divergence,
)
from jaxnets.nets.pseudo_likelihood import sampled_pseudo_log_likelihood
from jaxnets.train import Step, estimating_step, init_estimating, mean_in_batches

Images = Float[Array, "examples pixels"]

PICTURE_COLUMNS, PICTURE_ROUNDS = 20, 1000


def train_rbm(
    data_set: DataOption = DataSet.MNIST_SMALL,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units.")] = 100,
    cd_steps: Annotated[int, typer.Option(min=1, help="Rounds of the chains in a step: k of CD-k and PCD-k.")] = 1,
    persistent: Annotated[
        bool, typer.Option("--persistent", help="PCD: chains go on where they were, not from the data.")
    ] = False,
    means: Annotated[
        bool, typer.Option("--means", help="Visible units of a chain take their means: less noise, but no chain.")
    ] = False,
    learning_rate: LearningRate = 0.1,
    schedule: ScheduleOption = Schedule.COSINE,
    momentum: Annotated[float, typer.Option(min=0.0, max=0.999, help="Of the step.")] = 0.5,
    weight_decay: Annotated[float, typer.Option(min=0.0, help="λ: weights shrink by η λ of themselves a step.")] = 2e-4,
    sparsity: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Part of the data for which a hidden unit is to be on.")
    ] = None,
    sparsity_cost: Annotated[float, typer.Option(min=0.0, help="Weight of --sparsity.")] = 0.1,
    batch_size: BatchSize = 20,
    epochs: Epochs = 10,
    chains: Annotated[int, typer.Option(min=2, help="Of annealed importance sampling.")] = 100,
    temperatures: Annotated[int, typer.Option(min=29, help="Of annealed importance sampling.")] = 10_000,
    seed: Seed = 0,
    train_size: TrainSize = None,
    picture: Picture = None,
    *,
    run: Run,
) -> None:
    """Train a restricted Boltzmann machine of binary units without labels; print how probable the test images are.

    Pixels are drawn, black with a probability as large as their value, anew in every step.  The loss is the
    reconstruction error, which is not what is minimised.  At the end the partition function is estimated by annealed
    importance sampling; the intervals are of three standard errors, and end at infinity if the chains tell too little:
    more temperatures help.  The picture has, from the top, weights of hidden units, test images, their reconstructions,
    and what chains that began with noise have become after 1000 rounds.
    Exit status: 0, 1 if the loss becomes infinite or not a number, 2 if the command was wrong.
    """
    require_plot(picture)
    if persistent and means:
        raise typer.BadParameter("--means is for chains that begin at the data, --persistent chains are drawn")
    loaded = training_data(data_set, train_size, batch_size)
    images, test = (jnp.asarray(as_inputs(part)) for part in (loaded.train_images, loaded.test_images))
    keys = jax.random.split(jax.random.key(seed), 8)
    test = sample_bernoulli(keys[0], test)
    biases = rbm.data_biases(images)
    params = rbm.init(keys[1], images.shape[1], hidden)._replace(b=biases)
    pulled = None if sparsity is None else Sparsity(sparsity, sparsity_cost)
    reconstruction = Reconstruction.MEANS if means else Reconstruction.DRAWN
    rate = learning_rate
    if schedule is Schedule.COSINE:
        rate = optax.cosine_decay_schedule(learning_rate, steps_in(epochs, len(images), batch_size))
    optimizer = optax.chain(
        optax.add_decayed_weights(weight_decay, lambda params: jax.tree.map(lambda a: a.ndim > 1, params)),
        optax.sgd(rate, momentum=momentum),
    )

    def evaluate(params: rbm.Params) -> dict[str, Array]:
        def of_batch(v: Images) -> Array:
            return sampled_pseudo_log_likelihood(params, v, keys[2]).mean()

        return {"test pseudo-log-likelihood": mean_in_batches(of_batch, test, batch_size=1000)}

    console.print(f"{data_set.value}: {len(images)} training and {len(test)} test images, {jax.devices()[0]}")
    start = sample_bernoulli(keys[3], images[:batch_size]) if persistent else ()
    with exit_where_not_finite():
        state, _ = run.train(
            _step(optimizer, cd_steps, persistent, reconstruction, pulled),
            init_estimating(params, start, optimizer, keys[4]),
            images,
            key=keys[5],
            batch_size=batch_size,
            epochs=epochs,
            evaluate=evaluate,
        )
    _print_likelihood(state.params, test, biases, chains, temperatures, keys[6])
    if picture is not None:
        draw_images(_shown(state.params, test[:PICTURE_COLUMNS], keys[7]), PICTURE_COLUMNS, picture)


def _step(
    optimizer: optax.GradientTransformation,
    steps: int,
    persistent: bool,
    reconstruction: Reconstruction,
    sparsity: Sparsity | None,
) -> Step:
    """Contrastive divergence on pixels that are drawn first."""

    def estimate(params: rbm.Params, chains: Any, pixels: Images, key: Key[Array, ""]) -> tuple[Any, Any, Array]:
        data_key, key = jax.random.split(key)
        v = sample_bernoulli(data_key, pixels)
        if persistent:
            return persistent_contrastive_divergence(params, v, chains, key, steps=steps, sparsity=sparsity)
        direction, error = contrastive_divergence(
            params, v, key, steps=steps, reconstruction=reconstruction, sparsity=sparsity
        )
        return direction, chains, error

    return estimating_step(estimate, optimizer)


def _print_likelihood(
    params: rbm.Params, test: Images, biases: Float[Array, " pixels"], chains: int, steps: int, key: Key[Array, ""]
) -> None:
    """The estimate of ln Z, and with it the mean of ln p over the test images."""
    # In the proportions of Salakhutdinov and Murray: most temperatures where the machine is nearly itself.
    parts = steps // 29, 8 * steps // 29
    betas = annealed_importance.temperatures((0.5, parts[0]), (0.9, parts[1]), (1.0, steps - sum(parts)))
    found = jax.jit(
        lambda params: annealed_importance.estimate(
            annealed_importance.of_rbm(params, biases), betas, key, chains=chains
        )
    )(params)
    energy = mean_in_batches(lambda v: rbm.free_energy(params, v).mean(), test, batch_size=1000)
    console.print(
        f"ln Z {found.log_z:.2f} ({found.low:.2f} to {found.high:.2f}), {chains} chains worth {found.effective:.0f}, "
        f"{steps} temperatures"
    )
    console.print(
        f"ln p of a test image {-energy - found.log_z:.2f} on average ({-energy - found.high:.2f} to "
        f"{-energy - found.low:.2f})"
    )


def _shown(params: rbm.Params, v: Images, key: Key[Array, ""]) -> Float[Array, "shown pixels"]:
    """Two rows of weights, and one each of images, reconstructions and samples."""
    first_key, chain_key = jax.random.split(key)
    w = params.w.T[: 2 * PICTURE_COLUMNS]
    w = jnp.tile(w, (-(-2 * PICTURE_COLUMNS // len(w)), 1))[: 2 * PICTURE_COLUMNS]
    filters = 0.5 + 0.5 * w / jnp.abs(w).max(1, keepdims=True)
    back = rbm.visible_probabilities(params, rbm.hidden_probabilities(params, v))
    noise = jax.random.bernoulli(first_key, 0.5, v.shape).astype(v.dtype)
    _, hidden = jax.jit(gibbs, static_argnames="steps")(params, noise, chain_key, steps=PICTURE_ROUNDS)
    return jnp.concatenate([filters, v, back, rbm.visible_probabilities(params, hidden)])
