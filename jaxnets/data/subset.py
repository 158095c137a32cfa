"""A smaller data set with as many images of each class."""

import numpy as np
from jaxtyping import Int, UInt8

from .files import Dataset


def stratified_subset(dataset: Dataset, train_per_class: int, test_per_class: int) -> Dataset:
    """Return the first images of each class, as many as asked for, in the order that they have in the data set.

    Raises ValueError when a class has fewer images, or no image of any class is asked for.
    """
    train = _first_of_each_class("train", dataset.train_labels, train_per_class)
    test = _first_of_each_class("test", dataset.test_labels, test_per_class)
    return Dataset(
        dataset.train_images[train], dataset.train_labels[train], dataset.test_images[test], dataset.test_labels[test]
    )


def _first_of_each_class(split: str, labels: UInt8[np.ndarray, " n"], per_class: int) -> Int[np.ndarray, " m"]:
    if per_class < 1:
        raise ValueError(f"stratified_subset: {split}_per_class is {per_class}, wanted at least 1")
    classes, counts = np.unique(labels, return_counts=True)
    if len(counts) == 0 or counts.min() < per_class:
        held = ", ".join(f"{count} of {label}" for label, count in zip(classes, counts, strict=True)) or "none"
        raise ValueError(f"stratified_subset: {split}_per_class is {per_class}, the data set has {held}")
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in classes]))
