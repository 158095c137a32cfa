"""Contrastive divergence: what its directions are, and that machines learn by them."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.nets import contrastive_divergence as cd
from jaxnets.nets import rbm
from jaxnets.nets.expected_divergence import expected_divergence
from jaxnets.rule import autodiff
from jaxnets.train import fit

pytestmark = pytest.mark.usefixtures("x64")


def machine(visible=4, hidden=3, key=0):
    params = rbm.init(jax.random.key(key), visible, hidden, scale=1.0, dtype=float)
    return params._replace(b=jnp.linspace(-1.0, 0.5, visible), c=jnp.linspace(-0.5, 0.5, hidden))


def data(rows=6, visible=4):
    return jax.random.bernoulli(jax.random.key(1), 0.4, (rows, visible)).astype(float)


def stopped_difference(params, v, v_k):
    """F(v) - F(v_k) with v_k held fixed: its gradient, at this draw, is the direction."""
    v_k = jax.lax.stop_gradient(v_k)
    return rbm.free_energy(params, v).mean() - rbm.free_energy(params, v_k).mean()


@pytest.mark.parametrize("steps", [1, 3])
def test_the_direction_is_the_gradient_of_a_difference_of_free_energies_with_the_chains_held_fixed(steps):
    params, v, key = machine(), data(), jax.random.key(2)
    seen = []

    def recording(params, v, h):
        seen.append(v)
        return cd.statistics(params, v, h)

    recorder = cd.BERNOULLI._replace(statistics=recording)

    @jax.jit
    def both(params, v, key):
        direction, _ = cd.contrastive_divergence(params, v, key, steps=steps, machine=recorder)
        return direction, jax.grad(stopped_difference)(params, v, seen[0])

    direction, trick = both(params, v, key)
    for mine, theirs in zip(direction, trick, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)

    chains = data(9)
    persistent = jax.jit(partial(cd.persistent_contrastive_divergence, steps=steps))
    direction, chains, _ = persistent(params, v, chains, key)
    trick = jax.jit(jax.grad(stopped_difference))(params, v, chains)
    for mine, theirs in zip(direction, trick, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


def flat(direction):
    return jnp.concatenate([leaf.ravel() for leaf in direction])


@pytest.mark.parametrize("steps", [1, 2])
def test_the_expectation_is_that_of_what_is_drawn(steps):
    params, v, repeats = machine(), data(), 20_000
    expected = jax.jit(partial(expected_divergence, steps=steps))(params, v)
    rows = jnp.tile(v, (repeats, 1))
    drawn, _ = jax.jit(partial(cd.contrastive_divergence, steps=steps))(params, rows, jax.random.key(6))
    # The statistics of a row are in [0, 1].
    np.testing.assert_allclose(flat(drawn), flat(expected), atol=4.5 * 0.5 / (6 * repeats) ** 0.5)
    assert np.abs(flat(expected)).max() > 0.02


def test_the_expectation_in_half_precision():
    """A state's number has more places than such floats."""
    wide = rbm.Params(*jax.tree.map(lambda leaf: leaf.astype(jnp.float32), machine(12, 2)))
    v = jnp.ones((1, 12), jnp.float32)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (wide, v))
    wanted, found = (flat(expected_divergence(*args, steps=1)) for args in ((wide, v), narrow))
    np.testing.assert_allclose(np.asarray(found, np.float32), wanted, atol=0.05)
    assert np.abs(wanted).max() > 0.3


def test_the_bias_of_cd_goes_to_0():
    params, v = jax.tree.map(lambda a: 2 * a, machine()), data()
    exact = -flat(jax.jit(jax.grad(rbm.log_likelihood))(params, v))
    run = jax.jit(lambda steps: flat(expected_divergence(params, v, steps=steps)))
    bias = [np.linalg.norm(run(steps) - exact) / np.linalg.norm(exact) for steps in (1, 2, 5, 10, 1000)]
    assert all(later < 0.8 * earlier for earlier, later in itertools.pairwise(bias)), bias
    assert bias[0] > 0.05
    assert bias[-1] < 1e-9


def test_cd_is_the_gradient_of_nothing():
    """The Jacobian of a gradient is symmetric; that of the expectation of CD-1 is not."""
    params, v = machine(), data()

    def asymmetry(field):
        blocks = jax.jit(jax.jacfwd(autodiff(lambda params: flat(field(params)))))(params)
        jacobian = np.concatenate([block.reshape(len(block), -1) for block in blocks], 1)
        return np.abs(jacobian - jacobian.T).max() / np.abs(jacobian).max()

    assert asymmetry(jax.grad(lambda params: rbm.log_likelihood(params, v))) < 1e-13
    assert asymmetry(lambda params: expected_divergence(params, v, steps=1)) > 0.05
    assert asymmetry(lambda params: expected_divergence(params, v, steps=500)) < 1e-9


def test_the_means_of_a_reconstruction_take_the_place_of_draws():
    params, v = machine(), data()
    seen = []
    recorder = cd.BERNOULLI._replace(statistics=lambda params, v, h: seen.append(v) or cd.statistics(params, v, h))
    for reconstruction in cd.Reconstruction:
        _, error = cd.contrastive_divergence(
            params, v, jax.random.key(7), machine=recorder, reconstruction=reconstruction
        )
        assert error > 0
    drawn, _, means, _ = seen
    assert set(np.unique(drawn)) == {0, 1}
    assert ((means > 0) & (means < 1)).all()
    np.testing.assert_allclose(error, jnp.square(v - means).sum(1).mean(), rtol=1e-12)


def test_sparsity_pulls_the_hidden_units_to_their_target():
    params, v = machine(), data()
    plain, sparse = (
        cd.contrastive_divergence(params, v, jax.random.key(7), sparsity=sparsity)[0]
        for sparsity in (None, cd.Sparsity(0.1, 2.0))
    )
    pull = 2.0 * (rbm.hidden_probabilities(params, v).mean(0) - 0.1)
    np.testing.assert_allclose(sparse.c - plain.c, pull, rtol=1e-10)
    np.testing.assert_allclose(sparse.w - plain.w, v.mean(0)[:, None] * pull[None, :], rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(sparse.b, plain.b)


def bars():
    """The pictures of 3 x 3 pixels all of whose columns are of one colour, and all of whose rows are."""
    codes = (np.arange(8)[:, None] >> np.arange(3)) & 1
    return jnp.asarray(np.concatenate([np.tile(codes, (1, 3)), np.repeat(codes, 3, 1)]), float)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_machine_learns_bars_and_stripes(persistent):
    v = jnp.tile(bars(), (8, 1))
    optimizer = optax.sgd(0.2, momentum=0.5)
    params = rbm.init(jax.random.key(3), 9, 8, scale=0.1, dtype=float)
    step = cd.cd_step(optimizer)
    state = cd.init_cd(params, optimizer, jax.random.key(4))
    if persistent:
        step, state = cd.pcd_step(optimizer), cd.init_pcd(params, v[:32], optimizer, jax.random.key(4))
    before = rbm.log_likelihood(params, v)
    state, history = fit(step, state, v, key=jax.random.key(5), batch_size=32, epochs=200)
    after = jax.jit(rbm.log_likelihood)(state.params, v)
    # Independent pixels reach at best -9 ln 2, and no machine more than the pictures' own entropy: half of the way.
    independent, best = -9 * np.log(2), -(12 * np.log(16) + 4 * np.log(8)) / 16
    assert before < independent + 0.01
    assert after > (independent + best) / 2
    assert history[-1].loss < history[0].loss


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    params, v, key = machine(), data(), jax.random.key(0)
    with pytest.raises(ValueError, match="contrastive_divergence: steps is 0, wanted at least 1"):
        cd.contrastive_divergence(params, v, key, steps=0)
    with pytest.raises(ValueError, match=r"hidden_probabilities: v has shape \(6, 5\), wanted \(batch, 4\)"):
        cd.persistent_contrastive_divergence(params, v, data(visible=5), key)
    with pytest.raises(ValueError, match="expected_divergence: the visible layer has 13 units, wanted at most 12"):
        expected_divergence(machine(13), data(visible=13), steps=1)
    with pytest.raises(ValueError, match=r"statistics: v has 6 rows and h 5, wanted as many"):
        cd.statistics(params, v, jnp.zeros((5, 3)))
