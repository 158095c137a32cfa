"""A data set of a few random images, which the tests put into files, damage, and serve."""

import hashlib

import numpy as np
import pytest

from jaxnets.data import Dataset, encode_idx, write_dataset
from jaxnets.data.download import Published
from jaxnets.data.files import NAMES, describe
from jaxnets.data.source import Source


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def contents_of(dataset):
    return tuple(sha256(encode_idx(array)) for array in dataset)


@pytest.fixture
def tiny():
    rng = np.random.default_rng(0)
    shapes = (5, 28, 28), (5,), (3, 28, 28), (3,)
    return Dataset(*(rng.integers(0, 256 if len(shape) == 3 else 10, shape, np.uint8) for shape in shapes))


@pytest.fixture
def files(tiny):
    return describe((5, 3), contents_of(tiny))


@pytest.fixture
def packed(tiny, tmp_path):
    """A folder with the tiny data set, gzipped."""
    folder = tmp_path / "packed"
    folder.mkdir()
    write_dataset(folder, tiny)
    return folder


@pytest.fixture
def plain(tiny, tmp_path):
    """A folder with the tiny data set, not compressed."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for name, array in zip(NAMES, tiny, strict=True):
        (folder / name).write_bytes(encode_idx(array))
    return folder


@pytest.fixture
def source(files, packed):
    """The tiny data set as a published one, without mirrors and known to no system."""
    published = Published((), tuple((f"{name}.gz", sha256((packed / f"{name}.gz").read_bytes())) for name in NAMES))
    return Source("tiny", files, published, (), namesake="")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty user's cache, and no $JAXNETS_DATA; the folder of the tiny data set in that cache."""
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.delenv("JAXNETS_DATA", raising=False)
    return tmp_path / "cache" / "jaxnets" / "tiny"
