"""Train a small convolutional network and draw what it looks at: filters, feature maps, and their projections.

`python examples/look_into_a_network.py [picture.png]`
"""

import functools
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

matplotlib.use("agg")
from matplotlib import pyplot as plt

from jaxnets.data import as_images, mnist_small
from jaxnets.nets import deconvnet
from jaxnets.ops.affine import affine
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.train import accuracy, fit, gradient_step, init_state

FILTERS = (8, 16)
SHOWN = 8


class Params(NamedTuple):
    """Two convolutional layers, and a classifier of their maps."""

    layers: deconvnet.Params
    w: jax.Array
    b: jax.Array


def logits(params, x):
    """The maps of the second layer are 4 x 4."""
    return affine(deconvnet.features(params.layers, x)[-1].a.reshape(len(x), -1), params.w, params.b)


def loss(params, batch):
    """Mean over a batch (images, labels)."""
    x, labels = batch
    return softmax_cross_entropy_with_integer_labels(logits(params, x), labels)


def trained(digits):
    """Parameters after five epochs with Adam."""
    layers = deconvnet.init(jax.random.key(0), (5, 5), FILTERS)
    params = Params(layers, jnp.zeros((4 * 4 * FILTERS[-1], 10)), jnp.zeros(10))
    optimizer = optax.adam(2e-3)
    score = functools.partial(logits, x=jnp.asarray(as_images(digits.test_images)))
    state, history = fit(
        gradient_step(loss, optimizer),
        init_state(params, optimizer),
        (jnp.asarray(as_images(digits.train_images)), jnp.asarray(digits.train_labels, jnp.int32)),
        key=jax.random.key(1),
        batch_size=32,
        epochs=5,
        evaluate=lambda params: {"accuracy": accuracy(score(params), jnp.asarray(digits.test_labels))},
        on_epoch=lambda epoch: print(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}, {epoch.metrics['accuracy']:.1%}"),
    )
    assert history[-1].metrics["accuracy"] > 0.95
    return state.params


def projections(layers, images):
    """For the first channels of the last layer: the images that excite them most, and what in these does it.

    Each projection is of the strongest activation in its image, cut out where it lies.
    """
    maps = deconvnet.features(layers, images)[-1].a
    rows = []
    for channel in range(SHOWN):
        best = images[jnp.argsort(maps[..., channel].max((1, 2)), descending=True)[:3]]
        found = deconvnet.features(layers, best)
        back = deconvnet.project(layers, found, deconvnet.strongest(found[-1].a, channel))
        rows.append(jnp.stack([best, back], 1).reshape(6, *images.shape[1:3]))
    return rows


def draw(layers, images, path):
    """Filters, the maps of one image, and projections, one column for each channel."""
    figure, axes = plt.subplots(8, SHOWN, figsize=(SHOWN * 1.1, 9.6), layout="constrained")
    maps = deconvnet.features(layers, images[:1])[0].a[0]
    columns = [
        [layers[0].w[..., 0, c], maps[..., c], *projection] for c, projection in enumerate(projections(layers, images))
    ]
    names = ["first filters", "their maps", *[name for k in (1, 2, 3) for name in (f"image {k}", "projected")]]
    for axis, picture in zip(axes.T.flat, [p for column in columns for p in column], strict=True):
        limit = float(np.abs(picture).max()) or 1.0
        axis.imshow(picture, cmap="RdBu", vmin=-limit, vmax=limit)
        axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[:, 0], names, strict=True):
        axis.set_ylabel(name, rotation="horizontal", ha="right", va="center")
    figure.savefig(path, dpi=80)


def main():
    """Train, and write the picture."""
    path = sys.argv[1] if len(sys.argv) > 1 else "look_into_a_network.png"
    digits = mnist_small()
    draw(trained(digits).layers, jnp.asarray(as_images(digits.test_images)), path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
