"""How a deep Boltzmann machine learns: mean field for the data, persistent chains for the model.

    (DM19) direction = (1/N) Σ_n ∂E/∂θ(v_n, μ_n) - (1/M) Σ_m ∂E/∂θ(chain_m)
    (DM20) chain_m goes on from where the last step left it, by Gibbs sampling

It is the gradient of minus the bound (DM16) at constant μ, with the expectation over the model taken from the chains:
an estimate that is biased as long as the chains lag behind the parameters, so the step size must go to 0.
Derivation: derivations/dbm.md.

Sources: Salakhutdinov and Hinton 2009, Deep Boltzmann machines, sections 2 and 3; Tieleman 2008, Training
restricted Boltzmann machines using approximations to the likelihood gradient.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from jaxnets.nets import dbm
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.dbm import Layers, Params
from jaxnets.nets.mean_field import mean_field
from jaxnets.train.step import State, Step, estimating_step, init_estimating

Chains = tuple[Float[Array, "chains _"], ...]


def likelihood_direction(
    params: Params,
    v: Float[Array, "batch visible"],
    chains: Chains,
    key: Key[Array, ""],
    *,
    steps: int = 5,
    mean_field_steps: int = 10,
) -> tuple[Params, Chains, Float[Array, ""]]:
    """The direction of descent (DM19), and the chains after `steps` sweeps of Gibbs sampling more (DM20).

    Returns:
      The direction, like the parameters; the chains, for the next call; and the reconstruction error: the squared
      distance of v to its probabilities given μ¹, mean over the rows.

    Raises:
      ValueError: if `steps` or `mean_field_steps` is less than 1, or the data or the chains do not fit the parameters.
    """
    if steps < 1:
        raise ValueError(f"likelihood_direction: steps is {steps}, wanted at least 1")
    given = (v, *mean_field(params, v, steps=mean_field_steps).mu)
    chains = gibbs(params, chains, key, steps=steps)  # (DM20)
    direction = jax.tree.map(jnp.subtract, _mean_gradient(params, given), _mean_gradient(params, chains))  # (DM19)
    back, *_ = dbm.probabilities(params, given, first=0)
    return direction, chains, jnp.square(v - back).sum(1).mean()


def gibbs(params: Params, layers: Layers, key: Key[Array, ""], *, steps: int) -> Layers:
    """All layers after so many sweeps of Gibbs sampling.  ValueError if they do not fit the parameters."""

    def sweep(layers: Layers, key: Key[Array, ""]) -> tuple[Layers, None]:
        return dbm.gibbs_sweep(params, layers, key), None

    return jax.lax.scan(sweep, layers, jax.random.split(key, steps))[0]


def noise(params: Params, count: int, key: Key[Array, ""]) -> Chains:
    """So many chains whose units are on or off with probability 1/2, for chains to start at."""
    keys = jax.random.split(key, len(params.b))
    return tuple(
        sample_bernoulli(k, jnp.full((count, *b.shape), 0.5, b.dtype)) for k, b in zip(keys, params.b, strict=True)
    )


def pcd_step(optimizer: optax.GradientTransformation, *, steps: int = 5, mean_field_steps: int = 10) -> Step:
    """The step of `jaxnets.train.fit` along (DM19); batches are v, the loss is the reconstruction error."""

    def estimate(
        params: Params, chains: Chains, v: Float[Array, "batch visible"], key: Key[Array, ""]
    ) -> tuple[Params, Chains, Float[Array, ""]]:
        return likelihood_direction(params, v, chains, key, steps=steps, mean_field_steps=mean_field_steps)

    return estimating_step(estimate, optimizer)


def init_pcd(params: Params, chains: Chains, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> State:
    """The state in which training with `pcd_step` starts; the chains may start anywhere, at `noise` for example."""
    return init_estimating(params, chains, optimizer, key)


def _mean_gradient(params: Params, layers: Layers) -> Params:
    """∂E/∂θ, the mean over the rows."""
    rows = layers[0].shape[0]
    e_bar = jnp.full(rows, 1 / rows, layers[0].dtype)
    params_bar, _ = dbm.energy.backward(dbm.Residuals(params, layers), e_bar)
    return params_bar
