"""The derivations of derivations/convolution.md."""

from functools import partial

from jaxnets.catalog.samples import normal
from jaxnets.ops.convolution import conv1d, conv2d, conv_transpose2d, convolve2d, local2d
from jaxnets.verify import Derivation

_DOCUMENT = "derivations/convolution.md"
_CONV2D = ("CV1", "CV2", "CV3", "CV4")

CONVOLUTION = (
    Derivation("convolution/conv2d", conv2d, normal((2, 5, 6, 3), (3, 2, 3, 4), (4,)), _DOCUMENT, _CONV2D),
    Derivation(
        "convolution/conv2d/window",
        partial(conv2d, stride=(2, 1), padding=((1, 0), (2, 1)), dilation=(1, 2), groups=2),
        normal((3, 6, 7, 4), (3, 2, 2, 6), (6,)),
        _DOCUMENT,
        _CONV2D,
    ),
    Derivation("convolution/convolve2d", convolve2d, normal((5, 4), (2, 3)), _DOCUMENT, ("CV5", "CV6", "CV7")),
    Derivation(
        "convolution/conv_transpose2d",
        partial(conv_transpose2d, stride=(2, 1), padding=((1, 0), (0, 1)), size=(6, 5)),
        normal((2, 3, 5, 4), (3, 2, 3, 4), (3,)),
        _DOCUMENT,
        ("CV8", "CV9", "CV10", "CV11"),
    ),
    Derivation(
        "convolution/conv1d",
        conv1d,
        normal((2, 7, 3), (4, 3, 5), (5,)),
        _DOCUMENT,
        ("CV12", "CV13", "CV14", "CV15"),
    ),
    Derivation(
        "convolution/local2d",
        partial(local2d, stride=(2, 1), padding=((1, 0), (0, 1))),
        normal((2, 5, 3, 2), (3, 3, 2, 2, 2, 4), (3, 3, 4)),
        _DOCUMENT,
        ("CV16", "CV17", "CV18", "CV19"),
    ),
)
