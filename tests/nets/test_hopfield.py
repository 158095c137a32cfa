"""Hopfield networks: the energy falls, patterns are recalled, and how many."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxnets.nets import hopfield
from jaxnets.nets.hopfield import Params
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")

N = 6
STATES = np.array(list(itertools.product([-1.0, 1.0], repeat=N)))
integers = st.integers(-4, 4)


def patterns(seed, m, n):
    return jnp.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], (m, n)))


def symmetric(upper):
    w = np.triu(np.asarray(upper, float), 1)
    return jnp.asarray(w + w.T)


@jax.jit
def unit_by_unit(params, s, order):
    """The states after each turn of a unit."""

    def turn(s, i):
        s = hopfield.update_unit(params, s, i)
        return s, s

    return jax.lax.scan(turn, s, order)[1]


@given(
    hnp.arrays(np.int64, (N, N), elements=integers),
    hnp.arrays(np.int64, (N,), elements=st.integers(0, 4)),
    hnp.arrays(np.int64, (N,), elements=integers),
    hnp.arrays(np.int64, (N,), elements=st.sampled_from([-1, 1])),
    hnp.arrays(np.int64, (30,), elements=st.integers(0, N - 1)),
)
@settings(max_examples=100, deadline=None)
def test_a_unit_never_raises_the_energy(upper, diagonal, theta, s, order):
    """Nor does it with a diagonal that is not negative.  Integers: all of it is exact."""
    with jax.enable_x64():
        w = symmetric(upper) + jnp.diag(jnp.asarray(diagonal, float))
        params = Params(w, jnp.asarray(theta, float))
        start = jnp.asarray(s, float)
        states = jnp.concatenate([start[None], unit_by_unit(params, start, jnp.asarray(order))])
        energies = np.asarray(hopfield.energy(params, states))
        assert (np.diff(energies) <= 0).all()
        moved = np.any(np.diff(states, axis=0) != 0, axis=1)
        assert (np.diff(energies)[moved] < 0).all()  # so that no state comes back
        assert set(np.unique(states)) <= {-1.0, 1.0}


@functools.partial(jax.jit, static_argnames="way")
def settled(way, params):
    s = jnp.asarray(STATES)
    if way == "one by one":
        return hopfield.asynchronous(params, s, jax.random.key(0))
    return hopfield.synchronous(params, s)


@given(hnp.arrays(np.int64, (N, N), elements=integers), hnp.arrays(np.int64, (N,), elements=integers))
@settings(max_examples=40, deadline=None)
def test_every_state_comes_to_rest_one_by_one_and_to_rest_or_a_cycle_of_two_all_at_once(upper, theta):
    with jax.enable_x64():
        params = Params(symmetric(upper), jnp.asarray(theta, float))
        run = settled("one by one", params)
        assert (run.period == 1).all()
        h = hopfield.fields(params, run.s)
        assert (np.asarray(h * run.s) >= 0).all()  # at rest: no unit is opposed to its field
        assert (np.asarray(hopfield.energy(params, run.s) <= hopfield.energy(params, jnp.asarray(STATES)))).all()

        run = settled("all at once", params)
        assert (run.period > 0).all()
        once = jnp.where(h_of(params, run.s) == 0, run.s, jnp.sign(h_of(params, run.s)))
        twice = jnp.where(h_of(params, once) == 0, once, jnp.sign(h_of(params, once)))
        np.testing.assert_array_equal(twice, run.s)
        np.testing.assert_array_equal(np.all(np.asarray(once == run.s), 1), np.asarray(run.period == 1))


def h_of(params, s):
    return s @ params.w - params.theta[None]


def test_two_units_that_repel_each_other_take_turns_all_at_once():
    params = Params(jnp.array([[0.0, -1.0], [-1.0, 0.0]]), jnp.zeros(2))
    both = jnp.array([[1.0, 1.0], [1.0, -1.0]])
    run = hopfield.synchronous(params, both)
    assert run.period.tolist() == [2, 1]
    assert run.steps.tolist() == [2, 1]
    assert hopfield.synchronous(params, both, max_steps=1).period.tolist() == [0, 1]
    run = hopfield.asynchronous(params, both, jax.random.key(0))
    assert run.period.tolist() == [1, 1]
    assert (run.s.sum(1) == 0).all()
    assert hopfield.asynchronous(params, both, jax.random.key(0), max_sweeps=1).period.tolist() == [0, 1]


def test_a_unit_without_a_field_stays_as_it_is():
    params = Params(jnp.zeros((2, 2)), jnp.array([0.0, 0.5]))
    s = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
    for run in (hopfield.synchronous(params, s), hopfield.asynchronous(params, s, jax.random.key(0))):
        np.testing.assert_array_equal(run.s, [[1, -1], [-1, -1]])


def test_rounding_breaks_no_tie():
    """With 14 patterns of 101 entries every field is an even number over 101, and often 0."""
    xi, s = patterns(0, 14, 101).astype(jnp.float32), patterns(1, 100, 101).astype(jnp.float32)
    rounded = hopfield.store_hebb(xi)
    exact = Params(jnp.round(101 * rounded.w), rounded.theta)
    for recall in (
        lambda params: hopfield.asynchronous(params, s, jax.random.key(0)),
        lambda params: hopfield.synchronous(params, s),
    ):
        np.testing.assert_array_equal(recall(rounded).s, recall(exact).s)


def test_the_energy_and_its_gradient_by_loops():
    generator = np.random.default_rng(2)
    w, theta, s = generator.normal(size=(3, 3)), generator.normal(size=3), generator.normal(size=(2, 3))
    params = Params(jnp.asarray(w), jnp.asarray(theta))

    def by_loops(s):
        return -0.5 * sum(s[i] * w[i, j] * s[j] for i in range(3) for j in range(3)) + sum(theta * s)

    np.testing.assert_allclose(hopfield.energy(params, jnp.asarray(s)), [by_loops(row) for row in s], rtol=1e-13)
    # For symmetric weights the force on the states is the field.
    params = Params(symmetric(w), jnp.asarray(theta))
    force = -jax.grad(lambda s: hopfield.energy(params, s).sum())(jnp.asarray(s))
    np.testing.assert_allclose(force, hopfield.fields(params, jnp.asarray(s)), rtol=1e-13)


def by_hand_and_by_autodiff(f, *args):
    hand, auto = (jax.jit(jax.grad(lambda *a, f=f: f(*a).sum(), (0, 1)))(*args) for f in (f, autodiff(f)))
    for ours, theirs in zip(jax.tree.leaves(hand), jax.tree.leaves(auto), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_gradients_at_the_size_of_a_real_network():
    xi = patterns(3, 5, 100)
    params = hopfield.store_hebb(xi)._replace(theta=0.1 * xi[0])
    by_hand_and_by_autodiff(hopfield.energy, params, xi)
    by_hand_and_by_autodiff(functools.partial(hopfield.graded_energy, gain=2.0), params, 0.9 * xi)


@pytest.mark.parametrize(
    ("store", "m"), [(hopfield.store_hebb, 5), (hopfield.store_storkey, 12), (hopfield.store_projection, 50)]
)
def test_patterns_are_stored_and_recalled_from_noisy_versions(store, m):
    xi = patterns(4, m, 100)
    params = store(xi)
    assert not np.any(np.diag(params.w))
    np.testing.assert_allclose(params.w, params.w.T, atol=1e-15)
    kept = hopfield.asynchronous(params, xi, jax.random.key(0))
    np.testing.assert_array_equal(kept.s, xi)
    flipped = jnp.asarray(np.random.default_rng(5).random(xi.shape) < (0.02 if m == 50 else 0.1))
    run = hopfield.asynchronous(params, jnp.where(flipped, -xi, xi), jax.random.key(1))
    np.testing.assert_array_equal(run.s, xi)
    np.testing.assert_array_equal(hopfield.overlap(xi, run.s), np.ones(m))


def test_storage_by_loops():
    xi = np.asarray(patterns(6, 4, 7))
    hebb, storkey = np.zeros((7, 7)), np.zeros((7, 7))
    for pattern in xi:
        hebb += np.outer(pattern, pattern) / 7
        h = np.array(
            [[sum(storkey[i, k] * pattern[k] for k in range(7) if k not in (i, j)) for j in range(7)] for i in range(7)]
        )
        change = np.outer(pattern, pattern) - pattern[:, None] * h.T - h * pattern[None, :]
        storkey = storkey + change / 7
        np.fill_diagonal(storkey, 0)
    np.fill_diagonal(hebb, 0)
    projection = np.linalg.pinv(xi) @ xi
    np.testing.assert_allclose(hopfield.store_hebb(jnp.asarray(xi)).w, hebb, atol=1e-15)
    np.testing.assert_allclose(hopfield.store_storkey(jnp.asarray(xi)).w, storkey, atol=1e-14)
    projected = hopfield.store_projection(jnp.asarray(xi)).w
    np.testing.assert_allclose(projected, projection - np.diag(np.diag(projection)), atol=1e-14)
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-14)


def test_as_many_independent_patterns_stay_as_there_are_units_less_one():
    xi = patterns(11, 7, 8)
    projection = np.linalg.pinv(xi) @ xi
    assert np.linalg.matrix_rank(xi) == 7
    assert np.diag(projection).max() < 1
    params = hopfield.store_projection(xi)
    np.testing.assert_allclose(hopfield.fields(params, xi), xi * (1 - np.diag(projection))[None], atol=1e-14)
    np.testing.assert_array_equal(hopfield.asynchronous(params, xi, jax.random.key(0)).s, xi)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    "xi",
    [
        np.array([[1, 1, 1, 1], [1, 1, 1, -1], [1, -1, 1, 1]]),
        patterns(15, 4, 100)[np.array([0, 0, 1, 2, 3])] * jnp.ones((5, 100)).at[0, 0].set(-1),
        patterns(14, 30, 30),
    ],
    ids=["four units", "patterns that differ in a unit", "as many patterns as units"],
)
def test_units_that_the_patterns_decide_stay_as_they_are(xi, dtype):
    """p_ii = 1 there: the field is 0, and no rounding error of a weight may decide."""
    xi = jnp.asarray(xi, dtype)
    fixed = np.isclose(np.diag(np.linalg.pinv(np.float64(xi)) @ np.float64(xi)), 1, atol=1e-9)
    assert np.linalg.matrix_rank(xi) == len(xi)
    assert fixed.any()
    params = hopfield.store_projection(xi)
    assert not params.w[fixed].any()
    assert not params.w[:, fixed].any()
    np.testing.assert_array_equal(hopfield.asynchronous(params, xi, jax.random.key(0)).s, xi)
    np.testing.assert_array_equal(hopfield.synchronous(params, xi).s, xi)


def test_graded_units_fall_to_a_mean_field_and_grow_sharp():
    xi = patterns(7, 3, 60)
    params = hopfield.store_hebb(xi)
    (noise,) = [jnp.asarray(np.random.default_rng(8).normal(size=xi.shape))]
    u = 0.2 * xi + 0.1 * noise
    energies = [hopfield.graded_energy(params, jnp.tanh(4 * u), gain=4.0)]
    for _ in range(30):
        u = hopfield.graded(params, u, gain=4.0, step_size=0.1, steps=5)
        energies.append(hopfield.graded_energy(params, jnp.tanh(4 * u), gain=4.0))
    assert (np.diff(np.stack(energies), axis=0) <= 1e-13).all()
    v = jnp.tanh(4 * u)
    np.testing.assert_allclose(v, jnp.tanh(4 * hopfield.fields(params, v)), atol=1e-5)
    np.testing.assert_array_equal(jnp.sign(v), xi)
    # At a gain below 1 over the largest eigenvalue of w there is no memory left.
    forgotten = hopfield.graded(params, u, gain=0.5, step_size=0.1, steps=500)
    assert np.abs(forgotten).max() < 1e-6


def test_the_motion_of_graded_units_is_minus_the_slope_of_their_energy():
    xi = patterns(9, 2, 10)
    params = hopfield.store_hebb(xi)._replace(theta=0.1 * xi[0])
    u = jnp.asarray(np.random.default_rng(10).normal(size=(3, 10)))
    moved = hopfield.graded(params, u, gain=1.5, step_size=1e-3, steps=1) - u
    slope = jax.grad(lambda v: hopfield.graded_energy(params, v, gain=1.5).sum())(jnp.tanh(1.5 * u))
    np.testing.assert_allclose(moved, -1e-3 * slope, rtol=1e-9, atol=1e-13)


def test_the_theory_of_the_capacity():
    y = jnp.linspace(0.5, 3, 200_001)
    load, overlap = hopfield.mean_field(y)
    best = int(jnp.argmax(load))
    assert float(load[best]) == pytest.approx(0.1379, abs=1e-4)
    assert float(overlap[best]) == pytest.approx(0.967, abs=1e-3)


def test_memory_breaks_down_near_the_load_of_the_theory():
    """Small enough for every run of the tests; examples/hopfield_capacity.py has 400 units and more trials."""
    at = jax.jit(functools.partial(hopfield.overlap_by_load, units=150, patterns=(8, 15, 30, 45), trials=6))
    means = np.asarray(at(jax.random.key(0)).mean(1))
    assert means[0] > 0.99
    assert means[1] > 0.95
    assert 0.55 < means[2] < 0.9
    assert 0.2 < means[3] < 0.6


def test_the_exact_bound_of_mceliece():
    """With N / (4 ln N) random patterns, all of them are kept without one wrong entry, as good as always."""
    n = 200
    m = int(n / (4 * math.log(n)))
    xi = patterns(11, m, n)
    np.testing.assert_array_equal(hopfield.asynchronous(hopfield.store_hebb(xi), xi, jax.random.key(0)).s, xi)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda p, s: hopfield.energy(Params(p.w[:2], p.theta), s),
            ValueError,
            r"hopfield: wanted w \(units, units\) .* got \(2, 3\)",
        ),
        (lambda p, s: hopfield.fields(p, s[0]), ValueError, r"hopfield: s has shape \(3,\), wanted \(batch, 3\)"),
        (lambda p, s: hopfield.synchronous(p, s, max_steps=0), ValueError, "hopfield: max_steps is 0"),
        (
            lambda p, s: hopfield.asynchronous(p, s, jax.random.key(0), max_sweeps=0),
            ValueError,
            "hopfield: max_sweeps is 0",
        ),
        (lambda p, s: hopfield.asynchronous(p, s[:, :2], jax.random.key(0)), ValueError, r"s has shape \(4, 2\)"),
        (lambda p, s: hopfield.store_hebb(s[0]), ValueError, r"store_hebb: xi has shape \(3,\)"),
        (lambda p, s: hopfield.store_storkey(s > 0), TypeError, "store_storkey: xi is bool"),
        (lambda p, s: hopfield.store_projection(s[0]), ValueError, "store_projection: xi has shape"),
        (
            lambda p, s: hopfield.overlap_by_load(jax.random.key(0), units=5, patterns=(0, 1), trials=1),
            ValueError,
            r"overlap_by_load: wanted .* got 5, 1, \(0, 1\)",
        ),
    ],
)
def test_errors(call, error, message):
    s = patterns(12, 4, 3)
    with pytest.raises(error, match=message):
        call(Params(jnp.zeros((3, 3)), jnp.zeros(3)), s)


def test_float32_stays_float32():
    xi = patterns(13, 2, 9).astype(jnp.float32)
    for store in (hopfield.store_hebb, hopfield.store_storkey, hopfield.store_projection):
        params = store(xi)
        assert params.w.dtype == params.theta.dtype == jnp.float32
        assert hopfield.asynchronous(params, xi, jax.random.key(0)).s.dtype == jnp.float32
