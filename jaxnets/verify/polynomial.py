"""Is a function a polynomial that floating-point numbers compute without rounding, at integer arguments?

So it is if nothing but sums, products and moves of data touch its arguments, and every constant is an integer or a
short binary fraction.  Its derivatives are such polynomials too.  What is found for each result is how many binary
digits it has after the point, and its degree in each argument.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives as p

MOST_DIGITS = 20
"""The most binary digits after the point: 1/16 has 4, 0.1 has too many."""


class NotPolynomial(Exception):
    """What in the function is no sum or product of integers."""


class Form(NamedTuple):
    """A floating-point value as a polynomial: its digits after the point, and its degree in those arguments that it
    depends on, where 2 stands for every higher one too.
    """

    digits: int
    degrees: Mapping[int, int]


Forms = list[Form | None]
"""One for each value; None for what is no floating-point number."""


def forms(closed: core.ClosedJaxpr) -> Forms:
    """The form of each output, at integer operands.  The arguments are the floating-point operands, by position.

    Raises:
      NotPolynomial: if the function is none.
    """
    given = [
        Form(0, {position: 1}) if _is_float(variable) else None for position, variable in enumerate(closed.jaxpr.invars)
    ]
    return _inside(closed, given)


def _inside(closed: core.ClosedJaxpr, given: Sequence[Form | None]) -> Forms:
    known: dict[Any, Form | None] = dict(zip(closed.jaxpr.invars, given, strict=True))
    for variable, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
        known[variable] = _constant(value) if _is_float(variable) else None

    def read(atom: Any) -> Form | None:
        if isinstance(atom, core.Literal):
            return _constant(atom.val) if _is_float(atom) else None
        return known[atom]

    for equation in closed.jaxpr.eqns:
        if any(map(_is_float, [*equation.invars, *equation.outvars])):
            outputs = _rule(equation.primitive)(equation, [read(atom) for atom in equation.invars])
        else:
            outputs = [None] * len(equation.outvars)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _is_float(atom: Any) -> bool:
    dtype = atom.aval.dtype
    if jnp.issubdtype(dtype, jnp.inexact) and dtype != np.float64:
        raise NotPolynomial(str(dtype))
    return dtype == np.float64


def _constant(value: Any) -> Form:
    array = np.asarray(value)
    for digits in range(MOST_DIGITS + 1):
        scaled = array * 2.0**digits
        if np.all(np.isfinite(scaled)) and np.all(scaled == np.round(scaled)):
            return Form(digits, {})
    raise NotPolynomial(f"the constant {array.ravel()[np.argmax(array.ravel() != np.round(array.ravel()))]:.6g}")


def _joined(terms: Iterable[Form | None]) -> Form:
    """The form of a sum, or of a choice."""
    some = [term for term in terms if term is not None]
    degrees = {of: max(term.degrees.get(of, 0) for term in some) for term in some for of in term.degrees}
    return Form(max((term.digits for term in some), default=0), degrees)


def _product(one: Form, other: Form) -> Form:
    both = {of: min(one.degrees.get(of, 0) + other.degrees.get(of, 0), 2) for of in {*one.degrees, *other.degrees}}
    return Form(one.digits + other.digits, both)


Rule = Callable[[core.JaxprEqn, Forms], Forms]


def _rule(primitive: Any) -> Rule:
    # Some primitives of JAX are not public: they are known by their names.
    moves_data = primitive.name in ("split", "stack", "unstack", "tile", "optimization_barrier", "scatter-sub")
    return _sum if moves_data else _RULES.get(primitive, _refuse)


def _refuse(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    raise NotPolynomial(equation.primitive.name)


def _sum(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    if not all(map(_is_float, equation.outvars)):
        return _refuse(equation, inputs)  # a number turned into an integer
    return [_joined(inputs)] * len(equation.outvars)


def _times(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    return [_product(_joined(inputs[:1]), _joined(inputs[1:]))]


def _power(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    exponent = equation.params.get("y", 2)  # without one it is a square
    if exponent < 0:
        return _refuse(equation, inputs)
    base = _joined(inputs)
    return [Form(exponent * base.digits, {of: min(exponent * degree, 2) for of, degree in base.degrees.items()})]


def _divided(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    divisor = equation.invars[1]
    if not isinstance(divisor, core.Literal) or divisor.val == 0:
        return _refuse(equation, inputs)
    return [_product(_joined(inputs[:1]), _constant(1 / divisor.val))]


def _held(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    # It changes with its argument, and its derivative says that it does not: that is no linear function.
    held = _joined(inputs)
    return [Form(held.digits, dict.fromkeys(held.degrees, 2))]


def _entered(key: str) -> Rule:
    def rule(equation: core.JaxprEqn, inputs: Forms) -> Forms:
        inner = equation.params[key]
        return _inside(inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ()), inputs)

    return rule


def _branches(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    results = [_inside(branch, inputs[1:]) for branch in equation.params["branches"]]
    return [_either(column) for column in zip(*results, strict=True)]


def _either(column: Sequence[Form | None]) -> Form | None:
    return None if column[0] is None else _joined(column)


def _scan(equation: core.JaxprEqn, inputs: Forms) -> Forms:
    first, after = equation.params["num_consts"], equation.params["num_consts"] + equation.params["num_carry"]
    carry = inputs[first:after]
    while True:
        outputs = _inside(equation.params["jaxpr"], [*inputs[:first], *carry, *inputs[after:]])
        joined = [_either(pair) for pair in zip(carry, outputs[: after - first], strict=True)]
        if joined == carry:
            return outputs
        if any(form is not None and form.digits > MOST_DIGITS for form in joined):
            raise NotPolynomial("a scan whose steps add digits")
        carry = joined


_RULES: Mapping[Any, Rule] = {
    **dict.fromkeys(
        (
            *(p.add_p, p.sub_p, p.neg_p, p.add_jaxvals_p, p.reduce_sum_p, p.cumsum_p, p.reduce_window_sum_p),
            *(p.transpose_p, p.reshape_p, p.broadcast_in_dim_p, p.squeeze_p, p.slice_p, p.dynamic_slice_p, p.gather_p),
            *(p.dynamic_update_slice_p, p.scatter_p, p.scatter_add_p, p.pad_p, p.concatenate_p, p.rev_p, p.select_n_p),
            *(p.copy_p, p.name_p, p.device_put_p, p.convert_element_type_p, p.iota_p),
        ),
        _sum,
    ),
    **dict.fromkeys((p.mul_p, p.dot_general_p, p.conv_general_dilated_p), _times),
    **dict.fromkeys((p.integer_pow_p, p.square_p), _power),
    p.div_p: _divided,
    p.stop_gradient_p: _held,
    p.jit_p: _entered("jaxpr"),
    p.remat_p: _entered("jaxpr"),
    p.custom_jvp_call_p: _entered("call_jaxpr"),
    p.custom_vjp_call_p: _entered("call_jaxpr"),
    p.cond_p: _branches,
    p.scan_p: _scan,
}
