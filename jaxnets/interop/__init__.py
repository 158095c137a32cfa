"""Parameters to and from Flax.

A naming says where Flax keeps each array of a network: `jaxnets.interop.linen` and `jaxnets.interop.nnx` have one for
each.  `to_flax` and `from_flax` move the arrays; `jaxnets.interop.modules` fills and reads NNX modules.

A rule needs no help to be a layer of a Flax model: it is a JAX function.  See examples/flax_layer.py.
"""

from jaxnets.interop.variables import from_flax as from_flax
from jaxnets.interop.variables import to_flax as to_flax
