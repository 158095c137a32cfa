"""The atoms: one topic a file, each operation with its plain equations forward and backward."""

from jaxnets.ops import activations as activations
from jaxnets.ops import affine as affine
from jaxnets.ops import convolution as convolution
from jaxnets.ops import dropout as dropout
from jaxnets.ops import embedding as embedding
from jaxnets.ops import learning_rules as learning_rules
from jaxnets.ops import losses as losses
from jaxnets.ops import normalization as normalization
from jaxnets.ops import pooling as pooling
from jaxnets.ops import recurrence as recurrence
from jaxnets.ops import residual as residual
from jaxnets.ops import steps as steps
