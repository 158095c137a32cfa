"""An interpreter of jaxprs that lets the caller take over chosen primitives, wherever they stand.

It evaluates a jaxpr equation by equation.  A primitive that has a handler is given to the handler; everything else is
bound as it was.  Control flow (`jit`, `scan`, `while`, `cond`, `remat`, `shard_map`) is entered only if it holds a
handled primitive, by calling the public JAX function again with the interpreted body, so that a handler may close over
tracers of its caller (that is how `jaxnets.verify` measures a rule inside a scan).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

Handlers = Mapping[Any, Callable[..., Sequence[Any]]]
"""primitive -> handler(equation, *operands) -> list of results."""


class Trace(NamedTuple):
    """A function as a jaxpr, with what is needed to call it on flat operands and to rebuild its output."""

    jaxpr: core.ClosedJaxpr
    operands: list[Any]
    output: Any  # pytree of jax.ShapeDtypeStruct
    arguments: Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]  # flat operands -> (args, kwargs)


def trace(f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> Trace:
    """Trace f at its arguments.  Array leaves become operands; every other leaf (functions, strings, Python scalars)
    stays the constant that it is, so static arguments need no marking.
    """
    leaves, tree = jax.tree.flatten((args, dict(kwargs or {})))
    dynamic = [isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves]
    operands = [leaf for leaf, moves in zip(leaves, dynamic, strict=True) if moves]

    def arguments(values: Sequence[Any]) -> Any:
        given = iter(values)
        merged = [next(given) if moves else leaf for leaf, moves in zip(leaves, dynamic, strict=True)]
        return jax.tree.unflatten(tree, merged)

    def flat(*values: Any) -> Any:
        positional, named = arguments(values)
        return f(*positional, **named)

    jaxpr, output = jax.make_jaxpr(flat, return_shape=True)(*operands)
    return Trace(jaxpr, operands, output, arguments)


def equations(jaxpr: core.Jaxpr, enter: Callable[[core.JaxprEqn], bool] = lambda _: True) -> Iterator[core.JaxprEqn]:
    """Every equation of a jaxpr and of the jaxprs inside it, in order of execution; those inside an equation for which
    `enter` is false are passed over.
    """
    for equation in jaxpr.eqns:
        yield equation
        if enter(equation):
            for inner in core.jaxprs_in_params(equation.params):
                yield from equations(inner, enter)


def inlining(primitive: Any, others: Handlers) -> Handlers:
    """`others`, and a handler that computes a custom rule's function (`call_jaxpr`) in place of calling the rule."""

    def inline(equation: core.JaxprEqn, *inputs: Any) -> list[Any]:
        return evaluate(equation.params["call_jaxpr"], inputs, handlers)

    handlers = {**others, primitive: inline}
    return handlers


def evaluate(closed: core.ClosedJaxpr, operands: Sequence[Any], handlers: Handlers) -> list[Any]:
    """The results of a closed jaxpr at flat operands, with `handlers` in charge of their primitives."""
    return _evaluate(closed.jaxpr, closed.consts, operands, handlers)


def _evaluate(jaxpr: core.Jaxpr, consts: Sequence[Any], operands: Sequence[Any], handlers: Handlers) -> list[Any]:
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, operands, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        with equation.ctx.manager:
            outputs = _apply(equation, inputs, handlers)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: core.JaxprEqn, inputs: list[Any], handlers: Handlers) -> Sequence[Any]:
    if equation.primitive in handlers:
        return handlers[equation.primitive](equation, *inputs)
    return enter(equation, inputs, handlers)


def enter(equation: core.JaxprEqn, inputs: Sequence[Any], handlers: Handlers) -> Sequence[Any]:
    """The results of one equation whose own primitive has no handler: with handlers in charge of what is inside it."""
    inner = core.jaxprs_in_params(equation.params)
    if not any(inside.primitive in handlers for jaxpr in inner for inside in equations(jaxpr)):
        return bind(equation, inputs)
    reapply = _REAPPLY.get(equation.primitive.name)
    if reapply is None:
        raise NotImplementedError(
            f"jaxnets cannot look inside the primitive {equation.primitive.name!r}, which holds one of "
            f"{sorted(primitive.name for primitive in handlers)}; it enters {sorted(_REAPPLY)}"
        )
    return reapply(equation, inputs, handlers)


def enters(equation: core.JaxprEqn) -> bool:
    """Whether the computations inside an equation, if there are any, can be interpreted."""
    return equation.primitive.name in _REAPPLY or not core.jaxprs_in_params(equation.params)


def bind(equation: core.JaxprEqn, inputs: Sequence[Any]) -> Sequence[Any]:
    """The results of one equation, applied as it was traced (a custom rule keeps its rule)."""
    primitive = equation.primitive
    outputs = primitive.bind(*inputs, **primitive.get_bind_params(equation.params))
    return outputs if primitive.multiple_results else [outputs]


def _jit(equation: core.JaxprEqn, inputs: Sequence[Any], handlers: Handlers) -> Sequence[Any]:
    params = equation.params

    def body(*values: Any) -> list[Any]:
        return evaluate(params["jaxpr"], values, handlers)

    body.__name__ = params["name"]
    return jax.jit(
        body,
        in_shardings=params["in_shardings"],
        out_shardings=list(params["out_shardings"]),
        keep_unused=params["keep_unused"],
        inline=params["inline"],
    )(*inputs)


def scan(
    equation: core.JaxprEqn,
    inputs: Sequence[Any],
    handlers: Callable[[Any, list[Any]], tuple[Handlers, Callable[[list[Any]], Any]]],
    extra: Any = None,
) -> tuple[Sequence[Any], Any]:
    """The results of a scan with handlers that see each step.

    `extra` is a pytree that is scanned over together with the inputs.  `handlers(its slice, inputs of the body)` gives
    the handlers of one step, and a function of the body's outputs that is called when the step is done: what it returns
    is stacked over the steps, and is the second result.
    """
    params = equation.params
    n_consts, n_carry = params["num_consts"], params["num_carry"]
    consts, init, xs = inputs[:n_consts], inputs[n_consts : n_consts + n_carry], inputs[n_consts + n_carry :]

    def body(carry: list[Any], x: Any) -> tuple[list[Any], Any]:
        step_inputs = [*consts, *carry, *x[0]]
        now, finish = handlers(x[1], step_inputs)
        outputs = evaluate(params["jaxpr"], step_inputs, now)
        return outputs[:n_carry], (outputs[n_carry:], finish(outputs))

    carry, (ys, collected) = jax.lax.scan(
        body,
        list(init),
        (list(xs), extra),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys], collected


def _scan(equation: core.JaxprEqn, inputs: Sequence[Any], handlers: Handlers) -> Sequence[Any]:
    return scan(equation, inputs, lambda *_: (handlers, lambda _: None))[0]


def _while(equation: core.JaxprEqn, inputs: Sequence[Any], handlers: Handlers) -> Sequence[Any]:
    params = equation.params
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts, init = inputs[:n_cond], inputs[n_cond : n_cond + n_body], inputs[n_cond + n_body :]
    return jax.lax.while_loop(
        lambda carry: evaluate(params["cond_jaxpr"], [*cond_consts, *carry], handlers)[0],
        lambda carry: evaluate(params["body_jaxpr"], [*body_consts, *carry], handlers),
        list(init),
    )


def _cond(equation: core.JaxprEqn, inputs: Sequence[Any], handlers: Handlers) -> Sequence[Any]:
    params = equation.params
    index, *operands = inputs
    branches = [lambda *values, branch=branch: evaluate(branch, values, handlers) for branch in params["branches"]]
    return jax.lax.switch(index, branches, *operands)


def _remat(equation: core.JaxprEqn, inputs: Sequence[Any], handlers: Handlers) -> Sequence[Any]:
    params = equation.params
    body = partial(_evaluate_open, params["jaxpr"], handlers)
    return jax.checkpoint(body, prevent_cse=params["prevent_cse"], policy=params["policy"])(*inputs)


def _shard_map(equation: core.JaxprEqn, inputs: Sequence[Any], handlers: Handlers) -> Sequence[Any]:
    params = equation.params
    return jax.shard_map(
        partial(_evaluate_open, params["jaxpr"], handlers),
        mesh=params["mesh"],
        in_specs=params["in_specs"],
        out_specs=list(params["out_specs"]),
        axis_names=set(params["newly_manual_axes"]),
        check_vma=params["check_vma"],
    )(*inputs)


def _evaluate_open(jaxpr: core.Jaxpr, handlers: Handlers, *operands: Any) -> list[Any]:
    return _evaluate(jaxpr, (), operands, handlers)


_REAPPLY: Mapping[str, Callable[[core.JaxprEqn, Sequence[Any], Handlers], Sequence[Any]]] = {
    primitives.jit_p.name: _jit,
    primitives.scan_p.name: _scan,
    primitives.while_p.name: _while,
    primitives.cond_p.name: _cond,
    primitives.remat_p.name: _remat,
    "shard_map": _shard_map,  # not among the public primitives, so known by its name
}
