"""The console's view of training: a line for each epoch, under a progress bar where there is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .ensemble import MembersEpoch
from .loop import Epoch


def epoch_line(epoch: Epoch | MembersEpoch, epochs: int) -> str:
    """Return one line on an epoch: its number, loss, metrics and seconds; of many members, from the least to the most.

    Members that are not finite are counted and left out.
    """
    width = len(str(epochs))
    good = epoch.finite if isinstance(epoch, MembersEpoch) else None

    def shown(value: Any, style: str) -> str:
        if good is None:
            return format(value, style)
        return f"{format(value[good].min(), style)} to {format(value[good].max(), style)}" if good.any() else "nan"

    metrics = [f"{name} {shown(value, '.4g')}" for name, value in epoch.metrics.items()]
    lost = [] if good is None or good.all() else [f"{(~good).sum()} not finite"]
    return "  ".join(
        [
            f"epoch {epoch.epoch:{width}}/{epochs}",
            f"loss {shown(epoch.loss, '.4e')}",
            *metrics,
            *lost,
            f"{epoch.seconds:.2f} s",
        ]
    )


@contextmanager
def epoch_progress(epochs: int) -> Iterator[Callable[[Epoch | MembersEpoch], None]]:
    """Yield an `on_epoch` for `fit` or `sweep` that prints a line for each of `epochs` epochs.

        with epoch_progress(10) as on_epoch:
            state, history = fit(..., epochs=10, on_epoch=on_epoch)

    On a terminal a bar with the time left stands under the lines; elsewhere (a log, a pipe) there are only the lines.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    columns = TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=epochs)

        def on_epoch(epoch: Epoch | MembersEpoch) -> None:
            console.print(epoch_line(epoch, epochs), markup=False, highlight=False, soft_wrap=True)
            progress.update(task, completed=epoch.epoch)

        yield on_epoch
