"""The derivations of derivations/dbn.md and derivations/dbm.md."""

import itertools
from functools import partial
from typing import Any

import jax
from jaxtyping import Array

from jaxnets.catalog.samples import normal
from jaxnets.nets import dbm, dbm_likelihood, dbn_bound, mean_field, rbm
from jaxnets.verify import Derivation

_DBN, _DBM = "derivations/dbn.md", "derivations/dbm.md"

SIZES, ROWS = (4, 3, 2, 5), 6
"""Units per layer of the deep Boltzmann machine, the visible ones first, and rows of states."""


def _tags(prefix: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in numbers)


def stack_and_visible(key: Array) -> tuple[Any, ...]:
    """Two RBMs, one on the other, and visible states."""
    w1, b1, c1, w2, b2, c2, v = normal((5, 3), (5,), (3,), (3, 4), (3,), (4,), (ROWS, 5))(key)
    return (rbm.Params(w1, b1, c1), rbm.Params(w2, b2, c2)), v


def machine(key: Array) -> tuple[dbm.Params]:
    """A deep Boltzmann machine."""
    pairs = tuple(itertools.pairwise(SIZES))
    arrays = normal(*pairs, *((size,) for size in SIZES))(key)
    return (dbm.Params(arrays[: len(pairs)], arrays[len(pairs) :]),)


def with_layers(key: Array) -> tuple[Any, ...]:
    """The machine, and states of all layers; the energy is a polynomial, so that they may be any numbers."""
    params_key, state_key = jax.random.split(key)
    return *machine(params_key), normal(*((ROWS, size) for size in SIZES))(state_key)


def with_even_layers(key: Array) -> tuple[Any, ...]:
    """The machine, and states of every second layer."""
    params, layers = with_layers(key)
    return params, layers[::2]


def with_odd_layers(key: Array) -> tuple[Any, ...]:
    """The machine, and states of the others."""
    params, layers = with_layers(key)
    return params, layers[1::2]


def with_visible(key: Array) -> tuple[Any, ...]:
    """The machine, and visible states."""
    params, (v, *_) = with_layers(key)
    return params, v


def with_probabilities(key: Array) -> tuple[Any, ...]:
    """The machine, visible states, and probabilities of the hidden units, away from 0 and 1."""
    params, (v, *hidden) = with_layers(key)
    return params, v, tuple(0.05 + 0.9 * jax.nn.sigmoid(h) for h in hidden)


DEEP_BELIEF = (
    Derivation(
        "dbn/lower_bound", dbn_bound.lower_bound, stack_and_visible, _DBN, _tags("DB", 4, 5, 6, 7, 8, 9, 10, 11)
    ),
    Derivation("dbm/energy", dbm.energy, with_layers, _DBM, _tags("DM", 1, 2, 3, 4, 5)),
    Derivation("dbm/free_energy", dbm.free_energy, with_even_layers, _DBM, _tags("DM", 2, 6, 7, 8)),
    Derivation(
        "dbm/free_energy/odd", partial(dbm.free_energy, first=1), with_odd_layers, _DBM, _tags("DM", 2, 6, 7, 8)
    ),
    Derivation("dbm/log_unnormalized", dbm_likelihood.log_unnormalized, with_visible, _DBM, _tags("DM", 9, 10)),
    Derivation("dbm/log_partition", dbm_likelihood.log_partition, machine, _DBM, _tags("DM", 11, 12)),
    Derivation("dbm/log_likelihood", dbm_likelihood.log_likelihood, with_visible, _DBM, _tags("DM", 9, 10, 11, 12, 13)),
    Derivation(
        "dbm/variational_free_energy", mean_field.variational_free_energy, with_probabilities, _DBM, _tags("DM", 14, 15)
    ),
    Derivation("dbm/lower_bound", mean_field.lower_bound, with_probabilities, _DBM, _tags("DM", 14, 15, 16)),
)
