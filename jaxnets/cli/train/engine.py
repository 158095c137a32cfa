"""The options that `jaxnets train` has for every network: checkpoints, records, what is not finite."""

import enum
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import jax
import numpy as np
import typer

from jaxnets.cli.train.profile import print_profile
from jaxnets.cli.train.schedule import Schedule
from jaxnets.train import MembersEpoch, NonFinite, State, Step, fit, sweep
from jaxnets.train.checkpoint import CheckpointError, Checkpoints, fit_resumable
from jaxnets.train.progress import epoch_progress
from jaxnets.train.records import json_lines, tensorboard

AFTERWARDS = ("picture", "chains", "temperatures")
"""Options that say what is done with a trained network, which may be others when a run goes on."""


class Engine(NamedTuple):
    """How a training is run, whatever is trained."""

    checkpoints: Annotated[
        Path | None, typer.Option(help="Directory for a checkpoint after every epoch.", rich_help_panel="Run")
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint, if any.", rich_help_panel="Run")
    ] = False
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
    stream: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Keep the training set in the host's memory, and send so many batches at a time to the device.",
            rich_help_panel="Run",
        ),
    ] = None
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
        if engine.checkpoints is None and (engine.resume or engine.fallback):
            raise typer.BadParameter("--resume and --fallback want the directory of a run: --checkpoints")
        if engine.skip_bad_steps and engine.trace_bad_steps:
            raise typer.BadParameter("--skip-bad-steps goes on where --trace-bad-steps stops: one of them fits")
        non_finite = NonFinite.STOP
        if engine.skip_bad_steps or engine.trace_bad_steps:
            non_finite = NonFinite.SKIP if engine.skip_bad_steps else NonFinite.TRACE
        if engine.profile:
            print_profile(step, state, data, options["batch_size"])
        with ExitStack() as stack:
            on_epoch = stack.enter_context(self._told(epochs))
            options |= {"epochs": epochs, "on_epoch": on_epoch, "non_finite": non_finite}
            if engine.stream is not None:
                options["stream"], data = engine.stream, jax.tree.map(np.asarray, data)
            if engine.checkpoints is None:
                return fit(step, state, data, **options)
            with _writable("--checkpoints"):
                checkpoints = stack.enter_context(Checkpoints(engine.checkpoints, keep=engine.keep, run=self.options))
            if checkpoints.epochs() and not engine.resume:
                raise typer.BadParameter(
                    f"--checkpoints {engine.checkpoints} has some already; --resume goes on from them"
                )
            try:
                return fit_resumable(step, state, data, checkpoints=checkpoints, fallback=engine.fallback, **options)
            except CheckpointError as error:
                raise typer.BadParameter(str(error)) from None

    def sweep(
        self,
        step_of: Callable[[Any], Step],
        init: Callable[[Any, Any], State],
        data: Any,
        *,
        epochs: int,
        **options: Any,
    ) -> tuple[State, tuple[MembersEpoch, ...]]:
        """As `jaxnets.train.sweep`, with a line on the console for each epoch; bad usage with what only one run has."""
        kept = {"log": self.engine.log}
        for name, value in self.engine._asdict().items():
            if name not in kept and value != Engine._field_defaults[name]:
                raise typer.BadParameter(f"--{name.replace('_', '-')} is for one network, and not for an --ensemble")
        with self._told(epochs) as on_epoch:
            return sweep(step_of, init, data, epochs=epochs, on_epoch=on_epoch, **options)

    @contextmanager
    def _told(self, epochs: int) -> Iterator[Callable[[Any], None]]:
        """What is told of every epoch: to the console, and to the records that were asked for."""
        with ExitStack() as stack:
            told: list[Callable[[Any], None]] = [stack.enter_context(epoch_progress(epochs))]
            for option, path, record in (
                ("--log", self.engine.log, json_lines),
                ("--tensorboard", self.engine.tensorboard, tensorboard),
            ):
                if path is not None:
                    with _writable(option):
                        told.append(stack.enter_context(record(path)))

            def on_epoch(epoch: Any) -> None:
                for tell in told:
                    tell(epoch)

            yield on_epoch


@contextmanager
def _writable(option: str) -> Iterator[None]:
    """Bad usage if what it names cannot be written to."""
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"{option} cannot be written to: {error}") from None
    except ImportError as error:
        raise typer.BadParameter(f"{option} wants pip install 'jaxnets[tensorboard]': {error}") from None


def with_engine(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `run: Run` is made of the options of `Engine`, after its own.

    A parameter that is another tuple of options (`method: Method`) is made of those.
    """
    whole = inspect.signature(command, eval_str=True).parameters
    own = [p for p in whole.values() if p.name != "run" and not hasattr(p.annotation, "_field_defaults")]
    groups = {p.name: p.annotation for p in whole.values() if p.name != "run" and p not in own}
    added = [parameter for group in (*groups.values(), Engine) for parameter in _parameters(group)]

    @functools.wraps(command)
    def with_options(**options: Any) -> None:
        engine = Engine(**{name: options.pop(name) for name in Engine._fields})
        made = {name: group(**{o: options.pop(o) for o in group._fields}) for name, group in groups.items()}
        of_run = {"network": command.__name__}
        of_run |= {name: _as_json(value) for name, value in options.items() if name not in AFTERWARDS}
        if options.get("schedule") is not Schedule.COSINE:
            del of_run["epochs"]  # more of them is a longer run; a cosine would be another one
        for group in made.values():
            of_run |= {o: v for o, v in group._asdict().items() if v != group._field_defaults[o] and o != "patience"}
        command(**options, **made, run=Run(engine, of_run))

    parameters = [*own, *added]
    with_options.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def _parameters(group: Any) -> list[inspect.Parameter]:
    """An option for every field."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in group._field_defaults.items()
    ]


def _as_json(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
