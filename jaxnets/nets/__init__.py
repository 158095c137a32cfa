"""Networks: one family a file, built of the operations, each with its backpropagation."""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxnets.nets import alexnet as alexnet
    from jaxnets.nets import annealed_importance as annealed_importance
    from jaxnets.nets import associative_memory as associative_memory
    from jaxnets.nets import bam as bam
    from jaxnets.nets import binary as binary
    from jaxnets.nets import birnn as birnn
    from jaxnets.nets import boltzmann as boltzmann
    from jaxnets.nets import boltzmann_learning as boltzmann_learning
    from jaxnets.nets import cnn as cnn
    from jaxnets.nets import contrastive_divergence as contrastive_divergence
    from jaxnets.nets import dbm as dbm
    from jaxnets.nets import dbm_annealing as dbm_annealing
    from jaxnets.nets import dbm_classifier as dbm_classifier
    from jaxnets.nets import dbm_learning as dbm_learning
    from jaxnets.nets import dbm_likelihood as dbm_likelihood
    from jaxnets.nets import dbm_pretraining as dbm_pretraining
    from jaxnets.nets import dbn as dbn
    from jaxnets.nets import dbn_bound as dbn_bound
    from jaxnets.nets import decoding as decoding
    from jaxnets.nets import deconvnet as deconvnet
    from jaxnets.nets import dense_hopfield as dense_hopfield
    from jaxnets.nets import expected_divergence as expected_divergence
    from jaxnets.nets import gaussian_rbm as gaussian_rbm
    from jaxnets.nets import greedy as greedy
    from jaxnets.nets import gru as gru
    from jaxnets.nets import hopfield as hopfield
    from jaxnets.nets import inception as inception
    from jaxnets.nets import language_model as language_model
    from jaxnets.nets import lenet as lenet
    from jaxnets.nets import lenet1998 as lenet1998
    from jaxnets.nets import lstm as lstm
    from jaxnets.nets import mean_field as mean_field
    from jaxnets.nets import mlp as mlp
    from jaxnets.nets import neuron as neuron
    from jaxnets.nets import pseudo_likelihood as pseudo_likelihood
    from jaxnets.nets import rbf as rbf
    from jaxnets.nets import rbm as rbm
    from jaxnets.nets import recurrent as recurrent
    from jaxnets.nets import resnet as resnet
    from jaxnets.nets import rnn as rnn
    from jaxnets.nets import seq2seq as seq2seq
    from jaxnets.nets import signal_flow as signal_flow
    from jaxnets.nets import srn as srn
    from jaxnets.nets import textcnn as textcnn
    from jaxnets.nets import up_down as up_down


def __getattr__(name: str) -> ModuleType:
    """Import a network when it is first used: there are many, and most programs need one."""
    if name not in {module.name for module in pkgutil.iter_modules(__path__)}:
        raise AttributeError(f"module 'jaxnets.nets' has no attribute {name!r}")
    return importlib.import_module(f"jaxnets.nets.{name}")
