"""How much of a gradient is rounding noise, by Monte-Carlo arithmetic.

The backward pass is evaluated a few times with every arithmetic result perturbed by one unit in the last place.  The
spread of the results is what rounding alone can do at this input.  Selections (max, min, clamp, sort, comparisons) are
never perturbed: their ties are decided by equality.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives as p

from jaxnets import jaxpr
from jaxnets.verify.compare import norm
from jaxnets.verify.fast_compile import FAST_COMPILE
from jaxnets.verify.leaves import is_inexact

RUNS = 8
"""Perturbed evaluations of a pull-back.  Of fewer, all may round a one back to one, and miss what 1 - y loses."""

_ARITHMETIC = (
    *(p.add_p, p.sub_p, p.mul_p, p.div_p, p.pow_p, p.integer_pow_p, p.square_p, p.sqrt_p, p.rsqrt_p, p.cbrt_p),
    *(p.exp_p, p.exp2_p, p.expm1_p, p.log_p, p.log1p_p, p.logistic_p, p.erf_p, p.erfc_p, p.erf_inv_p, p.lgamma_p),
    *(p.sin_p, p.cos_p, p.tan_p, p.sinh_p, p.cosh_p, p.tanh_p, p.asin_p, p.acos_p, p.atan_p, p.atan2_p),
    *(p.dot_general_p, p.conv_general_dilated_p, p.reduce_sum_p, p.reduce_prod_p, p.cumsum_p, p.cumprod_p),
    *(p.add_jaxvals_p, p.scatter_add_p, p.reduce_window_sum_p),
)


def perturbed(f: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`f(*operands)` as a function of (ulps, *operands), with every arithmetic result off by some of the `ulps`: random
    factors within one unit of 1, of which each operation takes others.
    """

    def moved(ulps: Any, *operands: Any) -> list[Any]:
        starts = itertools.cycle(range(0, OFFSETS, 7))

        def off(value: Any) -> Any:
            if not is_inexact(value):
                return value
            start = next(starts)
            factors = jnp.resize(ulps[start : start + min(value.size, ulps.size - OFFSETS)], value.shape)
            return value * (1 + float(jnp.finfo(value.dtype).eps) * factors).astype(value.dtype)

        def perturb(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
            return [off(output) for output in jaxpr.bind(equation, inputs)]

        def inline(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
            # What is perturbed has been differentiated already: a rule for derivatives has no further use.
            return jaxpr.evaluate(equation.params["call_jaxpr"], inputs, handlers)

        closed = jax.make_jaxpr(f)(*operands)
        rules = (p.custom_jvp_call_p, p.custom_vjp_call_p)
        # What holds a computation that cannot be entered (a scatter's, a linear solver's) is left as it is.
        opaque = {each.primitive for each in jaxpr.equations(closed.jaxpr) if not jaxpr.enters(each)}
        handlers = {
            **dict.fromkeys(opaque, lambda equation, *inputs: jaxpr.bind(equation, inputs)),
            **dict.fromkeys(_ARITHMETIC, perturb),
            **dict.fromkeys(rules, inline),
        }
        return jaxpr.evaluate(closed, jax.tree.leaves(operands), handlers)

    return moved


OFFSETS = 1001
FACTORS = 2**16
"""Different random factors; an array that has more entries uses them again."""


def spread(pull_back: Callable[..., list[Any]]) -> Callable[..., list[float]]:
    """A function of operands: for each result of a pull-back at them, the norm of its rounding spread."""
    exact = jax.jit(pull_back, compiler_options=FAST_COMPILE)
    off = jax.jit(perturbed(pull_back), compiler_options=FAST_COMPILE)

    def norms(*operands: Any) -> list[float]:
        bars = [np.asarray(bar) for bar in exact(*operands)]
        moved = []
        for run in range(RUNS):
            random = np.random.default_rng(run).uniform(-1.0, 1.0, FACTORS + OFFSETS)
            others = off(random, *operands)
            moved.append([norm(np.asarray(other) - bar) for other, bar in zip(others, bars, strict=True)])
        return [
            max((size for size in column if not math.isnan(size)), default=0.0) for column in zip(*moved, strict=True)
        ]

    return norms
