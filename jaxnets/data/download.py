"""The download of a data set's files from its mirrors, with checksums and a progress bar."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from .idx import DataError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Published(NamedTuple):
    """The files of a data set as its mirrors serve them: addresses that end with a slash, and (name, SHA-256) pairs."""

    mirrors: tuple[str, ...]
    files: tuple[tuple[str, str], ...]


def download(name: str, published: Published, folder: Path) -> None:
    """Fetch into the folder those files of the data set that it does not have yet, each from the first mirror that can.

    A file stands in the folder only once its checksum is right. A progress bar is shown on a terminal.
    Raises DataError, which says what to do instead, when no mirror delivers a file.
    """
    # Imported here: `import jaxnets.data` stays light, and who has the files never needs a progress bar.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for file, sha256 in published.files:
            failures = _fetch(file, sha256, published.mirrors, folder, progress)
            if len(failures) == len(published.mirrors):
                names = ", ".join(file for file, _ in published.files)
                raise DataError(
                    f"{name}: no mirror delivered {file}:\n"
                    + "".join(f"  {failure}\n" for failure in failures)
                    + f"Put the four files ({names}; also plain, without .gz) into a folder and pass it as `folder`, "
                    f"or set JAXNETS_DATA to a folder that holds them in its sub-folder {name}."
                )


def _fetch(file: str, sha256: str, mirrors: tuple[str, ...], folder: Path, progress: "Progress") -> list[str]:
    """Fetch one file; return what went wrong at the mirrors before the one that delivered it, or at all of them."""
    import pooch
    from requests import RequestException

    failures = []
    for mirror in mirrors:
        task = progress.add_task(file, total=None)
        downloader = pooch.HTTPDownloader(progressbar=_pooch_bar(progress, task), chunk_size=1 << 16)
        try:
            # Pooch annotates the argument with a type that its own downloaders do not have.
            pooch.retrieve(mirror + file, sha256, file, folder, downloader=downloader)  # pyright: ignore[reportArgumentType]
        except (RequestException, ValueError) as error:  # ValueError is pooch's for a wrong checksum
            failures.append(f"{mirror}{file}: {error}")
            progress.remove_task(task)
        else:
            break
    return failures


def _pooch_bar(progress: "Progress", task: "TaskID") -> Any:
    """Return what pooch takes for a progress bar: it sets `total`, and calls `update`, `reset` and `close`."""
    bar = SimpleNamespace(total=0, reset=lambda: progress.reset(task), close=lambda: progress.stop_task(task))
    bar.update = lambda count: progress.update(task, advance=count, total=bar.total or None)
    return bar
