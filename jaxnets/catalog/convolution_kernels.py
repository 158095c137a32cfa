"""The derivations of derivations/convolution-kernels.md."""

from functools import partial

from jaxnets.catalog.samples import normal
from jaxnets.kernels.conv_relu_pool import conv_relu_pool
from jaxnets.kernels.patches import patches
from jaxnets.kernels.pointwise import pointwise
from jaxnets.kernels.winograd import winograd
from jaxnets.verify import Derivation

_DOCUMENT = "derivations/convolution-kernels.md"

CONVOLUTION_KERNELS = (
    Derivation("kernels/pointwise", pointwise, normal((2, 5, 6, 3), (1, 1, 3, 4), (4,)), _DOCUMENT, ("CK1", "CK2")),
    Derivation(
        "kernels/patches",
        partial(patches, stride=(2, 3), padding=((1, 0), (2, 1))),
        normal((2, 6, 8, 3), (3, 2, 3, 5), (5,)),
        _DOCUMENT,
        ("CK3", "CK4", "CK5"),
    ),
    Derivation(
        "kernels/winograd",
        partial(winograd, padding=((1, 0), (2, 1))),
        normal((2, 6, 9, 4), (3, 3, 4, 5), (5,)),
        _DOCUMENT,
        ("CK6", "CK7", "CK8", "CK9", "CK10"),
    ),
    Derivation(
        "kernels/conv_relu_pool",
        partial(conv_relu_pool, padding=((1, 0), (2, 1))),
        normal((2, 7, 9, 3), (4, 3, 3, 5), (5,)),
        _DOCUMENT,
        ("CK11", "CK12", "CK13", "CK14", "CK15"),
    ),
)
