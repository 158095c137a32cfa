"""Normalisation by a batch, by a layer, and by neighbouring channels.  Derivation: derivations/normalization.md."""

from jaxnets.ops.normalization.batch import Statistics as Statistics
from jaxnets.ops.normalization.batch import batch_norm as batch_norm
from jaxnets.ops.normalization.batch import batch_norm_inference as batch_norm_inference
from jaxnets.ops.normalization.batch import batch_norm_training as batch_norm_training
from jaxnets.ops.normalization.layer import layer_norm as layer_norm
from jaxnets.ops.normalization.response import local_response_norm as local_response_norm
