"""Measure how gradients vanish or explode, through time and through depth, and draw it.

`python examples/vanishing_gradients.py --picture vanishing.png`

Through time: the norm of the delta of each step before the end of a sequence, whose last state alone has a cost.
Through depth: the norm of the gradient of the biases of each layer of networks that have not been trained, on MNIST.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot as plt

from jaxnets.data import as_inputs, mnist_small, one_hot
from jaxnets.nets import lstm, mlp
from jaxnets.ops import losses
from jaxnets.ops.activations import linear, relu, sigmoid
from jaxnets.ops.recurrence import LSTMState, elman
from jaxnets.ops.recurrence import lstm as lstm_rule
from jaxnets.ops.recurrence.elman import elman_deltas
from jaxnets.ops.recurrence.lstm import lstm_deltas

STEPS, UNITS, BATCH = 100, 64, 32
LAYERS = 10


def sequences(key):
    """Inputs so weak that tanh units stay where their slope is 1, also where the state grows."""
    return 1e-9 * jax.random.normal(key, (BATCH, STEPS, 3))


def norms(delta):
    """Of the delta of each step, the mean over the examples; the last step first."""
    return np.asarray(jnp.linalg.norm(delta, axis=2).mean(1))[::-1]


def tanh_network(w_h, key):
    """Norms of the deltas of a simple recurrent network, of the sum of whose last state the cost is."""
    x_key, w_key = jax.random.split(key)
    x, w_x = sequences(x_key), jax.random.normal(w_key, (3, UNITS))
    (h, last), residuals = elman.forward(x, w_x, w_h, jnp.zeros(UNITS), jnp.zeros((BATCH, UNITS)), chunk=STEPS)
    return norms(elman_deltas(residuals, (jnp.zeros_like(h), jnp.ones_like(last)), chunk=STEPS)[1])


def lstm_network(forget, key):
    """Norms of the deltas of an LSTM whose forget gates have this bias; the cost is the sum of the last cells.

    Its recurrent weights are a tenth of orthogonal ones, so that what is seen is the way through the cells.
    """
    x_key, w_key = jax.random.split(key)
    layer = lstm.init(w_key, 3, UNITS, forget=forget)
    (h, last), residuals = lstm_rule.forward(
        sequences(x_key), layer.w_x, 0.1 * layer.w_h, layer.b, lstm.start(layer, BATCH), chunk=STEPS
    )
    last_bar = LSTMState(jnp.zeros_like(last.h), jnp.ones_like(last.c))
    return norms(lstm_deltas(residuals, (jnp.zeros_like(h), last_bar), chunk=STEPS)[1])


def with_radius(radius, key):
    """Random weights, scaled so that the largest absolute value of an eigenvalue is `radius`."""
    w = np.asarray(jax.random.normal(key, (UNITS, UNITS)))
    return jnp.asarray(radius * w / np.abs(np.linalg.eigvals(w)).max(), jnp.float32)


def through_time():
    """Curves by name."""
    key = jax.random.key(0)
    curves = {
        f"tanh, spectral radius {radius}": tanh_network(with_radius(radius, key), key) for radius in (0.8, 1.0, 1.2)
    }
    curves["tanh, orthogonal"] = tanh_network(jax.nn.initializers.orthogonal()(key, (UNITS, UNITS)), key)
    return curves | {f"LSTM, forget bias {forget}": lstm_network(float(forget), key) for forget in (0, 5)}


def through_depth(activation, weights, batch):
    """Norms of the gradient of the biases of all layers but the last, from the first on."""
    sizes = (784, *(30,) * LAYERS, 10)
    params = mlp.init(jax.random.key(1), sizes, weights=weights, biases=jax.nn.initializers.zeros)
    options = {"activations": (activation,) * LAYERS + (linear,), "cost": losses.softmax_cross_entropy}
    (slopes, _), _ = mlp.gradient(params, batch, **options)
    return np.array([float(jnp.linalg.norm(layer.b)) for layer in slopes[:-1]])


def main():
    """Measure, draw, print, and check that what vanishes does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", default="vanishing-gradients.png")
    arguments = parser.parse_args()

    time = through_time()
    data = mnist_small()
    batch = jnp.asarray(as_inputs(data.train_images[:1000])), one_hot(data.train_labels[:1000], 10)
    depth = {
        "sigmoid, weights N(0, 1/n)": through_depth(sigmoid, mlp.SCALED_GAUSSIAN, batch),
        "ReLU, weights N(0, 1/n)": through_depth(relu, mlp.SCALED_GAUSSIAN, batch),
        "ReLU, weights N(0, 2/n)": through_depth(relu, mlp.HE, batch),
    }

    _, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, curve in time.items():
        left.semilogy(np.arange(STEPS), curve / curve[0], label=name, linestyle="--" if "LSTM" in name else "-")
    left.set(xlabel="steps before the end", ylabel="norm of δ, relative to the last step", ylim=(1e-12, 1e9))
    for name, curve in depth.items():
        right.semilogy(np.arange(1, LAYERS + 1), curve / curve[-1], marker="o", label=name)
    right.set(xlabel="layer", ylabel="norm of the biases' gradient, relative to layer 10")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper left" if axes is left else "lower right")
    plt.savefig(arguments.picture, dpi=130)

    for name, curve in time.items():
        print(f"{name}: {curve[STEPS - 1] / curve[0]:.1e} after {STEPS - 1} steps")
    for name, curve in depth.items():
        print(f"{name}: {(curve[-1] / curve[0]) ** (1 / (LAYERS - 1)):.2f} a layer")
    assert time["tanh, spectral radius 0.8"][-1] < 1e-6 * time["tanh, spectral radius 0.8"][0]
    assert time["tanh, spectral radius 1.2"][-1] > 1e6 * time["tanh, spectral radius 1.2"][0]
    assert time["LSTM, forget bias 5"][-1] > 0.2 * time["LSTM, forget bias 5"][0]
    assert depth["sigmoid, weights N(0, 1/n)"][0] < 1e-4 * depth["sigmoid, weights N(0, 1/n)"][-1]
    assert depth["ReLU, weights N(0, 2/n)"][0] > 0.05 * depth["ReLU, weights N(0, 2/n)"][-1]


if __name__ == "__main__":
    main()
