"""What `jaxnets train dbn` and `dbm` have in common: the stack of RBMs that they start from."""

from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import typer
from jaxtyping import Array, Float, Key

from jaxnets.cli.console import console
from jaxnets.cli.train.not_finite import exit_where_not_finite
from jaxnets.cli.train.schedule import steps_in
from jaxnets.nets import greedy, rbm
from jaxnets.nets.contrastive_divergence import Machine, Reconstruction
from jaxnets.train import Epoch

PretrainEpochs = Annotated[int, typer.Option(min=0, help="Passes over the training set for each RBM.")]
PretrainRate = Annotated[float, typer.Option(min=0.0, help="Step size of contrastive divergence.")]
Sizes = Annotated[str, typer.Option(help="Units per layer, the 784 pixels first; classes come on top of these.")]

WEIGHT_DECAY = 2e-4


def widths(text: str, pixels: int, least: int) -> tuple[int, ...]:
    """Units per layer; bad usage if there are fewer than `least` layers, or the first is not that of the pixels."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--sizes is {text!r}, wanted numbers such as 784,500,500") from None
    if len(found) < least or min(found) < 1:
        raise typer.BadParameter(f"--sizes is {text!r}, wanted at least {least} positive numbers")
    if found[0] != pixels:
        raise typer.BadParameter(f"--sizes is {text}, wanted {pixels} first (the pixels)")
    return found


def start(key: Key[Array, ""], sizes: Sequence[int], images: Float[Array, "examples pixels"]) -> tuple[rbm.Params, ...]:
    """A stack of RBMs with small weights, whose visible units have the means of the images."""
    first, *others = greedy.init_stack(key, sizes)
    return (first._replace(b=rbm.data_biases(images)), *others)


def cd_optimizer(rate: float, updates: int) -> optax.GradientTransformation:
    """Momentum and weight decay as in Hinton's guide, with a step size that grows for the first half of the updates."""

    def weights(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    growing = optax.linear_schedule(0.2 * rate, rate, max(updates // 2, 1))
    return optax.chain(optax.add_decayed_weights(WEIGHT_DECAY, weights), optax.sgd(growing, momentum=0.9))


def pretrained(
    stack: Sequence[rbm.Params],
    data: Float[Array, "examples _"],
    *,
    key: Key[Array, ""],
    rate: float,
    batch_size: int,
    epochs: int,
    steps: int = 1,
    reconstruction: Reconstruction = Reconstruction.MEANS,
    machines: Sequence[Machine] | None = None,
    numbered_from: int = 1,
) -> tuple[tuple[rbm.Params, ...], Float[Array, "examples _"]]:
    """As `jaxnets.nets.greedy.pretrain`, with a line on the console for each RBM.

    Exit status 1 if a reconstruction error becomes infinite or not a number.
    """
    seconds = 0.0

    def tell(number: int, epoch: Epoch) -> None:
        nonlocal seconds
        seconds += epoch.seconds
        if epoch.epoch == epochs:
            visible, hidden = stack[number - 1].w.shape
            console.print(
                f"RBM {number + numbered_from - 1} of {visible} and {hidden} units: reconstruction error "
                f"{epoch.loss:.3f} after {epochs} epochs, {seconds:.1f} s"
            )
            seconds = 0.0

    with exit_where_not_finite():
        return greedy.pretrain(
            stack,
            jnp.asarray(data),
            cd_optimizer(rate, steps_in(epochs, len(data), batch_size)),
            key=key,
            batch_size=batch_size,
            epochs=epochs,
            steps=steps,
            reconstruction=reconstruction,
            machines=machines,
            on_epoch=tell,
        )
