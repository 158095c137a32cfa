"""How much of a gradient is rounding noise, by Monte-Carlo arithmetic.

The backward pass is evaluated a few times with every arithmetic result perturbed by one unit in the last place.  The
spread of the results is what rounding alone can do at this input.  Selections (max, min, clamp, sort, comparisons) are
never perturbed: their ties are decided by equality.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives as p

from jaxnets import jaxpr
from jaxnets.verify.compare import RELATIVE
from jaxnets.verify.problem import is_inexact

RUNS = 4
"""Perturbed evaluations in all, shared between the pull-backs."""

_ARITHMETIC = (
    *(p.add_p, p.sub_p, p.mul_p, p.div_p, p.pow_p, p.integer_pow_p, p.square_p, p.sqrt_p, p.rsqrt_p, p.cbrt_p),
    *(p.exp_p, p.exp2_p, p.expm1_p, p.log_p, p.log1p_p, p.logistic_p, p.erf_p, p.erfc_p, p.erf_inv_p, p.lgamma_p),
    *(p.sin_p, p.cos_p, p.tan_p, p.sinh_p, p.cosh_p, p.tanh_p, p.asin_p, p.acos_p, p.atan_p, p.atan2_p),
    *(p.dot_general_p, p.conv_general_dilated_p, p.reduce_sum_p, p.reduce_prod_p, p.cumsum_p, p.cumprod_p),
    *(p.add_jaxvals_p, p.scatter_add_p, p.reduce_window_sum_p),
)


def perturbed(f: Callable[..., Any], inputs: Sequence[Any], run: int) -> list[Any]:
    """The flat results of `f(*inputs)` with every arithmetic result off by up to one unit in the last place."""
    generator = np.random.default_rng(run)

    def perturb(equation: core.JaxprEqn, *operands: Any) -> list[Any]:
        outputs = jaxpr.bind(equation, operands)
        return [_one_ulp(generator, output) if is_inexact(output) else output for output in outputs]

    # What is perturbed has been differentiated already: a rule for tangents has no further use.
    handlers = jaxpr.inlining(p.custom_jvp_call_p, dict.fromkeys(_ARITHMETIC, perturb))
    return jaxpr.evaluate(jax.make_jaxpr(f)(*inputs), inputs, handlers)


def spreads(
    pull_backs: Sequence[Callable[..., Any]], inputs: Sequence[Any], hand: Sequence[Any], truth: Sequence[Any]
) -> list[float]:
    """Per input, the norm of the rounding spread of a gradient, by whichever pull-back spreads most.

    Each pull-back is a function of the inputs that returns their cotangents: autodiff's, and the hand-derived one where
    it can be traced, since a right derivation may cancel where autodiff's order of operations does not.  Where hand and
    truth agree anyway, all spreads are given as 0.
    """
    pairs = [(np.asarray(ours), np.asarray(theirs)) for ours, theirs in zip(hand, truth, strict=True)]
    agree = all(
        ours.shape == theirs.shape and np.linalg.norm(ours - theirs) <= RELATIVE * np.linalg.norm(theirs)
        for ours, theirs in pairs
    )
    if agree or not all(np.all(np.isfinite(theirs)) for _, theirs in pairs):
        return [0.0] * len(pairs)
    moved = []
    for pull_back in pull_backs:
        exact = [np.asarray(bar) for bar in pull_back(*inputs)]
        for run in range(RUNS // len(pull_backs)):
            bars = perturbed(pull_back, inputs, run)
            moved.append([np.linalg.norm(np.asarray(bar) - at) for bar, at in zip(bars, exact, strict=True)])
    return [float(max(column)) for column in zip(*moved, strict=True)]


def _one_ulp(generator: np.random.Generator, value: Any) -> Any:
    # NumPy draws the factors: a draw by JAX for every operation would be compiled for every shape.
    factor = 1 + jnp.finfo(value.dtype).eps * generator.uniform(-1.0, 1.0, value.shape)
    return value * factor.astype(value.dtype)
