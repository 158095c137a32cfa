"""Classic neural networks as pure JAX functions, with hand-derived backpropagation checked against `jax.grad`."""

from jaxnets import nets as nets
from jaxnets import ops as ops
from jaxnets import rule as rule
from jaxnets import verify as verify
