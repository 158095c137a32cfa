"""From stored images and labels to what a network is fed with."""

import numpy as np
from jaxtyping import Float32, Integer, UInt8


def as_inputs(images: UInt8[np.ndarray, "n h w"]) -> Float32[np.ndarray, "n h*w"]:
    """Return each image as one row of numbers in [0, 1], pixel / 255, for a fully connected network.

    Raises ValueError when images is not a uint8 array of three axes.
    """
    _check_images("as_inputs", images)
    return images.reshape(len(images), images.shape[1] * images.shape[2]) / np.float32(255)


def as_images(images: UInt8[np.ndarray, "n h w"]) -> Float32[np.ndarray, "n h w 1"]:
    """Return each image with one channel of numbers in [0, 1], pixel / 255, for a convolutional network (NHWC).

    Raises ValueError when images is not a uint8 array of three axes.
    """
    _check_images("as_images", images)
    return images[..., None] / np.float32(255)


def as_rows(images: UInt8[np.ndarray, "n h w"]) -> Float32[np.ndarray, "n h w"]:
    """Return each image as a sequence for a recurrent network, which reads a row at a time: time h, features w.

    Numbers are in [0, 1], pixel / 255. Raises ValueError when images is not a uint8 array of three axes.
    """
    _check_images("as_rows", images)
    return images / np.float32(255)


def one_hot(labels: Integer[np.ndarray, " n"], n_classes: int) -> Float32[np.ndarray, "n n_classes"]:
    """Return a row for each label: 1 in the label's column, 0 in the others.

    Raises ValueError when labels is not an integer array of one axis, or a label is not in 0, ..., n_classes - 1.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"one_hot: labels is {labels.dtype} {labels.shape}, wanted integers on one axis")
    outside = labels[(labels < 0) | (labels >= n_classes)]
    if outside.size:
        raise ValueError(f"one_hot: labels has {outside[0]}, wanted 0 to {n_classes - 1} (n_classes {n_classes})")
    return (labels[:, None] == np.arange(n_classes)).astype(np.float32)


def _check_images(function: str, images: np.ndarray) -> None:
    # Floats are turned away because they may be in [0, 1] already: a second division would go unnoticed.
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"{function}: images is {images.dtype} {images.shape}, wanted uint8 (n, h, w)")
