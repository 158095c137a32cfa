"""Pools on images NHWC and on sequences, and their inverses.  Derivation: derivations/pooling.md."""

from jaxnets.ops.pooling.maximum import max_pool as max_pool
from jaxnets.ops.pooling.maximum import max_pool_with_switches as max_pool_with_switches
from jaxnets.ops.pooling.maximum import unpool as unpool
from jaxnets.ops.pooling.mean import global_mean_pool as global_mean_pool
from jaxnets.ops.pooling.mean import mean_pool as mean_pool
from jaxnets.ops.pooling.mean import subsample as subsample
from jaxnets.ops.pooling.over_time import max_over_time as max_over_time
