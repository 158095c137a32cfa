"""The bound that greedy training raises, exactly, for small deep belief networks.  Derivation: derivations/dbn.md.

One layer with recognition weights w, c and generative weights g, b; B(h) is a bound on the logarithm of what the layers
above make of h:

    (DB4) bound(v) = Σ_h q(h | v) (ln p(v | h) + B(h) - ln q(h | v)) ≤ ln Σ_h p(v | h) e^B(h)
    (DB5) ln p(v | h) = v a(h)ᵀ - Σ_i softplus(a_i(h)), a(h) = b + h g
    (DB6) ln q(h | v) = h zᵀ - Σ_j softplus(z_j), z = c + v w
    (DB7) z_bar_j = y_bar Σ_h q(h | v) (h_j - σ(z_j)) r(h), with r(h) the bracket of (DB4)
    (DB8) w_bar = vᵀ z_bar         c_bar = Σ_batch z_bar        B_bar(h) = Σ_batch y_bar q(h | v)
    (DB9) a_bar(v, h) = y_bar q(h | v) (v - σ(a(h)))         g_bar = Σ_h hᵀ a_bar        b_bar = Σ_h a_bar
    (DB10) v_bar = z_bar wᵀ + y_bar Σ_h q(h | v) a(h)

In a deep belief network w and g are the weights of one RBM, w = gᵀ, and the top RBM is summed exactly:

    (DB11) bound of RBM L = ln p_L(h^{L-1});  bound of RBM l: (DB4) with that of RBM l+1 for B

Source: Hinton, Osindero and Teh 2006, A fast learning algorithm for deep belief nets, eq. (9) and section 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.nets import dbn, rbm
from jaxnets.nets.binary import check_enumerable, states
from jaxnets.nets.mlp import Layer
from jaxnets.ops.activations import sigmoid, softplus
from jaxnets.rule import rule


class Residuals(NamedTuple):
    """Per example and state of h: its probability, and the bracket of (DB4); the arguments; a(h)."""

    q: Float[Array, "batch states"]
    r: Float[Array, "batch states"]
    recognition: Layer
    generative: Layer
    v: Float[Array, "batch visible"]
    a: Float[Array, "states visible"]


def layer_bound_forward(
    recognition: Layer, generative: Layer, v: Float[Array, "batch visible"], above: Float[Array, " states"]
) -> tuple[Float[Array, " batch"], Residuals]:
    """The bound of each row (DB4).

    Args:
      recognition: weights (visible, hidden) and biases of the hidden units, upwards.
      generative: weights (hidden, visible) and biases of the visible units, downwards.
      v: the data.
      above: B(h) of all 2^hidden states, in the order of `jaxnets.nets.binary.states`.

    Raises:
      ValueError: if the widths do not agree, or there are more than 20 hidden units.
    """
    (w, c), (g, b) = recognition, generative
    if v.ndim != 2 or w.shape != (v.shape[1], *c.shape) or g.shape != w.shape[::-1] or b.shape != v.shape[1:]:
        raise ValueError(
            f"layer_bound: v is {v.shape}, recognition {w.shape} and {c.shape}, generative {g.shape} and {b.shape}"
        )
    check_enumerable("layer_bound", "the hidden layer", len(c))
    h = _all_states(c)
    if above.shape != (len(h),):
        raise ValueError(f"layer_bound: above has shape {above.shape}, wanted ({len(h)},), a number for each state")
    a = b[None] + h @ g
    z = c[None] + v @ w
    log_p = v @ a.T - softplus(a).sum(1)[None]  # (DB5)
    log_q = z @ h.T - softplus(z).sum(1, keepdims=True)  # (DB6)
    q, r = jnp.exp(log_q), log_p + above[None] - log_q
    return (q * r).sum(1), Residuals(q, r, recognition, generative, v, a)  # (DB4)


def layer_bound_backward(
    residuals: Residuals, y_bar: Float[Array, " batch"]
) -> tuple[Layer, Layer, Float[Array, "batch visible"], Float[Array, " states"]]:
    """Cotangents of both layers, of v and of the bound above."""
    q, r, (w, c), _, v, a = residuals
    h = _all_states(c)
    q_bar = y_bar[:, None] * q
    weighted = q_bar * r
    z_bar = weighted @ h - weighted.sum(1, keepdims=True) * sigmoid(c[None] + v @ w)  # (DB7)
    a_bar = q_bar.T @ v - q_bar.sum(0)[:, None] * sigmoid(a)  # (DB9), summed over the batch
    v_bar = z_bar @ w.T + q_bar @ a  # (DB10)
    recognition_bar = Layer(v.T @ z_bar, z_bar.sum(0))  # (DB8)
    generative_bar = Layer(h.T @ a_bar, a_bar.sum(0))  # (DB9)
    return recognition_bar, generative_bar, v_bar, q_bar.sum(0)  # (DB8)


layer_bound = rule(layer_bound_forward, layer_bound_backward)


def lower_bound(params: dbn.Params, v: Float[Array, "batch visible"]) -> Float[Array, " batch"]:
    """The bound on ln p(v) of each row, exactly (DB11); of a single RBM, ln p(v) itself.

    Raises:
      ValueError: if the widths do not agree, or a hidden layer has more than 20 units.
    """
    dbn.check("lower_bound", params)
    first, *others = params
    if not others:
        return -rbm.free_energy(first, v) - rbm.log_partition(first)  # (DB11)
    check_enumerable("lower_bound", "a hidden layer", len(first.c))
    above = lower_bound(tuple(others), _all_states(first.c))
    return layer_bound(Layer(first.w, first.c), Layer(first.w.T, first.b), v, above)  # (DB11)


def log_likelihood(params: dbn.Params, v: Float[Array, "batch visible"]) -> Float[Array, " batch"]:
    """Logarithm of p(v) of each row, exactly: what `lower_bound` bounds, by summing over all states of all layers.

    ValueError as `lower_bound`.
    """
    dbn.check("log_likelihood", params)
    first, *others = params
    if not others:
        return lower_bound(params, v)
    check_enumerable("log_likelihood", "a hidden layer", len(first.c))
    h = _all_states(first.c)
    a = first.b[None] + h @ first.w.T
    log_p = v @ a.T - softplus(a).sum(1)[None]  # (DB5)
    return jax.nn.logsumexp(log_p + log_likelihood(tuple(others), h)[None], axis=1)


def with_tied_layer(params: dbn.Params) -> dbn.Params:
    """The stack with one more RBM on top, which is the last one upside down.

    The distribution stays as it is: (DB11) of the new top layer is the probability that the old one gave its hidden
    layer, and q is the exact posterior there.
    """
    dbn.check("with_tied_layer", params)
    last = params[-1]
    return (*params, rbm.Params(last.w.T, last.c, last.b))


def _all_states(biases: Float[Array, " units"]) -> Float[Array, "states units"]:
    return states(jnp.arange(2 ** len(biases)), len(biases), biases.dtype)
