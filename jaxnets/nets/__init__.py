"""Networks: one family a file, built of the operations, each with its backpropagation."""

from jaxnets.nets import mlp as mlp
from jaxnets.nets import neuron as neuron
from jaxnets.nets import signal_flow as signal_flow
