"""Losses: the cost of a batch of predictions, each with its gradient by hand.  Derivation: derivations/losses.md.

Every loss takes the batch first and returns the mean over it of the examples' costs (`Reduction`).
"""

from jaxnets.ops.losses.adversarial import gan_discriminator_loss as gan_discriminator_loss
from jaxnets.ops.losses.adversarial import gan_generator_loss as gan_generator_loss
from jaxnets.ops.losses.adversarial import gan_generator_minimax_loss as gan_generator_minimax_loss
from jaxnets.ops.losses.cross_entropy import binary_cross_entropy as binary_cross_entropy
from jaxnets.ops.losses.cross_entropy import cross_entropy as cross_entropy
from jaxnets.ops.losses.cross_entropy import sigmoid_cross_entropy as sigmoid_cross_entropy
from jaxnets.ops.losses.cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from jaxnets.ops.losses.cross_entropy import (
    softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
)
from jaxnets.ops.losses.difference import absolute_error as absolute_error
from jaxnets.ops.losses.difference import epsilon_insensitive as epsilon_insensitive
from jaxnets.ops.losses.difference import huber as huber
from jaxnets.ops.losses.difference import log_cosh as log_cosh
from jaxnets.ops.losses.difference import quadratic as quadratic
from jaxnets.ops.losses.difference import quantile as quantile
from jaxnets.ops.losses.difference import squared_error as squared_error
from jaxnets.ops.losses.likelihood import bernoulli_negative_elbo as bernoulli_negative_elbo
from jaxnets.ops.losses.likelihood import gaussian_kl as gaussian_kl
from jaxnets.ops.losses.likelihood import gaussian_negative_log_likelihood as gaussian_negative_log_likelihood
from jaxnets.ops.losses.likelihood import kl_divergence as kl_divergence
from jaxnets.ops.losses.margin import exponential as exponential
from jaxnets.ops.losses.margin import hinge as hinge
from jaxnets.ops.losses.margin import logistic as logistic
from jaxnets.ops.losses.margin import modified_huber as modified_huber
from jaxnets.ops.losses.margin import perceptron as perceptron
from jaxnets.ops.losses.margin import squared_hinge as squared_hinge
from jaxnets.ops.losses.margin import zero_one as zero_one
from jaxnets.ops.losses.penalty import l2_penalty as l2_penalty
from jaxnets.ops.losses.reduction import Reduction as Reduction
from jaxnets.ops.losses.tokens import token_cross_entropy as token_cross_entropy
