"""The four IDX files of a data set, plain or gzipped: read and checked, or written."""

import gzip
import hashlib
import os
import zlib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from .idx import DataError, encode_idx, parse_idx

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class Dataset(NamedTuple):
    """Images of 28 x 28 grey levels and the classes they show, for training and for testing."""

    train_images: UInt8[np.ndarray, "n_train 28 28"]
    train_labels: UInt8[np.ndarray, " n_train"]
    test_images: UInt8[np.ndarray, "n_test 28 28"]
    test_labels: UInt8[np.ndarray, " n_test"]


class File(NamedTuple):
    """What one IDX file of a data set must be. The checksum is of the contents, however they are compressed."""

    name: str
    shape: tuple[int, ...]
    sha256: str


Files = tuple[File, File, File, File]
"""The files of a data set in the order of `Dataset`'s fields."""


def describe(sizes: tuple[int, int], sha256: tuple[str, str, str, str]) -> Files:
    """Return the files of a data set with so many training and test images, and these checksums of the contents."""
    shapes = [shape for n in sizes for shape in ((n, 28, 28), (n,))]
    train_images, train_labels, test_images, test_labels = map(File, NAMES, shapes, sha256)
    return train_images, train_labels, test_images, test_labels


def find_file(folder: Traversable, name: str) -> Traversable | None:
    """Return the folder's file of that name, plain before gzipped, or None."""
    candidates = folder / name, folder / f"{name}.gz"
    return next((path for path in candidates if path.is_file()), None)


def missing_files(folder: Traversable, files: Files) -> list[str]:
    """Return the names of the files that the folder holds neither plain nor gzipped."""
    return [file.name for file in files if find_file(folder, file.name) is None]


def read_contents(path: Traversable) -> bytes:
    """Return a file's bytes, uncompressed where its name ends with .gz. DataError when the gzip stream is damaged."""
    data = path.read_bytes()
    if not path.name.endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except EOFError as error:
        raise DataError(f"{path}: truncated: the gzip stream ends after {len(data)} bytes, before its end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: not a sound gzip file: {error}") from error


def read_file(folder: Traversable, file: File) -> UInt8[np.ndarray, "..."]:
    """Return the array of one file.

    Raises DataError, naming the file, what was got and what was wanted, unless it is exactly the file asked for.
    """
    path = find_file(folder, file.name)
    if path is None:
        raise DataError(f"{folder}: no file {file.name}, nor {file.name}.gz")
    data = read_contents(path)
    array = parse_idx(data, str(path))
    if array.dtype != np.uint8 or array.shape != file.shape:
        raise DataError(f"{path}: holds {array.dtype} {array.shape}, wanted uint8 {file.shape}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise DataError(f"{path}: the contents have SHA-256 {digest}, wanted {file.sha256}: remove or replace the file")
    return array


def read_dataset(folder: Traversable, files: Files) -> Dataset:
    """Return the data set in a folder; DataError when a file is missing or is not exactly the one described."""
    return Dataset(*(read_file(folder, file) for file in files))


def write_dataset(folder: str | os.PathLike[str], dataset: Dataset) -> None:
    """Write a data set into an existing folder as four gzipped IDX files, which hold no time stamp."""
    for name, array in zip(NAMES, dataset, strict=True):
        Path(folder, f"{name}.gz").write_bytes(gzip.compress(encode_idx(array), compresslevel=9, mtime=0))
