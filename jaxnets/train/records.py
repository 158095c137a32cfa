"""What is kept of a training besides its parameters: every epoch as a line of JSON, or for TensorBoard."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .loop import Epoch


@contextmanager
def json_lines(path: str | Path) -> Iterator[Callable[[Epoch], None]]:
    """Yield an `on_epoch` that adds {"epoch": ..., "loss": ..., "seconds": ..., "skipped": ..., metrics} to a file.

    Each line is there when the epoch is over; directories are made.  A metric may not have a name of the others.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:

        def on_epoch(epoch: Epoch) -> None:
            file.write(json.dumps(_flat(epoch)) + "\n")
            file.flush()

        yield on_epoch


@contextmanager
def tensorboard(directory: str | Path) -> Iterator[Callable[[Epoch], None]]:
    """Yield an `on_epoch` that writes the loss and the metrics for TensorBoard; needs the extra `tensorboard`."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(directory)) as writer:

        def on_epoch(epoch: Epoch) -> None:
            for name, value in _flat(epoch).items():
                if name != "epoch":
                    writer.add_scalar(name.replace(" ", "_"), value, epoch.epoch)
            writer.flush()

        yield on_epoch


def _flat(epoch: Epoch) -> dict[str, int | float]:
    own = {"epoch": epoch.epoch, "loss": epoch.loss, "seconds": epoch.seconds, "skipped": epoch.skipped}
    if both := own.keys() & epoch.metrics.keys():
        raise ValueError(f"a metric is called {min(both)!r}, as is something of every epoch")
    return {**own, **epoch.metrics}
