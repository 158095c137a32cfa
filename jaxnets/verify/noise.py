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

_ARITHMETIC = (
    *(p.add_p, p.sub_p, p.mul_p, p.div_p, p.pow_p, p.integer_pow_p, p.square_p, p.sqrt_p, p.rsqrt_p, p.cbrt_p),
    *(p.exp_p, p.exp2_p, p.expm1_p, p.log_p, p.log1p_p, p.logistic_p, p.erf_p, p.erfc_p, p.erf_inv_p, p.lgamma_p),
    *(p.sin_p, p.cos_p, p.tan_p, p.sinh_p, p.cosh_p, p.tanh_p, p.asin_p, p.acos_p, p.atan_p, p.atan2_p),
    *(p.dot_general_p, p.conv_general_dilated_p, p.reduce_sum_p, p.reduce_prod_p, p.cumsum_p, p.cumprod_p),
    *(p.add_jaxvals_p, p.scatter_add_p, p.reduce_window_sum_p),
)


def spreads(
    f: Callable[..., Any],
    inputs: Sequence[Any],
    cotangents: Sequence[Any],
    hand: Sequence[Any],
    truth: Sequence[Any],
) -> list[float]:
    """Per input, the norm of the rounding spread of the gradient of f; 0 for all if hand and truth agree anyway."""
    pairs = [(np.asarray(ours), np.asarray(theirs)) for ours, theirs in zip(hand, truth, strict=True)]
    agree = all(
        ours.shape == theirs.shape and np.linalg.norm(ours - theirs) <= RELATIVE * np.linalg.norm(theirs)
        for ours, theirs in pairs
    )
    if agree or not all(np.all(np.isfinite(theirs)) for _, theirs in pairs):
        return [0.0] * len(truth)
    closed = jax.make_jaxpr(lambda *values: jax.vjp(f, *values)[1](list(cotangents)))(*inputs)
    runs = [_perturbed(closed, inputs, np.random.default_rng(run)) for run in range(RUNS)]
    return [
        float(max(np.linalg.norm(np.asarray(run[i]) - theirs) for run in runs)) for i, (_, theirs) in enumerate(pairs)
    ]


def _perturbed(closed: core.ClosedJaxpr, operands: Sequence[Any], generator: np.random.Generator) -> list[Any]:
    def perturb(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
        return [
            _one_ulp(generator, output) if is_inexact(output) else output for output in jaxpr.bind(equation, inputs)
        ]

    def inline(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
        # What is perturbed has been differentiated already: a rule for tangents has no further use.
        return jaxpr.evaluate(equation.params["call_jaxpr"], inputs, handlers)

    handlers = dict.fromkeys(_ARITHMETIC, perturb) | {p.custom_jvp_call_p: inline}
    return jaxpr.evaluate(closed, operands, handlers)


def _one_ulp(generator: np.random.Generator, value: Any) -> Any:
    # NumPy draws the factors: a draw by JAX for every operation would be compiled for every shape.
    factor = 1 + jnp.finfo(value.dtype).eps * generator.uniform(-1.0, 1.0, value.shape)
    return value * factor.astype(value.dtype)
