"""What the namings of recurrent layers share."""

from typing import Any, TypeVar

from jaxnets.interop.places import Place
from jaxnets.nets import gru as gru_layer
from jaxnets.nets import lstm as lstm_layer
from jaxnets.nets import rnn as elman_layer

T = TypeVar("T")


def by_kind(layer: Any, *, elman: T, lstm: T, gru: T) -> T:
    """One of three, by what the layer is.

    Raises:
      TypeError: if it is none of them.
    """
    for kind, chosen in ((elman_layer.Layer, elman), (lstm_layer.Layer, lstm), (gru_layer.Layer, gru)):
        if isinstance(layer, kind):
            return chosen
    raise TypeError(f"interop: the recurrent layer is a {type(layer)}, wanted one of rnn, lstm or gru")


def without_peepholes(layer: Any, w_x: Place, w_h: Place, b: Place) -> Any:
    """Places of an LSTM layer.

    Raises:
      ValueError: if the layer has peepholes, which no cell of Flax has.
    """
    if layer.peepholes is not None:
        raise ValueError("interop: the LSTM has peepholes, and no cell of Flax has")
    return type(layer)(w_x, w_h, b, None)
