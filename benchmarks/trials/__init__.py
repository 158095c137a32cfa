"""Losses with derivations by hand, most of them wrong on purpose: what verifiers are measured on."""

from . import (
    activations,
    attention,
    convolution,
    embedding,
    gru,
    losses,
    lstm,
    mlp,
    normalization,
    pooling,
    residual,
    rnn,
    tied,
    vae,
)
from .case import Case as Case

CASES = (
    *mlp.CASES,
    *activations.CASES,
    *losses.CASES,
    *normalization.CASES,
    *residual.CASES,
    *tied.CASES,
    *convolution.CASES,
    *pooling.CASES,
    *rnn.CASES,
    *lstm.CASES,
    *gru.CASES,
    *embedding.CASES,
    *attention.CASES,
    *vae.CASES,
)
