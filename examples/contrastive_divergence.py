"""Train the same restricted Boltzmann machine by CD-1, CD-10 and PCD, and watch its exact likelihood.

With 16 hidden units the partition function is a sum of 65,536 terms, so that nothing about it has to be estimated; the
estimate by annealed importance sampling, which larger machines need, is compared with it at the end.  Digits of the
embedded part of MNIST, their pixels drawn; `--picture FILE` draws the likelihoods, weights and samples.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

matplotlib.use("agg")
from matplotlib import pyplot as plt

from jaxnets.data import as_inputs, mnist_small
from jaxnets.nets import annealed_importance, rbm
from jaxnets.nets import contrastive_divergence as cd
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.train import fit

HIDDEN, BATCH, RATE = 16, 20, 0.05
SAMPLES, ROUNDS = 16, 2000
LEARNING = "CD-1", "CD-10", "PCD"


def learned(name, params, v, test, epochs):
    """The parameters at the end, and the exact mean of ln p over the test images after each epoch."""
    steps = epochs * -(-len(v) // BATCH)
    optimizer = optax.sgd(optax.cosine_decay_schedule(RATE, steps), momentum=0.5)
    if name == "PCD":
        step, state = cd.pcd_step(optimizer), cd.init_pcd(params, v[:BATCH], optimizer, jax.random.key(1))
    else:
        step = cd.cd_step(optimizer, steps=int(name.removeprefix("CD-")))
        state = cd.init_cd(params, optimizer, jax.random.key(1))
    state, history = fit(
        step,
        state,
        v,
        key=jax.random.key(2),
        batch_size=BATCH,
        epochs=epochs,
        evaluate=lambda params: {"ln p": rbm.log_likelihood(params, test)},
    )
    return state.params, [epoch.metrics["ln p"] for epoch in history]


def estimated(params, biases, steps):
    """The partition function by annealed importance sampling."""
    path, betas = annealed_importance.of_rbm(params, biases), annealed_importance.temperatures((1.0, steps))
    return jax.jit(lambda key: annealed_importance.estimate(path, betas, key))(jax.random.key(3))


def samples(params):
    """What chains that began with noise have become."""
    v = jax.random.bernoulli(jax.random.key(4), 0.5, (SAMPLES, len(params.b))).astype(params.b.dtype)
    _, hidden = jax.jit(cd.gibbs, static_argnames="steps")(params, v, jax.random.key(5), steps=ROUNDS)
    return rbm.visible_probabilities(params, hidden)


def tiled(images):
    """Images of 28 x 28 pixels in four rows, with a frame around each."""
    grid = np.pad(np.asarray(images).reshape(4, -1, 28, 28), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return grid.swapaxes(1, 2).reshape(4 * 30, -1)


def draw(found, path):
    """Likelihoods by epoch; the weights of the machine learned by PCD; samples of two machines."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.3), layout="constrained", width_ratios=(1.3, 1, 1, 1))
    for name, (_, curve) in found.items():
        axes[0].plot(range(1, len(curve) + 1), curve, label=name)
    axes[0].set(xlabel="epoch", ylabel="exact ln p of a test image", title="likelihood")
    axes[0].legend()
    w = np.asarray(found["PCD"][0].w.T)
    axes[1].imshow(tiled(w), cmap="RdBu_r", vmin=-np.abs(w).max(), vmax=np.abs(w).max())
    axes[1].set_title("weights of each hidden unit, PCD")
    for panel, name in zip(axes[2:], ("CD-1", "PCD"), strict=True):
        panel.imshow(tiled(samples(found[name][0])), cmap="gray_r", vmin=0, vmax=1)
        panel.set_title(f"samples, {name}")
    for panel in axes[1:]:
        panel.set_axis_off()
    figure.savefig(path, dpi=80)


def main():
    """Train, print and compare; draw if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--temperatures", type=int, default=5000, help="of annealed importance sampling")
    parser.add_argument("--picture", help="where the picture goes")
    options = parser.parse_args()

    digits = mnist_small()
    images, test = (jnp.asarray(as_inputs(part)) for part in (digits.train_images, digits.test_images))
    v, test = (sample_bernoulli(jax.random.key(i), part) for i, part in enumerate((images, test)))
    biases = rbm.data_biases(v)
    params = rbm.init(jax.random.key(0), v.shape[1], HIDDEN)._replace(b=biases)
    print(f"before learning: ln p of a test image {rbm.log_likelihood(params, test):.1f}")
    found = {}
    for name in LEARNING:
        found[name] = learned(name, params, v, test, options.epochs)
        print(f"{name}: {found[name][1][-1]:.1f} after {options.epochs} epochs", flush=True)
    exact = rbm.log_partition(found["PCD"][0])
    estimate = estimated(found["PCD"][0], biases, options.temperatures)
    print(
        f"ln Z of the last: {exact:.2f}; by annealed importance sampling {estimate.log_z:.2f} "
        f"({estimate.low:.2f} to {estimate.high:.2f})"
    )
    assert estimate.low < exact < estimate.high
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main()
