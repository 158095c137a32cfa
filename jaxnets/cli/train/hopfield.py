"""`jaxnets train hopfield`: images stored in a Hopfield network, and recalled from noisy versions of themselves."""

import enum
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import typer
from rich.table import Table

from jaxnets.cli.console import console
from jaxnets.cli.datasets import CLASSES, DataSet, load
from jaxnets.cli.train.classifier import DataOption
from jaxnets.cli.train.pictures import Picture, draw_images, require_plot
from jaxnets.nets import hopfield

SHOWN = 10
"""Patterns on a picture."""


class Storage(enum.Enum):
    """How the weights are made."""

    PROJECTION = "projection"
    STORKEY = "storkey"
    HEBB = "hebb"


STORES: dict[Storage, Callable[[jax.Array], hopfield.Params]] = {
    Storage.PROJECTION: hopfield.store_projection,
    Storage.STORKEY: hopfield.store_storkey,
    Storage.HEBB: hopfield.store_hebb,
}


def train_hopfield(
    data_set: DataOption = DataSet.MNIST_SMALL,
    storage: Annotated[Storage, typer.Option(help="Rule by which patterns are stored.")] = Storage.PROJECTION,
    patterns: Annotated[str, typer.Option(help="Numbers of patterns: a network for each.")] = "10,50,100,200",
    noise: Annotated[str, typer.Option(help="Parts of the pixels that are turned over.")] = "0,0.1,0.2,0.3",
    ink: Annotated[int, typer.Option(min=1, max=255, help="Pixels of this value and more are 1, others -1.")] = 128,
    max_sweeps: Annotated[int, typer.Option(min=1, help="Where a recall is stopped.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the noise and of the orders of the units.")] = 0,
    picture: Picture = None,
) -> None:
    """Store images, all classes in turn, and recall them from noisy versions; print how far they are the same.

    An entry of the table is the mean overlap of pattern and recalled state, 1 where all are recalled, and in brackets
    the part that is recalled without one wrong pixel.  The picture has ten patterns of the first network, in rows:
    stored, with the strongest noise, recalled.  Nothing is trained by gradients: storing takes one pass.
    Exit status: 0, 2 if the command was wrong.
    """
    counts, levels = _numbers("--patterns", patterns, int), _numbers("--noise", noise, float)
    require_plot(picture)
    images = load(data_set)
    chosen = _in_turn(images.train_labels)
    if min(counts) < 1 or max(counts) > len(chosen):
        raise typer.BadParameter(f"--patterns is {patterns}, wanted 1 to {len(chosen)}, all classes in turn")
    if not all(0 <= level <= 1 for level in levels):
        raise typer.BadParameter(f"--noise is {noise}, wanted parts of the pixels, 0 to 1")
    stored = images.train_images[chosen[: max(counts)]]
    xi = jnp.asarray(np.where(stored.reshape(len(stored), -1) >= ink, 1, -1), jnp.float32)
    console.print(f"{data_set.value}: {xi.shape[1]} units, {storage.value}, {jax.devices()[0]}")
    table = Table("patterns", "load", *(f"noise {level:g}" for level in levels), box=None, header_style="bold")
    for count in counts:
        params = STORES[storage](xi[:count])
        runs = [_recall(params, xi[:count], level, seed, max_sweeps) for level in levels]
        table.add_row(str(count), f"{count / xi.shape[1]:.3f}", *(_told(xi[:count], s) for _, s in runs))
        if picture is not None and count == counts[0]:
            shown = [states[:SHOWN] for states in (xi[:count], *runs[int(np.argmax(levels))])]
            draw_images((jnp.concatenate(shown) + 1) / 2, len(shown[0]), picture)
    console.print(table)


def _recall(
    params: hopfield.Params, xi: jax.Array, level: float, seed: int, max_sweeps: int
) -> tuple[jax.Array, jax.Array]:
    """A noisy version of each pattern, and where it went."""
    noise_key, order_key = jax.random.split(jax.random.key(seed))
    noisy = jnp.where(jax.random.bernoulli(noise_key, level, xi.shape), -xi, xi)
    return noisy, hopfield.asynchronous(params, noisy, order_key, max_sweeps=max_sweeps).s


def _told(xi: jax.Array, s: jax.Array) -> str:
    whole = jnp.mean(jnp.all(xi == s, 1), dtype=jnp.float32)
    return f"{float(hopfield.overlap(xi, s).mean()):.3f} ({float(whole):.0%})"


def _in_turn(labels: np.ndarray) -> np.ndarray:
    """Indices of the first image of each class, the second of each, and so on."""
    by_class = [np.flatnonzero(labels == label) for label in range(CLASSES)]
    least = min(map(len, by_class))
    return np.stack([indices[:least] for indices in by_class], 1).ravel()


def _numbers(option: str, text: str, kind: Callable[[str], Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option} is {text!r}, wanted numbers such as 10,50") from None
