"""Networks: one family a file, built of the operations, each with its backpropagation."""

from jaxnets.nets import cnn as cnn
from jaxnets.nets import lenet as lenet
from jaxnets.nets import lenet1998 as lenet1998
from jaxnets.nets import mlp as mlp
from jaxnets.nets import neuron as neuron
from jaxnets.nets import rbf as rbf
from jaxnets.nets import signal_flow as signal_flow
