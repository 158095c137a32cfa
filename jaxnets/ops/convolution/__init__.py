"""Convolutions and their relatives, images NHWC and kernels HWIO.  Derivation: derivations/convolution.md."""

from jaxnets.ops._geometry import Padding as Padding
from jaxnets.ops._geometry import Pair as Pair
from jaxnets.ops._geometry import same as same
from jaxnets.ops.convolution.correlation import conv2d as conv2d
from jaxnets.ops.convolution.correlation import rotate180 as rotate180
from jaxnets.ops.convolution.local import local2d as local2d
from jaxnets.ops.convolution.pooled import conv_relu_pool as conv_relu_pool
from jaxnets.ops.convolution.rotation import convolve2d as convolve2d
from jaxnets.ops.convolution.text import conv1d as conv1d
from jaxnets.ops.convolution.transposed import conv_transpose2d as conv_transpose2d
