"""Backpropagation as a signal-flow picture, in the way it is often taught, and why it is not the gradient.

The tutorial draws the error δ = t - y flowing backwards through the weights alone and puts the slope of the activation
into the update only.  From the second layer on, the slopes of the layers above are then missing.

    (SF1) d^L = t - a^L              (SF2) d^l = d^{l+1} w^{l+1}ᵀ
    (SF3) Δw^l = η a^{l-1}ᵀ (d^l ⊙ g'(z^l))

The last layer's update is η times minus the gradient of ½ Σ ‖t - a^L‖²; the ones before it agree with (BP2) only where
all slopes above are 1.  Derivation and the corrected form: derivations/mlp.md.

Source: Bernacki and Włodarczyk, Principles of training multi-layer neural network using backpropagation
(2004).
"""

from jaxtyping import Array, Float

from jaxnets.nets.mlp import Layer, Params
from jaxnets.ops.activations import sigmoid, sigmoid_prime


def signal_flow_update(
    params: Params, x: Float[Array, "batch n_in"], t: Float[Array, "batch n_out"], learning_rate: float
) -> Params:
    """The change of the weights of a sigmoid network as the picture has it: (SF1) to (SF3).  Biases do not change.

    It is not a gradient: verify says so.  `jaxnets.nets.mlp.gradient` is the right form.  ValueError if t has another
    shape than the output.
    """
    inputs, z = [], []
    a = x
    for layer in params:
        inputs.append(a)
        z.append(a @ layer.w + layer.b[None, :])
        a = sigmoid(z[-1])
    if t.shape != a.shape:
        raise ValueError(f"signal_flow: t has shape {t.shape}, the network gives {a.shape}")
    d = t - a  # (SF1)
    changes = []
    for number in reversed(range(len(params))):
        w = learning_rate * inputs[number].T @ (d * sigmoid_prime(z[number]))  # (SF3)
        changes.append(Layer(w, 0 * params[number].b))
        d = d @ params[number].w.T  # (SF2)
    return tuple(reversed(changes))
