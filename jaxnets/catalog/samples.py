"""What the derivations are tried on: arguments with dimensions that are all distinct, in the precision in force."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnets.data import as_inputs, mnist_small, one_hot
from jaxnets.nets import mlp

Sample = Callable[[Array], tuple[Any, ...]]


def normal(*shapes: tuple[int, ...]) -> Sample:
    """Independent standard normal numbers: signed, and almost surely at no kink."""

    def sample(key: Array) -> tuple[Any, ...]:
        # By NumPy: JAX would compile a program for each shape, which takes longer than to verify most derivations.
        generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return tuple(jnp.asarray(generator.normal(size=shape), float) for shape in shapes)

    return sample


def normal_and_distributions(key: Array) -> tuple[Any, ...]:
    """Logits, and a target distribution for each row."""
    logits_key, target_key = jax.random.split(key)
    return jax.random.normal(logits_key, (5, 3)), jax.random.dirichlet(target_key, jnp.ones(3), (5,))


def distributions(key: Array) -> tuple[Any, ...]:
    """Two distributions for each row, all probabilities positive."""
    p, q = jax.random.dirichlet(key, jnp.ones(3), (2, 5))
    return p, q


def normal_and_labels(key: Array) -> tuple[Any, ...]:
    """Logits, and an integer label for each row."""
    logits_key, label_key = jax.random.split(key)
    return jax.random.normal(logits_key, (5, 3)), jax.random.randint(label_key, (5,), 0, 3)


def logits_of_sequences(key: Array) -> tuple[Any, ...]:
    """Logits and words of sequences, of which two are over before the end."""
    logits_key, word_key = jax.random.split(key)
    words = jax.random.randint(word_key, (3, 5), 0, 4, jnp.int32)
    return jax.random.normal(logits_key, (3, 5, 4)), words, jnp.array([5, 2, 1], jnp.int32)


def probabilities(key: Array) -> tuple[Any, ...]:
    """Two arrays of probabilities, away from 0 and 1."""
    a, y = jax.random.uniform(key, (2, 5, 3), minval=0.05, maxval=0.95)
    return a, y


def scores_and_signs(key: Array) -> tuple[Any, ...]:
    """Scores, and labels -1 or 1."""
    score_key, sign_key = jax.random.split(key)
    return 2 * jax.random.normal(score_key, (11, 3)), jax.random.rademacher(sign_key, (11, 3), float)


def gaussians(key: Array) -> tuple[Any, ...]:
    """Means, positive variances and observations."""
    mean, variance, y = jax.random.normal(key, (3, 5, 3))
    return mean, jnp.exp(variance), y


def network(sizes: tuple[int, ...], batch: int) -> Sample:
    """Parameters of a network, and a batch of inputs and of target distributions."""

    def sample(key: Array) -> tuple[Any, ...]:
        params_key, x_key, t_key = jax.random.split(key, 3)
        x = jax.random.normal(x_key, (batch, sizes[0]))
        t = jax.random.dirichlet(t_key, jnp.ones(sizes[-1]), (batch,))
        return mlp.init(params_key, sizes, dtype=x.dtype), (x, t)

    return sample


def network_input(key: Array) -> tuple[Any, ...]:
    """Parameters of a small network, and a batch of inputs."""
    params, (x, _) = network((4, 5, 3, 2), 7)(key)
    return params, x


def digits(key: Array) -> tuple[Any, ...]:
    """Nielsen's network with 30 hidden units on seven of the embedded handwritten digits."""
    params_key, choice_key = jax.random.split(key)
    digits = mnist_small()
    chosen = np.asarray(jax.random.choice(choice_key, len(digits.train_labels), (7,), replace=False))
    x, t = as_inputs(digits.train_images[chosen]), one_hot(digits.train_labels[chosen], 10)
    params = mlp.init(params_key, (784, 30, 10), dtype=float)
    return params, (jnp.asarray(x, float), jnp.asarray(t, float))
