"""The atoms: one topic a file, each operation with its plain equations forward and backward."""

from jaxnets.ops import activations as activations
from jaxnets.ops import affine as affine
from jaxnets.ops import losses as losses
from jaxnets.ops import steps as steps
