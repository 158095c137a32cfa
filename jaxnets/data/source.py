"""Where a published data set is had from: a given folder, $JAXNETS_DATA, the user's cache, the system, the mirrors."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .download import Published, download
from .files import Dataset, Files, find_file, missing_files, read_contents, read_dataset
from .idx import DataError


class Source(NamedTuple):
    """A published data set: what its files are, and where they may be had.

    name       also the name of its folder in the cache and in $JAXNETS_DATA
    files      what the four files hold
    published  the gzipped files on the mirrors
    system     folders where a package of the operating system puts the files
    namesake   SHA-256 of the training labels of another data set whose files have the same names
    """

    name: str
    files: Files
    published: Published
    system: tuple[str, ...]
    namesake: str


def load(source: Source, folder: str | os.PathLike[str] | None) -> Dataset:
    """Return the data set from where `locate` finds it. DataError when a file is damaged or not the published one."""
    return read_dataset(locate(source, folder), source.files)


def locate(source: Source, folder: str | os.PathLike[str] | None) -> Path:
    """Return the folder; without one, the first place that has the data set, or the cache, once it is downloaded.

    Raises DataError when the folder, or such a place, lacks some of the files, or when no mirror delivers them.
    """
    if folder is not None:
        given = Path(folder).expanduser()
        _check_complete(source, given)
        return given
    for place in _places(source):
        if holds(source, place):
            return place
    cache = _cache(source)
    download(source.name, source.published, cache)
    return cache


def holds(source: Source, folder: Path) -> bool:
    """Whether the folder has this data set. DataError when it has only some of the files: no silent way round it."""
    missing = missing_files(folder, source.files)
    if len(missing) == len(source.files) or _is_namesake(source, folder):
        return False
    _check_complete(source, folder)
    return True


def _places(source: Source) -> Iterator[Path]:
    # Lazily, so that files found in $JAXNETS_DATA spare the import that knows where the cache is.
    if root := os.environ.get("JAXNETS_DATA"):
        yield Path(root).expanduser() / source.name
        yield Path(root).expanduser()
    cache = _cache(source)
    # A cache with some of the files is a download that was interrupted: it goes on, and is no error.
    if not missing_files(cache, source.files):
        yield cache
    yield from map(Path, source.system)


def _is_namesake(source: Source, folder: Path) -> bool:
    labels = find_file(folder, source.files[1].name)
    return labels is not None and hashlib.sha256(read_contents(labels)).hexdigest() == source.namesake


def _check_complete(source: Source, folder: Path) -> None:
    if missing := missing_files(folder, source.files):
        what = "has no" if folder.is_dir() else "is no folder, so it has no"
        raise DataError(f"{source.name}: {folder} {what} {', '.join(missing)} (plain or .gz)")


def _cache(source: Source) -> Path:
    # Imported here, as in the download: whoever has the files, or wants an embedded set, never pays for pooch.
    import pooch

    return Path(pooch.os_cache("jaxnets")) / source.name
