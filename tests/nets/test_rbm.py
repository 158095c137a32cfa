"""Restricted Boltzmann machines: gradients by enumeration, a peer, and what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neural_network import BernoulliRBM

from jaxnets.nets import rbm
from jaxnets.nets.binary import states
from jaxnets.nets.pseudo_likelihood import pseudo_log_likelihood, sampled_pseudo_log_likelihood
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")

VISIBLE, HIDDEN = 4, 3


def machine(visible=VISIBLE, hidden=HIDDEN, scale=1.0):
    """Parameters of a machine none of whose biases are 0."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = (visible, hidden), (visible,), (hidden,)
    return rbm.Params(*(scale * jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)))


def every(units):
    return states(jnp.arange(2**units), units, float)


def data(rows=6, visible=VISIBLE):
    return jax.random.bernoulli(jax.random.key(1), 0.4, (rows, visible)).astype(float)


def joint(params):
    """p(v, h) of all pairs of states, the slow way."""
    v, h = np.asarray(every(len(params.b))), np.asarray(every(len(params.c)))
    w, b, c = map(np.asarray, params)
    weights = np.exp(v @ b[:, None] + (h @ c)[None, :] + v @ w @ h.T)
    return weights, v, h


def test_states_are_all_different_and_of_zeros_and_ones():
    assert sorted(map(tuple, np.asarray(every(3)).tolist())) == sorted(np.ndindex(2, 2, 2))


def test_energies_and_probabilities_are_those_of_the_joint_distribution():
    params = machine()
    weights, v, h = joint(params)
    pairs = jnp.repeat(jnp.asarray(v), len(h), 0), jnp.tile(jnp.asarray(h), (len(v), 1))
    np.testing.assert_allclose(np.exp(-rbm.energy(params, *pairs)).reshape(weights.shape), weights, rtol=1e-12)
    np.testing.assert_allclose(np.exp(-rbm.free_energy(params, jnp.asarray(v))), weights.sum(1), rtol=1e-12)
    np.testing.assert_allclose(
        rbm.hidden_probabilities(params, jnp.asarray(v)), weights @ h / weights.sum(1)[:, None], rtol=1e-12
    )
    np.testing.assert_allclose(
        rbm.visible_probabilities(params, jnp.asarray(h)), weights.T @ v / weights.sum(0)[:, None], rtol=1e-12
    )


@pytest.mark.parametrize("sizes", [(4, 3), (3, 4), (1, 5)])
@pytest.mark.parametrize("block", [2, 4096])
def test_the_partition_function_and_its_gradient(sizes, block):
    params = machine(*sizes)
    weights, v, h = joint(params)

    def log_z(params):
        return rbm.log_partition(params, block=block)

    value, bar = jax.jit(jax.value_and_grad(log_z))(params)
    np.testing.assert_allclose(value, np.log(weights.sum()), rtol=1e-13)
    p = weights / weights.sum()
    np.testing.assert_allclose(bar.w, v.T @ p @ h, rtol=1e-12)
    for mine, true in zip(bar, jax.jit(jax.grad(autodiff(log_z)))(params), strict=True):
        np.testing.assert_allclose(mine, true, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_the_likelihood_is_data_less_model():
    params, v = machine(), data()
    bar, v_bar = jax.jit(jax.grad(rbm.log_likelihood, (0, 1)))(params, v)
    true, v_true = jax.jit(jax.grad(autodiff(rbm.log_likelihood), (0, 1)))(params, v)
    for mine, wanted in zip((*bar, v_bar), (*true, v_true), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-14)
    weights, all_v, h = joint(params)
    p = weights / weights.sum()
    hidden = np.asarray(rbm.hidden_probabilities(params, v))
    np.testing.assert_allclose(bar.w, v.T @ hidden / len(v) - all_v.T @ p @ h, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(bar.b, v.mean(0) - p.sum(1) @ all_v, rtol=1e-10, atol=1e-14)


def test_probabilities_of_all_states_have_the_sum_1():
    params = machine()
    log_p = jax.jit(jax.vmap(lambda v: rbm.log_likelihood(params, v[None])))(every(VISIBLE))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-12)


def sklearn_machine(params):
    peer = BernoulliRBM(HIDDEN)
    peer.components_, peer.intercept_visible_, peer.intercept_hidden_ = map(np.asarray, (params.w.T, *params[1:]))
    return peer


def test_scikit_learn_has_the_same_free_energy_and_probabilities():
    params, v = machine(), data()
    peer = sklearn_machine(params)
    np.testing.assert_allclose(rbm.free_energy(params, v), peer._free_energy(np.asarray(v)), rtol=1e-12)
    np.testing.assert_allclose(rbm.hidden_probabilities(params, v), peer.transform(np.asarray(v)), rtol=1e-12)


def test_the_pseudo_likelihood_is_that_of_each_unit_given_the_others():
    params, v = machine(), data()
    weights, all_v, _ = joint(params)
    p = dict(zip(map(tuple, all_v), weights.sum(1), strict=True))
    found = pseudo_log_likelihood(params, v)
    for row, value in zip(np.asarray(v), found, strict=True):
        turned = [tuple(np.where(np.arange(VISIBLE) == i, 1 - row, row)) for i in range(VISIBLE)]
        expected = sum(np.log(p[tuple(row)] / (p[tuple(row)] + p[other])) for other in turned)
        np.testing.assert_allclose(value, expected, rtol=1e-10)
    bar = jax.jit(jax.grad(lambda p: pseudo_log_likelihood(p, v).mean()))(params)
    true = jax.jit(jax.grad(autodiff(lambda p: pseudo_log_likelihood(p, v).mean())))(params)
    for mine, wanted in zip(bar, true, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-10, atol=1e-14)


def test_one_unit_of_each_row_gives_an_estimate_of_it():
    params, v = machine(), data()
    keys = jax.random.split(jax.random.key(2), 4000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: sampled_pseudo_log_likelihood(params, v, key)))(keys))
    assert all(len(np.unique(column.round(9))) <= VISIBLE for column in drawn.T)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert (np.abs(drawn.mean(0) - pseudo_log_likelihood(params, v)) < 4.5 * error).all()


def test_scikit_learn_has_the_same_estimate(monkeypatch):
    params, v = machine(), data()
    units = np.array([0, 3, 1, 2, 2, 0])
    monkeypatch.setattr(jax.random, "randint", lambda *_: jnp.asarray(units))
    peer = sklearn_machine(params)
    peer.random_state = type("Drawn", (np.random.RandomState,), {"randint": lambda *_: units})()
    theirs = peer.score_samples(np.asarray(v))
    np.testing.assert_allclose(sampled_pseudo_log_likelihood(params, v, jax.random.key(0)), theirs, rtol=1e-10)


def test_large_machines_neither_overflow_nor_lose_the_small_terms():
    params = rbm.Params(*(jax.tree.map(lambda a: 400 * a, machine())))
    value, bar = jax.jit(jax.value_and_grad(rbm.log_partition))(params)
    weights_log = -np.asarray(rbm.free_energy(params, every(VISIBLE)))
    np.testing.assert_allclose(value, np.logaddexp.reduce(weights_log), rtol=1e-12)
    assert all(np.isfinite(leaf).all() for leaf in bar)


def test_biases_of_the_data_give_their_means():
    v = data(50)
    b = rbm.data_biases(v, pseudocount=0.5)
    np.testing.assert_allclose(jax.nn.sigmoid(b), (v.sum(0) + 0.5) / 51, rtol=1e-12)


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    params = machine()
    with pytest.raises(ValueError, match=r"rbm\.free_energy: v has shape \(6, 3\), wanted \(batch, 4\)"):
        rbm.free_energy(params, data(6, 3))
    with pytest.raises(ValueError, match=r"rbm\.energy: v has 6 rows and h 5, wanted as many"):
        rbm.energy(params, data(), jnp.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"rbm\.visible_probabilities: h has shape \(6, 4\), wanted \(batch, 3\)"):
        rbm.visible_probabilities(params, data())
    with pytest.raises(ValueError, match=r"rbm\.log_partition: w has shape \(4, 3\), b \(4,\) and c \(2,\), wanted"):
        rbm.log_partition(params._replace(c=jnp.zeros(2)))
    with pytest.raises(ValueError, match=r"rbm\.log_partition: the smaller layer has 21 units, wanted at most 20"):
        rbm.log_partition(machine(21, 30))
    with pytest.raises(ValueError, match="sum over states: block is 12, wanted a power of two"):
        rbm.log_partition(params, block=12)
    with pytest.raises(ValueError, match=r"rbm\.init: got 3 visible and 0 hidden units"):
        rbm.init(jax.random.key(0), 3, 0)
