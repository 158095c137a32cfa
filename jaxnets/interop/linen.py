"""Where `flax.linen` keeps the parameters of our networks.

The names are those that Flax gives to the layers of one `nn.compact` method: their class and a number, in the order in
which they are made.  Each naming here says in which order.  `Dense(2)(Dense(5)(x))` makes the outer one first, so that
the inner one is "Dense_1": give every layer its own line.  For equal outputs these must agree too:

- Padding: `nn.Conv` pads by "SAME" unless told, and at stride 2 that is no zero before and one after the rows of an
  even image for a 3×3 kernel, where our networks have one before and one after (`padding=1`).
- Batch normalisation: `nn.BatchNorm` has momentum 0.99 unless told, ours 0.9.  Both have ε = 1e-5 and move the running
  variance by the biased one; Flax computes it as E[x²] - E[x]², with more rounding, unless `use_fast_variance=False`.
"""

from typing import Any

from jaxnets.interop.places import Path, Place, at, blocks, kernel_and_bias, matrix
from jaxnets.interop.recurrence import by_kind, without_peepholes
from jaxnets.interop.residual import Normalized, normalized, residual


def mlp(params: Any) -> Any:
    """`nn.Dense` for each layer."""
    return tuple(_layer(layer, f"Dense_{number}") for number, layer in enumerate(params))


def cnn(params: Any) -> Any:
    """`nn.Conv`, and `nn.Dense` of its pooled maps, flattened."""
    output = type(params.output)(matrix("params", "Dense_0", "kernel"), at("params", "Dense_0", "bias"))
    return type(params)(_layer(params.filters, "Conv_0"), output)


def lenet(params: Any) -> Any:
    """`nn.Conv` twice, `nn.Dense` three times: `jaxnets.nets.lenet`, the network as it is taught today."""
    names = ("Conv_0", "Conv_1", "Dense_0", "Dense_1", "Dense_2")
    return type(params)(*(_layer(layer, name) for layer, name in zip(params, names, strict=True)))


def textcnn(params: Any) -> Any:
    """`nn.Embed`, `nn.Conv` for each width of filters, `nn.Dense`."""
    filters = tuple(_layer(layer, f"Conv_{number}") for number, layer in enumerate(params.filters))
    return type(params)(embedding(params.table, "Embed_0"), filters, _layer(params.head, "Dense_0"))


def resnet(network: Any) -> Any:
    """(parameters, statistics) of `jaxnets.nets.resnet`, by the names of Flax's own residual networks.

    Those of examples/imagenet/models.py in Flax's repository: "conv_init" and "bn_init"; for each block `ResNetBlock`
    or `BottleneckResNetBlock`, with `nn.Conv` and `nn.BatchNorm` for each layer, "conv_proj" and "norm_proj" for the
    projection; `nn.Dense`.  The strided convolutions and the max pool there pad by "SAME", ours as the paper's do, and
    a bottleneck there has its stride in the second convolution, here in the first.
    """
    params, _ = network
    kind = "ResNetBlock" if len(params.blocks[0].layers) == 2 else "BottleneckResNetBlock"
    return residual(
        params,
        stem=_normalized(("conv_init",), ("bn_init",)),
        layer=lambda block, n: _normalized((f"{kind}_{block}", f"Conv_{n}"), (f"{kind}_{block}", f"BatchNorm_{n}")),
        projection=lambda block: _normalized((f"{kind}_{block}", "conv_proj"), (f"{kind}_{block}", "norm_proj")),
        head=_layer(params.head, "Dense_0"),
    )


def embedding(table: Any, *within: str) -> Place:
    """`nn.Embed`: one by itself, or the one of this name in a module."""
    return at("params", *within, "embedding")


def elman(layer: Any, *within: str) -> Any:
    """`nn.SimpleCell`: "i", which has the bias, and "h"."""
    cell = ("params", *within)
    return type(layer)(at(*cell, "i", "kernel"), at(*cell, "h", "kernel"), at(*cell, "i", "bias"))


def lstm(layer: Any, *within: str) -> Any:
    """`nn.OptimizedLSTMCell` or `nn.LSTMCell`: "ii", "if", "ig", "io"; and with biases "hi", "hf", "hg", "ho".

    Flax's carry is (c, h), the state here (h, c).

    Raises:
      ValueError: if the layer has peepholes, which no cell of Flax has.
    """
    of_h = [f"h{gate}" for gate in "ifgo"]
    return without_peepholes(
        layer,
        _columns(within, [f"i{gate}" for gate in "ifgo"], "kernel"),
        _columns(within, of_h, "kernel"),
        _columns(within, of_h, "bias"),
    )


def gru(layer: Any, *within: str) -> Any:
    """`nn.GRUCell`: "ir", "iz", "in", which have biases, and "hr", "hz", "hn", of which the last has one, b_n here.

    Flax's z is u here, and the reset gate acts as it does here: on the product with the weights, and on b_n.
    """
    of_x = ["ir", "iz", "in"]
    return type(layer)(
        _columns(within, of_x, "kernel"),
        _columns(within, ["hr", "hz", "hn"], "kernel"),
        _columns(within, of_x, "bias"),
        at("params", *within, "hn", "bias"),
    )


def recurrent(params: Any, *, lstm_cell: str = "OptimizedLSTMCell") -> Any:
    """`nn.RNN` of a cell for each layer, and `nn.Dense`: `jaxnets.nets.recurrent` with the cells of rnn, lstm and gru.

    The cell is created inside the compact method, as in `nn.RNN(nn.GRUCell(8))(x)`, and Flax names the parameters by it
    alone.

    Args:
      params: of the network.
      lstm_cell: the class of Flax's that a layer of LSTM is; "LSTMCell" is the other one.
    """
    name, naming = by_kind(params.layers[0], elman=("SimpleCell", elman), lstm=(lstm_cell, lstm), gru=("GRUCell", gru))
    layers = tuple(naming(layer, f"{name}_{number}") for number, layer in enumerate(params.layers))
    return type(params)(layers, _layer(params.head, "Dense_0"))


def language_model(params: Any, *, lstm_cell: str = "OptimizedLSTMCell") -> Any:
    """`nn.Embed`, then the layers of `recurrent`."""
    return type(params)(embedding(params.table, "Embed_0"), recurrent(params.network, lstm_cell=lstm_cell))


def _layer(layer: Any, name: str) -> Any:
    return kernel_and_bias(layer, "params", name)


def _normalized(conv: Path, norm: Path) -> Normalized:
    return normalized(("params", *conv), ("params", *norm), ("batch_stats", *norm))


def _columns(within: tuple[str, ...], modules: list[str], array: str) -> Place:
    return blocks(*(("params", *within, module, array) for module in modules))
