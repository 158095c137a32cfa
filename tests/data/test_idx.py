"""The IDX format: what it says of its arrays, and each way of not being one."""

import gzip
import re

import numpy as np
import pytest

from jaxnets.data import DataError, encode_idx, map_idx, parse_idx

# Written by hand from the description of the format: uint8, two axes, 2 x 3.
EXAMPLE = bytes.fromhex("00000802 00000002 00000003 010203 0405ff")


def test_an_example_by_hand():
    array = parse_idx(EXAMPLE, "example")
    assert array.dtype == np.uint8
    assert array.tolist() == [[1, 2, 3], [4, 5, 255]]
    assert encode_idx(array) == EXAMPLE


def test_entries_are_big_endian_in_the_file_and_native_in_the_array():
    array = parse_idx(bytes.fromhex("00000b01 00000002 0001 fffe"), "example")
    assert array.dtype == np.dtype("=i2")
    assert array.tolist() == [1, -2]


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "<i2", "i4", "f4", "<f8"])
@pytest.mark.parametrize("shape", [(), (4,), (0, 3), (2, 1, 3)])
def test_arrays_come_back(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    back = parse_idx(encode_idx(array), "back")
    assert back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)


def test_the_array_is_the_callers_own():
    array = parse_idx(EXAMPLE, "example")
    array[0, 0] = 9
    assert parse_idx(EXAMPLE, "example")[0, 0] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f: starts with '', wanted an IDX file: '0000', one of 08, 09, 0b, 0c, 0d, 0e, axes"),
        (b"\0\0\x08", "f: starts with '000008', wanted an IDX file"),
        (b"\x1f\x8b\x08\x01" + bytes(20), "f: starts with '1f8b0801', wanted an IDX file"),
        (b"\0\1\x08\x01" + bytes(20), "f: starts with '00010801', wanted an IDX file"),
        (b"\0\0\x0a\x01" + bytes(20), "f: starts with '00000a01', wanted an IDX file"),
        (EXAMPLE[:11], "f: truncated: 11 bytes, the header of an IDX file with 2 axes has 12"),
        (EXAMPLE[:-1], "f: truncated: 5 bytes after the header, shape (2, 3) of uint8 has 6"),
        (EXAMPLE + b"\0", "f: trailing bytes: 7 bytes after the header, shape (2, 3) of uint8 has 6"),
        (b"\0\0\x0c\x01\0\0\0\2" + bytes(7), "f: truncated: 7 bytes after the header, shape (2,) of int32 has 8"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "f: truncated: 0 bytes after the header"),
    ],
)
def test_bad_bytes(data, message):
    with pytest.raises(DataError, match=re.escape(message)):
        parse_idx(data, "f")


def test_a_dtype_that_idx_lacks():
    with pytest.raises(ValueError, match=r"^encode_idx: array is int64, wanted one of uint8, int8, int16"):
        encode_idx(np.zeros(2, np.int64))


@pytest.mark.parametrize("array", [np.arange(24, dtype="u1").reshape(4, 3, 2), np.arange(5, dtype="f4"), np.float64(3)])
def test_a_mapped_file_is_what_a_read_one_is(array, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(encode_idx(np.asarray(array)))
    mapped = map_idx(path)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, array)


def test_a_file_that_is_cut_off_or_compressed_is_not_mapped(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(EXAMPLE[:-1])
    with pytest.raises(DataError, match="f: truncated: 5 bytes after the header"):
        map_idx(path)
    path.write_bytes(gzip.compress(EXAMPLE))
    with pytest.raises(DataError, match="f: starts with '1f8b0800', wanted an IDX file"):
        map_idx(path)
