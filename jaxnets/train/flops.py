"""The floating-point operations of a function, counted in its jaxpr.

XLA's own count (`compiled.cost_analysis()`) takes the body of a loop once, however often it runs, so that of an epoch,
or of a kernel that goes through its minibatches in a `lax.scan`, it sees a fraction.  It also counts what the compiler
made of the function, and does not look into calls of library kernels.  Here the function is counted as it was traced.
With a multiplication and an addition as one operation each:

    a matrix product (m, k) x (k, n)     2 m k n
    a convolution                        2 for every pair of an entry of the kernel and one of the images that meet
    a scan of n turns                    n times its body
    `platform_dependent`                 the branch of the platform

What nothing depends on is left out, as the compiler does; what is computed twice counts twice.  Element-wise
operations, reductions, transforms and decompositions do not count: in a network they are few, and no matrix unit runs
them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import backend, core
from jax.extend.core import primitives
from jax.interpreters import partial_eval

from jaxnets import jaxpr

_CALLS = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "closed_call", "core_call"})
"""Primitives that run the function inside them once."""


class Flops(NamedTuple):
    """A count of operations.

    `exact` is false where it depends on values that are known only when the function runs: a `while` loop was counted
    for one turn, or a `cond` as its costliest branch.
    """

    count: int
    exact: bool = True


def flops(f: Callable[..., Any], *args: Any, platform: str | None = None) -> Flops:
    """Return the operations of `f(*args)` in matrix products and convolutions, over all devices.

    Arguments may be `jax.ShapeDtypeStruct`s, since nothing is run.  Where f has a branch for each platform (see
    `jax.lax.platform_dependent`) that of `platform` is taken: "cpu", "cuda", "rocm" or "tpu", or the default device's.

    Raises:
      NotImplementedError: if there are products inside something of which it is not known how often it runs what is
        inside it, such as a Pallas kernel.
    """
    traced = jax.make_jaxpr(f)(*args).jaxpr
    needed, _ = partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))
    return _counted(needed, _platform() if platform is None else platform)


def _platform() -> str:
    found = backend.get_backend()
    if found.platform != "gpu":
        return found.platform
    return "rocm" if "rocm" in found.platform_version.lower() else "cuda"


def _counted(open_jaxpr: core.Jaxpr, platform: str) -> Flops:
    return _sum([_of_equation(equation, platform) for equation in open_jaxpr.eqns])


def _of_equation(equation: core.JaxprEqn, platform: str) -> Flops:
    params = equation.params
    inside = [_counted(inner, platform) for inner in core.jaxprs_in_params(params)]
    match equation.primitive.name:
        case primitives.dot_general_p.name:
            return Flops(_product(equation))
        case primitives.conv_general_dilated_p.name:
            return Flops(_convolution(equation))
        case primitives.scan_p.name:
            return _times(params["length"], inside[0])
        case primitives.while_p.name:
            once = _sum(inside)
            return Flops(once.count, once.count == 0)
        case primitives.cond_p.name:
            return _of_branches(inside, params.get("branches_platforms"), platform)
        case "shard_map":  # its jaxpr is what each of the devices runs
            return _times(math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"]), _sum(inside))
        case _:
            total = _sum(inside)
            name = equation.primitive.name
            if total.count and not (jaxpr.enters(equation) or name in _CALLS):
                raise NotImplementedError(f"flops: cannot tell how often {name!r} runs the products inside it")
            return total


def _of_branches(branches: list[Flops], platforms: Sequence[tuple[str, ...] | None] | None, platform: str) -> Flops:
    if platforms is not None:
        taken = (of for of, names in zip(branches, platforms, strict=True) if names is None or platform in names)
        return next(taken, Flops(0))
    counts = {branch.count for branch in branches}
    return Flops(max(counts), len(counts) == 1 and all(branch.exact for branch in branches))


def _product(equation: core.JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    a, _ = map(_shape, equation.invars)
    return 2 * math.prod(_shape(equation.outvars[0])) * math.prod(a[axis] for axis in contracted)


def _convolution(equation: core.JaxprEqn) -> int:
    params = equation.params
    images, kernels, results = params["dimension_numbers"]
    x, w = map(_shape, equation.invars)
    z = _shape(equation.outvars[0])
    windows = zip(
        (x[axis] for axis in images[2:]),
        (w[axis] for axis in kernels[2:]),
        (z[axis] for axis in results[2:]),
        params["window_strides"],
        (low for low, _ in params["padding"]),
        params["lhs_dilation"],
        params["rhs_dilation"],
        strict=True,
    )
    # With groups the kernels have as many input channels as each group.
    return 2 * z[results[0]] * z[results[1]] * w[kernels[1]] * math.prod(_meetings(*window) for window in windows)


def _meetings(size: int, kernel: int, out: int, stride: int, low: int, spread: int, dilation: int) -> int:
    """How often an entry of a kernel meets an entry of the image along one axis: not zeros around or between them."""
    at = np.arange(out)[:, None] * stride + np.arange(kernel) * dilation - low
    return int(np.sum((at >= 0) & (at <= (size - 1) * spread) & (at % spread == 0)))


def _shape(value: Any) -> tuple[int, ...]:
    return value.aval.shape


def _sum(parts: list[Flops]) -> Flops:
    return Flops(sum(part.count for part in parts), all(part.exact for part in parts))


def _times(turns: int, of_turn: Flops) -> Flops:
    return of_turn._replace(count=turns * of_turn.count)
