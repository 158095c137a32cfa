"""A training on the command line, from the data to the report."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import typer
from jaxtyping import Array
from rich.table import Table

from jaxnets.cli.console import console
from jaxnets.cli.train.engine import Run
from jaxnets.cli.train.method import Keys, Learner, Plan
from jaxnets.cli.train.not_finite import exit_where_not_finite
from jaxnets.train import (
    Epoch,
    MembersEpoch,
    State,
    Step,
    averaged,
    init_averaged,
    mean_in_batches,
    member,
    no_better,
)
from jaxnets.train.loop import Stop

HELD_BACK = "validation "


class Data(NamedTuple):
    """Examples, each a tree of arrays."""

    train: Any
    validation: Any
    """None if none are held back."""
    test: Any


class Judge(NamedTuple):
    """How well a network does."""

    metrics: Callable[[Any, Any], dict[str, Array]]
    """(params, batch) -> means over the batch"""
    shown: str
    """That which the report gives: a fraction, of which more is better."""
    batch: int
    """Examples that are measured at a time."""


def split(plan: Plan, train: Any, test: Any, things: str) -> Data:
    """Hold back the examples that the options ask for; bad usage if sizes do not fit them."""
    method, count = plan.method, len(jax.tree.leaves(train)[0])
    if method.patience is not None and not method.validation:
        raise typer.BadParameter("--patience wants examples to judge by: --validation, such as a tenth of them")
    if method.validation >= count:
        raise typer.BadParameter(f"--validation is {method.validation}, there are {count} {things}")
    kept = count - method.validation
    if plan.batch_size > kept:
        raise typer.BadParameter(f"--batch-size is {plan.batch_size}, there are {kept} {things}")
    for size in (plan.batch_size, kept % plan.batch_size):
        if method.micro_batch is not None and size % method.micro_batch:
            raise typer.BadParameter(
                f"--micro-batch is {method.micro_batch}, wanted a divisor of every batch: {plan.batch_size} examples, "
                f"and the last {kept % plan.batch_size} of {kept}"
            )
    held = jax.tree.map(lambda a: a[kept:], train) if method.validation else None
    return Data(jax.tree.map(lambda a: a[:kept], train), held, test)


def learn(plan: Plan, learner: Learner, data: Data, judge: Judge) -> Any:
    """Train one network, or many at once, with a line for each epoch and a report; return the (best) parameters.

    Exit status 1 if a loss becomes infinite or not a number; of an ensemble, if all of them do.
    """
    count = len(jax.tree.leaves(data.train)[0])
    key, average = jax.random.key(plan.seed), plan.method.average
    block = learner.block or plan.batch_size
    evaluate = evaluation(judge, data.test, data.validation, average)

    def step_of(factor: Any) -> Any:
        step = learner.step(plan.update(count, factor))
        return averaged(step, average) if average else step

    def init(key: Array, factor: Any) -> State:
        state = learner.init(key, plan.update(count, factor))
        return init_averaged(state, average) if average else state

    order = Keys.of(key).order
    if plan.method.ensemble is not None:
        if plan.method.patience is not None:
            raise typer.BadParameter("--patience is for one network: the members of an --ensemble end together")
        factors = _factors(plan.method.ensemble, plan.method.spread)
        keys = jnp.stack([jax.random.key(plan.seed + number) for number in range(plan.method.ensemble)])
        states, history = plan.run.sweep(
            step_of,
            init,
            data.train,
            settings=factors,
            keys=keys,
            order=order,
            batch_size=block,
            epochs=plan.epochs,
            evaluate=evaluate,
        )
        best = _report_members(plan, judge, np.asarray(factors), history, held_back=data.validation is not None)
        return _judged(member(states, best).params, average)
    if plan.method.spread != 1:
        raise typer.BadParameter("--spread is for the step sizes of an --ensemble")
    patience = plan.method.patience
    state = trained(
        step_of(1.0),
        init(key, 1.0),
        data.train,
        evaluate=evaluate,
        shown=judge.shown,
        key=order,
        block=block,
        epochs=plan.epochs,
        run=plan.run,
        stop=None if patience is None else no_better(_held_back(judge.shown), patience=patience),
    )
    return _judged(state.params, average)


def trained(
    step: Step,
    state: State,
    data: Any,
    *,
    evaluate: Callable[[Any], dict[str, Array]],
    shown: str,
    key: Array,
    block: int,
    epochs: int,
    run: Run,
    stop: Stop | None = None,
) -> State:
    """Train by steps of `block` examples, with a line for each epoch and a report on the metric `shown`, a fraction.

    Exit status 1 if the loss becomes infinite or not a number.
    """
    with exit_where_not_finite():
        state, history = run.train(
            step, state, data, key=key, batch_size=block, epochs=epochs, evaluate=evaluate, stop=stop
        )
    _report(shown, history, epochs)
    return state


def _report(shown: str, history: tuple[Epoch, ...], epochs: int) -> None:
    """Print the last value and the best of the metric `shown`, a fraction; that of the best epoch by validation."""
    values = [epoch.metrics[shown] for epoch in history]
    best = int(np.argmax(values))
    seconds = sum(epoch.seconds for epoch in history)
    console.print(
        f"{shown} {values[-1]:.2%}, best {values[best]:.2%} after epoch {history[best].epoch}, "
        f"{seconds:.1f} s of training"
    )
    judged = [epoch.metrics.get(_held_back(shown)) for epoch in history]
    if judged[0] is not None:
        chosen = int(np.argmax(np.asarray(judged, float)))
        console.print(
            f"chosen by the validation set: epoch {history[chosen].epoch}, {_held_back(shown)} {judged[chosen]:.2%}, "
            f"{shown} {values[chosen]:.2%}"
        )
    if history[-1].epoch < epochs:
        console.print(f"stopped after epoch {history[-1].epoch} of {epochs}: it had become no better")


def evaluation(judge: Judge, test: Any, validation: Any, average: float = 0.0) -> Callable[[Any], dict[str, Array]]:
    """From the parameters, or their average, to the metrics of the test set, and of the validation set if any."""
    test, held = (jax.tree.map(jnp.asarray, part) for part in (test, validation))

    def evaluate(params: Any) -> dict[str, Array]:
        params = _judged(params, average)

        def of_batch(batch: Any) -> dict[str, Array]:
            return judge.metrics(params, batch)

        found = mean_in_batches(of_batch, test, batch_size=judge.batch)
        if held is not None:
            also = mean_in_batches(of_batch, held, batch_size=judge.batch)
            found |= {_held_back(name): value for name, value in also.items()}
        return found

    return evaluate


def _held_back(name: str) -> str:
    """What a metric of the test set is called on the validation set."""
    return HELD_BACK + name.removeprefix("test ")


def _judged(params: Any, average: float) -> Any:
    return params.mean if average else params


def _factors(members: int, spread: float) -> Array:
    """Of the step size of each member, in equal ratios."""
    return spread ** jnp.linspace(-1.0, 1.0, members) if members > 1 else jnp.ones(1)


def _report_members(
    plan: Plan, judge: Judge, factors: np.ndarray, history: tuple[MembersEpoch, ...], *, held_back: bool
) -> int:
    """Print a row for each member; return the best at the end, by the validation set if there is one."""
    finite = np.all([epoch.finite for epoch in history], axis=0)
    values = np.stack([epoch.metrics[judge.shown] for epoch in history])
    by = np.stack([epoch.metrics[_held_back(judge.shown)] for epoch in history]) if held_back else values
    table = Table("seed", "step size", judge.shown, "best", "after epoch", box=None, header_style="bold")
    if held_back:
        table.add_column(_held_back(judge.shown))
    for number, factor in enumerate(factors):
        best = int(values[:, number].argmax())
        cells = [f"{values[-1, number]:.2%}", f"{values[best, number]:.2%}", str(history[best].epoch)]
        cells += [f"{by[-1, number]:.2%}"] * held_back
        cells = cells if finite[number] else ["not finite"]
        table.add_row(str(plan.seed + number), f"{plan.learning_rate * float(factor):.3g}", *cells)
    console.print(table)
    if not finite.any():
        console.print("stopped: no member's losses and parameters are finite")
        raise typer.Exit(1)
    ends = values[-1, finite]
    best = int(np.where(finite, by[-1], -np.inf).argmax())
    chosen = "chosen" if held_back else "best"
    console.print(
        f"{judge.shown} of {len(ends)} networks: mean {ends.mean():.2%}, standard deviation {ends.std():.2%}, "
        f"{chosen} {values[-1, best]:.2%} (seed {plan.seed + best}), "
        f"{sum(epoch.seconds for epoch in history):.1f} s of training"
    )
    return best
