"""Deep Boltzmann machine: its energy, and each layer given its neighbours.  Derivation: derivations/dbm.md.

Layers h^0 = v, h^1 ... h^L of binary units, one row an example.  Neighbouring layers are joined in both directions, no
two units of a layer are; a term of a layer that is not there is left out:

    (DM1) E = - Σ_l h^{l-1} w^l h^lᵀ - Σ_l b^l h^lᵀ           (DM2) z^l = b^l + h^{l-1} w^l + h^{l+1} w^{l+1}ᵀ
    (DM3) h^l_bar = -E_bar z^l     (DM4) w^l_bar = -h^{l-1}ᵀ (E_bar ⊙ h^l)     (DM5) b^l_bar = -Σ_batch E_bar h^l
    (DM6) p(h^l_j = 1 | the other layers) = σ(z^l_j)

Given the even layers the units of all odd ones are independent, and the other way round.  So either can be summed out
in closed form, and one sweep of Gibbs sampling takes two halves, however many layers there are:

    (DM7) F(kept layers) = -ln Σ_others e^-E = -Σ_kept b^l h^lᵀ - Σ_others Σ_j softplus(z^l_j)
    (DM8) ∂F/∂q = ∂E/∂q for q = w, b, kept h^l, with the probabilities σ(z^l) in the place of the other layers

Source: Salakhutdinov and Hinton 2009, Deep Boltzmann machines, section 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxnets.nets.binary import sample_bernoulli
from jaxnets.ops.activations import sigmoid, softplus
from jaxnets.rule import rule


class Params(NamedTuple):
    """Weights between neighbouring layers, the lowest first, and biases of all layers, the visible one first."""

    w: tuple[Float[Array, "_ _"], ...]
    b: tuple[Float[Array, " _"], ...]


Layers = tuple[Float[Array, "batch _"], ...]
"""States of layers, or probabilities of their units, the visible layer first."""


def init(
    key: Key[Array, ""], sizes: Sequence[int], *, scale: float = 0.01, dtype: jax.typing.DTypeLike = jnp.float32
) -> Params:
    """Weights N(0, scale²) and biases 0, for `sizes` units per layer, the visible layer first.

    Raises:
      ValueError: if there are fewer than two hidden layers (an RBM has one), or a size is not positive.
    """
    if len(sizes) < 3 or min(sizes) < 1:
        raise ValueError(f"dbm.init: sizes are {tuple(sizes)}, wanted at least three positive numbers")
    keys = jax.random.split(key, len(sizes) - 1)
    w = tuple(
        scale * jax.random.normal(w_key, (below, above), dtype)
        for w_key, below, above in zip(keys, sizes[:-1], sizes[1:], strict=True)
    )
    return Params(w, tuple(jnp.zeros(size, dtype) for size in sizes))


class Residuals(NamedTuple):
    """What the gradient of an energy needs: everything."""

    params: Params
    layers: Layers


def energy_forward(params: Params, layers: Layers) -> tuple[Float[Array, " batch"], Residuals]:
    """Energy of each row of states (DM1).

    Linear in each layer: at probabilities of independent units it is the mean of the energy.

    Raises:
      ValueError: if the widths of the layers, weights and biases do not agree.
    """
    check("energy", params, layers)
    pairs = zip(layers[:-1], params.w, layers[1:], strict=True)
    biases = zip(params.b, layers, strict=True)
    value = -sum(jnp.sum(below @ w * above, 1) for below, w, above in pairs) - sum(h @ b for b, h in biases)  # (DM1)
    return jnp.asarray(value), Residuals(params, layers)


def energy_backward(residuals: Residuals, e_bar: Float[Array, " batch"]) -> tuple[Params, Layers]:
    """Cotangents of params and layers: (DM3), (DM4), (DM5)."""
    params, layers = residuals
    weighted = [e_bar[:, None] * h for h in layers]
    w_bar = tuple(-below.T @ above for below, above in zip(layers[:-1], weighted[1:], strict=True))  # (DM4)
    b_bar = tuple(-h.sum(0) for h in weighted)  # (DM5)
    layers_bar = tuple(-e_bar[:, None] * weighted_input(params, layers, n) for n in range(len(layers)))  # (DM3)
    return Params(w_bar, b_bar), layers_bar


energy = rule(energy_forward, energy_backward)


def weighted_input(params: Params, layers: Layers, number: int) -> Float[Array, "batch _"]:
    """What this layer gets from its neighbours: (DM2).  Its own entry of `layers` is not looked at."""
    z = params.b[number][None, :]
    if number > 0:
        z = z + layers[number - 1] @ params.w[number - 1]
    return z + layers[number + 1] @ params.w[number].T if number < len(params.w) else z  # (DM2)


def probabilities(params: Params, layers: Layers, *, first: int) -> Layers:
    """The layers with every second one, from number `first` on, 0 or 1, replaced by its probabilities (DM6)."""
    return tuple(
        sigmoid(weighted_input(params, layers, number)) if number % 2 == first else h  # (DM6)
        for number, h in enumerate(layers)
    )


def gibbs_sweep(params: Params, layers: Layers, key: Key[Array, ""], *, first: int = 1) -> Layers:
    """Draw every second layer, from number `first` on, given the others, and then the others given these.

    With `first` 1 the odd layers come first, and the visible one is drawn last; with 0 the other way round.  ValueError
    if the layers do not fit the parameters.
    """
    check("gibbs_sweep", params, layers)
    for half, half_key in zip((first, 1 - first), jax.random.split(key), strict=True):
        given = probabilities(params, layers, first=half)
        keys = jax.random.split(half_key, len(layers))
        layers = tuple(
            sample_bernoulli(k, p) if number % 2 == half else p
            for number, (k, p) in enumerate(zip(keys, given, strict=True))
        )
    return layers


def free_energy_forward(params: Params, kept: Layers, *, first: int = 0) -> tuple[Float[Array, " batch"], Residuals]:
    """Free energy of each row of states of every second layer, with the layers between them summed out (DM7).

    Args:
      params: of the machine.
      kept: states of the layers `first`, `first` + 2, ...
      first: 0, and the odd layers are summed out; or 1, and it is the even ones.

    Raises:
      ValueError: if the number of layers, or their widths, do not fit the parameters.
    """
    layers = among_zeros("free_energy", params, kept, first=first)
    check("free_energy", params, layers)
    z = [weighted_input(params, layers, number) for number in range(1 - first, len(layers), 2)]
    own = sum(h @ b for b, h in zip(params.b[first::2], kept, strict=True))
    value = -own - sum(softplus(inputs).sum(1) for inputs in z)  # (DM7)
    return jnp.asarray(value), Residuals(params, probabilities(params, layers, first=1 - first))


def free_energy_backward(
    residuals: Residuals, f_bar: Float[Array, " batch"], *, first: int = 0
) -> tuple[Params, Layers]:
    """Cotangents of params and of the layers that are kept (DM8)."""
    params_bar, layers_bar = energy_backward(residuals, f_bar)  # (DM8)
    return params_bar, layers_bar[first::2]


free_energy = rule(free_energy_forward, free_energy_backward)


def among_zeros(function: str, params: Params, kept: Layers, *, first: int) -> Layers:
    """All layers: the layers `first`, `first` + 2, ... as they are, and zeros for the others.

    ValueError, in the name of `function`, if there are more or fewer of them than the machine has.
    """
    if first not in (0, 1):
        raise ValueError(f"{function}: first is {first}, wanted 0 or 1")
    wanted = len(params.b[first::2])
    if len(kept) != wanted:
        raise ValueError(
            f"{function}: got {len(kept)} layers, the machine has {wanted} from number {first} on, every second"
        )
    rows = kept[0].shape[0]
    others = iter(jnp.zeros((rows, *b.shape), b.dtype) for b in params.b[1 - first :: 2])
    mine = iter(kept)
    return tuple(next(mine) if number % 2 == first else next(others) for number in range(len(params.b)))


def check(function: str, params: Params, layers: Layers) -> None:
    """ValueError unless the layers fit the parameters, and both each other; the message begins with `function`."""
    if len(params.b) != len(params.w) + 1 or len(layers) != len(params.b):
        raise ValueError(
            f"{function}: got {len(layers)} layers, {len(params.w)} weights and {len(params.b)} biases, wanted one "
            "layer and one bias more than weights"
        )
    for number, (h, b) in enumerate(zip(layers, params.b, strict=True)):
        if h.ndim != 2 or b.ndim != 1 or h.shape[1] != b.shape[0]:
            raise ValueError(
                f"{function}: layer {number} is {h.shape}, wanted (batch, units) with a bias for each unit {b.shape}"
            )
    if len({len(h) for h in layers}) != 1:
        raise ValueError(f"{function}: the layers have {[len(h) for h in layers]} rows, wanted as many in each")
    for number, w in enumerate(params.w, 1):
        wanted = (layers[number - 1].shape[1], layers[number].shape[1])
        if w.shape != wanted:
            raise ValueError(f"{function}: w of layer {number} is {w.shape}, the layers beside it want {wanted}")
