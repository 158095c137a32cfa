"""A convolution of images, whose stride follows from the sizes of its arguments, and a dilated one of sequences."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, keep, normals


def strides(x, k, t):
    """The strides that take x to the size of t, without padding."""
    return tuple((x.shape[axis] - k.shape[axis - 1]) // (t.shape[axis] - 1) for axis in (1, 2))


def convolve(x, k, stride=(1, 1)):
    return jax.lax.conv_general_dilated(x, k, stride, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def loss(x, k, b, t):
    y = named(convolve(x, k, strides(x, k, t)) + b[None, None, None], "y")
    return 0.5 * jnp.sum((jnp.tanh(y) - t) ** 2) / x.shape[0]


def with_zeros(y_bar, stride):
    """The delta of y at the places of x where the windows begin, zeros between."""
    n, height, width, channels = y_bar.shape
    size = (n, (height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1, channels)
    return jnp.zeros(size, y_bar.dtype).at[:, :: stride[0], :: stride[1]].set(y_bar)


def with_copies(y_bar, stride):
    """The same with copies between, which makes no difference for stride 1."""
    height, width = y_bar.shape[1:3]
    repeated = jnp.repeat(jnp.repeat(y_bar, stride[0], 1), stride[1], 2)
    return repeated[:, : (height - 1) * stride[0] + 1, : (width - 1) * stride[1] + 1]


def flip(k):
    return k[::-1, ::-1]


def swap(k):
    """The channels in and out."""
    return jnp.swapaxes(k, 2, 3)


def over_places(y_bar):
    return jnp.sum(y_bar, (0, 1, 2))


def hand(
    x,
    k,
    b,
    t,
    *,
    spread=with_zeros,
    flipped=flip,
    transposed=swap,
    b_sum=over_places,
    offset=0,  # of x in the kernel's gradient
):
    height, width = k.shape[:2]
    stride = strides(x, k, t)
    y = jnp.tanh(convolve(x, k, stride) + b[None, None, None])
    error = (y - t) / x.shape[0]
    y_bar = error * (1 - y**2)
    spread_out = spread(y_bar, stride)
    padded = jnp.pad(spread_out, ((0, 0), (height - 1, height - 1), (width - 1, width - 1), (0, 0)))
    x_bar = convolve(padded, transposed(flipped(k)))
    rows, columns = with_zeros(y_bar, stride).shape[1:3]
    shifted = jnp.roll(x, offset, 1)
    k_bar = jnp.stack(
        [
            jnp.stack(
                [
                    jnp.einsum(
                        "nhwi,nhwo->io", shifted[:, i : i + rows : stride[0], j : j + columns : stride[1]], y_bar
                    )
                    for j in range(width)
                ]
            )
            for i in range(height)
        ]
    )
    return (x_bar, k_bar, b_sum(y_bar), -error), {"y": y_bar}


def sample(key, batch=2, stride=1, channels=(5, 4)):
    size = (batch, 2 * stride + 3, 3 * stride + 2, channels[0])
    return normals(key, size, (3, 2, *channels), channels[1:], (batch, 3, 4, channels[1]))


def other_strides(key, *, batch, stride):
    return sample(key, batch, stride)


# Sequences (batch, time, features); tap j of K looks (K - 1 - j) · 2 steps back.

DILATION = 2


def causal_loss(x, k, t):
    back = (k.shape[0] - 1) * DILATION
    y = jax.lax.conv_general_dilated(
        x, k, (1,), [(back, 0)], rhs_dilation=(DILATION,), dimension_numbers=("NHC", "HIO", "NHC")
    )
    return 0.5 * jnp.sum((jnp.tanh(named(y, "y")) - t) ** 2)


def delayed(a, steps):
    return jnp.pad(a, ((0, 0), (steps, 0), (0, 0)))[:, : a.shape[1]]


def advanced(a, steps):
    return jnp.pad(a, ((0, 0), (0, steps), (0, 0)))[:, steps:]


def causal_hand(x, k, t, *, returned=advanced, dilation=DILATION):
    """`returned` brings y's delta back to the time of x; `dilation` is that in k's gradient."""
    taps = list(enumerate(reversed(range(k.shape[0]))))
    y = jnp.tanh(sum(delayed(x, DILATION * back) @ k[j] for j, back in taps))
    y_bar = (y - t) * (1 - y**2)
    x_bar = sum(returned(y_bar, DILATION * back) @ k[j].T for j, back in taps)
    k_bar = jnp.stack([jnp.einsum("nti,nto->io", delayed(x, dilation * back), y_bar) for _, back in taps])
    return (x_bar, k_bar, t - y), {"y": y_bar}


def causal_sample(key):
    return normals(key, (2, 7, 3), (3, 3, 5), (2, 7, 5))


strided = partial(sample, stride=2)
square = partial(sample, channels=(4, 4))


def _case(name, hand, sample=sample, wrong=(), mistake="", sampler=None):
    return Case(f"convolution/{name}", loss, hand, sample, wrong, mistake, sampler)


def _causal(name, hand, wrong=(), mistake=""):
    return Case(f"dilated convolution/{name}", causal_loss, hand, causal_sample, wrong, mistake)


_WRONG = (
    _case(
        "kernel not flipped",
        partial(hand, flipped=keep),
        wrong=("x",),
        mistake="the kernel is not turned around in x's gradient",
    ),
    _case(
        "channels not swapped",
        partial(hand, transposed=keep),
        square,
        ("x",),
        "the kernel's channels are not swapped in x's gradient, and there are as many in as out",
    ),
    _case(
        "copies for zeros between the strides",
        partial(hand, spread=with_copies),
        wrong=("x",),
        mistake="y's delta is repeated for stride > 1, where zeros belong between; the sample has stride 1",
        sampler=other_strides,
    ),
    _case(
        "copies for zeros, stride 2",
        partial(hand, spread=with_copies),
        strided,
        ("x",),
        "y's delta is repeated for stride > 1, where zeros belong between",
    ),
    _case(
        "b averaged over space",
        partial(hand, b_sum=lambda y_bar: jnp.sum(jnp.mean(y_bar, (1, 2)), 0)),
        wrong=("b",),
        mistake="b's gradient is a mean over the places, not a sum",
    ),
    _case(
        "x one row off",
        partial(hand, offset=1),
        wrong=("k",),
        mistake="x is shifted by one row in the kernel's gradient",
    ),
    _causal(
        "dilation forgotten",
        partial(causal_hand, dilation=1),
        ("k",),
        "k's gradient reads x 1 step apart, the convolution has dilation 2",
    ),
    _causal(
        "future for past",
        partial(causal_hand, returned=delayed),
        ("x",),
        "y's delta is brought to later times, not to earlier ones, in x's gradient",
    ),
)

_RIGHT = (
    _case("right", hand),
    _case("right, stride 2", hand, strided),
    _causal("right", causal_hand),
)

CASES = _WRONG + _RIGHT
