"""A variational autoencoder with linear encoder and decoder."""

from functools import partial

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name as named

from .case import Case, affine, normals

BETA = 1e-3


def loss(params, x, noise):
    mu = named(affine(x, params["w_mu"], params["b_mu"]), "mu")
    lv = named(affine(x, params["w_lv"], params["b_lv"]), "lv")
    z = named(mu + jnp.exp(lv / 2) * noise, "z")
    y = named(affine(z, params["w"], params["b"]), "y")
    divergence = -0.5 * jnp.sum(1 + lv - mu**2 - jnp.exp(lv))
    return (0.5 * jnp.sum((y - x) ** 2) + BETA * divergence) / x.shape[0]


def hand(
    params,
    x,
    noise,
    *,
    lv_divergence=lambda lv: 0.5 * (jnp.exp(lv) - 1),
    half=0.5,  # the derivative of lv / 2
    noise_in_lv=lambda noise: noise,
    mu_divergence=1.0,
):
    n = x.shape[0]
    mu = affine(x, params["w_mu"], params["b_mu"])
    lv = affine(x, params["w_lv"], params["b_lv"])
    deviation = jnp.exp(lv / 2)
    z = mu + deviation * noise
    y_bar = (affine(z, params["w"], params["b"]) - x) / n
    z_bar = y_bar @ params["w"].T
    mu_bar = z_bar + mu_divergence * BETA * mu / n
    lv_bar = z_bar * noise_in_lv(noise) * half * deviation + BETA * lv_divergence(lv) / n
    params_bar = {
        "w_mu": x.T @ mu_bar,
        "b_mu": jnp.sum(mu_bar, 0),
        "w_lv": x.T @ lv_bar,
        "b_lv": jnp.sum(lv_bar, 0),
        "w": z.T @ y_bar,
        "b": jnp.sum(y_bar, 0),
    }
    x_bar = mu_bar @ params["w_mu"].T + lv_bar @ params["w_lv"].T - y_bar
    return (params_bar, x_bar, z_bar * deviation), {"y": y_bar, "z": z_bar, "lv": lv_bar, "mu": mu_bar}


def sample(key):
    shapes = {"w_mu": (5, 3), "b_mu": (3,), "w_lv": (5, 3), "b_lv": (3,), "w": (3, 5), "b": (5,)}
    *params, x, noise = normals(key, *shapes.values(), (7, 5), (7, 3))
    return dict(zip(shapes, (p / 2 for p in params), strict=True)), x, noise


def _case(name, hand, wrong=(), mistake=""):
    return Case(f"vae/{name}", loss, hand, sample, wrong, mistake)


CASES = (
    _case(
        "sign of the divergence's log variance",
        partial(hand, lv_divergence=lambda lv: 0.5 * (jnp.exp(lv) + 1)),
        ("lv",),
        "exp(lv) + 1 for exp(lv) - 1 in the divergence, which has the weight 1e-3",
    ),
    _case("½ of lv/2 missing", partial(hand, half=1.0), ("lv",), "the ½ of exp(lv / 2) is missing"),
    _case(
        "noise missing",
        partial(hand, noise_in_lv=jnp.ones_like),
        ("lv",),
        "the noise, which lv's standard deviation multiplies, is missing in lv's delta",
    ),
    _case(
        "no divergence in mu",
        partial(hand, mu_divergence=0.0),
        ("mu",),
        "the divergence's term β mu is missing in mu's delta",
    ),
    _case("right", hand),
)
