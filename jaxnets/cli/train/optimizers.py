"""The update rules of the command line: Optax's, or those of `jaxnets.optim`."""

import enum
from collections.abc import Callable
from functools import partial
from typing import Any

import optax

from jaxnets import optim


class Optimizer(enum.Enum):
    """Update rules, with the defaults of Optax or of their papers but for the learning rate."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    NESTEROV = "nesterov"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"
    ADADELTA = "adadelta"
    ADAM = "adam"


Rules = dict[Optimizer, Callable[[Any], optax.GradientTransformation]]

OPTIMIZERS: Rules = {
    Optimizer.SGD: optax.sgd,
    Optimizer.MOMENTUM: partial(optax.sgd, momentum=0.9),
    Optimizer.NESTEROV: partial(optax.sgd, momentum=0.9, nesterov=True),
    Optimizer.ADAGRAD: optax.adagrad,
    Optimizer.RMSPROP: optax.rmsprop,
    Optimizer.ADADELTA: optax.adadelta,
    Optimizer.ADAM: optax.adam,
}

BY_EQUATIONS: Rules = {
    Optimizer.SGD: optim.gradient_descent,
    Optimizer.MOMENTUM: optim.momentum,
    Optimizer.NESTEROV: optim.nesterov,
    Optimizer.ADAGRAD: optim.adagrad,
    Optimizer.RMSPROP: optim.rmsprop,
    Optimizer.ADADELTA: optim.adadelta,
    Optimizer.ADAM: optim.adam,
}
