"""`jaxnets train dbn`."""

import enum
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import typer
from jaxtyping import Array

from jaxnets.cli.datasets import CLASSES, DataSet
from jaxnets.cli.train.classifier import (
    BatchSize,
    DataOption,
    Epochs,
    LearningRate,
    Optimizer,
    OptimizerOption,
    Plan,
    ScheduleOption,
    Seed,
    TrainSize,
    train_classifier,
    training_data,
)
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.pictures import Picture, draw_images, require_plot
from jaxnets.cli.train.schedule import Schedule
from jaxnets.cli.train.stack import PretrainEpochs, PretrainRate, Sizes, pretrained, start, widths
from jaxnets.data import as_inputs, one_hot
from jaxnets.nets import dbn, mlp, rbm, up_down
from jaxnets.nets.associative_memory import associative_memory
from jaxnets.nets.contrastive_divergence import Reconstruction
from jaxnets.train import Stateful, init_stateful, stateful_step

GIBBS_STEPS = 10
"""Rounds in the top RBM, in a step of up-down, and before in contrastive divergence."""

PICTURED = 100
"""Images in a picture."""

AWAY = 10
"""Rounds in the top RBM, from a training image on: after CD-1 many more lead away from all digits."""

FROM_NOISE = 1000
"""Rounds in the top RBM that has learnt by up-down, with the label held."""


class FineTuning(enum.Enum):
    """What becomes of the pre-trained stack."""

    BACKPROPAGATION = "backpropagation"
    UP_DOWN = "up-down"


def train_dbn(
    data_set: DataOption = DataSet.MNIST_SMALL,
    sizes: Sizes = "784,500,500",
    pretrain_epochs: PretrainEpochs = 10,
    pretrain_rate: PretrainRate = 0.05,
    fine_tuning: Annotated[
        FineTuning, typer.Option(help="Of a classifier; or of the generator, with the labels in its top RBM.")
    ] = FineTuning.BACKPROPAGATION,
    labels: Annotated[int | None, typer.Option(min=1, help="Fine-tune on the first so many images only.")] = None,
    dropout: Annotated[float, typer.Option(min=0.0, max=0.99, help="Of hidden units, in backpropagation.")] = 0.0,
    optimizer: OptimizerOption = Optimizer.ADAM,
    learning_rate: LearningRate = 0.001,
    schedule: ScheduleOption = Schedule.COSINE,
    batch_size: BatchSize = 100,
    epochs: Epochs = 20,
    seed: Seed = 0,
    train_size: TrainSize = None,
    picture: Picture = None,
    *,
    run: Run,
) -> None:
    """Pre-train a deep belief network layer by layer without labels, fine-tune it, and print the test accuracy.

    Checkpoints are of the fine-tuning; a run that goes on from them repeats the pre-training.  Exit status: 0, 1 if a
    loss becomes infinite or not a number, 2 if the command was wrong.
    """
    require_plot(picture)
    loaded = training_data(data_set, train_size, batch_size)
    images = jnp.asarray(as_inputs(loaded.train_images))
    layers = widths(sizes, images.shape[1], least=2 if fine_tuning is FineTuning.BACKPROPAGATION else 3)
    labelled = len(images) if labels is None else labels
    if not batch_size <= labelled <= len(images):
        raise typer.BadParameter(f"--labels is {labels}, wanted {batch_size} (--batch-size) to {len(images)}")
    stack_key, pretrain_key, order_key, step_key, picture_key = jax.random.split(jax.random.key(seed), 5)
    stack = start(stack_key, layers, images)
    pretrain = partial(pretrained, key=pretrain_key, rate=pretrain_rate, batch_size=batch_size, epochs=pretrain_epochs)
    classify = partial(
        train_classifier,
        test=(as_inputs(loaded.test_images), loaded.test_labels),
        name=data_set.value,
        key=order_key,
        block=batch_size,
        epochs=epochs,
        run=run,
    )
    update = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run).update(labelled)
    targets = loaded.train_labels[:labelled]

    if fine_tuning is FineTuning.BACKPROPAGATION:
        stack, _ = pretrain(stack, images)
        if picture is not None:
            features = (
                dbn.hidden_probabilities(stack[:-1], images[:PICTURED]) if len(stack) > 1 else (images[:PICTURED],)
            )
            draw_images(dbn.generate(stack, features[-1], picture_key, steps=AWAY), 10, picture)
        params = dbn.classifier(stack, step_key, CLASSES)

        def loss(params: mlp.Params, carried: tuple[()], batch: Any, key: Array) -> tuple[Array, tuple[()]]:
            return dbn.fine_tuning_loss(params, batch, key, rate=dropout), carried

        def scores(trained: Stateful, x: Array) -> Array:
            return mlp.apply(trained.params, x, activations=dbn.activations_of(stack))

        state = init_stateful(params, (), update, step_key)
        classify(
            stateful_step(loss, update), state, (images[:labelled], jnp.asarray(targets, jnp.int32)), scores=scores
        )
    else:
        *lower, top = stack
        lower, features = pretrain(lower, images)
        t = jnp.asarray(one_hot(loaded.train_labels, CLASSES))
        (top,), _ = pretrain(
            [with_labels(top)],
            jnp.concatenate([features, t], 1),
            key=step_key,
            steps=GIBBS_STEPS,
            reconstruction=Reconstruction.DRAWN,
            machines=[associative_memory(CLASSES)],
            numbered_from=len(stack),
        )
        params = up_down.untie((*lower, top))
        state = classify(
            up_down.up_down_step(update, steps=GIBBS_STEPS),
            up_down.init_up_down(params, update, step_key),
            (images[:labelled], t[:labelled]),
            scores=partial(up_down.scores, classes=CLASSES),
        )
        if picture is not None:
            one_of_each = jnp.tile(jnp.eye(CLASSES, dtype=images.dtype), (PICTURED // CLASSES, 1))
            draw_images(up_down.generate(state.params, one_of_each, picture_key, steps=FROM_NOISE), CLASSES, picture)


def with_labels(top: rbm.Params) -> rbm.Params:
    """The RBM with label units, which know nothing yet, after its visible ones."""
    none = jnp.zeros((CLASSES, top.w.shape[1]), top.w.dtype)
    return top._replace(w=jnp.concatenate([top.w, none]), b=jnp.concatenate([top.b, none[:, 0]]))
