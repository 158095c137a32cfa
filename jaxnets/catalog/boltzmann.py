"""The derivations of derivations/boltzmann.md and derivations/rbm.md."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnets.catalog.samples import normal
from jaxnets.nets import boltzmann, gaussian_rbm, rbm
from jaxnets.verify import Derivation

_BOLTZMANN, _RBM = "derivations/boltzmann.md", "derivations/rbm.md"

UNITS, VISIBLE, HIDDEN, ROWS = 5, 4, 3, 6


def _tags(prefix: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in numbers)


def machine(key: Array) -> boltzmann.Params:
    """Weights that are neither symmetric nor 0 on the diagonal: what is wrong there must not count."""
    return boltzmann.Params(*normal((UNITS, UNITS), (UNITS,))(key))


def whole(key: Array) -> tuple[Any, ...]:
    """A Boltzmann machine and joint states; the energy is a polynomial, so that they may be any numbers."""
    params_key, s_key = jax.random.split(key)
    return machine(params_key), *normal((ROWS, UNITS))(s_key)


def with_hidden(key: Array) -> tuple[Any, ...]:
    """The same with states of all units but two."""
    params_key, v_key = jax.random.split(key)
    return machine(params_key), *normal((ROWS, UNITS - 2))(v_key)


def restricted(key: Array) -> tuple[Any, ...]:
    """A restricted Boltzmann machine, and states of both layers."""
    *params, v, h = normal((VISIBLE, HIDDEN), (VISIBLE,), (HIDDEN,), (ROWS, VISIBLE), (ROWS, HIDDEN))(key)
    return rbm.Params(*params), v, h


def restricted_and_visible(key: Array) -> tuple[Any, ...]:
    """Without the hidden states."""
    return restricted(key)[:2]


def restricted_alone(key: Array) -> tuple[Any, ...]:
    """The parameters alone, with more hidden units than visible ones."""
    return (rbm.Params(*normal((HIDDEN, VISIBLE), (HIDDEN,), (VISIBLE,))(key)),)


def gaussian(key: Array) -> tuple[Any, ...]:
    """A machine with Gaussian visible units, and states of both layers."""
    params_key, z_key = jax.random.split(key)
    (w, b, c), v, h = restricted(params_key)
    z = 0.5 * np.random.default_rng(np.asarray(jax.random.key_data(z_key))).normal(size=VISIBLE)
    return gaussian_rbm.Params(w, b, c, jnp.asarray(z, float)), v, h


def gaussian_and_visible(key: Array) -> tuple[Any, ...]:
    """Without the hidden states."""
    return gaussian(key)[:2]


def gaussian_alone(key: Array) -> tuple[Any, ...]:
    """The parameters alone."""
    return gaussian(key)[:1]


BOLTZMANN = (
    Derivation("boltzmann/energy", boltzmann.energy, whole, _BOLTZMANN, _tags("BM", 1, 2, 3)),
    Derivation("boltzmann/free_energy", boltzmann.free_energy, with_hidden, _BOLTZMANN, _tags("BM", 4, 5, 6)),
    Derivation("boltzmann/log_likelihood", boltzmann.log_likelihood, with_hidden, _BOLTZMANN, _tags("BM", 4, 7, 8)),
)

RBM = (
    Derivation("rbm/energy", rbm.energy, restricted, _RBM, _tags("RB", 1, 2, 3)),
    Derivation("rbm/free_energy", rbm.free_energy, restricted_and_visible, _RBM, _tags("RB", 4, 6, 7, 8)),
    Derivation("rbm/log_partition", rbm.log_partition, restricted_alone, _RBM, _tags("RB", 5, 9, 10)),
    Derivation("rbm/log_likelihood", rbm.log_likelihood, restricted_and_visible, _RBM, _tags("RB", 11, 12, 13)),
    Derivation("gaussian_rbm/energy", gaussian_rbm.energy, gaussian, _RBM, _tags("GR", 1, 5, 6, 7, 8, 13)),
    Derivation(
        "gaussian_rbm/free_energy", gaussian_rbm.free_energy, gaussian_and_visible, _RBM, _tags("GR", 2, 4, 5, 6, 7, 8)
    ),
    Derivation(
        "gaussian_rbm/log_partition", gaussian_rbm.log_partition, gaussian_alone, _RBM, _tags("GR", 3, 9, 10, 11)
    ),
    Derivation("gaussian_rbm/log_likelihood", gaussian_rbm.log_likelihood, gaussian_and_visible, _RBM, _tags("GR", 12)),
)
