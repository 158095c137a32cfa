"""Data sets: MNIST and Fashion-MNIST from files or the network, a small MNIST and two sets of tiny digits embedded."""

from .digits import Digits, digits_4x3, digits_6x6
from .files import Dataset, write_dataset
from .idx import DataError, encode_idx, parse_idx
from .inputs import as_images, as_inputs, one_hot
from .published import fashion_mnist, mnist, mnist_small
from .subset import stratified_subset

__all__ = [
    "DataError",
    "Dataset",
    "Digits",
    "as_images",
    "as_inputs",
    "digits_4x3",
    "digits_6x6",
    "encode_idx",
    "fashion_mnist",
    "mnist",
    "mnist_small",
    "one_hot",
    "parse_idx",
    "stratified_subset",
    "write_dataset",
]
