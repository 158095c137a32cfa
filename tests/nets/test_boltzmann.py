"""Boltzmann machines: gradients by enumeration, Gibbs sampling, annealing, and the encoder of the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.nets import boltzmann, boltzmann_learning
from jaxnets.nets.binary import states
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")

UNITS, VISIBLE = 5, 3


def machine(units=UNITS, key=0):
    params = boltzmann.init(jax.random.key(key), units, scale=1.0, dtype=float)
    return params._replace(b=jnp.linspace(-0.6, 0.8, units))


def every(units):
    return np.asarray(states(jnp.arange(2**units), units, float))


def weights(params, s):
    """e^-E of states, every pair counted once."""
    w, b = map(np.asarray, params)
    pairs = [(i, j) for i in range(len(b)) for j in range(i)]
    return np.exp(sum(w[i, j] * s[:, i] * s[:, j] for i, j in pairs) + s @ b)


def data(rows=4, visible=VISIBLE):
    return jax.random.bernoulli(jax.random.key(1), 0.4, (rows, visible)).astype(float)


def test_energies_and_free_energies_are_those_of_the_joint_distribution():
    params, s = machine(), every(UNITS)
    of_states = weights(params, s)
    np.testing.assert_allclose(np.exp(-boltzmann.energy(params, jnp.asarray(s))), of_states, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(boltzmann.log_partition)(params), np.log(of_states.sum()), rtol=1e-12)
    v = every(VISIBLE)
    of_visible = [of_states[(s[:, :VISIBLE] == row).all(1)].sum() for row in v]
    np.testing.assert_allclose(np.exp(-jax.jit(boltzmann.free_energy)(params, jnp.asarray(v))), of_visible, rtol=1e-12)


def test_the_gradient_of_the_likelihood_is_clamped_less_free_statistics():
    params, v, s = machine(), data(), every(UNITS)
    both = jax.jit(lambda f, p, v: jax.grad(f, (0, 1))(p, v), static_argnums=0)
    (w_bar, b_bar), v_bar = both(boltzmann.log_likelihood, params, v)
    true = both(autodiff(boltzmann.log_likelihood), params, v)
    for mine, wanted in zip((w_bar, b_bar, v_bar), jax.tree.leaves(true), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-14)
    free = weights(params, s) / weights(params, s).sum()
    clamped = np.zeros(len(s))
    for row in np.asarray(v):
        fits = weights(params, s) * (s[:, :VISIBLE] == row).all(1)
        clamped += fits / fits.sum() / len(v)
    of_pairs = s.T @ ((clamped - free)[:, None] * s)
    np.fill_diagonal(of_pairs, 0)
    # The matrix holds each connection twice, so each entry has half of a pair's derivative.
    np.testing.assert_allclose(w_bar, of_pairs / 2, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(b_bar, (clamped - free) @ s, rtol=1e-10, atol=1e-14)


def test_without_visible_to_visible_and_hidden_to_hidden_weights_it_is_a_restricted_machine():
    from jaxnets.nets import rbm

    restricted = rbm.Params(*(jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(3, 2), 3, 2])))
    w = jnp.zeros((5, 5)).at[:3, 3:].set(restricted.w).at[3:, :3].set(restricted.w.T)
    params = boltzmann.Params(w, jnp.concatenate(restricted[1:]))
    both = jax.jit(jax.grad(boltzmann.log_likelihood)), jax.jit(jax.grad(rbm.log_likelihood))
    general, special = (gradient(p, data()) for gradient, p in zip(both, (params, restricted), strict=True))
    np.testing.assert_allclose(2 * general.w[:3, 3:], special.w, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(general.b, jnp.concatenate([special.b, special.c]), rtol=1e-10, atol=1e-14)


def frequencies(s):
    number = np.asarray(s) @ 2.0 ** np.arange(s.shape[1])
    return np.bincount(number.astype(int), minlength=2 ** s.shape[1]) / len(s)


@pytest.mark.parametrize("clamped", [0, VISIBLE])
def test_gibbs_sampling_reaches_the_distribution_of_the_machine(clamped):
    params, chains = machine(), 20_000
    held = jnp.asarray([1.0, 0.0, 1.0])
    start = jnp.zeros((chains, UNITS)).at[:, :clamped].set(held[:clamped])
    run = jax.jit(boltzmann_learning.gibbs, static_argnames="clamped")
    s = run(params, start, jax.random.key(2), jnp.ones(30), clamped=clamped)
    p = weights(params, every(UNITS)) * (every(UNITS)[:, :clamped] == np.asarray(held[:clamped])).all(1)
    p /= p.sum()
    off = np.abs(frequencies(s) - p) / np.sqrt(p * (1 - p) / chains + 1e-30)
    assert off[p > 0].max() < 4.5
    assert (frequencies(s)[p == 0] == 0).all()


def test_annealing_finds_the_lowest_energy_more_often_than_a_quench():
    """Connections of both signs, and no field: a landscape with many minima."""
    units = 14
    w = boltzmann.init(jax.random.key(5), units, scale=1.0, dtype=float).w
    params = boltzmann.Params(w, -0.5 * w.sum(1))
    start = jax.random.bernoulli(jax.random.key(3), 0.5, (500, units)).astype(float)
    lowest = np.asarray(boltzmann.energy(params, jnp.asarray(every(units)))).min()

    def found(temperatures):
        s = jax.jit(boltzmann_learning.gibbs)(params, start, jax.random.key(4), temperatures)
        return np.mean(np.asarray(boltzmann.energy(params, s)) < lowest + 1e-9)

    cold = found(jnp.full(40, 0.02))
    annealed = found(jnp.geomspace(2.0, 0.02, 40))
    assert annealed > cold + 0.3, (annealed, cold)


def test_sampled_statistics_are_the_gradient_as_far_as_the_chains_have_come():
    params, v = machine(), data(2)
    rows = jnp.tile(v, (2000, 1))
    annealing = boltzmann_learning.Annealing((1.0,) * 20, 5)
    run = jax.jit(lambda key: boltzmann_learning.direction(params, rows, key, annealing=annealing))
    found, exact = run(jax.random.key(5)), jax.jit(jax.grad(boltzmann.log_likelihood))(params, v)
    for mine, true in zip(found, exact, strict=True):
        np.testing.assert_allclose(-mine, true, atol=0.02)
        assert np.abs(true).max() > 0.1


def encoder():
    """Four patterns of one unit out of four, the same in both groups; the groups are not connected with each other."""
    v = jnp.concatenate([jnp.eye(4), jnp.eye(4)], 1)
    connected = np.ones((10, 10), bool)
    connected[:4, 4:8] = connected[4:8, :4] = False
    return v, jnp.asarray(connected & ~np.eye(10, dtype=bool))


def code_and_completion(params, v):
    """The likeliest hidden state of each pattern, and how probable the right half is given the left one."""
    s = every(10)
    p = weights(params, s)
    for pattern in np.asarray(v):
        left, both = (s[:, :4] == pattern[:4]).all(1), (s[:, :8] == pattern).all(1)
        yield tuple(s[(p * both).argmax(), 8:]), (p @ both) / (p @ left)


def test_the_encoder_learns_a_code_of_two_bits():
    """As in the paper: steps of a fixed size with noisy patterns, until there are four codes; then smaller steps."""
    v, connected = encoder()
    rows = jnp.tile(v, (200, 1))
    params = boltzmann.init(jax.random.key(6), 10, scale=0.1, dtype=float)
    params = params._replace(w=jnp.where(connected, params.w, 0))

    def trainer(optimizer, batch_size, noise):
        step = boltzmann_learning.sampling_step(optimizer, connected=connected)

        def run(state, key):
            u = jax.random.uniform(key, rows.shape)
            data = jnp.where(rows > 0, u > 0.15 * noise, u < 0.05 * noise).astype(float)
            return jax.lax.scan(step, state, data.reshape(-1, batch_size, 8))[0]

        return jax.jit(run)

    decay = optax.add_decayed_weights
    coarse = optax.chain(optax.scale_by_sign(), decay(0.05), optax.scale(-0.2))
    run, state = trainer(coarse, 8, 1), boltzmann_learning.init_sampling(params, coarse, jax.random.key(7))
    for number in range(40):
        state = run(state, jax.random.key(number))
        codes, _ = zip(*code_and_completion(state.params, v), strict=True)
        if number >= 2 and len(set(codes)) == 4:  # four codes at the beginning are there by chance
            break
    fine = optax.chain(decay(2e-4), optax.sgd(1.0))
    run, state = trainer(fine, 32, 0), boltzmann_learning.init_sampling(state.params, fine, jax.random.key(8))
    for number in range(24):
        state = run(state, jax.random.key(number))
    params = state.params
    assert (np.asarray(params.w)[~np.asarray(connected)] == 0).all()
    np.testing.assert_allclose(params.w, params.w.T, atol=1e-12)
    likelihood = jax.jit(boltzmann.log_likelihood)(params, v)
    # The best there is is ln 1/4; groups that know nothing of each other reach ln 1/16 at best.
    assert likelihood > (np.log(1 / 4) + np.log(1 / 16)) / 2
    codes, completion = zip(*code_and_completion(params, v), strict=True)
    assert len(set(codes)) == 4, codes
    assert min(completion) > 0.8, completion


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    params, key = machine(), jax.random.key(0)
    with pytest.raises(ValueError, match=r"boltzmann\.energy: s has shape \(4, 3\), wanted \(batch, 5\)"):
        boltzmann.energy(params, data())
    with pytest.raises(ValueError, match=r"boltzmann\.free_energy: v has shape \(4, 6\), wanted \(batch, at most 5\)"):
        boltzmann.free_energy(params, data(visible=6))
    with pytest.raises(ValueError, match=r"boltzmann\.free_energy: w has shape \(5, 5\) and b \(4,\)"):
        boltzmann.free_energy(params._replace(b=jnp.zeros(4)), data())
    with pytest.raises(ValueError, match=r"boltzmann\.free_energy: the hidden part has 17 units, wanted at most 16"):
        boltzmann.log_partition(machine(17))
    with pytest.raises(ValueError, match=r"boltzmann\.gibbs: s has shape \(4, 3\), wanted \(chains, 5\)"):
        boltzmann_learning.gibbs(params, data(), key, jnp.ones(2))
    with pytest.raises(ValueError, match=r"boltzmann\.gibbs: clamped is 6, wanted 0 to 5"):
        boltzmann_learning.gibbs(params, data(visible=5), key, jnp.ones(2), clamped=6)
    with pytest.raises(ValueError, match="looked_at is 0, wanted at least 1"):
        boltzmann_learning.direction(params, data(), key, annealing=boltzmann_learning.Annealing((1.0,), 0))
    with pytest.raises(ValueError, match=r"boltzmann\.init: got 0 units"):
        boltzmann.init(key, 0)
