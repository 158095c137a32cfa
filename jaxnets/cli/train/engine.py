"""The options that `jaxnets train` has for every network: checkpoints, records, what is not finite."""

import enum
import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from jaxnets.cli.train.profile import print_profile
from jaxnets.cli.train.schedule import Schedule
from jaxnets.train import Epoch, NonFinite, State, Step, fit
from jaxnets.train.checkpoint import CheckpointError, Checkpoints, fit_resumable
from jaxnets.train.progress import epoch_progress
from jaxnets.train.records import json_lines, tensorboard


class Engine(NamedTuple):
    """How a training is run, whatever is trained."""

    checkpoints: Annotated[
        Path | None, typer.Option(help="Directory for a checkpoint after every epoch.", rich_help_panel="Run")
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.", rich_help_panel="Run")] = (
        False
    )
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback", help="Go on from an earlier checkpoint if the last is damaged.", rich_help_panel="Run"
        ),
    ] = False
    keep: Annotated[int, typer.Option(min=1, help="Checkpoints that are kept.", rich_help_panel="Run")] = 3
    log: Annotated[
        Path | None, typer.Option(help="File to which every epoch is added as a line of JSON.", rich_help_panel="Run")
    ] = None
    tensorboard: Annotated[Path | None, typer.Option(help="Directory for TensorBoard.", rich_help_panel="Run")] = None
    skip_bad_steps: Annotated[
        bool,
        typer.Option(
            "--skip-bad-steps",
            help="Undo and count steps that are infinite or not a number, instead of stopping.",
            rich_help_panel="Run",
        ),
    ] = False
    trace_bad_steps: Annotated[
        bool,
        typer.Option(
            "--trace-bad-steps", help="Stop with the step and the parameter named; slower.", rich_help_panel="Run"
        ),
    ] = False
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Measure time, FLOP and memory of a step before training.", rich_help_panel="Run"
        ),
    ] = False


class Run(NamedTuple):
    """An `Engine`, and the other options of the command, which must be the same when the run goes on."""

    engine: Engine
    options: Mapping[str, Any]

    def train(self, step: Step, state: State, data: Any, *, epochs: int, **options: Any) -> tuple[State, Any]:
        """As `jaxnets.train.fit`, with a line on the console for each epoch."""
        engine = self.engine
        non_finite = NonFinite.STOP
        if engine.skip_bad_steps or engine.trace_bad_steps:
            non_finite = NonFinite.SKIP if engine.skip_bad_steps else NonFinite.TRACE
        if engine.profile:
            print_profile(step, state, data, options["batch_size"])
        with ExitStack() as stack:
            told = [stack.enter_context(epoch_progress(epochs))]
            if engine.log is not None:
                told.append(stack.enter_context(json_lines(engine.log)))
            if engine.tensorboard is not None:
                told.append(stack.enter_context(tensorboard(engine.tensorboard)))

            def on_epoch(epoch: Epoch) -> None:
                for tell in told:
                    tell(epoch)

            options |= {"epochs": epochs, "on_epoch": on_epoch, "non_finite": non_finite}
            if engine.checkpoints is None:
                return fit(step, state, data, **options)
            checkpoints = stack.enter_context(Checkpoints(engine.checkpoints, keep=engine.keep, run=self.options))
            if checkpoints.epochs() and not engine.resume:
                raise typer.BadParameter(
                    f"--checkpoints {engine.checkpoints} has some already; --resume goes on from them"
                )
            try:
                return fit_resumable(step, state, data, checkpoints=checkpoints, fallback=engine.fallback, **options)
            except CheckpointError as error:
                raise typer.BadParameter(str(error)) from None


def with_engine(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `run: Run` is made of the options of `Engine`, after its own."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "run"]
    hints = get_type_hints(Engine, include_extras=True)
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=Engine._field_defaults[name], annotation=hints[name]
        )
        for name in Engine._fields
    ]

    @functools.wraps(command)
    def with_options(**options: Any) -> None:
        engine = Engine(**{name: options.pop(name) for name in Engine._fields})
        of_run = {"network": command.__name__} | {name: _as_json(value) for name, value in options.items()}
        if options.get("schedule") is not Schedule.COSINE:
            del of_run["epochs"]  # more of them is a longer run; a cosine would be another one
        command(**options, run=Run(engine, of_run))

    parameters = [*own, *added]
    with_options.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def _as_json(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
