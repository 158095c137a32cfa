"""The derivative of a function along a direction, from its values alone: the complex step.

    f'(x) v = Im f(x + i h v) / h,  with h = 1e-30

No difference is taken, so nothing cancels and h can be so small that the result is exact to rounding.  The function is
evaluated in complex numbers by its own equations, rules for derivatives left out: nothing is shared with autodiff.  A
comparison, a rounding or a choice (max, abs, argmax, ...) is made by the real part, and `stop_gradient` drops the
imaginary part, since there the author says that nothing moves.

Sources: W. Squire and G. Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
(1998); J. R. R. A. Martins, P. Sturdza and J. J. Alonso, The complex-step derivative approximation, ACM TOMS 29 (2003).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives as p

from jaxnets import jaxpr
from jaxnets.verify.leaves import is_inexact

STEP = 1e-30


class NoComplexForm(Exception):
    """A primitive that the function applies to what moves, and that cannot be evaluated in complex numbers here."""


def derivative(closed: core.ClosedJaxpr, operands: Sequence[Any], directions: Sequence[Any]) -> list[Any]:
    """The change of every output along `directions`, which holds None for an operand that stays; None for an output
    that is no floating-point number.

    Raises:
      NoComplexForm: if some equation has none.
    """
    if any(v is not None and jnp.iscomplexobj(x) for x, v in zip(operands, directions, strict=True)):
        raise NoComplexForm("complex numbers")
    moved = [x if v is None else jax.lax.complex(x, STEP * v) for x, v in zip(operands, directions, strict=True)]
    outputs = jaxpr.evaluate(closed, moved, _handlers(closed.jaxpr))
    return [jnp.imag(_lift(y)) / STEP if is_inexact(y) else None for y in outputs]


def _handlers(root: core.Jaxpr) -> jaxpr.Handlers:
    """A handler for every primitive of a function: where nothing complex arrives, it is applied as it is."""
    handlers: dict[Any, Callable[..., Sequence[Any]]] = {}

    def handler(equation: core.JaxprEqn, *inputs: Any) -> Sequence[Any]:
        avals: list[Any] = [atom.aval for atom in (*equation.invars, *equation.outvars)]
        if any(jnp.issubdtype(aval.dtype, jnp.complexfloating) for aval in avals):
            raise NoComplexForm("complex numbers")
        if not any(map(_moves, inputs)):
            return jaxpr.bind(equation, inputs)
        return _form(equation.primitive)(equation, [_lift(value) for value in inputs], handlers)

    handlers |= {equation.primitive: handler for equation in jaxpr.equations(root)}
    return handlers


Form = Callable[[core.JaxprEqn, list[Any], jaxpr.Handlers], Sequence[Any]]


def _form(primitive: Any) -> Form:
    # Some primitives of JAX are not public: they are known by their names.
    if primitive in _ANALYTIC or primitive.name in ("split", "stack", "unstack", "tile", "optimization_barrier"):
        return _analytic
    if primitive in _BY_REAL_PART or primitive.name in ("debug_callback", "debug_print"):
        return _by_real_part
    if primitive.name == "scatter-sub":
        return _linear
    if primitive not in _FORMS:
        raise NoComplexForm(primitive.name)
    return _FORMS[primitive]


def _moves(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.complexfloating)


def _lift(value: Any) -> Any:
    """A floating-point value as a complex one, others as they are."""
    dtype = jnp.result_type(value)
    return jax.lax.convert_element_type(value, _complex(dtype)) if jnp.issubdtype(dtype, jnp.floating) else value


def _complex(dtype: Any) -> Any:
    return np.result_type(dtype, np.complex64)  # complex64 for float32, complex128 for float64


_ANALYTIC = {
    *(p.add_p, p.sub_p, p.mul_p, p.div_p, p.neg_p, p.add_jaxvals_p, p.square_p, p.integer_pow_p, p.sqrt_p, p.rsqrt_p),
    *(p.exp_p, p.exp2_p, p.expm1_p, p.log_p, p.log1p_p, p.sin_p, p.cos_p, p.tan_p, p.asin_p, p.acos_p, p.atan_p),
    *(p.sinh_p, p.cosh_p, p.asinh_p, p.acosh_p, p.atanh_p),
    *(p.reduce_sum_p, p.reduce_prod_p, p.cumsum_p, p.cumprod_p, p.reduce_window_sum_p),
    *(p.reshape_p, p.transpose_p, p.broadcast_in_dim_p, p.squeeze_p, p.slice_p, p.dynamic_slice_p, p.gather_p),
    *(p.dynamic_update_slice_p, p.pad_p, p.concatenate_p, p.rev_p, p.select_n_p, p.sort_p, p.copy_p, p.name_p),
    p.device_put_p,
}
"""Bound as they are: analytic functions that XLA computes to rounding for a tiny imaginary part, and moves of data."""

_BY_REAL_PART = {
    *(p.eq_p, p.ne_p, p.lt_p, p.le_p, p.gt_p, p.ge_p, p.eq_to_p, p.le_to_p, p.lt_to_p, p.is_finite_p),
    *(p.sign_p, p.floor_p, p.ceil_p, p.round_p, p.argmax_p, p.argmin_p),
}
"""Steps and choices: the imaginary part has no say, and the result has none."""


def _analytic(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
    return jaxpr.bind(equation, inputs)


def _by_real_part(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
    return jaxpr.bind(equation, [jnp.real(value) if _moves(value) else value for value in inputs])


def _linear(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
    # A scatter carries the scalar program that combines two entries, which is one for real numbers.
    parts = [[part(value) if _moves(value) else value for value in inputs] for part in (jnp.real, jnp.imag)]
    real, imaginary = (jaxpr.bind(equation, values)[0] for values in parts)
    return [jax.lax.complex(real, imaginary)]


def _bilinear(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
    # A complex convolution is made of sums of real and imaginary parts, in which 1e-30 is lost.
    (a, a_dot), (b, b_dot) = ((jnp.real(value), jnp.imag(value)) for value in inputs)

    def product(a: Any, b: Any) -> Any:
        return jaxpr.bind(equation, [a, b])[0]

    return [jax.lax.complex(product(a, b), product(a_dot, b) + product(a, b_dot))]


def _convert(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
    dtype = equation.params["new_dtype"]
    if not jnp.issubdtype(dtype, jnp.floating):
        return _by_real_part(equation, inputs, handlers)
    return [jax.lax.convert_element_type(inputs[0], _complex(dtype))]


def _elementwise(f: Callable[..., Any]) -> Form:
    return lambda equation, inputs, handlers: [f(*inputs)]


def _max(x: Any, y: Any) -> Any:
    return jnp.where(jnp.real(x) >= jnp.real(y), x, y)


def _min(x: Any, y: Any) -> Any:
    return jnp.where(jnp.real(x) <= jnp.real(y), x, y)


def _tanh(z: Any) -> Any:
    # XLA's tanh forms 1 - tanh², which cancels where it saturates.  Abramowitz and Stegun 4.5.51, for a small Im z.
    a, b = jnp.real(z), jnp.imag(z)
    return jax.lax.complex(jnp.tanh(a), jnp.sin(2 * b) / (jnp.cosh(2 * a) + jnp.cos(2 * b)))


def _logistic(z: Any) -> Any:
    return jax.lax.complex(jax.nn.sigmoid(jnp.real(z)), jnp.imag(_tanh(z / 2)) / 2)


def _pow(x: Any, y: Any) -> Any:
    # exp(y log x) has an imaginary part of its own where x < 0: there x = -|x|, and (-1)^y is real.
    negative = jnp.real(x) < 0
    y = jnp.asarray(y, x.dtype)
    sign = jnp.power(jnp.where(negative, -1.0, 1.0).astype(jnp.real(y).dtype), jnp.real(y))
    return _lift(sign) * jnp.power(jnp.where(negative, -x, x), y)


def _atan2(y: Any, x: Any) -> Any:
    # Each quotient where it is at most 1 in size; the branch concerns the real part alone.
    steep = abs(jnp.real(y)) > abs(jnp.real(x))
    quotient = jnp.where(steep, -x, y) / jnp.where(steep, y, x)
    return jax.lax.complex(jnp.arctan2(jnp.real(y), jnp.real(x)), jnp.imag(jnp.arctan(quotient)))


def _rem(x: Any, y: Any) -> Any:
    return x - y * _lift(jnp.trunc(jnp.real(x) / jnp.real(y)))


def _extreme(choose: Callable[..., Any]) -> Form:
    """The entry that `choose` (argmax or argmin) finds along the reduced axes."""

    def form(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
        axes = equation.params["axes"]
        last = jnp.moveaxis(inputs[0], axes, range(-len(axes), 0))
        flat = last.reshape(*last.shape[: last.ndim - len(axes)], -1)
        at = choose(jnp.real(flat), axis=-1, keepdims=True)
        return [jnp.take_along_axis(flat, at, axis=-1)[..., 0]]

    return form


def _inside(key: str) -> Form:
    """The equations of the jaxpr that stands under `key`, in place."""

    def form(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
        inner = equation.params[key]
        closed = inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())
        return jaxpr.evaluate(closed, inputs, handlers)

    return form


def _control(*keys: str) -> Form:
    """Loops and branches with their bodies in complex numbers: everything that passes their borders is complex."""

    def body(closed: core.ClosedJaxpr, handlers: jaxpr.Handlers) -> core.ClosedJaxpr:
        def lifted(*values: Any) -> list[Any]:
            return [_lift(y) for y in jaxpr.evaluate(closed, values, handlers)]

        return jax.make_jaxpr(lifted)(*jax.eval_shape(lambda *values: list(map(_lift, values)), *closed.in_avals))

    def form(equation: core.JaxprEqn, inputs: list[Any], handlers: jaxpr.Handlers) -> Sequence[Any]:
        params = dict(equation.params)
        for key in keys:
            inner = params[key]
            several = isinstance(inner, tuple)
            bodies = tuple(body(each, handlers) for each in (inner if several else (inner,)))
            params[key] = bodies if several else bodies[0]
        return jaxpr.bind(equation.replace(params=params), inputs)

    return form


_FORMS: Mapping[Any, Form] = {
    p.dot_general_p: _bilinear,
    p.conv_general_dilated_p: _bilinear,
    p.scatter_p: _linear,
    p.scatter_add_p: _linear,
    p.convert_element_type_p: _convert,
    p.stop_gradient_p: lambda equation, inputs, handlers: [jnp.real(inputs[0])],
    p.abs_p: _elementwise(lambda x: jnp.where(jnp.real(x) < 0, -x, x)),
    p.max_p: _elementwise(_max),
    p.min_p: _elementwise(_min),
    p.clamp_p: _elementwise(lambda low, x, high: _min(_max(x, low), high)),
    p.reduce_max_p: _extreme(jnp.argmax),
    p.reduce_min_p: _extreme(jnp.argmin),
    p.tanh_p: _elementwise(_tanh),
    p.logistic_p: _elementwise(_logistic),
    p.pow_p: _elementwise(_pow),
    p.atan2_p: _elementwise(_atan2),
    p.rem_p: _elementwise(_rem),
    p.jit_p: _inside("jaxpr"),
    p.remat_p: _inside("jaxpr"),
    p.custom_jvp_call_p: _inside("call_jaxpr"),
    p.custom_vjp_call_p: _inside("call_jaxpr"),
    p.scan_p: _control("jaxpr"),
    p.while_p: _control("cond_jaxpr", "body_jaxpr"),
    p.cond_p: _control("branches"),
}
