"""Train a deep residual network and the plain network of the same depth, and draw how the gradient reaches each layer.

`python examples/residual_or_plain.py --data fashion-mnist --depth 110 --picture residual.png`

Images are 14 x 14, the mean of every 2 x 2 pixels, so that two cores train 110 layers in minutes.  Without shortcuts
the gradient grows towards the first layer, and from 56 layers on by so much that the network learns less.  Both are
asserted.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import matplotlib
import optax

matplotlib.use("agg")
from matplotlib import pyplot as plt

from jaxnets.data import as_images, fashion_mnist, mnist_small
from jaxnets.nets import resnet
from jaxnets.nets.resnet import Shortcut
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.ops.pooling import mean_pool
from jaxnets.train import Stateful, accuracy, fit, init_stateful, mean_in_batches, stateful_step

SETS = {"fashion-mnist": fashion_mnist, "mnist-small": mnist_small}
NAMES = {Shortcut.IDENTITY: "residual", Shortcut.NONE: "plain"}


def loss(params, statistics, batch, key, architecture):
    """Of a batch (images, labels), with the running statistics after it; nothing is random, so the key is not used."""
    x, labels = batch
    logits, moved = resnet.apply(params, statistics, x, architecture=architecture, training=True)
    return softmax_cross_entropy_with_integer_labels(logits, labels), moved


def gradient_norms(params, statistics, batch, architecture):
    """The norm of the gradient of each convolution's kernels, from the first to the last."""
    slopes = jax.jit(jax.grad(lambda p: loss(p, statistics, batch, None, architecture)[0]))(params)
    layers = [slopes.stem, *(layer for block in slopes.blocks for layer in block.layers)]
    return [float(jnp.linalg.norm(layer.w)) for layer in layers]


def trained(architecture, train, test, epochs):
    """Norms of the gradients before training, and the epochs."""
    params, statistics = resnet.init(jax.random.key(0), architecture, channels=1)
    norms = gradient_norms(params, statistics, jax.tree.map(lambda a: a[:128], train), architecture)
    optimizer = optax.sgd(optax.linear_schedule(0.0, 0.1, 100), momentum=0.9)

    def evaluate(trained: Stateful):
        def score(batch):
            logits, _ = resnet.apply(*trained, batch[0], architecture=architecture, training=False)
            return accuracy(logits, batch[1])

        return {"accuracy": mean_in_batches(score, test, batch_size=500)}

    _, history = fit(
        stateful_step(functools.partial(loss, architecture=architecture), optimizer),
        init_stateful(params, statistics, optimizer, jax.random.key(1)),
        train,
        key=jax.random.key(2),
        batch_size=64,
        epochs=epochs,
        evaluate=evaluate,
        on_epoch=lambda epoch: print(
            f"  epoch {epoch.epoch}: loss {epoch.loss:.3f}, {epoch.metrics['accuracy']:.1%} in {epoch.seconds:.0f} s",
            flush=True,
        ),
    )
    return norms, history


def check(found, depth):
    """That the shortcuts matter: at any depth to the gradients, and where the networks are deep to what they learn."""
    (residual, history), (plain, plain_history) = found["residual"], found["plain"]
    growth, plain_growth = residual[0] / residual[-1], plain[0] / plain[-1]
    assert plain_growth > growth, (plain_growth, growth)
    if depth >= 56:
        assert plain_growth > 10 * growth, (plain_growth, growth)
        right, plain_right = history[-1].metrics["accuracy"], plain_history[-1].metrics["accuracy"]
        assert right > plain_right + 0.1, (right, plain_right)


def draw(found, path):
    """Gradients by depth before training, and the loss by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, (norms, history) in found.items():
        left.semilogy(range(1, len(norms) + 1), norms, label=name)
        right.plot([epoch.epoch for epoch in history], [epoch.loss for epoch in history], "o-", label=name)
    left.set(xlabel="layer", ylabel="norm of the gradient before training")
    right.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    left.legend()
    figure.savefig(path, dpi=80)


def main():
    """Train both, print what they reach, and draw it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=SETS, default="mnist-small")
    parser.add_argument("--depth", type=int, default=56, help="6 n + 2")
    parser.add_argument("--width", type=int, default=4, help="channels of the first of three stages")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--examples", type=int, default=6000, help="of the training set")
    parser.add_argument("--picture", help="where the picture goes")
    options = parser.parse_args()

    images = SETS[options.data]()
    small = jax.jit(lambda x: mean_pool(x, window=(2, 2)))
    train_x, test_x = (small(jnp.asarray(as_images(x))) for x in (images.train_images, images.test_images))
    test = test_x, jnp.asarray(images.test_labels, jnp.int32)
    train = train_x[: options.examples], jnp.asarray(images.train_labels, jnp.int32)[: options.examples]
    found = {}
    for shortcut, name in NAMES.items():
        print(f"{name}, {options.depth} layers:")
        widths = tuple(options.width * 2**stage for stage in range(3))
        architecture = resnet.small_images(options.depth, shortcut)._replace(widths=widths)
        norms, history = trained(architecture, train, test, options.epochs)
        found[name] = norms, history
        print(f"  gradient of the first layer / of the last: {norms[0] / norms[-1]:.3g}")
    check(found, options.depth)
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
