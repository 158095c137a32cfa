"""Tiny black-and-white digits for the two smallest networks, rebuilt from drawings by a fixed procedure.

Y. Wakui and S. Wakui's introduction to the mathematics of deep learning (Gijutsu-Hyoron Sha, 2017) trains a 12-3-2
network on 64 pictures of 0 and 1 of 4 x 3 pixels, and a convolutional network on 96 pictures of 1, 2 and 3 of 6 x 6
pixels. The book's pictures are not available. These are not they: they are rebuilt, in the same number and size, from
the drawings below.

For each class, in this order:

1. the drawings;
2. each drawing moved by one pixel to the right, to the left, down and up, where no ink falls off the edge;
3. of all pictures that are one of these with one pixel turned over, drawing by drawing and pixel by pixel, as many as
   are still wanted, evenly spaced.

A picture that came before is left out at each step. Drawings of two classes differ in at least four pixels, moved or
not, so pictures of two classes differ in at least two. The classes then take turns.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

_ZERO_4X3 = """
    ###  .##  ##.  ###  ###  .#.  .##  ##.  ###  ...
    #.#  #.#  #.#  #.#  #.#  #.#  #.#  #.#  #.#  ###
    #.#  #.#  #.#  #.#  #.#  #.#  #.#  #.#  ###  #.#
    ###  ###  ###  ##.  .##  .#.  ##.  .##  ...  ###
"""
_ONE_4X3 = """
    .#.  ##.  .#.  ##.  .#.  ..#  ..#  ...
    .#.  .#.  .#.  .#.  ##.  .#.  .#.  .#.
    .#.  .#.  .#.  .#.  .#.  .#.  .#.  .#.
    .#.  .#.  ###  ###  .#.  .#.  #..  .#.
"""
_ONE_6X6 = """
    ...#..  ...#..  ..#...  ...#..  ...#..  ..##..
    ...#..  ..##..  .##...  ..##..  ..##..  ..##..
    ...#..  ...#..  ..#...  .#.#..  ...#..  ..##..
    ...#..  ...#..  ..#...  ...#..  ..#...  ..##..
    ...#..  ...#..  ..#...  ...#..  ..#...  ..##..
    ...#..  ...#..  .###..  ..###.  ..#...  ..##..
"""
_TWO_6X6 = """
    .####.  .###..  .####.  ..###.  .####.  .###..
    .....#  #...#.  #....#  .#...#  #....#  ....#.
    ..###.  ....#.  ....#.  ....#.  .....#  ....#.
    .#....  ..##..  ...#..  ...#..  ..###.  .###..
    #.....  .#....  .##...  ..#...  .#....  .#....
    ######  #####.  ######  .#####  ######  .####.
"""
_THREE_6X6 = """
    .####.  .###..  #####.  .####.  ..###.  .####.
    .....#  #...#.  ....#.  #....#  .#...#  .....#
    ..###.  ...#..  ..##..  ...##.  ...##.  ..###.
    .....#  ....#.  ....#.  .....#  .....#  .....#
    #....#  #...#.  ....#.  #....#  .#...#  .....#
    .####.  .###..  ####..  .####.  ..###.  .####.
"""


class Digits(NamedTuple):
    """Pictures, 1 where there is ink and 0 elsewhere, and the class of each: 0, 1, ..."""

    images: Float32[np.ndarray, "n rows columns"]
    labels: UInt8[np.ndarray, " n"]


def digits_4x3() -> Digits:
    """Return 64 pictures of 4 x 3 pixels, 32 each of the digits 0 and 1; the class is the digit.

    They are rebuilt from drawings (see the module), and not the pictures of the book that the example is from.
    """
    return _rebuild((_read(_ZERO_4X3), _read(_ONE_4X3)), per_class=32)


def digits_6x6() -> Digits:
    """Return 96 pictures of 6 x 6 pixels, 32 each of the digits 1, 2 and 3; classes 0, 1 and 2, the digit less one.

    They are rebuilt from drawings (see the module), and not the pictures of the book that the example is from.
    """
    return _rebuild((_read(_ONE_6X6), _read(_TWO_6X6), _read(_THREE_6X6)), per_class=32)


def _read(text: str) -> Bool[np.ndarray, "drawings rows columns"]:
    lines = [line.split() for line in text.split("\n") if line.strip()]
    return np.array([[[pixel == "#" for pixel in row] for row in drawing] for drawing in zip(*lines, strict=True)])


def _rebuild(drawings: tuple[Bool[np.ndarray, "_ rows columns"], ...], per_class: int) -> Digits:
    classes = []
    for drawn in drawings:
        shapes = _distinct(np.concatenate([drawn, _moved(drawn)]))
        turned = _distinct(np.concatenate([shapes, _turned(shapes)]))[len(shapes) :]
        wanted = per_class - len(shapes)
        classes.append(np.concatenate([shapes, turned[np.arange(wanted) * len(turned) // wanted]]))
    images = np.stack(classes, axis=1).reshape(-1, *drawings[0].shape[1:])
    return Digits(images.astype(np.float32), np.tile(np.arange(len(classes), dtype=np.uint8), per_class))


def _moved(images: Bool[np.ndarray, "_ rows columns"]) -> Bool[np.ndarray, "_ rows columns"]:
    """Return the images moved by one pixel in each direction, less those of which ink would fall off the edge."""
    right = np.roll(images, 1, axis=2)[~images[:, :, -1].any(1)]
    left = np.roll(images, -1, axis=2)[~images[:, :, 0].any(1)]
    down = np.roll(images, 1, axis=1)[~images[:, -1].any(1)]
    up = np.roll(images, -1, axis=1)[~images[:, 0].any(1)]
    return np.concatenate([right, left, down, up])


def _turned(images: Bool[np.ndarray, "_ rows columns"]) -> Bool[np.ndarray, "_ rows columns"]:
    """Return each image once for each of its pixels, with that pixel turned over."""
    _, rows, columns = images.shape
    pixels = np.eye(rows * columns, dtype=bool).reshape(-1, rows, columns)
    return (images[:, None] ^ pixels).reshape(-1, rows, columns)


def _distinct(images: Bool[np.ndarray, "_ rows columns"]) -> Bool[np.ndarray, "_ rows columns"]:
    """Return the images without those that came before."""
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    return images[np.sort(first)]
