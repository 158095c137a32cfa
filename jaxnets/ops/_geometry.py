"""Sizes of convolutions and pools, and what is wrong with them."""

from typing import Any, NamedTuple

from jaxnets.kernels.images import Padding as Padding
from jaxnets.kernels.images import Pair as Pair
from jaxnets.kernels.images import check_bias as check_bias
from jaxnets.kernels.images import is_integer as is_integer
from jaxnets.kernels.images import is_pair as is_pair
from jaxnets.kernels.images import places as places
from jaxnets.kernels.images import require_pairs as require_pairs
from jaxnets.ops._floating import require_floating


class Window(NamedTuple):
    """How a kernel moves over an image; every field is a pair, but `groups`."""

    kernel: Pair
    size: Pair
    out: Pair
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    def axes(self) -> list[tuple[int, int, Pair, int, int, int]]:
        """(dilation, kernel, padding, size, stride, out) of the rows, then of the columns."""
        return list(zip(self.dilation, self.kernel, self.padding, self.size, self.stride, self.out, strict=True))


def same(kernel: Pair, dilation: Pair = (1, 1)) -> Padding:
    """The padding that keeps the size, at stride 1: one zero more at the end where it cannot be even.

    ValueError if the kernel or the dilation is no pair of positive integers.
    """
    require_pairs("same", ((0, 0), (0, 0)), kernel=kernel, dilation=dilation)
    if min(*kernel, *dilation) < 1:
        raise ValueError(f"same: kernel is {kernel} and dilation {dilation}, wanted positive numbers")
    sums = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return tuple((total // 2, total - total // 2) for total in sums)  # pyright: ignore[reportReturnType]


def size_of(x: Any) -> Pair:
    """Height and width of images."""
    return x.shape[1], x.shape[2]


def window_of(what: str, x: Any, w: Any, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Window:
    """The window of images x and kernels w.  ValueError, in the name of `what`, if there is none."""
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"{what}: wanted images NHWC and kernels HWIO, got x {x.shape} and w {w.shape}")
    channels, filters = x.shape[3], w.shape[3]
    check_groups(what, groups, f"{channels} channels and {filters} filters", channels, filters)
    if w.shape[2] * groups != channels:
        wanted = f"w expects {w.shape[2]}" + (f" in each of {groups} groups" if groups > 1 else "")
        raise ValueError(f"{what}: x has {channels} channels, {wanted} (x {x.shape}, w {w.shape})")
    if x.dtype != w.dtype:
        raise ValueError(f"{what}: x is {x.dtype}, w is {w.dtype}, wanted one dtype")
    require_floating(what, x, "x")
    size, kernel = size_of(x), (w.shape[0], w.shape[1])
    out = places(what, size, kernel, stride, padding, dilation)
    return Window(kernel, size, out, stride, padding, dilation, groups)


def check_groups(what: str, groups: Any, of: str, *counts: int) -> None:
    """ValueError, in the name of `what`, unless groups is a positive integer that divides all counts, those `of`."""
    if not is_integer(groups) or groups < 1 or any(count % groups for count in counts):
        raise ValueError(f"{what}: groups is {groups!r}, wanted a positive integer that divides {of}")
