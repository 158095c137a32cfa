"""A data set is read whole and exact, or not at all."""

import gzip
import re

import numpy as np
import pytest

from jaxnets.data import DataError, encode_idx, write_dataset
from jaxnets.data.files import NAMES, read_dataset

IMAGES = NAMES[2]


def assert_same(got, want):
    for name, a, b in zip(want._fields, got, want, strict=True):
        assert a.dtype == np.uint8, name
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_plain_and_gzipped(kind, request, files, tiny):
    assert_same(read_dataset(request.getfixturevalue(kind), files), tiny)


def test_a_file_may_be_compressed_in_any_way(packed, files, tiny):
    path = packed / f"{IMAGES}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=1_000_000_000))
    assert_same(read_dataset(packed, files), tiny)


def test_written_twice_the_bytes_are_the_same(packed, tiny, tmp_path):
    write_dataset(tmp_path, tiny)
    for name in NAMES:
        data = (tmp_path / f"{name}.gz").read_bytes()
        assert data == (packed / f"{name}.gz").read_bytes()
        assert data[4:8] == bytes(4)  # no time stamp


def test_a_missing_file(packed, files):
    (packed / f"{IMAGES}.gz").unlink()
    with pytest.raises(DataError, match=re.escape(f"{packed}: no file {IMAGES}, nor {IMAGES}.gz")):
        read_dataset(packed, files)


def one_pixel_off(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "starts with ''"),
        (lambda data: b"\1" + data[1:], "starts with '01000803', wanted an IDX file"),
        (lambda data: data[:2] + b"\x09" + data[3:], "holds int8 (3, 28, 28), wanted uint8 (3, 28, 28)"),
        (lambda data: data[:10], "truncated: 10 bytes, the header of an IDX file with 3 axes has 16"),
        (lambda data: data[:-1], "truncated: 2351 bytes after the header, shape (3, 28, 28) of uint8 has 2352"),
        (lambda data: data + b"\0", "trailing bytes: 2353 bytes after the header"),
        (lambda data: encode_idx(np.zeros((2, 28, 28), np.uint8)), "holds uint8 (2, 28, 28), wanted uint8 (3, 28, 28)"),
        (lambda data: encode_idx(np.zeros((3, 784), np.uint8)), "holds uint8 (3, 784), wanted uint8 (3, 28, 28)"),
        (one_pixel_off, "the contents have SHA-256"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_bad_contents(kind, damage, message, request, files):
    folder = request.getfixturevalue(kind)
    path = folder / (IMAGES if kind == "plain" else f"{IMAGES}.gz")
    data = path.read_bytes()
    path.write_bytes(damage(data) if kind == "plain" else gzip.compress(damage(gzip.decompress(data))))
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {message}')}"):
        read_dataset(folder, files)


def test_a_wrong_checksum_names_both(plain, files):
    path = plain / IMAGES
    path.write_bytes(one_pixel_off(path.read_bytes()))
    with pytest.raises(DataError, match=rf"have SHA-256 [0-9a-f]{{64}}, wanted {files[2].sha256}"):
        read_dataset(plain, files)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-9], "truncated: the gzip stream ends after"),
        (lambda data: data[: len(data) // 2], "truncated: the gzip stream ends after"),
        (lambda data: gzip.decompress(data), "not a sound gzip file: Not a gzipped file"),
        (lambda data: data + b"more", "not a sound gzip file: Not a gzipped file"),
        (lambda data: data[:-8] + bytes(8), "not a sound gzip file: CRC check failed"),
        (lambda data: data[:10] + b"\xff" + data[11:], "not a sound gzip file: Error -3 while decompressing data"),
        (lambda data: b"", "starts with ''"),
    ],
)
def test_bad_compression(packed, files, damage, message):
    path = packed / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {message}')}"):
        read_dataset(packed, files)
