"""Where `flax.nnx` keeps the parameters of our networks.

An NNX module names its layers itself, by its attributes.  The namings here have them named as our fields: `c1` is
`self.c1`, and a tuple of layers is an `nnx.List`, so that `mlp` is for a module with `self.layers = nnx.List([...])`.
What else must agree for equal outputs is in `jaxnets.interop.linen`; here `nnx.Conv` and `nnx.BatchNorm` are as there.
"""

from typing import Any

from jaxnets.interop.places import Path, Place, absent, at, blocks, kernel_and_bias, matrix
from jaxnets.interop.recurrence import by_kind, without_peepholes
from jaxnets.interop.residual import Normalized, normalized, residual


def mlp(params: Any) -> Any:
    """`layers`: of `nnx.Linear`."""
    return tuple(kernel_and_bias(layer, "layers", number) for number, layer in enumerate(params))


def cnn(params: Any) -> Any:
    """`filters`: `nnx.Conv`; `output`: `nnx.Linear` of the pooled maps, flattened."""
    output = type(params.output)(matrix("output", "kernel"), at("output", "bias"))
    return type(params)(kernel_and_bias(params.filters, "filters"), output)


def lenet(params: Any) -> Any:
    """`c1` and `c3`: `nnx.Conv`; `c5`, `f6` and `output`: `nnx.Linear`."""
    return type(params)(*(kernel_and_bias(layer, name) for layer, name in zip(params, params._fields, strict=True)))


def textcnn(params: Any) -> Any:
    """`table`: `nnx.Embed`; `filters`: of `nnx.Conv`, one for each width; `head`: `nnx.Linear`."""
    filters = tuple(kernel_and_bias(layer, "filters", number) for number, layer in enumerate(params.filters))
    return type(params)(embedding(params.table, "table"), filters, kernel_and_bias(params.head, "head"))


def resnet(network: Any) -> Any:
    """(parameters, statistics) of `jaxnets.nets.resnet`.

    `stem`: a module with `conv` (`nnx.Conv` without bias) and `norm` (`nnx.BatchNorm`); `blocks`: of modules with
    `layers`, of modules like the stem, and perhaps `projection`, another one; `head`: `nnx.Linear`.
    """
    params, _ = network
    return residual(
        params,
        stem=_normalized("stem"),
        layer=lambda block, n: _normalized("blocks", block, "layers", n),
        projection=lambda block: _normalized("blocks", block, "projection"),
        head=kernel_and_bias(params.head, "head"),
    )


def embedding(table: Any, *within: str | int) -> Place:
    """`nnx.Embed`: one by itself, or the one there in a module."""
    return at(*within, "embedding")


def elman(layer: Any, *within: str | int) -> Any:
    """`nnx.SimpleCell`: its `dense_i`, which has the bias, and its `dense_h`.

    This cell computes in float32, whatever its parameters are, unless it is told its `dtype`.
    """
    return type(layer)(*_both(within), at(*within, "dense_i", "bias"))


def lstm(layer: Any, *within: str | int) -> Any:
    """`nnx.OptimizedLSTMCell`: its `dense_i` and its `dense_h`, which has the bias, with blocks i, f, g, o as here.

    Flax's carry is (c, h), the state here (h, c).

    Raises:
      ValueError: if the layer has peepholes, which no cell of Flax has.
    """
    return without_peepholes(layer, *_both(within), at(*within, "dense_h", "bias"))


def lstm_by_gates(layer: Any, *within: str | int) -> Any:
    """`nnx.LSTMCell`: `ii`, `if_`, `ig`, `io`; and with biases `hi`, `hf`, `hg`, `ho`.

    Raises:
      ValueError: if the layer has peepholes, which no cell of Flax has.
    """
    of_x, of_h = ("ii", "if_", "ig", "io"), ("hi", "hf", "hg", "ho")
    return without_peepholes(
        layer,
        blocks(*((*within, module, "kernel") for module in of_x)),
        blocks(*((*within, module, "kernel") for module in of_h)),
        blocks(*((*within, module, "bias") for module in of_h)),
    )


def gru(layer: Any, *within: str | int) -> Any:
    """`nnx.GRUCell`: its `dense_i`, which has the bias, and its `dense_h`, with blocks r, z, n; Flax's z is u here.

    This cell has no b_n, unlike that of `flax.linen`: ours must be zero, and comes back as zero.
    """
    return type(layer)(*_both(within), at(*within, "dense_i", "bias"), absent())


def recurrent(params: Any) -> Any:
    """`layers`: of `nnx.RNN` of a cell; `head`: `nnx.Linear`.

    The cells are `nnx.SimpleCell`, `nnx.OptimizedLSTMCell` or `nnx.GRUCell`.
    """
    return _recurrent(params)


def language_model(params: Any) -> Any:
    """`table`: `nnx.Embed`; `network`: a module as for `recurrent`."""
    return type(params)(embedding(params.table, "table"), _recurrent(params.network, "network"))


def _recurrent(params: Any, *within: str) -> Any:
    naming = by_kind(params.layers[0], elman=elman, lstm=lstm, gru=gru)
    layers = tuple(naming(layer, *within, "layers", number, "cell") for number, layer in enumerate(params.layers))
    return type(params)(layers, kernel_and_bias(params.head, *within, "head"))


def _both(within: Path) -> tuple[Place, Place]:
    return at(*within, "dense_i", "kernel"), at(*within, "dense_h", "kernel")


def _normalized(*path: str | int) -> Normalized:
    norm: Path = (*path, "norm")
    return normalized((*path, "conv"), norm, norm)
