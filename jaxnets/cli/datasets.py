"""`jaxnets data`: fetch data sets, check them, and say what they hold."""

import enum
from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from jaxnets import data as sets
from jaxnets.cli.console import console


class DataSet(enum.Enum):
    """The data sets of the command line."""

    MNIST = "mnist"
    MNIST_SMALL = "mnist-small"
    FASHION_MNIST = "fashion-mnist"


CLASSES = 10

LOADERS: dict[DataSet, Callable[[], sets.Dataset]] = {
    DataSet.MNIST: sets.mnist,
    DataSet.MNIST_SMALL: sets.mnist_small,
    DataSet.FASHION_MNIST: sets.fashion_mnist,
}


def load(name: DataSet) -> sets.Dataset:
    """The data set, or exit status 1 with the reason."""
    try:
        return LOADERS[name]()
    except sets.DataError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def data(
    names: Annotated[
        list[DataSet] | None, typer.Argument(help="Data sets; mnist-small is part of the package.")
    ] = None,
) -> None:
    """Load data sets and check them, with a download where they are nowhere on this machine.

    They are looked for in $JAXNETS_DATA, in the user's cache, and where the operating system's packages put them.
    """
    table = Table("data set", "training", "test", "image", box=None, header_style="bold")
    for name in names or [DataSet.MNIST_SMALL]:
        loaded = load(name)
        height, width = loaded.train_images.shape[1:]
        table.add_row(name.value, str(len(loaded.train_labels)), str(len(loaded.test_labels)), f"{height} x {width}")
    console.print(table)
