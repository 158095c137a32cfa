"""A training loop of one's own with Optax: a loss of jaxnets, whose gradient is the hand-derived one.

The parameters are plain tuples of arrays, which every part of Optax takes: here clipping, a schedule, and a weight
decay for weights but not for biases.  `jaxnets.train.fit` is such a loop, compiled as a whole.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.data import as_images, mnist_small, one_hot
from jaxnets.nets import lenet
from jaxnets.train import accuracy

EPOCHS, BATCH = 2, 50


def main():
    """Reach 94% on the 1,000 test images in two epochs of LeNet-5."""
    digits = mnist_small()
    x, t = as_images(digits.train_images), one_hot(digits.train_labels, 10)
    x_test, labels = jnp.asarray(as_images(digits.test_images)), jnp.asarray(digits.test_labels)
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.adamw(
            optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 10, steps),
            weight_decay=1e-3,
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
        ),
    )

    @jax.jit
    def step(params, state, batch):
        loss, bar = jax.value_and_grad(lenet.loss)(params, batch)
        updates, state = optimizer.update(bar, state, params)
        return optax.apply_updates(params, updates), state, loss

    params = jax.jit(lenet.init)(jax.random.key(0))
    state, random = jax.jit(optimizer.init)(params), np.random.default_rng(0)
    for epoch in range(1, EPOCHS + 1):
        losses = []
        for rows in random.permutation(len(x)).reshape(-1, BATCH):
            params, state, loss = step(params, state, (x[rows], t[rows]))
            losses.append(loss)
        right = accuracy(jax.jit(lenet.apply)(params, x_test), labels)
        print(f"epoch {epoch}: loss {jnp.stack(losses).mean():.4f}, {right:.1%} of the test images")
    assert right > 0.94


if __name__ == "__main__":
    main()
