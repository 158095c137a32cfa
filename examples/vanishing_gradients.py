"""Measure how gradients vanish or explode, through time and through depth, in networks that have not been trained.

`python examples/vanishing_gradients.py --picture vanishing-gradients.png`

Through time, the last state of a sequence alone has a cost: its gradient is carried back step by step, first where the
inputs are so weak that all slopes are 1, then with inputs of variance 1.  Through depth, the cost is the cross entropy
of images of MNIST.
"""

import argparse
import math

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jax.nn import initializers

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

UNITS, BATCH, INPUTS = 64, 16, 3
WEAK, STRONG = 1e-30, 1.0
LAYERS, WIDTH = 10, 100
RADII = (0.5, 0.9, 1.0, 1.2)
SIGMOID, LARGE, RELU, HE = "sigmoid, N(0, 1/n)", "sigmoid, N(0, 16/n)", "ReLU, N(0, 1/n)", "ReLU, N(0, 2/n)"
COLOURS = {
    "tanh, ρ = 0.5": "C0",
    "tanh, ρ = 0.9": "C2",
    "tanh, ρ = 1.0": "C1",
    "tanh, ρ = 1.2": "C3",
    "tanh, orthogonal": "black",
    "LSTM, forget bias 0": "C9",
    "LSTM, forget bias 1": "C4",
    "LSTM, forget bias 2": "C6",
}


def back_from_the_end(delta):
    """The root of the mean square over the examples of ‖δ_t‖, relative to the last step, which comes first."""
    norms = np.sqrt(np.asarray(jnp.square(delta).sum(2).mean(1)))[::-1]
    return norms / norms[0]


def inputs(strength, steps):
    """Sequences, and the gradient of the cost with respect to the last state."""
    x_key, bar_key = jax.random.split(jax.random.key(0))
    return strength * jax.random.normal(x_key, (BATCH, steps, INPUTS)), jax.random.normal(bar_key, (BATCH, UNITS))


def tanh_network(w_h, strength, steps):
    """Norms of the deltas of a simple recurrent network."""
    x, last_bar = inputs(strength, steps)
    w_x = initializers.glorot_uniform()(jax.random.key(1), (INPUTS, UNITS), float)
    (h, _), residuals = elman.forward(x, w_x, w_h, jnp.zeros(UNITS), jnp.zeros((BATCH, UNITS)), chunk=steps)
    return back_from_the_end(elman_deltas(residuals, (jnp.zeros_like(h), last_bar), chunk=steps)[1])


def lstm_network(forget, strength, steps):
    """Norms of the deltas of an LSTM whose forget gates have this bias."""
    x, last_bar = inputs(strength, steps)
    layer = lstm.init(jax.random.key(2), INPUTS, UNITS, dtype=float, forget=forget)
    start = lstm.start(layer, BATCH)
    (h, _), residuals = lstm_rule.forward(x, layer.w_x, layer.w_h, layer.b, start, chunk=steps)
    bars = jnp.zeros_like(h), LSTMState(last_bar, jnp.zeros_like(last_bar))
    return back_from_the_end(lstm_deltas(residuals, bars, chunk=steps)[1])


def random_weights(radius):
    """Independent normal numbers, scaled so that the largest absolute value of an eigenvalue is `radius`."""
    w = np.asarray(jax.random.normal(jax.random.key(3), (UNITS, UNITS)))
    return jnp.asarray(radius * w / np.abs(np.linalg.eigvals(w)).max())


def through_time(steps):
    """Two panels of curves by name: weak inputs, and strong ones."""
    orthogonal = initializers.orthogonal()(jax.random.key(4), (UNITS, UNITS), float)
    weak = {f"tanh, ρ = {radius}": tanh_network(random_weights(radius), WEAK, steps) for radius in RADII}
    weak["tanh, orthogonal"] = tanh_network(orthogonal, WEAK, steps)
    strong = {f"tanh, ρ = {radius}": tanh_network(random_weights(radius), STRONG, steps) for radius in RADII[1::2]}
    strong["tanh, orthogonal"] = tanh_network(orthogonal, STRONG, steps)
    return weak, strong | {f"LSTM, forget bias {b}": lstm_network(float(b), STRONG, steps) for b in (0, 1, 2)}


def through_depth(activation, variance, batch):
    """Root mean square of ‖δ^l‖ over the images, relative to hidden layer 10; weights are N(0, variance / n_in)."""
    weights = initializers.variance_scaling(variance, "fan_in", "normal")
    sizes = (784, *(WIDTH,) * LAYERS, 10)
    params = mlp.init(jax.random.key(5), sizes, weights=weights, biases=initializers.zeros, dtype=float)
    activations = (activation,) * LAYERS + (linear,)
    _, delta = mlp.gradient(params, batch, activations=activations, cost=losses.softmax_cross_entropy)
    norms = np.array([math.sqrt(jnp.square(delta[f"z{layer}"]).sum(1).mean()) for layer in range(1, LAYERS + 1)])
    return norms / norms[-1]


def rate(curve):
    """The factor of a step, from the 20th before the end to the first of the sequence."""
    return float((curve[-1] / curve[20]) ** (1 / (len(curve) - 21)))


def draw(weak, strong, depth, path):
    """One panel each; dotted lines are powers of the spectral radius."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    for axes, curves in ((left, weak), (middle, strong)):
        for name, curve in curves.items():
            axes.semilogy(curve, "--" if "LSTM" in name else "-", color=COLOURS[name], label=name, linewidth=1.8)
        axes.set(xlabel="steps before the end", ylabel="‖δ‖ relative to the last step", ylim=(1e-16, 1e14))
    for radius in RADII:
        back = np.arange(weak["tanh, orthogonal"].size)
        left.semilogy(back, radius**back, ":", color="grey", linewidth=1)
    for (name, curve), marker in zip(depth.items(), "osD^", strict=True):
        right.semilogy(range(1, LAYERS + 1), curve, marker=marker, label=name, linewidth=1.8)
    right.set(xlabel="layer", ylabel="‖δ‖ relative to hidden layer 10", ylim=(1e-6, 1e1), xticks=range(1, LAYERS + 1))
    left.set_title("through time, weak inputs (dotted: powers of ρ)")
    middle.set_title("through time, inputs N(0, 1)")
    right.set_title("through depth, at the start")
    for axes, place in ((left, "upper left"), (middle, "upper left"), (right, "lower right")):
        axes.grid(alpha=0.25)
        axes.legend(loc=place, ncols=2 if axes is not right else 1, fontsize=9)
    figure.savefig(path, dpi=90)


def main():
    """Measure, print, draw if asked, and check that the factors are those of the theory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="of a sequence, at least 50")
    parser.add_argument("--images", type=int, default=1000, help="of MNIST")
    parser.add_argument("--picture", help="where the picture goes")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)

    weak, strong = through_time(options.steps)
    data = mnist_small()
    x, t = as_inputs(data.train_images[: options.images]), one_hot(data.train_labels[: options.images], 10)
    batch = jnp.asarray(x, float), jnp.asarray(t, float)
    depth = {
        SIGMOID: through_depth(sigmoid, 1.0, batch),
        LARGE: through_depth(sigmoid, 16.0, batch),
        RELU: through_depth(relu, 1.0, batch),
        HE: through_depth(relu, 2.0, batch),
    }
    for title, curves in (("weak inputs", weak), ("inputs N(0, 1)", strong)):
        print(f"{title}, {options.steps - 1} steps before the end:")
        for name, curve in curves.items():
            print(f"  {name}: {curve[-1]:.1e}, from step 20 on a factor {rate(curve):.3f} a step")
    print(f"depth, layer 1 relative to hidden layer {LAYERS}:")
    for name, curve in depth.items():
        print(f"  {name}: {curve[0]:.1e}, a factor {curve[0] ** (1 / (LAYERS - 1)):.3f} a layer")
    if options.picture:
        draw(weak, strong, depth, options.picture)

    for radius in RADII:
        assert abs(rate(weak[f"tanh, ρ = {radius}"]) / radius - 1) < 0.03
    assert np.allclose(weak["tanh, orthogonal"], 1.0)
    assert strong["tanh, orthogonal"][-1] < 1e-3
    assert strong["LSTM, forget bias 0"][-1] < 1e-5
    assert strong["LSTM, forget bias 1"][-1] > 100 * strong["tanh, orthogonal"][-1]
    for name, factor in ((SIGMOID, 1 / 4.236), (LARGE, 1 / 1.583), (RELU, math.sqrt(0.5)), (HE, 1.0)):
        assert abs(depth[name][0] ** (1 / (LAYERS - 1)) / factor - 1) < 0.06, name


if __name__ == "__main__":
    main()
