"""The console's view of training: a line for each epoch, under a progress bar where there is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .loop import Epoch


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """Return one line on an epoch: its number, loss, metrics and seconds."""
    width = len(str(epochs))
    metrics = [f"{name} {value:.4g}" for name, value in epoch.metrics.items()]
    return "  ".join(
        [f"epoch {epoch.epoch:{width}}/{epochs}", f"loss {epoch.loss:.4e}", *metrics, f"{epoch.seconds:.2f} s"]
    )


@contextmanager
def epoch_progress(epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Yield an `on_epoch` for `fit` that prints a line for each of `epochs` epochs.

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

        def on_epoch(epoch: Epoch) -> None:
            console.print(epoch_line(epoch, epochs), markup=False, highlight=False, soft_wrap=True)
            progress.update(task, completed=epoch.epoch)

        yield on_epoch
