"""Batch normalization, layer normalization over one axis and over two, root-mean-square normalization."""

from functools import partial

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, keep, normals, times

EPS = 1e-5


def squared_error(y, t):
    """½ Σ (tanh y - t)² / batch, with its gradients for y and t."""
    return 0.5 * jnp.sum((jnp.tanh(y) - t) ** 2) / y.shape[0]


def squared_error_bars(y, t):
    error = (jnp.tanh(y) - t) / y.shape[0]
    return error * (1 - jnp.tanh(y) ** 2), -error


# Batch normalization


def batch_loss(x, gamma, beta, t):
    mu = named(jnp.mean(x, 0, keepdims=True), "mu")
    var = named(jnp.mean((x - mu) ** 2, 0, keepdims=True), "var")
    xhat = named((x - mu) / jnp.sqrt(var + EPS), "xhat")
    y = named(gamma[None] * xhat + beta[None], "y")
    return squared_error(y, t)


def deviation(var):
    return jnp.sqrt(var + EPS)


def batch_hand(
    x,
    gamma,
    beta,
    t,
    *,
    change_var=keep,
    change_mu=keep,
    count=keep,  # how many examples the variance is a mean of
    std_of=deviation,  # in the backward pass
    through_var=1.0,  # the part of mu's delta that comes through the variance, which is 0
):
    n = x.shape[0]
    mu = jnp.mean(x, 0, keepdims=True)
    var = jnp.mean((x - mu) ** 2, 0, keepdims=True)
    xhat = (x - mu) / deviation(var)
    std = std_of(var)
    y_bar, t_bar = squared_error_bars(gamma[None] * xhat + beta[None], t)
    xhat_bar = y_bar * gamma[None]
    var_bar = change_var(jnp.sum(xhat_bar * (x - mu), 0, keepdims=True) * -0.5 / std**3)
    mu_bar = -jnp.sum(xhat_bar, 0, keepdims=True) / std
    mu_bar = change_mu(mu_bar - through_var * var_bar * jnp.mean(2 * (x - mu), 0, keepdims=True))
    x_bar = xhat_bar / std + var_bar * 2 * (x - mu) / count(n) + mu_bar / n
    bars = (x_bar, jnp.sum(y_bar * xhat, 0), jnp.sum(y_bar, 0), t_bar)
    return bars, {"y": y_bar, "xhat": xhat_bar, "var": var_bar, "mu": mu_bar}


def batch_sample(key):
    return normals(key, (7, 3), (3,), (3,), (7, 3))


# Layer normalization of x (batch, time, features) over the last axes, those that gamma and beta have


def layer_loss(x, gamma, beta, t):
    lead = tuple(range(x.ndim - gamma.ndim))
    axes = tuple(range(len(lead), x.ndim))
    centred = x - jnp.mean(x, axes, keepdims=True)
    xhat = named(centred / jnp.sqrt(jnp.mean(centred**2, axes, keepdims=True) + EPS), "xhat")
    y = named(jnp.expand_dims(gamma, lead) * xhat + jnp.expand_dims(beta, lead), "y")
    return squared_error(y, t)


def layer_hand(
    x,
    gamma,
    beta,
    t,
    *,
    projection=1.0,  # onto xhat
    narrow=keep,  # the axes of the means in x's gradient
    gamma_sum=jnp.sum,
):
    lead = tuple(range(x.ndim - gamma.ndim))
    axes = tuple(range(len(lead), x.ndim))
    centred = x - jnp.mean(x, axes, keepdims=True)
    std = jnp.sqrt(jnp.mean(centred**2, axes, keepdims=True) + EPS)
    xhat = centred / std
    wide_gamma = jnp.expand_dims(gamma, lead)
    y_bar, t_bar = squared_error_bars(wide_gamma * xhat + jnp.expand_dims(beta, lead), t)
    xhat_bar = y_bar * wide_gamma

    def mean(a):
        return jnp.mean(a, narrow(axes), keepdims=True)

    x_bar = (xhat_bar - mean(xhat_bar) - projection * xhat * mean(xhat_bar * xhat)) / std
    return (x_bar, gamma_sum(y_bar * xhat, lead), jnp.sum(y_bar, lead), t_bar), {"y": y_bar, "xhat": xhat_bar}


def layer_sample(key):
    return normals(key, (2, 3, 5), (5,), (5,), (2, 3, 5))


def two_axes_sample(key):
    return normals(key, (2, 3, 5), (3, 5), (3, 5), (2, 3, 5))


# Root-mean-square normalization


def rms_loss(x, gamma, t):
    xhat = named(x / jnp.sqrt(jnp.mean(x**2, 1, keepdims=True) + EPS), "xhat")
    return squared_error(gamma[None] * xhat, t)


def rms_hand(x, gamma, t, *, projection=1.0, reduce=jnp.mean):
    rms = jnp.sqrt(jnp.mean(x**2, 1, keepdims=True) + EPS)
    xhat = x / rms
    y_bar, t_bar = squared_error_bars(gamma[None] * xhat, t)
    xhat_bar = y_bar * gamma[None]
    x_bar = (xhat_bar - projection * xhat * reduce(xhat_bar * xhat, 1, keepdims=True)) / rms
    return (x_bar, jnp.sum(y_bar * xhat, 0), t_bar), {"xhat": xhat_bar}


def rms_sample(key):
    return normals(key, (3, 5), (5,), (3, 5))


def _batch(name, hand, wrong=(), mistake=""):
    return Case(f"batch norm/{name}", batch_loss, hand, batch_sample, wrong, mistake)


def _layer(name, hand, sample=layer_sample, wrong=(), mistake=""):
    return Case(f"layer norm/{name}", layer_loss, hand, sample, wrong, mistake)


def _rms(name, hand, wrong=(), mistake=""):
    return Case(f"rms norm/{name}", rms_loss, hand, rms_sample, wrong, mistake)


_WRONG = (
    _batch(
        "no path through the variance",
        partial(batch_hand, change_var=jnp.zeros_like),
        ("var",),
        "the delta of the variance is 0",
    ),
    _batch(
        "no path through the mean",
        partial(batch_hand, change_mu=jnp.zeros_like),
        ("mu",),
        "the delta of the mean is 0",
    ),
    _batch(
        "statistics as constants",
        partial(batch_hand, change_var=jnp.zeros_like, change_mu=jnp.zeros_like),
        ("var", "mu"),
        "mean and variance taken as constants, as they are at inference",
    ),
    _batch(
        "n - 1 for n",
        partial(batch_hand, count=lambda n: n - 1),
        ("x",),
        "the variance's delta is shared by n - 1 examples, the variance is a mean over n",
    ),
    _batch(
        "epsilon outside the root",
        partial(batch_hand, std_of=lambda var: jnp.sqrt(var) + EPS),
        ("var", "mu", "x"),
        "√var + ε for √(var + ε) in the backward pass",
    ),
    _layer(
        "no projection",
        partial(layer_hand, projection=0.0),
        wrong=("x",),
        mistake="the term xhat mean(xhat_bar xhat) is missing",
    ),
    _layer(
        "gamma averaged over time",
        partial(layer_hand, gamma_sum=lambda a, lead: jnp.sum(jnp.mean(a, 1), 0)),
        wrong=("gamma",),
        mistake="gamma's gradient is a mean over one of the broadcast axes, not a sum",
    ),
    _layer(
        "two axes, means over one",
        partial(layer_hand, narrow=lambda axes: axes[-1:]),
        two_axes_sample,
        ("x",),
        "normalized over two axes, but the means in x's gradient are over the last one only",
    ),
    _rms("no projection", partial(rms_hand, projection=0.0), ("x",), "the root mean square taken as a constant"),
    _rms("sum for mean", partial(rms_hand, reduce=jnp.sum), ("x",), "1/features is missing in the projection"),
)

_RIGHT = (
    _batch("right", batch_hand),
    _batch("right, without the term that is 0", partial(batch_hand, through_var=0.0)),
    _layer("right", layer_hand),
    _layer("right, times 30", layer_hand, times(30.0, layer_sample)),
    _layer("right, two axes", layer_hand, two_axes_sample),
    _rms("right", rms_hand),
)

CASES = _WRONG + _RIGHT
