"""Classic neural networks as pure JAX functions, with hand-derived backpropagation checked against `jax.grad`."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxnets import data as data
    from jaxnets import interop as interop
    from jaxnets import nets as nets
    from jaxnets import ops as ops
    from jaxnets import optim as optim
    from jaxnets import rule as rule
    from jaxnets import train as train
    from jaxnets import verify as verify

_MODULES = ("data", "interop", "nets", "ops", "optim", "rule", "train", "verify")


def __getattr__(name: str) -> ModuleType:
    """Import a module when it is first used: who reads a data set needs no JAX, who verifies needs no optimizer."""
    if name not in _MODULES:
        raise AttributeError(f"module 'jaxnets' has no attribute {name!r}")
    return importlib.import_module(f"jaxnets.{name}")
