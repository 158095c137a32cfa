"""How every training from the command line ends where a loss or a parameter is infinite or not a number."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from jaxnets.cli.console import console
from jaxnets.train import NonFiniteError


@contextmanager
def exit_where_not_finite() -> Iterator[None]:
    """Print what is not finite, and where, and leave with exit status 1."""
    try:
        yield
    except NonFiniteError as error:
        console.print(f"stopped: {error}", markup=False, highlight=False)
        raise typer.Exit(1) from None
