"""What the kernels for images share: the check of their arguments, and the walk over a batch in tiles."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxnets.kernels.parts import accumulator, part_size, varying_with

Pair = tuple[int, int]
"""One number for the rows, one for the columns."""

Padding = tuple[Pair, Pair]
"""Zeros (above, below), (left, right)."""

NO_PADDING: Padding = ((0, 0), (0, 0))


class Residuals(NamedTuple):
    """What the way back of a convolution needs, the same for every kernel and for the plain operation."""

    x: Float[Array, "batch height width channels"]
    w: Float[Array, "kernel_height kernel_width channels filters"]
    b: Float[Array, " filters"] | None


def require_pairs(what: str, padding: Any, **pairs: Any) -> None:
    """ValueError, in the name of `what`, unless the padding is two pairs of integers, and each other argument one."""
    for name, pair in pairs.items():
        if not is_pair(pair):
            raise ValueError(f"{what}: {name} is {pair!r}, wanted a pair of integers (rows, columns)")
    if not is_pair(padding, is_pair):
        raise ValueError(f"{what}: padding is {padding!r}, wanted pairs of integers ((above, below), (left, right))")


def is_integer(a: Any) -> bool:
    """Of Python's or of NumPy's, as sizes of arrays are."""
    return isinstance(a, int | np.integer)


def is_pair(a: Any, holds: Callable[[Any], bool] = is_integer) -> bool:
    """A tuple of two integers, or of two of what else it `holds`."""
    return isinstance(a, tuple) and len(a) == 2 and all(map(holds, a))


def out_size(
    what: str, x: Array, w: Array, b: Array | None, padding: Padding = NO_PADDING, stride: Pair = (1, 1)
) -> Pair:
    """How often the kernel fits along each axis.  ValueError, in the name of `what`, if the arguments do not fit."""
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"{what}: wanted images NHWC and kernels HWIO, got x {x.shape} and w {w.shape}")
    if x.shape[3] != w.shape[2]:
        raise ValueError(f"{what}: x has {x.shape[3]} channels, w expects {w.shape[2]} (x {x.shape}, w {w.shape})")
    if x.dtype != w.dtype:
        raise ValueError(f"{what}: x is {x.dtype}, w is {w.dtype}, wanted one dtype")
    check_bias(what, b, w.shape[3:], w.dtype)
    return places(what, (x.shape[1], x.shape[2]), (w.shape[0], w.shape[1]), stride, padding)


def places(
    what: str, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1), called: str = "kernel"
) -> Pair:
    """How often a kernel, or what else it is called, fits along each axis.

    ValueError, in the name of `what`, if it does not, or stride, padding or dilation is out of its range.
    """
    require_pairs(what, padding, stride=stride, dilation=dilation)
    if min(*stride, *dilation) < 1:
        raise ValueError(f"{what}: stride is {stride} and dilation {dilation}, wanted positive numbers")
    if min(padding[0] + padding[1]) < 0:
        raise ValueError(f"{what}: padding is {padding}, wanted no negative number")
    rows, columns = (
        (n + sum(pad) - d * (k - 1) - 1) // step + 1
        for n, k, step, pad, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    if min(rows, columns, *kernel) < 1:
        spread = "" if dilation == (1, 1) else f" with dilation {dilation}"
        raise ValueError(f"{what}: a {called} {kernel}{spread} does not fit into an image {size} padded by {padding}")
    return rows, columns


def check_bias(what: str, b: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """ValueError, in the name of `what`, if there is a bias and it does not fit."""
    if b is not None and (b.shape, b.dtype) != (shape, dtype):
        raise ValueError(f"{what}: b is {b.dtype}{list(b.shape)}, wanted {dtype}{list(shape)}")


def with_bias(z: Float[Array, "n r s o"], b: Float[Array, " o"] | None) -> Float[Array, "n r s o"]:
    """One bias a filter, if there is any."""
    return z if b is None else z + b[None, None, None, :]


def bias_cotangent(z_bar: Float[Array, "n r s o"], b: Float[Array, " o"] | None) -> Float[Array, " o"] | None:
    """The adjoint of `with_bias`, in the dtype of sums over many tiles; None where there is no bias."""
    return None if b is None else z_bar.sum((0, 1, 2), dtype=accumulator(z_bar.dtype))


def over_tiles(
    step: Callable[..., tuple[Any, Any]], carry: Any, arrays: tuple[Array, ...], size: int
) -> tuple[Any, Any]:
    """`step(carry, *tiles) -> (carry, outputs)` on tiles of at most `size` examples, in a scan if there are several.

    The temporaries of a small tile stay in the cache, and in pages that the process already has: on a CPU much of the
    time of a large batch goes into page faults.  All tiles are of one size, which divides the batch if there is one not
    much smaller than `size`; else zero examples fill up the last tile, of which `step` must make a zero contribution to
    the carry.
    """
    n = arrays[0].shape[0]
    if n <= size:
        return step(carry, *arrays)
    each = part_size(n, size)
    count = -(-n // each)
    missing = count * each - n

    def split(a: Array) -> Array:
        filled = jnp.pad(a, ((0, missing), *((0, 0),) * (a.ndim - 1))) if missing else a
        return filled.reshape(count, each, *a.shape[1:])

    carry = varying_with(carry, arrays)
    carry, outputs = lax.scan(lambda c, tiles: step(c, *tiles), carry, tuple(map(split, arrays)))
    return carry, jax.tree.map(lambda y: y.reshape(count * each, *y.shape[2:])[:n], outputs)


def overlapped(a: Array, *, entry: int, place: int, step: int, start: int, length: int) -> Array:
    """The adjoint of reading patches along one axis: what each pixel gets from all patches that hold it.

    The patch at place r holds the pixels step·r + i.  So pixel step·u + φ, with 0 ≤ φ < step, gets entry φ + step·m of
    the patch at place u - m, for every m.

    Args:
      a: cotangents of patches.
      entry: the axis of i, which goes.
      place: the axis of r, which becomes that of the pixels.
      step: the distance of the patches.
      start: the pixels before this one, which are of a padding, are left out.
      length: how many pixels there are from there on.
    """
    entries, places = a.shape[entry], a.shape[place]
    axis = place - (entry < place)
    blocks = max(places + (entries - 1) // step, -(-(start + length) // step))
    shape = [size for k, size in enumerate(a.shape) if k != entry]
    shape[axis] = blocks
    phases = []
    for phi in range(step):
        total = jnp.zeros(shape, a.dtype)
        for m, i in enumerate(range(phi, entries, step)):
            margins = [(0, 0, 0)] * (a.ndim - 1)
            margins[axis] = (m, blocks - places - m, 0)
            total += lax.pad(lax.index_in_dim(a, i, entry, keepdims=False), jnp.zeros((), a.dtype), margins)
        phases.append(total)
    flat = jnp.stack(phases, axis + 1).reshape(*shape[:axis], step * blocks, *shape[axis + 1 :])
    return lax.slice_in_dim(flat, start, start + length, axis=axis)
