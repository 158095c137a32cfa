"""The derivations of derivations/cnn.md and derivations/lenet.md."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnets.catalog.samples import normal
from jaxnets.data import Dataset, as_images, mnist_small, one_hot
from jaxnets.nets import cnn, lenet, lenet1998
from jaxnets.nets.rbf import map_criterion, mse_criterion, rbf
from jaxnets.verify import Derivation

_CNN, _LENET = "derivations/cnn.md", "derivations/lenet.md"


def small_images(key: Array) -> tuple[Any, ...]:
    """Images of noise, at which nothing is as large as anything else, with two channels and of another width."""
    params_key, x_key, t_key = jax.random.split(key, 3)
    params = cnn.init(params_key, image=(6, 8, 2), outputs=5, biases=jax.nn.initializers.normal(1.0), dtype=float)
    return params, (jax.random.normal(x_key, (7, 6, 8, 2)), jax.random.dirichlet(t_key, jnp.ones(5), (7,)))


def distances(key: Array) -> tuple[Any, ...]:
    """Distances to codes, and a target distribution for each row."""
    y_key, t_key = jax.random.split(key)
    return 3 * jax.random.uniform(y_key, (5, 3)), jax.random.dirichlet(t_key, jnp.ones(3), (5,))


def _digits(data: Dataset, key: Array) -> tuple[Array, Array]:
    chosen = np.asarray(jax.random.choice(key, len(data.train_labels), (2,), replace=False))
    x, t = as_images(data.train_images[chosen]), one_hot(data.train_labels[chosen], 10)
    return jnp.asarray(x, float), jnp.asarray(t, float)


def digits_for_lenet1998(key: Array) -> tuple[Any, ...]:
    """Parameters, and two handwritten digits as the paper wants them."""
    params_key, choice_key = jax.random.split(key)
    x, t = _digits(mnist_small(), choice_key)
    return lenet1998.init(params_key, dtype=float), (lenet1998.as_input(x), t)


def noise_for_lenet(key: Array) -> tuple[Any, ...]:
    """Parameters, and two images of noise: where handwritten digits are blank, maxima are many and equal."""
    params_key, x_key, t_key = jax.random.split(key, 3)
    x, t = jax.random.normal(x_key, (2, 28, 28, 1)), jax.random.dirichlet(t_key, jnp.ones(10), (2,))
    return lenet.init(params_key, dtype=float), (x, t)


CONVOLUTIONAL_NETWORKS = (
    Derivation(
        "cnn",
        jax.jit(cnn.loss),
        small_images,
        _CNN,
        tuple(f"CN{number}" for number in range(1, 15)),
        jax.jit(cnn.gradient),
    ),
    Derivation("rbf", rbf, normal((5, 7), (3, 7)), _LENET, ("LN1", "LN2", "LN3")),
    Derivation("losses/mse_criterion", mse_criterion, distances, _LENET, ("LN4", "LN5")),
    Derivation("losses/map_criterion", partial(map_criterion, j=2.0), distances, _LENET, ("LN6", "LN7")),
    Derivation(
        "lenet1998",
        jax.jit(lenet1998.loss),
        digits_for_lenet1998,
        _LENET,
        tuple(f"LN{number}" for number in range(8, 27)),
        jax.jit(lenet1998.gradient),
    ),
    Derivation("lenet", jax.jit(lenet.loss), noise_for_lenet, _LENET, ("LN27", "LN28", "LN29")),
)
