"""Train a deep belief network and a deep Boltzmann machine on handwritten digits, and draw what they generate.

The network learns images and labels, by contrastive divergence, persistent chains in its top layer and then up-down; it
is asked for ten digits of each class.  A classifier that was trained on real digits says how many of them are what they
should be.  The machine learns without labels; what it is worth is the bound on the likelihood of test images.

`python examples/generate_digits.py [picture.png]`
"""

import functools
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

matplotlib.use("agg")
from matplotlib import pyplot as plt

from jaxnets.data import as_inputs, mnist_small, one_hot
from jaxnets.nets import contrastive_divergence as cd
from jaxnets.nets import dbm, dbm_learning, dbm_pretraining, greedy, mlp, rbm, up_down
from jaxnets.nets.annealed_importance import estimate, temperatures
from jaxnets.nets.associative_memory import associative_memory
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.dbm_annealing import estimated_bound, of_dbm
from jaxnets.nets.mean_field import mean_field, upward
from jaxnets.ops.activations import linear, relu
from jaxnets.ops.losses import softmax_cross_entropy_with_integer_labels
from jaxnets.train import accuracy, fit, gradient_step, init_state

BATCH = 50
NETWORK = (relu, linear)


def falling(rate, epochs, examples):
    """A step size that goes down to 0: persistent chains must catch up with the parameters."""
    return optax.sgd(optax.linear_schedule(rate, 0.0, epochs * examples // BATCH), momentum=0.5)


def pretrain(stack, images, **options):
    """Ten epochs of contrastive divergence for each RBM, the first of which starts with the means of the images."""
    first, *others = stack
    stack = (first._replace(b=rbm.data_biases(images)), *others)
    optimizer = optax.sgd(0.05, momentum=0.9)
    return greedy.pretrain(stack, images, optimizer, key=jax.random.key(1), batch_size=BATCH, epochs=10, **options)


def judge(images, labels):
    """Scores of a network that was trained on real digits only."""
    optimizer = optax.adam(1e-3)

    def loss(params, batch):
        return softmax_cross_entropy_with_integer_labels(mlp.apply(params, batch[0], activations=NETWORK), batch[1])

    start = init_state(mlp.init(jax.random.key(2), (784, 300, 10), weights=mlp.HE), optimizer)
    options = {"key": jax.random.key(3), "batch_size": BATCH, "epochs": 8}
    state, _ = fit(gradient_step(loss, optimizer), start, (images, labels), **options)
    return functools.partial(mlp.apply, state.params, activations=NETWORK)


def belief_network(images, t):
    """784-300-500 with ten labels beside the 300."""
    (first,), features = pretrain(greedy.init_stack(jax.random.key(0), (784, 300)), images)
    joint, memory = jnp.concatenate([features, t], 1), associative_memory(10)
    top = rbm.init(jax.random.key(4), 310, 500)
    optimizer = falling(0.05, 40, len(images))
    chains = memory.sample_visible(top, joint[:100], jax.random.key(5))
    state, _ = fit(
        cd.pcd_step(optimizer, machine=memory),
        cd.init_pcd(top, chains, optimizer, jax.random.key(6)),
        joint,
        key=jax.random.key(7),
        batch_size=BATCH,
        epochs=40,
    )
    params, optimizer = up_down.untie((first, state.params)), falling(0.01, 10, len(images))
    start = up_down.init_up_down(params, optimizer, jax.random.key(8))
    options = {"key": jax.random.key(9), "batch_size": BATCH, "epochs": 10}
    state, _ = fit(up_down.up_down_step(optimizer, steps=10), start, (images, t), **options)
    return state.params


def boltzmann_machine(images):
    """784-200-400, and its chains."""
    stack, _ = pretrain(
        greedy.init_stack(jax.random.key(0), (784, 200, 400)), images, machines=dbm_pretraining.doubled(2)
    )
    machine, optimizer = dbm_pretraining.compose(stack), falling(0.01, 10, len(images))
    chains = dbm.gibbs_sweep(machine, upward(machine, images[:100]), jax.random.key(10))
    start = dbm_learning.init_pcd(machine, chains, optimizer, jax.random.key(11))
    options = {"key": jax.random.key(12), "batch_size": BATCH, "epochs": 10}
    state, _ = fit(dbm_learning.pcd_step(optimizer), start, images, **options)
    return state.params, state.opt_state.carried


def draw(parts, path):
    """A hundred images for each title, side by side."""
    figure, axes = plt.subplots(1, len(parts), figsize=(5 * len(parts), 5.3), layout="constrained")
    for axis, (title, images) in zip(axes, parts.items(), strict=True):
        grid = np.pad(np.asarray(images).reshape(10, 10, 28, 28), ((0, 0), (0, 0), (1, 1), (1, 1)))
        axis.imshow(grid.swapaxes(1, 2).reshape(300, 300), cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[], title=title)
    figure.savefig(path, dpi=80)


def main():
    """Train, generate, judge, and write the picture."""
    path = sys.argv[1] if len(sys.argv) > 1 else "generated_digits.png"
    digits = mnist_small()
    images, test = (jnp.asarray(as_inputs(part)) for part in (digits.train_images, digits.test_images))
    labels, test_labels = (jnp.asarray(part, jnp.int32) for part in (digits.train_labels, digits.test_labels))
    scores = judge(images, labels)
    print(f"the judge: {accuracy(scores(test), test_labels):.1%} of real test digits right")

    network = belief_network(images, jnp.asarray(one_hot(digits.train_labels, 10)))
    print(f"deep belief network: {accuracy(up_down.scores(network, test, 10), test_labels):.1%} of test digits right")
    wanted = jnp.tile(jnp.arange(10), 10)
    generated = up_down.generate(network, jnp.eye(10)[wanted], jax.random.key(13), steps=500)
    right = float(accuracy(scores(generated), wanted))
    print(f"  {right:.0%} of the digits that it generates are what they should be, to the judge")
    assert right >= 0.75

    machine, chains = boltzmann_machine(images)
    run = jax.jit(lambda key: estimate(of_dbm(machine, rbm.data_biases(images)), temperatures((1.0, 2000)), key))
    drawn = sample_bernoulli(jax.random.key(16), test)  # what has a probability is binary
    bound = estimated_bound(machine, drawn, mean_field(machine, drawn, steps=30).mu, run(jax.random.key(14)))
    print(
        f"deep Boltzmann machine: ln p of a test image at least {bound.bound:.1f} ({bound.low:.1f} to {bound.high:.1f})"
    )
    p = jnp.clip(images.mean(0), 1e-3, 1 - 1e-3)
    independent = (drawn @ jnp.log(p) + (1 - drawn) @ jnp.log1p(-p)).mean()
    print(f"  independent pixels: {independent:.1f}")
    assert bound.low > independent + 50
    chains = dbm_learning.gibbs(machine, chains, jax.random.key(15), steps=200)
    free = dbm.probabilities(machine, chains, first=0)[0]
    draw({"deep belief network, a class in each column": generated, "deep Boltzmann machine": free}, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
