"""The options that every network has that is trained down a gradient, and what becomes of them."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import optax
import typer
from jaxtyping import Array

from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.optimizers import BY_EQUATIONS, OPTIMIZERS, Optimizer
from jaxnets.cli.train.schedule import Schedule, steps_in
from jaxnets.train import (
    State,
    Step,
    gradient_step,
    init_state,
    init_stateful,
    mixed_precision,
    mixed_precision_stateful,
    stateful_step,
)


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Method", **settings)


def _above_zero(clip: float | None) -> float | None:
    if clip is not None and not clip > 0:
        raise typer.BadParameter(f"{clip} leaves nothing of the gradient, wanted a number above 0 (inf for no limit)")
    return clip


class Method(NamedTuple):
    """How parameters are moved, and by what the training is judged."""

    validation: Annotated[
        int, _option(min=0, help="Hold back so many of the last training examples, and measure on them too.")
    ] = 0
    patience: Annotated[
        int | None,
        _option(min=0, help="Stop when the validation set has not become better for more than so many epochs."),
    ] = None
    weight_decay: Annotated[
        float, _option(min=0.0, help="λ: weights (not biases) shrink by η λ of themselves in every step.")
    ] = 0.0
    clip: Annotated[
        float | None,
        _option(callback=_above_zero, help="Largest norm of the gradient, beyond which it is scaled down; inf: none."),
    ] = None
    average: Annotated[
        float,
        _option(min=0.0, max=0.999999, help="Decay of a mean of the parameters over the steps, which is then tested."),
    ] = 0.0
    micro_batch: Annotated[
        int | None, _option(min=1, help="Examples of a batch whose gradient is taken at a time, to save memory.")
    ] = None
    bfloat16: Annotated[bool, _option("--bfloat16", help="Compute in bfloat16; parameters are kept in float32.")] = (
        False
    )
    by_equations: Annotated[
        bool,
        _option("--by-equations", help="The update rules of jaxnets.optim, as their papers have them, not Optax's."),
    ] = False
    ensemble: Annotated[
        int | None, _option(min=1, help="Train so many networks at once, with the seeds from --seed on.")
    ] = None
    spread: Annotated[
        float,
        _option(min=1.0, help="With --ensemble: step sizes from the learning rate / F to the learning rate x F."),
    ] = 1.0


class Plan(NamedTuple):
    """How to train, as the options say."""

    optimizer: Optimizer
    learning_rate: float
    schedule: Schedule
    batch_size: int
    epochs: int
    seed: int
    run: Run
    method: Method = Method()
    clip: float | None = None
    """Unless `--clip` is given."""

    def is_plain(self) -> bool:
        """Whether a step is one of plain gradient descent."""
        plain = Method(validation=self.method.validation, patience=self.method.patience)
        return self.method == plain and self.optimizer is Optimizer.SGD and self.schedule is Schedule.CONSTANT

    def update(self, examples: int, factor: Any = 1.0) -> optax.GradientTransformation:
        """The update rule, for so many examples in an epoch and a learning rate times a factor."""
        rate: Any = self.learning_rate * factor
        if self.schedule is Schedule.COSINE:
            steps = steps_in(self.epochs, examples, self.batch_size)
            rate = lambda count: self.learning_rate * factor * optax.cosine_decay_schedule(1.0, steps)(count)
        rules = BY_EQUATIONS if self.method.by_equations else OPTIMIZERS
        parts = [rules[self.optimizer](rate)]
        if self.method.weight_decay:
            # The rule's own step size is 1, so that the decay too is scaled by that of the step.
            decay = optax.add_decayed_weights(-self.method.weight_decay, mask=_weights)
            parts = [rules[self.optimizer](1.0), decay, optax.scale_by_learning_rate(rate, flip_sign=False)]
        clip = self.clip if self.method.clip is None else self.method.clip
        if clip is not None:
            parts.insert(0, optax.clip_by_global_norm(clip))
        return optax.chain(*parts)


class Learner(NamedTuple):
    """A network that learns, for any update rule."""

    init: Callable[[Array, optax.GradientTransformation], State]
    """(key, update rule) -> the state in which it starts"""
    step: Callable[[optax.GradientTransformation], Step]
    block: int | None = None
    """Examples of a step, if not those of a batch."""


def learner(plan: Plan, init: Callable[[Array], Any], loss: Callable[[Any, Any], Array]) -> Learner:
    """A network with a loss(params, batch)."""
    computed = mixed_precision(loss) if plan.method.bfloat16 else loss
    return Learner(
        lambda key, update: init_state(init(Keys.of(key).params), update),
        lambda update: gradient_step(computed, update, micro_batch=plan.method.micro_batch),
    )


def stateful_learner(
    plan: Plan, init: Callable[[Array], tuple[Any, Any]], loss: Callable[[Any, Any, Any, Array], tuple[Array, Any]]
) -> Learner:
    """A network with a loss(params, carried, batch, key) -> (scalar, carried)."""
    if plan.method.micro_batch is not None:
        raise typer.BadParameter(
            "--micro-batch wants a loss that is a mean over examples; this network has batch normalisation or dropout, "
            "whose mean and whose mask are of the whole batch: a smaller --batch-size fits"
        )
    computed = mixed_precision_stateful(loss) if plan.method.bfloat16 else loss

    def start(key: Array, update: optax.GradientTransformation) -> State:
        keys = Keys.of(key)
        return init_stateful(*init(keys.params), update, keys.steps)

    return Learner(start, lambda update: stateful_step(computed, update))


class Keys(NamedTuple):
    """What is drawn at random from a seed."""

    params: Array
    order: Array
    steps: Array

    @staticmethod
    def of(key: Array) -> "Keys":
        """All of one key."""
        return Keys(*jax.random.split(key, 3))


def _weights(params: Any) -> Any:
    return jax.tree.map(lambda a: a.ndim > 1, params)
