"""A smaller data set with as many images of each class."""

import re

import numpy as np
import pytest

from jaxnets.data import Dataset, stratified_subset


@pytest.fixture
def dataset():
    """Images that carry their place in the file; three classes in a mixed order, 4 is one of them and 3 is not."""
    train_labels = np.array([4, 0, 0, 1, 4, 1, 0, 4, 1], np.uint8)
    test_labels = np.array([1, 1, 0, 4, 0], np.uint8)
    images = [np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 28, 28)) for n in (9, 5)]
    return Dataset(images[0], train_labels, images[1], test_labels)


def test_the_first_of_each_class_in_the_order_of_the_file(dataset):
    subset = stratified_subset(dataset, 2, 1)
    assert subset.train_images[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert subset.train_labels.tolist() == [4, 0, 0, 1, 4, 1]
    assert subset.test_images[:, 5, 7].tolist() == [0, 2, 3]
    assert subset.test_labels.tolist() == [1, 0, 4]
    assert all(array.dtype == np.uint8 for array in subset)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (4, 1, "train_per_class is 4, the data set has 3 of 0, 3 of 1, 3 of 4"),
        (3, 2, "test_per_class is 2, the data set has 2 of 0, 2 of 1, 1 of 4"),
        (0, 1, "train_per_class is 0, wanted at least 1"),
        (1, -1, "test_per_class is -1, wanted at least 1"),
    ],
)
def test_bad_counts(dataset, train, test, message):
    with pytest.raises(ValueError, match=re.escape(f"stratified_subset: {message}")):
        stratified_subset(dataset, train, test)


def test_an_empty_data_set(dataset):
    nothing = Dataset(*(array[:0] for array in dataset))
    with pytest.raises(ValueError, match="train_per_class is 1, the data set has none"):
        stratified_subset(nothing, 1, 1)
