"""Rules that change weights without backpropagation, each a function; the loop they run in; what some of them climb."""

from jaxnets.ops.learning_rules.associator import hebb_matrix as hebb_matrix
from jaxnets.ops.learning_rules.associator import pseudo_inverse_matrix as pseudo_inverse_matrix
from jaxnets.ops.learning_rules.associator import recall_error as recall_error
from jaxnets.ops.learning_rules.correcting import delta_rule as delta_rule
from jaxnets.ops.learning_rules.correcting import perceptron_rule as perceptron_rule
from jaxnets.ops.learning_rules.hebbian import hebb_general as hebb_general
from jaxnets.ops.learning_rules.hebbian import hebb_supervised as hebb_supervised
from jaxnets.ops.learning_rules.hebbian import hebb_unsupervised as hebb_unsupervised
from jaxnets.ops.learning_rules.hebbian import oja as oja
from jaxnets.ops.learning_rules.objectives import correlation as correlation
from jaxnets.ops.learning_rules.objectives import half_squared_error as half_squared_error
from jaxnets.ops.learning_rules.objectives import output_energy as output_energy
from jaxnets.ops.learning_rules.presentation import Learned as Learned
from jaxnets.ops.learning_rules.presentation import learn as learn
