"""A classifier with two hidden layers of tanh units, softmax cross-entropy and weight decay."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, affine, keep, normals, times

SIZES = (3, 7, 4, 2)
SQUARE = (3, 4, 4, 2)
WIDE = (128, 128, 4, 2)
DECAY = 1e-4


def loss(w1, b1, w2, b2, w3, b3, x, t, *, scale=1.0):
    z1 = named(affine(x, w1, b1), "z1")
    a1 = named(jnp.tanh(z1), "a1")
    z2 = named(affine(a1, w2, b2), "z2")
    a2 = named(jnp.tanh(z2), "a2")
    z3 = named(affine(a2, w3, b3), "z3")
    cost = -jnp.sum(t * jax.nn.log_softmax(z3)) / x.shape[0]
    return scale * cost + 0.5 * DECAY * (jnp.sum(w1**2) + jnp.sum(w2**2) + jnp.sum(w3**2))


def cross_entropy_bar(p, t, n):
    return (p * jnp.sum(t, 1, keepdims=True) - t) / n


def tanh_slope(z, a):
    return 1 - a**2


def over_batch(bar):
    return jnp.sum(bar, 0)


def hand(
    w1,
    b1,
    w2,
    b2,
    w3,
    b3,
    x,
    t,
    *,
    scale=1.0,
    decay=DECAY,
    z3_bar_of=cross_entropy_bar,
    slope=tanh_slope,  # of the second hidden layer
    transposed=jnp.transpose,  # w2, on the way back
    b1_sum=over_batch,
    change_w1=keep,
    change_b2=keep,
    contract=jnp.matmul,  # xᵀ with the first layer's delta
):
    n = x.shape[0]
    a1 = jnp.tanh(affine(x, w1, b1))
    z2 = affine(a1, w2, b2)
    a2 = jnp.tanh(z2)
    log_p = jax.nn.log_softmax(affine(a2, w3, b3))
    z3_bar = scale * z3_bar_of(jnp.exp(log_p), t, n)
    a2_bar = z3_bar @ w3.T
    z2_bar = a2_bar * slope(z2, a2)
    a1_bar = z2_bar @ transposed(w2)
    z1_bar = a1_bar * (1 - a1**2)
    bars = (
        change_w1(contract(x.T, z1_bar) + decay * w1),
        b1_sum(z1_bar),
        a1.T @ z2_bar + decay * w2,
        change_b2(jnp.sum(z2_bar, 0)),
        a2.T @ z3_bar + decay * w3,
        jnp.sum(z3_bar, 0),
        z1_bar @ w1.T,
        -scale * log_p / n,
    )
    return bars, {"z3": z3_bar, "a2": a2_bar, "z2": z2_bar, "a1": a1_bar, "z1": z1_bar}


def sample(key, sizes=SIZES, batch=5):
    """One-hot targets, so that their sum is 1."""
    *layers, x, t = normals(
        key,
        *(shape for n, m in pairwise(sizes) for shape in ((n, m), (m,))),
        (batch, sizes[0]),
        (batch, sizes[-1]),
    )
    scaled = (layer / sizes[0] ** 0.5 if layer.ndim == 2 else layer for layer in layers)
    return (*scaled, x, jax.nn.one_hot(jnp.argmax(t, 1), sizes[-1]))


def other_batches(key, *, batch):
    return sample(key, batch=batch)


square = partial(sample, sizes=SQUARE)
wide = partial(sample, sizes=WIDE)
single = partial(sample, batch=1)


def small_step(z, a):
    """A difference quotient for tanh', with a step that leaves an error of 1e-6."""
    h = 1e-3
    return (jnp.tanh(z + h) - jnp.tanh(z - h)) / (2 * h)


def through_float32(z, a):
    return (1 - a**2).astype(jnp.float32).astype(a.dtype)


def backwards(x_t, z_bar):
    """The same product, added up from the last example to the first."""
    return sum(x_t[:, i : i + 1] * z_bar[i : i + 1] for i in reversed(range(z_bar.shape[0])))


def _case(name, planted, sample=sample, wrong=(), mistake="", sampler=None, loss=loss):
    return Case(f"mlp/{name}", loss, planted, sample, wrong, mistake, sampler)


_WRONG = (
    _case(
        "sign of w1's gradient",
        partial(hand, change_w1=jnp.negative),
        wrong=("w1",),
        mistake="w1's gradient has the wrong sign",
    ),
    _case(
        "sign at the logits",
        partial(hand, z3_bar_of=lambda p, t, n: -cross_entropy_bar(p, t, n)),
        wrong=("z3",),
        mistake="t - p for p - t",
    ),
    _case(
        "w2 not transposed",
        partial(hand, transposed=keep),
        square,
        wrong=("a1",),
        mistake="w2 for its transpose, which a square w2 lets pass",
    ),
    _case(
        "no 1/batch",
        partial(hand, z3_bar_of=lambda p, t, n: cross_entropy_bar(p, t, 1)),
        wrong=("z3",),
        mistake="the loss is a mean over the batch, its delta is not divided by the batch",
    ),
    _case(
        "tanh' at the activation",
        partial(hand, slope=lambda z, a: 1 - jnp.tanh(a) ** 2),
        wrong=("z2",),
        mistake="tanh' evaluated at a2, not at z2",
    ),
    _case(
        "sigmoid' for tanh'",
        partial(hand, slope=lambda z, a: a * (1 - a)),
        wrong=("z2",),
        mistake="a (1 - a), the slope of the sigmoid, for 1 - a²",
    ),
    _case(
        "b1 averaged over the batch",
        partial(hand, b1_sum=partial(jnp.mean, axis=0)),
        wrong=("b1",),
        mistake="mean over the batch for the sum",
    ),
    _case(
        "b2's gradient forgotten",
        partial(hand, change_b2=jnp.zeros_like),
        wrong=("b2",),
        mistake="the gradient of b2 is 0",
    ),
    _case(
        "weight decay twice",
        partial(hand, decay=2 * DECAY),
        wrong=("w1", "w2", "w3"),
        mistake="the ½ of ½λ‖w‖² forgotten: decay by 2λ, with λ = 1e-4",
    ),
    _case(
        "w1 off by 1e-4",
        partial(hand, change_w1=lambda w_bar: 1.0001 * w_bar),
        wrong=("w1",),
        mistake="w1's gradient is too large by one part in ten thousand",
    ),
    _case(
        "w1 off by 1e-2",
        partial(hand, change_w1=lambda w_bar: 1.01 * w_bar),
        wrong=("w1",),
        mistake="w1's gradient is too large by one part in a hundred",
    ),
    _case(
        "bias of the first example",
        partial(hand, b1_sum=lambda z_bar: z_bar[0]),
        single,
        wrong=("b1",),
        mistake="b1's gradient of the first example for the sum over the batch; the sample has one example",
        sampler=other_batches,
    ),
    _case(
        "no 1/batch, one example",
        partial(hand, z3_bar_of=lambda p, t, n: cross_entropy_bar(p, t, 1)),
        single,
        wrong=("z3",),
        mistake="the delta is not divided by the batch; the sample has one example",
        sampler=other_batches,
    ),
    _case(
        "one column of 128 is 0",
        partial(hand, change_w1=lambda w_bar: w_bar.at[:, 17].set(0.0)),
        wide,
        wrong=("w1",),
        mistake="column 17 of w1's gradient is 0",
    ),
    _case(
        "p - t for any targets",
        partial(hand, z3_bar_of=lambda p, t, n: (p - t) / n),
        wrong=("z3",),
        mistake="p - t holds only for targets that sum to 1, as those of the sample do",
    ),
    _case(
        "sign, loss of 1e-4",
        partial(hand, scale=1e-4, z3_bar_of=lambda p, t, n: -cross_entropy_bar(p, t, n)),
        wrong=("z3",),
        mistake="t - p for p - t, in a loss scaled by 1e-4",
        loss=partial(loss, scale=1e-4),
    ),
    _case(
        "float32 in the middle",
        partial(hand, slope=through_float32),
        wrong=("z2",),
        mistake="tanh' of the second layer is rounded to float32",
    ),
    _case(
        "difference quotient for tanh'",
        partial(hand, slope=small_step),
        wrong=("z2",),
        mistake="tanh' by a central difference with step 1e-3",
    ),
    _case(
        "slope held constant",
        partial(hand, slope=lambda z, a: jax.lax.stop_gradient(1 - a**2)),
        wrong=("z2",),
        mistake="right in value, but tanh' sits behind stop_gradient, so that second derivatives are wrong",
    ),
)

_RIGHT = (
    _case("right", hand),
    _case("right, square", hand, square),
    _case("right, one example", hand, single),
    _case("right, inputs times 30", hand, times(30.0, sample)),
    _case("right, loss of 1e-4", partial(hand, scale=1e-4), loss=partial(loss, scale=1e-4)),
    _case("right, added up backwards", partial(hand, contract=backwards)),
)

CASES = _WRONG + _RIGHT
