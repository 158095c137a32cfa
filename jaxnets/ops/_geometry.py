"""Sizes of convolutions and pools, and what is wrong with them."""

from typing import Any, NamedTuple

from jaxnets.kernels.images import Padding as Padding
from jaxnets.kernels.images import Pair as Pair
from jaxnets.kernels.images import require_pairs as require_pairs


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
    """The padding that keeps the size, at stride 1: one zero more at the end where it cannot be even."""
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
    if groups < 1 or channels % groups or filters % groups:
        raise ValueError(f"{what}: groups is {groups}, which must divide {channels} channels and {filters} filters")
    if w.shape[2] * groups != channels:
        wanted = f"w expects {w.shape[2]}" + (f" in each of {groups} groups" if groups > 1 else "")
        raise ValueError(f"{what}: x has {channels} channels, {wanted} (x {x.shape}, w {w.shape})")
    if x.dtype != w.dtype:
        raise ValueError(f"{what}: x is {x.dtype}, w is {w.dtype}, wanted one dtype")
    require_pairs(what, padding, stride=stride, dilation=dilation)
    size, kernel = size_of(x), (w.shape[0], w.shape[1])
    out = out_size(what, size, kernel, stride, padding, dilation)
    return Window(kernel, size, out, stride, padding, dilation, groups)


def out_size(what: str, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    """The number of places of a window along each axis."""
    if min(*stride, *dilation) < 1:
        raise ValueError(f"{what}: stride is {stride} and dilation {dilation}, wanted positive numbers")
    if min(padding[0] + padding[1]) < 0:
        raise ValueError(f"{what}: padding is {padding}, wanted no negative number")
    places = [
        (n + sum(pad) - d * (k - 1) - 1) // step + 1
        for n, k, step, pad, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    if min(places) < 1 or min(kernel) < 1:
        raise ValueError(
            f"{what}: a kernel {kernel} with dilation {dilation} does not fit into an image {size} padded by {padding}"
        )
    return places[0], places[1]


def check_bias(what: str, b: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """ValueError, in the name of `what`, if there is a bias and it does not fit."""
    if b is not None and (b.shape, b.dtype) != (shape, dtype):
        raise ValueError(f"{what}: b is {b.dtype}{list(b.shape)}, wanted {dtype}{list(shape)}")
