"""Pseudo-likelihood of a restricted Boltzmann machine.  Derivation: derivations/rbm.md.

How well the machine tells each visible unit from all the others; the partition function is in none of it.  With ṽ_i the
state v with its unit i turned over:

    (RB14) ln PL(v) = Σ_i ln p(v_i | v without v_i) = Σ_i ln σ(F(ṽ_i) - F(v))
    (RB15) its estimate from one unit i, drawn for each row out of n: n ln σ(F(ṽ_i) - F(v))

Sources: Besag 1975, Statistical analysis of non-lattice data; the estimate is that of scikit-learn's
`BernoulliRBM.score_samples`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxnets.nets.rbm import Each, Params, Visible, check, free_energy
from jaxnets.ops.activations import softplus


def pseudo_log_likelihood(params: Params, v: Visible) -> Each:
    """Logarithm of the pseudo-likelihood of each row (RB14), in one pass for each visible unit.

    Raises:
      ValueError: if the states have not as many units as the machine.
    """
    check("pseudo_log_likelihood", params, v)
    w, b, c = params
    z = v @ w + c[None, :]
    here = softplus(z).sum(1)

    def add(total: Each, unit: tuple[Each, Array, Array]) -> tuple[Each, None]:
        v_i, w_i, b_i = unit
        turn = 1 - 2 * v_i
        rise = -turn * b_i + here - softplus(z + turn[:, None] * w_i[None, :]).sum(1)
        return total - softplus(-rise), None  # (RB14), ln σ(x) = -softplus(-x)

    return jax.lax.scan(add, jnp.zeros_like(here), (v.T, w, b))[0]


def sampled_pseudo_log_likelihood(params: Params, v: Visible, key: Key[Array, ""]) -> Each:
    """An estimate of ln PL of each row from one of its units, drawn (RB15).

    Raises:
      ValueError: if the states have not as many units as the machine.
    """
    check("sampled_pseudo_log_likelihood", params, v)
    n = v.shape[1]
    at = jnp.arange(len(v)), jax.random.randint(key, (len(v),), 0, n)
    turned = v.at[at].set(1 - v[at])
    return -n * softplus(free_energy(params, v) - free_energy(params, turned))  # (RB15)
