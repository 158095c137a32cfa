"""The one abstraction: a function with its hand-derived backward pass, and the way to take that pass out again.

    forward(*args)              -> (y, residuals)      what is computed, and what the derivation needs later
    backward(residuals, y_bar)  -> (*args_bar)         the hand-derived vector-Jacobian product

`rule` binds the two into an ordinary JAX function, `autodiff` gives back any function with every rule inside it
replaced by its plain forward computation.  So `jax.grad(loss)` is by hand and `jax.grad(autodiff(loss))` is autodiff,
of the same network, written once.  Derivation: derivations/autodiff-and-hand.md.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.extend.core import primitives

from jaxnets import jaxpr

P = ParamSpec("P")
Y = TypeVar("Y")
Y_co = TypeVar("Y_co", covariant=True)


@runtime_checkable
class Rule(Protocol[P, Y_co]):
    """A JAX function whose reverse-mode derivative is `backward`.  Made by `rule`."""

    __name__: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Y_co:
        """Compute the function."""
        ...


def rule(forward: Callable[P, tuple[Y, Any]], backward: Callable[..., tuple[Any, ...]]) -> Rule[P, Y]:
    """A JAX function that computes `forward` and differentiates by `backward`.

    Args:
      forward: `forward(*args, **static) -> (y, residuals)`, both pytrees of arrays.  Its keyword-only parameters are
        the static ones (strides, activations, ...): hashable values, never differentiated.
      backward: `backward(residuals, y_bar, **static) -> (*args_bar)`: a tuple with one cotangent for each positional
        argument of `forward`, of its structure, shapes and dtypes.  For integers and PRNG keys, which have no
        derivative, it returns None.

    Returns:
      The function `f(*args, **static) -> y`, named after `forward` less its suffix `_forward`, with its docstring, and
      with `forward` and `backward` (with the defaults of `forward`) as attributes.  It jits, vmaps and shards.
      Reverse mode runs `backward`, and higher derivatives differentiate it; forward mode on `f` itself (`jax.jvp`,
      `jax.jacfwd`) works on `autodiff(f)` only.

    Raises:
      TypeError: at definition, if `forward` has no name or takes `*args` or `**kwargs`; at a call, if a static argument
        is an array or cannot be hashed.
      ValueError: when a backward pass is traced whose cotangents differ from the arguments in number, structure,
        shape or dtype.
    """
    signature = inspect.signature(forward)
    if not hasattr(forward, "__name__"):
        raise TypeError(f"rule: forward is {forward!r}, which has no name; write it as a function (or use fix)")
    name = forward.__name__.removesuffix("_forward")
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"rule: {forward.__name__} takes {parameter}, a rule needs every argument named")
    static_names = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    array_names = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]

    def run(static: tuple[Any, ...], *args: Any) -> tuple[Y, Any]:
        return cast(Any, forward)(*args, **dict(zip(static_names, static, strict=True)))

    def primal(static: tuple[Any, ...], *args: Any) -> Y:
        return run(static, *args)[0]

    def save(static: tuple[Any, ...], *args: Any) -> tuple[Y, Any]:
        y, residuals = run(static, *args)
        return y, (residuals, _describe(args))

    def pull_back(static: tuple[Any, ...], saved: Any, y_bar: Any) -> tuple[Any, ...]:
        residuals, arguments = saved
        bars = backward(residuals, y_bar, **dict(zip(static_names, static, strict=True)))
        return _cotangents(name, array_names, arguments, bars)

    # A type checker may have wrapped it; JAX reads the name, which verify reports, from the innermost function.
    inspect.unwrap(primal).__name__ = name
    differentiable = jax.custom_vjp(primal, nondiff_argnums=(0,))
    differentiable.defvjp(save, pull_back)

    @functools.wraps(forward)
    def call(*args: P.args, **kwargs: P.kwargs) -> Y:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        static = tuple(_static(name, key, bound.arguments[key]) for key in static_names)
        return differentiable(static, *(bound.arguments[key] for key in array_names))

    call.__name__ = name
    call.__qualname__ = name
    function = cast(Any, call)
    function.forward = forward
    # Called on its own, the backward pass has the same defaults as the forward pass.
    defaults = {
        key: p.default for key, p in signature.parameters.items() if key in static_names and p.default is not p.empty
    }
    function.backward = functools.partial(backward, **defaults) if defaults else backward
    return function


def autodiff(f: Callable[P, Y]) -> Callable[P, Y]:
    """`f` with every custom VJP rule inside it replaced by the plain computation, so that JAX differentiates it itself.

    Works on any function that `jax.jit` could trace, through `jit`, `vmap`, `scan`, `while_loop`, `cond`, `switch`,
    `remat`, `shard_map` and rules inside rules, and removes rules from anywhere (`jax.custom_vjp` in other libraries
    too).  `jax.custom_jvp` rules stay: they hold JAX's own conventions (`jax.nn.relu` has slope 0 at 0), and they are
    the truth that a hand-derived pass is compared with.  A function without rules is called as it is.

    Only array leaves of the arguments are traced: anything else, Python scalars included, is a constant.

    Raises:
      NotImplementedError: if a rule stands inside a primitive that this interpreter cannot enter; it is named.
    """

    @functools.wraps(f)
    def stripped(*args: P.args, **kwargs: P.kwargs) -> Y:
        closed, operands, output, _ = jaxpr.trace(f, args, kwargs)
        if not any(equation.primitive is primitives.custom_vjp_call_p for equation in jaxpr.equations(closed.jaxpr)):
            return f(*args, **kwargs)
        return jax.tree.unflatten(jax.tree.structure(output), without_rules(closed, operands))

    return stripped


def fix(function: Rule[..., Y], **static: Any) -> Rule[..., Y]:
    """`function` with some of its static arguments fixed: itself a rule, to be passed where a rule is wanted.

    >>> steep = fix(leaky_relu, slope=0.2)

    Raises:
      TypeError: if `function` has no static argument of that name.
    """
    signature = inspect.signature(function.forward)
    for key in static:
        if key not in signature.parameters or signature.parameters[key].kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(f"fix: {function.__name__} has no static argument {key!r}")
    kept = [parameter for parameter in signature.parameters.values() if parameter.name not in static]

    @functools.wraps(function.forward)
    def forward(*args: Any, **rest: Any) -> tuple[Y, Any]:
        return function.forward(*args, **rest, **static)

    def backward(residuals: Any, y_bar: Any, **rest: Any) -> tuple[Any, ...]:
        return function.backward(residuals, y_bar, **rest, **static)

    cast(Any, forward).__signature__ = signature.replace(parameters=kept)
    return rule(forward, backward)


def without_rules(closed: core.ClosedJaxpr, operands: Any) -> list[Any]:
    """Evaluate a closed jaxpr with every custom VJP call replaced by its primal computation."""
    return jaxpr.evaluate(closed, operands, jaxpr.inlining(primitives.custom_vjp_call_p, {}))


class _Leaf(NamedTuple):
    """What the cotangent of one array must look like."""

    shape: tuple[int, ...]
    dtype: Any
    varying: frozenset[str]  # the mesh axes, inside a shard_map, along which its shards hold different values

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    @property
    def differentiable(self) -> bool:
        """Whether it has a cotangent at all: integers and keys have none."""
        return jnp.issubdtype(self.dtype, jnp.inexact)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Arguments:
    """Per argument, its structure and its leaves."""

    trees: tuple[Any, ...]
    leaves: tuple[tuple[_Leaf, ...], ...]


def _leaf(value: Any) -> _Leaf:
    aval: Any = jax.typeof(value)
    return _Leaf(aval.shape, aval.dtype, aval.manual_axis_type.varying)


def _describe(args: tuple[Any, ...]) -> _Arguments:
    flat = [jax.tree.flatten(arg) for arg in args]
    return _Arguments(tuple(tree for _, tree in flat), tuple(tuple(map(_leaf, leaves)) for leaves, _ in flat))


def _cotangents(name: str, array_names: list[str], arguments: _Arguments, bars: Any) -> tuple[Any, ...]:
    if not isinstance(bars, tuple) or len(bars) != len(array_names):
        got = f"{len(bars)} cotangents" if isinstance(bars, tuple) else f"a {type(bars).__name__}"
        raise ValueError(
            f"{name}: backward returned {got}, wanted a tuple of {len(array_names)}, one for each of {array_names}"
        )
    return tuple(
        _cotangent(f"{name}: the cotangent of {argument}", tree, leaves, bar)
        for argument, tree, leaves, bar in zip(array_names, arguments.trees, arguments.leaves, bars, strict=True)
    )


def _cotangent(what: str, tree: Any, leaves: tuple[_Leaf, ...], bar: Any) -> Any:
    if bar is None:
        bar = jax.tree.unflatten(tree, [None] * len(leaves))
    try:
        bar_leaves = tree.flatten_up_to(bar)
    except ValueError as error:
        raise ValueError(f"{what} has another structure than the argument: {error}") from None
    checked = [_checked(what, leaf, bar_leaf) for leaf, bar_leaf in zip(leaves, bar_leaves, strict=True)]
    return jax.tree.unflatten(tree, checked)


def _checked(what: str, wanted: _Leaf, bar: Any) -> Any:
    if not wanted.differentiable:
        return None  # JAX reads None as "no derivative here", whatever dtype the zero tangent must have
    if bar is None:
        raise ValueError(f"{what} is None, wanted an array {wanted} (zeros, if the gradient is zero)")
    try:
        got = _leaf(bar)
    except TypeError:
        raise ValueError(f"{what} holds a {type(bar).__name__}, the argument is {wanted}") from None
    if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(f"{what} is {got}, the argument is {wanted}")
    # Inside a shard_map every shard adds its part to the gradient of an argument that all of them share.
    shared = tuple(got.varying - wanted.varying)
    return jax.lax.psum(bar, shared) if shared else bar


def _static(name: str, key: str, value: Any) -> Any:
    if isinstance(value, jax.Array | np.ndarray):
        raise TypeError(
            f"{name}: {key} is static (keyword-only), got an array {jnp.result_type(value)}{list(value.shape)}"
        )
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"{name}: {key} is static (keyword-only) and must be hashable, got {value!r}") from None
    return value
