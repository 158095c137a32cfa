"""Data sets: MNIST and Fashion-MNIST from files or the network; embedded, a small MNIST, tiny digits and three plays.

Drawn at random, the tasks of the literature on recurrent networks: long time lags, grammars, strings and dates.
"""

from .bits import temporal_xor
from .characters import END, PAD, START, Encoded, TextPairs, decode, encode, encode_all, unseen
from .dates import DATE_SOURCE, DATE_TARGET, date_translation
from .digits import Digits, digits_4x3, digits_6x6
from .files import Dataset, write_dataset
from .idx import DataError, encode_idx, map_idx, parse_idx
from .inputs import as_images, as_inputs, as_rows, one_hot
from .long_lags import TEMPORAL_ORDER_SYMBOLS, Copies, Orders, Sums, adding_problem, copy_task, temporal_order
from .published import fashion_mnist, mnist, mnist_small
from .reber import REBER_SYMBOLS, GrammarStrings, embedded_reber, reber, unseen_strings
from .strings import LETTERS, reversal
from .subset import stratified_subset
from .text import Text, public_domain_text, windows

__all__ = [
    "Copies",
    "DATE_SOURCE",
    "DATE_TARGET",
    "DataError",
    "Dataset",
    "Digits",
    "END",
    "Encoded",
    "GrammarStrings",
    "LETTERS",
    "Orders",
    "PAD",
    "REBER_SYMBOLS",
    "START",
    "Sums",
    "TEMPORAL_ORDER_SYMBOLS",
    "Text",
    "TextPairs",
    "adding_problem",
    "as_images",
    "as_inputs",
    "as_rows",
    "copy_task",
    "date_translation",
    "decode",
    "digits_4x3",
    "digits_6x6",
    "embedded_reber",
    "encode",
    "encode_all",
    "encode_idx",
    "fashion_mnist",
    "map_idx",
    "mnist",
    "mnist_small",
    "one_hot",
    "parse_idx",
    "public_domain_text",
    "reber",
    "reversal",
    "stratified_subset",
    "temporal_order",
    "temporal_xor",
    "unseen",
    "unseen_strings",
    "windows",
    "write_dataset",
]
