"""The IDX format of the MNIST files: bytes to array, and back.

Two zero bytes, one byte for the type of the entries, one for the number of axes; the length of each axis as a 32-bit
number; then the entries, last axis fastest. All numbers are big-endian.  Source: Y. LeCun, C. Cortes, C. Burges, "The
MNIST database of handwritten digits", section "File formats for the MNIST database".
"""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Shaped


class DataError(ValueError):
    """A file of a data set that is missing, damaged or not the published one, or that cannot be downloaded."""


_DTYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def parse_idx(data: bytes, name: str) -> Shaped[np.ndarray, "..."]:
    """Return the array that the bytes of an IDX file hold, in the machine's byte order.

    Raises DataError, naming the file, when the magic number is not IDX's, or there are fewer or more bytes than the
    header promises.
    """
    dtype, shape, start = _header(data, len(data), name)
    # The copy gives the caller an array that can be written to and does not keep the file's bytes alive.
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def map_idx(path: str | Path) -> Shaped[np.memmap, "..."]:
    """Return the array of a plain IDX file as it lies on disk: what is indexed is read, and nothing else.

    Its byte order is the file's. Raises DataError as `parse_idx`, also for a file that is compressed.
    """
    with Path(path).open("rb") as file:
        head = file.read(4 + 4 * 255)
        size = file.seek(0, 2)
    dtype, shape, start = _header(head, size, str(path))
    return np.memmap(path, dtype, "r", start, shape)


def _header(data: bytes, size: int, name: str) -> tuple[np.dtype, tuple[int, ...], int]:
    """The dtype, the shape and the place of the entries in an IDX file of so many bytes, which begins with `data`."""
    magic = data[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        codes = ", ".join(f"{code:02x}" for code in _DTYPES)
        raise DataError(f"{name}: starts with '{magic.hex()}', wanted an IDX file: '0000', one of {codes}, axes")
    dtype, axes = _DTYPES[magic[2]], magic[3]
    start = 4 + 4 * axes
    if size < start:
        raise DataError(f"{name}: truncated: {size} bytes, the header of an IDX file with {axes} axes has {start}")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", axes, offset=4))
    got, want = size - start, math.prod(shape) * dtype.itemsize
    if got != want:
        fault = "truncated" if got < want else "trailing bytes"
        raise DataError(f"{name}: {fault}: {got} bytes after the header, shape {shape} of {dtype.name} has {want}")
    return dtype, shape, start


def encode_idx(array: Shaped[np.ndarray, "..."]) -> bytes:
    """Return the bytes of the IDX file that holds the array.

    Raises ValueError when IDX has no code for its dtype, or more axes than one byte counts.
    """
    codes = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
    native = array.dtype.newbyteorder("=")
    if native not in codes:
        raise ValueError(f"encode_idx: array is {array.dtype}, wanted one of {', '.join(map(str, codes))}")
    code = codes[native]
    header = bytes((0, 0, code, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(_DTYPES[code]).tobytes()
