"""The command line: `jaxnets verify`, `jaxnets list`, `jaxnets data`, `jaxnets train`."""

import typer

from jaxnets.cli.datasets import data
from jaxnets.cli.derivations import list_derivations, verify
from jaxnets.cli.train import train

app = typer.Typer(
    help="Classic neural networks in JAX, with backpropagation derived by hand and checked against jax.grad.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("verify")(verify)
app.command("list")(list_derivations)
app.command("data")(data)
app.add_typer(train, name="train")
