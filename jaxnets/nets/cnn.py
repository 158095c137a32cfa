"""A network of filters, max pooling and an output layer, backpropagation written out.  Derivation: derivations/cnn.md.

Examples n; filters k with feature maps F of places (r, s); pooled maps P of places (p, q), one for each window of 2 x 2
places (2p+u, 2q+v); output units m.  Indices count from 0, σ is the logistic function:

    (CN1) zF_{n,r,s,k} = Σ_{i,j,c} w_{i,j,c,k} x_{n,r+i,s+j,c} + b_k          (CN2) aF = σ(zF)
    (CN3) χ_{n,r,s,k} = 1 if aF_{n,r,s,k} is the largest of its window, the first of equal ones, else 0
    (CN4) aP_{n,p,q,k} = zP_{n,p,q,k} = Σ_{u,v} χ_{n,2p+u,2q+v,k} aF_{n,2p+u,2q+v,k}
    (CN5) zO_{n,m} = Σ_{p,q,k} w_{p,q,k,m} aP_{n,p,q,k} + b_m                 (CN6) aO = σ(zO)
    (CN7) C = 1/N Σ_n 1/2 Σ_m (aO_{n,m} - t_{n,m})²
    (CN8) δO_{n,m} = ∂C/∂aO_{n,m} σ'(zO_{n,m})
    (CN9) ∂C/∂w_{p,q,k,m} = Σ_n δO_{n,m} aP_{n,p,q,k}                         (CN10) ∂C/∂b_m = Σ_n δO_{n,m}
    (CN11) δF_{n,r,s,k} = (Σ_m δO_{n,m} w_{⌊r/2⌋,⌊s/2⌋,k,m}) χ_{n,r,s,k} σ'(zF_{n,r,s,k})
    (CN12) ∂C/∂w_{i,j,c,k} = Σ_{n,r,s} δF_{n,r,s,k} x_{n,r+i,s+j,c}
    (CN13) ∂C/∂b_k = Σ_{n,r,s} δF_{n,r,s,k}
    (CN14) ∂C/∂x_{n,a,b,c} = Σ_{i,j,k} δF_{n,a-i,b-j,k} w_{i,j,c,k}

Source: Y. Wakui and S. Wakui 2017, an introduction to the mathematics of deep learning (Gijutsu-Hyoron Sha), ch. 5; the
network is LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition, at its smallest.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.nn import initializers
from jaxtyping import Array, Float, Integer

from jaxnets.nets.mlp import SCALED_GAUSSIAN
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic
from jaxnets.rule import rule

Images = Float[Array, "batch height width channels"]
Maps = Float[Array, "batch rows columns filters"]
Windows = Float[Array, "batch pooled_rows 2 pooled_columns 2 filters"]
Outputs = Float[Array, "batch outputs"]


class Layer(NamedTuple):
    """Weights and biases: filters (height, width, channels, filters), or outputs (rows, columns, maps, outputs)."""

    w: Float[Array, "_ _ _ units"]
    b: Float[Array, " units"]


class Params(NamedTuple):
    """The filters, and the output layer that reads all pooled maps."""

    filters: Layer
    output: Layer


class Residuals(NamedTuple):
    """What the backward pass needs: the weights, and what each layer computed from the image on."""

    params: Params
    x: Images
    a_filters: Maps
    choice: Windows
    a_pooled: Maps
    a_output: Outputs


class Deltas(NamedTuple):
    """∂C/∂z of both layers that have a weighted input of their own."""

    filters: Maps
    output: Outputs


def init(
    key: Array,
    *,
    image: tuple[int, int, int] = (6, 6, 1),
    filters: int = 3,
    kernel: int = 3,
    outputs: int = 3,
    weights: initializers.Initializer = SCALED_GAUSSIAN,
    biases: initializers.Initializer = initializers.zeros,
    dtype: Any = jnp.float32,
) -> Params:
    """Random parameters; by default the 69 of the network for images of 6 x 6 pixels.

    Args:
      key: for the random numbers.
      image: height, width and channels; the feature maps, of size image - kernel + 1, must be even.
      filters: their number.
      kernel: height and width of a filter.
      outputs: the number of output units.
      weights: how all weights start; N(0, 1/inputs of a unit) unless told.
      biases: how all biases start.
      dtype: of all parameters.

    Raises:
      ValueError: if the feature maps are empty or odd, or a number is not positive.
    """
    rows, columns = image[0] - kernel + 1, image[1] - kernel + 1
    if min(rows, columns, filters, kernel, outputs, *image) < 1 or rows % 2 or columns % 2:
        raise ValueError(
            f"cnn.init: image {image} and kernel {kernel} make feature maps of {rows} x {columns}, {filters} filters "
            f"and {outputs} outputs; wanted positive numbers and even maps"
        )
    keys = jax.random.split(key, 4)
    return Params(
        Layer(weights(keys[0], (kernel, kernel, image[2], filters), dtype), biases(keys[1], (filters,), dtype)),
        Layer(weights(keys[2], (rows // 2, columns // 2, filters, outputs), dtype), biases(keys[3], (outputs,), dtype)),
    )


def cnn_forward(params: Params, x: Images) -> tuple[Outputs, Residuals]:
    """Output aO of the network for a batch of images: (CN1) to (CN6).

    The weighted inputs carry the names "zF" and "zO", so that their deltas can be verified.

    Args:
      params: as `init` makes them.
      x: the images, NHWC.

    Raises:
      ValueError: if the images and the parameters do not fit.
    """
    _check(params, x)
    filters, output = params
    patches = _patches(x, filters.w)
    z = jnp.einsum("nrsijc,ijck->nrsk", patches, filters.w) + filters.b[None, None, None, :]  # (CN1)
    a_filters = sigmoid(checkpoint_name(z, "zF"))  # (CN2)
    windows = _windows(a_filters)
    choice = _first_maximum(windows)  # (CN3)
    a_pooled = (choice * windows).sum((2, 4))  # (CN4)
    z = jnp.einsum("npqk,pqkm->nm", a_pooled, output.w) + output.b[None, :]  # (CN5)
    a_output = sigmoid(checkpoint_name(z, "zO"))  # (CN6)
    return a_output, Residuals(params, x, a_filters, choice, a_pooled, a_output)


def deltas(residuals: Residuals, a_bar: Outputs) -> Deltas:
    """δF and δO, given ∂C/∂aO: (CN8), (CN11)."""
    w, a, choice = residuals.params.output.w, residuals.a_filters, residuals.choice
    delta_output = a_bar * residuals.a_output * (1 - residuals.a_output)  # (CN8)
    a_pooled_bar = jnp.einsum("nm,pqkm->npqk", delta_output, w)
    a_filters_bar = (a_pooled_bar[:, :, None, :, None, :] * choice).reshape(a.shape)
    return Deltas(a_filters_bar * a * (1 - a), delta_output)  # (CN11)


def from_deltas(residuals: Residuals, delta: Deltas) -> tuple[Params, Images]:
    """Gradients of the parameters and of x, given the deltas: (CN9), (CN10), (CN12) to (CN14)."""
    x, w = residuals.x, residuals.params.filters.w
    filters_bar = Layer(
        jnp.einsum("nrsk,nrsijc->ijck", delta.filters, _patches(x, w)),  # (CN12)
        delta.filters.sum((0, 1, 2)),  # (CN13)
    )
    output_bar = Layer(
        jnp.einsum("nm,npqk->pqkm", delta.output, residuals.a_pooled),  # (CN9)
        delta.output.sum(0),  # (CN10)
    )
    rows, columns = _reads(x.shape, w.shape)
    patches_bar = jnp.einsum("nrsk,ijck->nrsijc", delta.filters, w)
    return Params(filters_bar, output_bar), jnp.zeros_like(x).at[:, rows, columns].add(patches_bar)  # (CN14)


def cnn_backward(residuals: Residuals, a_bar: Outputs) -> tuple[Params, Images]:
    """Cotangents of params and x: backpropagation, (CN8) to (CN14)."""
    return from_deltas(residuals, deltas(residuals, a_bar))


apply = rule(cnn_forward, cnn_backward)

Batch = tuple[Images, Outputs]


def loss(params: Params, batch: Batch) -> Float[Array, ""]:
    """Mean over a batch (x, t) of the quadratic cost (CN7).

    Raises:
      ValueError: if the images, the parameters and the targets do not fit.
    """
    x, t = batch
    return quadratic(apply(params, x), t)  # (CN7)


def gradient(params: Params, batch: Batch) -> tuple[tuple[Params, Batch], dict[str, Array]]:
    """The gradient of `loss` written by hand, with both deltas under the names of their weighted inputs.

    Returns:
      ((params_bar, (x_bar, t_bar)), {"zF": δF, "zO": δO}), as `jaxnets.verify.gradient` wants it.
    """
    x, t = batch
    a, residuals = cnn_forward(params, x)
    value, cost_residuals = quadratic.forward(a, t)
    a_bar, t_bar = quadratic.backward(cost_residuals, jnp.ones_like(value))
    delta = deltas(residuals, a_bar)
    params_bar, x_bar = from_deltas(residuals, delta)
    return (params_bar, (x_bar, t_bar)), {"zF": delta.filters, "zO": delta.output}


def _reads(
    image: tuple[int, ...], w: tuple[int, ...]
) -> tuple[Integer[Array, "rows 1 height 1"], Integer[Array, "1 columns 1 width"]]:
    """The row r+i and the column s+j of the image that place (r, s) reads at entry (i, j) of its filter."""
    rows = jnp.arange(image[1] - w[0] + 1)[:, None] + jnp.arange(w[0])[None, :]
    columns = jnp.arange(image[2] - w[1] + 1)[:, None] + jnp.arange(w[1])[None, :]
    return rows[:, None, :, None], columns[None, :, None, :]


def _patches(x: Images, w: Float[Array, "i j channels filters"]) -> Float[Array, "batch rows columns i j channels"]:
    rows, columns = _reads(x.shape, w.shape)
    return x[:, rows, columns]


def _windows(a: Maps) -> Windows:
    batch, rows, columns, filters = a.shape
    return a.reshape(batch, rows // 2, 2, columns // 2, 2, filters)


def _first_maximum(windows: Windows) -> Windows:
    """1 at the first maximum of each window, row by row; constant as far as derivatives go."""
    batch, rows, _, columns, _, filters = windows.shape
    entries = windows.transpose(0, 1, 3, 5, 2, 4).reshape(batch, rows, columns, filters, 4)
    choice = jax.nn.one_hot(entries.argmax(-1), 4, dtype=windows.dtype)
    return choice.reshape(batch, rows, columns, filters, 2, 2).transpose(0, 1, 4, 2, 5, 3)


def _check(params: Params, x: Images) -> None:
    (w, b), (v, c) = params
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(f"cnn: wanted images NHWC and filters HWIO of the same channels, got x {x.shape}, w {w.shape}")
    rows, columns = x.shape[1] - w.shape[0] + 1, x.shape[2] - w.shape[1] + 1
    if min(rows, columns) < 2 or rows % 2 or columns % 2:
        raise ValueError(
            f"cnn: x {x.shape} and filters {w.shape} make feature maps of {rows} x {columns}, wanted even ones"
        )
    if v.shape[:-1] != (rows // 2, columns // 2, w.shape[3]):
        raise ValueError(
            f"cnn: the output's w is {v.shape}, the pooled maps are {(rows // 2, columns // 2, w.shape[3])}"
        )
    if (b.shape, c.shape) != (w.shape[3:], v.shape[3:]):
        raise ValueError(f"cnn: the biases are {b.shape} and {c.shape}, wanted {w.shape[3:]} and {v.shape[3:]}")
