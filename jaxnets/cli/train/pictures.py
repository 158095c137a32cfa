"""Pictures of what a network generates."""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Array, Float

from jaxnets.cli.console import console

Picture = Annotated[
    Path | None, typer.Option(help="File for a picture of samples, such as samples.png (needs the extra `plot`).")
]


def require_plot(path: Path | None) -> None:
    """Bad usage, before anything is trained, if a picture is wanted and Matplotlib is missing."""
    if path is None:
        return
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise typer.BadParameter("--picture needs Matplotlib: pip install 'jaxnets[plot]'") from None


def draw_images(images: Float[Array, "n pixels"], columns: int, path: Path) -> None:
    """Write square images in [0, 1], row by row, as one picture."""
    from matplotlib import image

    side = math.isqrt(images.shape[1])
    rows = len(images) // columns
    grid = np.asarray(images[: rows * columns]).reshape(rows, columns, side, side)
    framed = np.pad(grid, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.5)
    whole = framed.swapaxes(1, 2).reshape(rows * (side + 2), columns * (side + 2))
    image.imsave(path, np.kron(whole, np.ones((2, 2))), cmap="gray_r", vmin=0, vmax=1)
    console.print(f"wrote {path}")
