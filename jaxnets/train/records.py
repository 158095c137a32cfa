"""What is kept of a training besides its parameters: every epoch as a line of JSON, or for TensorBoard."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .ensemble import MembersEpoch
from .loop import Epoch


@contextmanager
def json_lines(path: str | Path) -> Iterator[Callable[[Epoch | MembersEpoch], None]]:
    """Yield an `on_epoch` that adds {"epoch": ..., "loss": ..., "seconds": ..., "skipped": ..., metrics} to a file.

    Of a `sweep` what each member has is a list, and "finite" stands for "skipped".  Each line is there when the epoch
    is over; directories are made.  A metric may not have a name of the others.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:

        def on_epoch(epoch: Epoch | MembersEpoch) -> None:
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


def _flat(epoch: Epoch | MembersEpoch) -> dict[str, Any]:
    own = epoch._asdict()
    del own["metrics"]
    if both := own.keys() & epoch.metrics.keys():
        raise ValueError(f"a metric is called {min(both)!r}, as is something of every epoch")
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in {**own, **epoch.metrics}.items()}
