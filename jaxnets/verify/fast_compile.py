"""How the programs of a verification are compiled."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr

FAST_COMPILE: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}
"""Each program runs a few times, on small arrays: nearly all of its time is XLA's."""

CONVOLUTIONS: dict[str, Any] = {**FAST_COMPILE, "xla_backend_optimization_level": 1}
"""Without optimization a convolution runs ten times slower, which outweighs what is saved."""


def compiled(f: Callable[..., Any], root: core.Jaxpr) -> Callable[..., Any]:
    """`jax.jit(f)` for a program that holds the operations of `root`."""
    convolves = any(equation.primitive is primitives.conv_general_dilated_p for equation in jaxpr.equations(root))
    return jax.jit(f, compiler_options=CONVOLUTIONS if convolves else FAST_COMPILE)
