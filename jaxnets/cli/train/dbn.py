"""`jaxnets train dbn`."""

import enum
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import typer
from jaxtyping import Array, Float

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
    train_classifier,
    training_data,
)
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.method import Keys, Method, Plan, learner, stateful_learner
from jaxnets.cli.train.pictures import Picture, draw_images, require_plot
from jaxnets.cli.train.schedule import Schedule
from jaxnets.cli.train.stack import PretrainEpochs, PretrainRate, Sizes, pretrained, start, widths
from jaxnets.data import as_inputs, one_hot
from jaxnets.nets import dbn, mlp, rbm, up_down
from jaxnets.nets.associative_memory import associative_memory
from jaxnets.nets.contrastive_divergence import Reconstruction
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.train import Stateful

GIBBS_STEPS = 10
"""Rounds in the top RBM, in a step of up-down, and before in contrastive divergence."""

PICTURED = 100
"""Images in a picture."""

AWAY = 10
"""Rounds in the top RBM, from a training image on: after CD-1 many more lead away from all digits."""

FROM_NOISE = 1000
"""Rounds in the top RBM that has learnt by up-down, with the label held."""

Pretrain = Callable[..., tuple[tuple[rbm.Params, ...], Float[Array, "examples _"]]]
"""As `pretrained`, with most of its options given."""


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
    method: Method,
    run: Run,
) -> None:
    """Pre-train a deep belief network layer by layer without labels, fine-tune it, and print the test accuracy.

    The picture is of what the pre-trained network makes of training images in ten rounds of its top RBM; with up-down,
    of what the network generates for each class.  Checkpoints are of the fine-tuning; a run that goes on from them
    repeats the pre-training.  Exit status: 0, 1 if a loss becomes infinite or not a number, 2 if the command was wrong.
    """
    require_plot(picture)
    loaded = training_data(data_set, train_size, batch_size)
    images = jnp.asarray(as_inputs(loaded.train_images))
    generator = fine_tuning is FineTuning.UP_DOWN
    layers = widths(sizes, images.shape[1], least=3 if generator else 2)
    labelled = len(images) if labels is None else labels
    if not batch_size <= labelled <= len(images):
        raise typer.BadParameter(f"--labels is {labels}, wanted {batch_size} (--batch-size) to {len(images)}")
    if generator and (dropout or method != Method()):
        raise typer.BadParameter("--dropout and the options of the method are for backpropagation, and not for up-down")
    stack_key, pretrain_key, picture_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), 3)
    stack = start(stack_key, layers, images)
    pretrain = partial(pretrained, key=pretrain_key, rate=pretrain_rate, batch_size=batch_size, epochs=pretrain_epochs)
    plan = Plan(optimizer, learning_rate, schedule, batch_size, epochs, seed, run, method)
    train = (images[:labelled], loaded.train_labels[:labelled])
    test = (as_inputs(loaded.test_images), loaded.test_labels)
    if generator:
        params = _up_down(plan, stack, pretrain, images, train, test, data_set.value)
        if picture is not None:
            classes = jnp.tile(jnp.eye(CLASSES, dtype=images.dtype), (PICTURED // CLASSES, 1))
            generate = jax.jit(partial(up_down.generate, steps=FROM_NOISE))
            draw_images(generate(params, classes, picture_key), CLASSES, picture)
        return
    stack, _ = pretrain(stack, images)
    if picture is not None:
        below_the_top = (images[:PICTURED], *dbn.hidden_probabilities(stack, images[:PICTURED]))[-2]
        draw_images(jax.jit(partial(dbn.generate, steps=AWAY))(stack, below_the_top, picture_key), CLASSES, picture)
    _backpropagation(plan, stack, dropout, train, test, data_set.value)


def _backpropagation(
    plan: Plan, stack: dbn.Params, dropout: float, train: tuple[Array, Any], test: tuple[Any, Any], name: str
) -> None:
    """Fine-tune the network of the pass upwards, with a softmax on top."""
    network = dbn.activations_of(stack)

    def init(key: Array) -> mlp.Params:
        return dbn.classifier(stack, key, CLASSES)

    def with_dropout(params: mlp.Params, carried: tuple[()], batch: Any, key: Array) -> tuple[Array, tuple[()]]:
        return dbn.fine_tuning_loss(params, batch, key, rate=dropout), carried

    def without(params: mlp.Params, batch: Any) -> Array:
        return softmax_cross_entropy_with_integer_labels(mlp.apply(params, batch[0], activations=network), batch[1])

    def scores(params: Any, x: Array) -> Array:
        return mlp.apply(params.params if isinstance(params, Stateful) else params, x, activations=network)

    learns = (
        stateful_learner(plan, lambda key: (init(key), ()), with_dropout) if dropout else learner(plan, init, without)
    )
    learn_to_classify(plan, learns, image_data(plan, train, test), scores, name)


def _up_down(
    plan: Plan,
    stack: dbn.Params,
    pretrain: Pretrain,
    images: Float[Array, "examples pixels"],
    train: tuple[Array, Any],
    test: tuple[Any, Any],
    name: str,
) -> up_down.Params:
    """Pre-train, with the labels in the top RBM, and then train the generator as a whole."""
    *lower, top = stack
    lower, features = pretrain(lower, images)
    x, labels = train
    keys, t = Keys.of(jax.random.key(plan.seed)), jnp.asarray(one_hot(labels, CLASSES))
    (top,), _ = pretrain(
        [_with_labels(top)],
        jnp.concatenate([features[: len(t)], t], 1),
        steps=GIBBS_STEPS,
        reconstruction=Reconstruction.DRAWN,
        machines=[associative_memory(CLASSES)],
        numbered_from=len(stack),
    )
    update = plan.update(len(x))
    state = train_classifier(
        up_down.up_down_step(update, steps=GIBBS_STEPS),
        up_down.init_up_down(up_down.untie((*lower, top)), update, keys.steps),
        (x, t),
        scores=partial(up_down.scores, classes=CLASSES),
        test=test,
        name=name,
        key=keys.order,
        block=plan.batch_size,
        epochs=plan.epochs,
        run=plan.run,
    )
    return state.params


def _with_labels(top: rbm.Params) -> rbm.Params:
    """The RBM with label units, which know nothing yet, after its visible ones."""
    none = jnp.zeros((CLASSES, top.w.shape[1]), top.w.dtype)
    return top._replace(w=jnp.concatenate([top.w, none]), b=jnp.concatenate([top.b, none[:, 0]]))
