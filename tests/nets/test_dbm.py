"""Deep Boltzmann machines, exactly where they are small: against sums over all states, written as loops."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.nets import dbm, dbm_classifier, dbm_learning, dbm_pretraining, dbn, dbn_bound, greedy, mlp, rbm
from jaxnets.nets.annealed_importance import estimate, temperatures
from jaxnets.nets.dbm_annealing import estimated_bound, of_dbm
from jaxnets.nets.dbm_likelihood import log_likelihood, log_partition, log_unnormalized
from jaxnets.nets.mean_field import lower_bound, mean_field, upward, variational_free_energy
from jaxnets.train import fit

pytestmark = pytest.mark.usefixtures("x64")


def machine(*sizes, scale=1.0, seed=0):
    generator = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(scale * generator.normal(size=shape))
    return dbm.Params(tuple(draw(*pair) for pair in itertools.pairwise(sizes)), tuple(draw(size) for size in sizes))


def all_states(units):
    return np.array(list(itertools.product((0.0, 1.0), repeat=units)))


def by_loops(params, layers):
    """The energy of one state, as the equation has it."""
    w, b = params
    pairs = sum(w[n][i, j] * layers[n][i] * layers[n + 1][j] for n in range(len(w)) for i, j in np.ndindex(*w[n].shape))
    return -pairs - sum(b[n][i] * layers[n][i] for n in range(len(b)) for i in range(len(b[n])))


def joint_states(params):
    """All states of all layers, one a row."""
    sizes = [len(b) for b in params.b]
    return tuple(jnp.asarray(part) for part in np.split(all_states(sum(sizes)), np.cumsum(sizes)[:-1], axis=1))


def test_energy_of_every_state():
    params = machine(3, 2, 2)
    states = joint_states(params)
    numbers = jax.tree.map(np.asarray, params)
    wanted = [by_loops(numbers, rows) for rows in zip(*map(np.asarray, states), strict=True)]
    np.testing.assert_allclose(dbm.energy(params, states), wanted, rtol=1e-13, atol=1e-14)
    log_z = np.log(np.sum(np.exp(-np.array(wanted))))
    assert float(log_partition(params)) == pytest.approx(log_z, rel=1e-13)
    v = jnp.asarray(all_states(3))
    each = [np.log(sum(np.exp(-e) for e, s in zip(wanted, states[0], strict=True) if (s == row).all())) for row in v]
    np.testing.assert_allclose(log_unnormalized(params, v), each, rtol=1e-13)
    assert float(log_likelihood(params, v)) == pytest.approx(np.mean(each) - log_z, rel=1e-13)


@pytest.mark.parametrize("sizes", [(3, 2, 2), (3, 2, 3, 2), (2, 3, 2, 2, 1)])
def test_the_gradient_is_the_statistics_of_the_data_less_those_of_the_model(sizes):
    """Both phases by the probabilities of all states, which share nothing with the sums by layers of the library."""
    params = machine(*sizes)
    v = jnp.asarray(all_states(sizes[0])[[0, 2, 3]])
    states = joint_states(params)
    p = jax.nn.softmax(-dbm.energy(params, states))
    # The posterior given each row of v, mean over the rows.
    same = (states[0][None] == v[:, None]).all(-1).astype(float)
    posterior = (same * p[None] / (same * p[None]).sum(1, keepdims=True)).mean(0)
    gradient = jax.grad(log_likelihood)(params, v)
    for n, bar in enumerate(gradient.w):
        wanted = jnp.einsum("s,si,sj->ij", posterior - p, states[n], states[n + 1])
        np.testing.assert_allclose(bar, wanted, rtol=1e-11, atol=1e-14)
    for n, bar in enumerate(gradient.b):
        np.testing.assert_allclose(bar, (posterior - p) @ states[n], rtol=1e-11, atol=1e-14)


def test_mean_field_ends_where_its_equations_hold():
    params = machine(4, 3, 5, 2)
    v = jnp.asarray(all_states(4)[::3])
    mu, steps, change = mean_field(params, v, steps=1000, tolerance=1e-13)
    assert 1 < steps < 1000
    assert change <= 1e-13
    for bar in jax.grad(lower_bound, 2)(params, v, mu):
        np.testing.assert_allclose(bar, 0.0, atol=1e-12)
    (w1, w2, w3), (_, b1, b2, b3) = jax.tree.map(np.asarray, params)
    v, *mu = map(np.asarray, (v, *mu))
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(mu[0], sigmoid(b1 + v @ w1 + mu[1] @ w2.T), rtol=1e-12)
    np.testing.assert_allclose(mu[1], sigmoid(b2 + mu[0] @ w2 + mu[2] @ w3.T), rtol=1e-12)
    np.testing.assert_allclose(mu[2], sigmoid(b3 + mu[1] @ w3), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_rises_in_every_half_step_and_stays_below_the_likelihood(seed):
    params = machine(4, 3, 5, 2, seed=seed)
    v = jnp.asarray(all_states(4)[::3])
    layers, free = upward(params, v), []
    for half in range(40):
        layers = (v, *dbm.probabilities(params, layers, first=1 - half % 2)[1:])
        free.append(variational_free_energy(params, v, layers[1:]))
    assert (np.diff(np.array(free), axis=0) <= 1e-12).all()
    assert (free[0] - free[-1] > 1e-4).all()
    # Of each row, and with the best μ: not exact, since the posterior has dependencies.
    gap = log_unnormalized(params, v) + free[-1]
    assert (gap > 1e-4).all()
    assert lower_bound(params, v, layers[1:]) < log_likelihood(params, v)


def test_the_bound_is_exact_where_the_posterior_is_independent():
    params = machine(4, 3, 5)
    params = params._replace(w=(params.w[0], 0 * params.w[1]))
    v = jnp.asarray(all_states(4)[::3])
    mu = mean_field(params, v, steps=5).mu
    assert float(lower_bound(params, v, mu)) == pytest.approx(float(log_likelihood(params, v)), rel=1e-13)


def test_the_gradient_at_a_fixed_point_needs_no_derivative_of_the_mean_field():
    params = machine(4, 3, 5, scale=0.7)
    v = jnp.asarray(all_states(4)[::3])

    def unrolled(params):
        layers = upward(params, v)
        for half in range(100):
            layers = (v, *dbm.probabilities(params, layers, first=1 - half % 2)[1:])
        return lower_bound(params, v, layers[1:])

    mu = mean_field(params, v, steps=500, tolerance=1e-14).mu
    chex.assert_trees_all_close(jax.grad(unrolled)(params), jax.grad(lower_bound)(params, v, mu), rtol=1e-9, atol=1e-12)


def test_two_layers_are_no_deep_belief_network():
    """With the same weights: the machine's h¹ are those of the network, weighed by what v makes of them."""
    params = machine(4, 3, 2, scale=2.0)
    (w1, w2), (b0, b1, b2) = params
    stack = (rbm.Params(w1, b0, jnp.zeros(3)), rbm.Params(w2, b1, b2))
    v, h = jnp.asarray(all_states(4)), jnp.asarray(all_states(3))
    of_machine = jnp.exp(log_unnormalized(params, v) - log_partition(params))
    of_network = jnp.exp(dbn_bound.log_likelihood(stack, v))
    assert float(of_machine.sum()) == pytest.approx(1, rel=1e-12)
    assert float(of_network.sum()) == pytest.approx(1, rel=1e-12)
    assert 0.5 * jnp.abs(of_machine - of_network).sum() > 0.1

    weight = jnp.prod(1 + jnp.exp(b0[None] + h @ w1.T), 1)
    prior = jnp.exp(-rbm.free_energy(stack[1], h)) * weight
    visible = jax.nn.sigmoid(b0[None] + h @ w1.T)
    given_h = jnp.prod(jnp.where(v[None] == 1, visible[:, None], 1 - visible[:, None]), -1)
    np.testing.assert_allclose(prior / prior.sum() @ given_h, of_machine, rtol=1e-12)


def test_gibbs_sampling_draws_from_the_machine():
    """What ln Z has for a gradient is the expectation of the statistics, and the chains' mean is that."""
    params = machine(4, 3, 2, 2, scale=0.7)
    chains = dbm_learning.noise(params, 4000, jax.random.key(1))
    chains = dbm_learning.gibbs(params, chains, jax.random.key(2), steps=60)
    assert all(((h == 0) | (h == 1)).all() for h in chains)
    expected = jax.grad(log_partition)(params)
    for b_bar, h in zip(expected.b, chains, strict=True):
        assert (abs(h.mean(0) - b_bar) < 4.5 * np.sqrt(b_bar * (1 - b_bar) / 4000)).all()
    for w_bar, below, above in zip(expected.w, chains[:-1], chains[1:], strict=True):
        assert (abs(below.T @ above / 4000 - w_bar) < 4.5 * np.sqrt(w_bar * (1 - w_bar) / 4000)).all()


def stripes():
    """The pictures of 3 x 3 pixels whose columns are each of one colour."""
    return jnp.asarray(np.tile(all_states(3), (1, 3)))


def test_the_whole_machine_learns_after_its_layers():
    """ln p of each of the eight pictures is at most -ln 8; a machine of independent units has -9 ln 2."""
    v = stripes()
    stack = greedy.init_stack(jax.random.key(0), (9, 6, 4), scale=0.1, dtype=float)
    told = []
    stack, _ = greedy.pretrain(
        stack,
        v,
        optax.sgd(0.1),
        key=jax.random.key(1),
        batch_size=8,
        epochs=400,
        machines=dbm_pretraining.doubled(2),
        on_epoch=lambda number, epoch: told.append((number, epoch.loss)),
    )
    assert [number for number, _ in told] == [1] * 400 + [2] * 400
    before = dbm_pretraining.compose(stack)
    optimizer = optax.sgd(optax.linear_schedule(0.1, 0.0, 3000))
    state, _ = fit(
        dbm_learning.pcd_step(optimizer, steps=2),
        dbm_learning.init_pcd(before, dbm_learning.noise(before, 100, jax.random.key(2)), optimizer, jax.random.key(3)),
        v,
        key=jax.random.key(4),
        batch_size=8,
        epochs=3000,
    )
    log_p = jax.jit(log_likelihood)
    independent, pretrained, trained = -9 * np.log(2), log_p(before, v), log_p(state.params, v)
    assert independent + 0.5 < pretrained < trained - 0.5
    assert trained > -np.log(8) - 0.7


def test_a_machine_of_doubled_layers_is_their_geometric_mean():
    """Of the distributions of h¹: ln of the machine's is half of each RBM's, up to a constant."""
    params = machine(4, 3, 2)
    c, b = machine(3, 3, 3).b[:2]
    bottom, top = rbm.Params(params.w[0], params.b[0], c), rbm.Params(params.w[1], b, params.b[2])
    composed = dbm_pretraining.compose((bottom, top))
    h = jnp.asarray(all_states(3))
    two_below = h @ c + 2 * jax.nn.softplus(bottom.b[None] + h @ bottom.w.T).sum(1)
    two_above = h @ b + 2 * jax.nn.softplus(top.c[None] + h @ top.w).sum(1)
    states = joint_states(composed)
    p = jnp.exp(-dbm.energy(composed, states))
    of_machine = jnp.log(jnp.stack([jnp.sum(p[(states[1] == row[None]).all(1)]) for row in h]))
    difference = of_machine - (two_below + two_above) / 2
    np.testing.assert_allclose(difference - difference[0], 0.0, atol=1e-12)
    up = [m.hidden_probabilities(layer, h) for m, layer in zip(dbm_pretraining.doubled(3)[1:], (top, top), strict=True)]
    np.testing.assert_allclose(up[0], jax.nn.sigmoid(top.c[None] + 2 * h @ top.w), rtol=1e-13)
    np.testing.assert_allclose(up[1], jax.nn.sigmoid(top.c[None] + h @ top.w), rtol=1e-13)


def test_annealed_importance_sampling_finds_the_partition_function():
    params = machine(6, 4, 5, scale=1.5)
    v = jnp.asarray(all_states(6)[::5])
    run = jax.jit(lambda key: estimate(of_dbm(params, rbm.data_biases(v)), betas, key, chains=200))
    betas = temperatures((1.0, 300), dtype=float)
    found, exact = run(jax.random.key(0)), log_partition(params)
    assert found.low < exact < found.high
    assert found.standard_error < 0.1
    mu = mean_field(params, v, steps=50).mu
    bound = estimated_bound(params, v, mu, found)
    assert bound.low < lower_bound(params, v, mu) < bound.high
    assert bound.bound < log_likelihood(params, v) + 3 * found.standard_error
    # A machine that is what it starts from has no error at all.
    plain = params._replace(
        w=tuple(jnp.zeros_like(w) for w in params.w), b=(params.b[0], *map(jnp.zeros_like, params.b[1:]))
    )
    known = estimate(of_dbm(plain, params.b[0]), temperatures((1.0, 3), dtype=float), jax.random.key(1), chains=2)
    assert float(known.log_z) == pytest.approx(float(log_partition(plain)), rel=1e-13)


def test_the_classifier_begins_as_the_mean_field():
    params = machine(5, 4, 3)
    v = jnp.asarray(all_states(5)[::7])
    mu = mean_field(params, v, steps=300).mu
    network = dbm_classifier.classifier(params, 10)
    x = dbm_classifier.features(params, v, steps=300)
    logits, residuals = mlp.mlp_forward(network, x, activations=dbn.activations_of(params.w))
    np.testing.assert_allclose(residuals.inputs[1], mu[0], rtol=1e-10)
    np.testing.assert_allclose(residuals.inputs[2], mu[1], rtol=1e-10)
    assert logits.shape == (len(v), 10)
    assert not logits.any()


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    params = machine(4, 3, 2)
    v, key = jnp.zeros((5, 4)), jax.random.key(0)
    with pytest.raises(ValueError, match=r"dbm\.init: sizes are \(4, 3\), wanted at least three positive numbers"):
        dbm.init(key, (4, 3))
    with pytest.raises(ValueError, match="energy: got 2 layers, 2 weights and 3 biases"):
        dbm.energy(params, (v, jnp.zeros((5, 3))))
    with pytest.raises(ValueError, match=r"energy: layer 2 is \(5, 3\), wanted \(batch, units\)"):
        dbm.energy(params, (v, jnp.zeros((5, 3)), jnp.zeros((5, 3))))
    broken = params._replace(w=(params.w[0].T, params.w[1]))
    with pytest.raises(ValueError, match=r"energy: w of layer 1 is \(3, 4\), the layers beside it want \(4, 3\)"):
        dbm.energy(broken, (v, jnp.zeros((5, 3)), jnp.zeros((5, 2))))
    with pytest.raises(ValueError, match="free_energy: got 1 layers, the machine has 2 from number 0 on"):
        dbm.free_energy(params, (v,))
    with pytest.raises(ValueError, match=r"energy: the layers have \[5, 5, 1\] rows, wanted as many in each"):
        dbm.energy(params, (v, jnp.zeros((5, 3)), jnp.zeros((1, 2))))
    with pytest.raises(ValueError, match=r"free_energy: the layers have \[5, 5, 1\] rows, wanted as many in each"):
        dbm.free_energy(params, (v, jnp.zeros((1, 2))))
    with pytest.raises(ValueError, match=r"variational_free_energy: the layers have \[5, 1, 1\] rows"):
        variational_free_energy(params, v, (jnp.zeros((1, 3)), jnp.zeros((1, 2))))
    with pytest.raises(ValueError, match="free_energy: first is 2, wanted 0 or 1"):
        dbm.free_energy(params, (jnp.zeros((5, 2)),), first=2)
    with pytest.raises(ValueError, match=r"log_unnormalized: v has shape \(5, 3\), wanted \(batch, 4\)"):
        log_unnormalized(params, v[:, :3])
    with pytest.raises(ValueError, match="log_partition: the set of even layers has 23 units, wanted at most 20"):
        log_partition(machine(11, 1, 12))
    with pytest.raises(ValueError, match=r"mean_field: v has shape \(5, 3\), wanted \(batch, 4\)"):
        mean_field(params, v[:, :3])
    with pytest.raises(ValueError, match="mean_field: got steps 0 and tolerance 0"):
        mean_field(params, v, steps=0)
    with pytest.raises(ValueError, match="likelihood_direction: steps is 0, wanted at least 1"):
        dbm_learning.likelihood_direction(params, v, dbm_learning.noise(params, 2, key), key, steps=0)
    with pytest.raises(ValueError, match="doubled: got 1 RBMs, wanted at least two"):
        dbm_pretraining.doubled(1)
    with pytest.raises(ValueError, match="compose: RBM 1 has 3 hidden units, the next 2 visible ones"):
        dbm_pretraining.compose((rbm.init(key, 4, 3), rbm.init(key, 2, 3)))
    with pytest.raises(ValueError, match=r"of_dbm: a has shape \(3,\), wanted that of the visible biases, \(4,\)"):
        of_dbm(params, jnp.zeros(3))
    with pytest.raises(ValueError, match="classifier: got 0 classes, wanted at least 1"):
        dbm_classifier.classifier(params, 0)
