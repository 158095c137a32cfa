"""Bidirectional associative memory: monotone for any weights, and a Hopfield network in disguise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxnets.nets import bam, hopfield
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")

integers = st.integers(-3, 3)
signs = st.sampled_from([-1, 1])


def draw(seed, *shapes):
    generator = np.random.default_rng(seed)
    return [jnp.asarray(generator.choice([-1.0, 1.0], shape)) for shape in shapes]


@jax.jit
def turns(w, x, y):
    """Energies after every half step, beginning with the start."""
    energies = [bam.energy(w, x, y)]
    for _ in range(6):
        new_x, new_y = bam.step(w, x, y)
        energies += [bam.energy(w, x, new_y), bam.energy(w, new_x, new_y)]
        x, y = new_x, new_y
    run = bam.recall(w, x, y)
    both = jnp.concatenate([run.x, run.y], 1)
    at_rest = hopfield.asynchronous(bam.as_hopfield(w), both, jax.random.key(0))
    return jnp.stack(energies), run, both, at_rest.s


@given(
    hnp.arrays(np.int64, (5, 4), elements=integers),
    hnp.arrays(np.int64, (3, 5), elements=signs),
    hnp.arrays(np.int64, (3, 4), elements=signs),
)
@settings(max_examples=60, deadline=None)
def test_the_energy_never_rises_whatever_the_weights_are(w, x, y):
    with jax.enable_x64():
        w, x, y = (jnp.asarray(a, float) for a in (w, x, y))
        energies, run, both, at_rest = turns(w, x, y)
        assert (np.diff(energies, axis=0) <= 0).all()
        assert bool(run.converged.all())
        # A pair at rest is one of the Hopfield network too.
        np.testing.assert_array_equal(at_rest, both)


def test_it_is_a_hopfield_network_of_both_layers():
    (w,) = [jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)))]
    x, y = draw(1, (3, 5), (3, 4))
    params = bam.as_hopfield(w)
    both = jnp.concatenate([x, y], 1)
    np.testing.assert_allclose(hopfield.energy(params, both), bam.energy(w, x, y), rtol=1e-13)
    ours = jax.grad(lambda w: bam.energy(w, x, y).sum())(w)
    theirs = jax.grad(lambda w: hopfield.energy(bam.as_hopfield(w), both).sum())(w)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    # A step is a sweep over its units, those of y first: within a layer the order does not matter.
    order = [*range(5, 9), *range(5)]
    for row in range(3):
        s = both[row]
        for i in order:
            s = hopfield.update_unit(params, s, jnp.asarray(i))
        new_x, new_y = bam.step(w, x, y)
        np.testing.assert_array_equal(s, jnp.concatenate([new_x[row], new_y[row]]))


def test_all_units_of_a_hopfield_network_at_once_are_a_memory_of_two_layers():
    """Odd and even steps are its layers: why no cycle is longer than two."""
    (s,) = draw(2, (5, 9))
    upper = np.triu(np.random.default_rng(2).normal(size=(9, 9)), 1)
    params = hopfield.Params(jnp.asarray(upper + upper.T), jnp.zeros(9))
    after = jnp.sign(hopfield.fields(params, s))
    x, y = bam.step(params.w, s, s)
    np.testing.assert_array_equal(y, after)
    np.testing.assert_array_equal(x, hopfield.synchronous(params, s, max_steps=2).s)


def test_pairs_are_recalled_from_either_side():
    x, y = draw(3, (4, 80), (4, 60))
    w = bam.store(x, y)
    np.testing.assert_array_equal(w, sum(np.outer(a, b) for a, b in zip(x, y, strict=True)))
    noisy = jnp.where(jnp.asarray(np.random.default_rng(4).random(x.shape) < 0.15), -x, x)
    run = bam.recall(w, noisy, jnp.zeros_like(y))
    np.testing.assert_array_equal(run.x, x)
    np.testing.assert_array_equal(run.y, y)
    back = bam.recall(w.T, y, jnp.zeros_like(x))
    np.testing.assert_array_equal(back.y, x)
    assert int(back.steps) >= 2
    assert not bam.recall(w, noisy, jnp.zeros_like(y), max_steps=1).converged.any()


def test_koskos_example():
    """Two pairs of 6 and 4 units, which are 0 and 1 in the paper; its matrix is this one."""
    x = jnp.array([[1.0, -1, 1, -1, 1, -1], [1, 1, 1, -1, -1, -1]])
    y = jnp.array([[1.0, 1, -1, -1], [1, -1, 1, -1]])
    w = bam.store(x, y)
    np.testing.assert_array_equal(
        w,
        [[2, 0, 0, -2], [0, -2, 2, 0], [2, 0, 0, -2], [-2, 0, 0, 2], [0, 2, -2, 0], [-2, 0, 0, 2]],
    )
    run = bam.recall(w, x, jnp.zeros_like(y))
    np.testing.assert_array_equal(run.y, y)
    np.testing.assert_array_equal(bam.energy(w, x, y), [-24, -24])


def test_the_energy_by_loops_and_its_gradient():
    generator = np.random.default_rng(5)
    w, x, y = (generator.normal(size=shape) for shape in ((3, 2), (4, 3), (4, 2)))
    wanted = [-sum(a[i] * w[i, j] * b[j] for i in range(3) for j in range(2)) for a, b in zip(x, y, strict=True)]
    args = tuple(map(jnp.asarray, (w, x, y)))
    np.testing.assert_allclose(bam.energy(*args), wanted, rtol=1e-13)
    hand, auto = (jax.grad(lambda *a, f=f: f(*a).sum(), (0, 1, 2))(*args) for f in (bam.energy, autodiff(bam.energy)))
    for ours, theirs in zip(hand, auto, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("own_errors")
def test_errors():
    x, y = draw(6, (2, 5), (2, 4))
    w = bam.store(x, y)
    with pytest.raises(ValueError, match=r"bam: wanted w \(n_x, n_y\), .* got \(5, 4\), \(2, 4\) and \(2, 5\)"):
        bam.energy(w, y, x)
    with pytest.raises(ValueError, match="bam: max_steps is 0"):
        bam.recall(w, x, y, max_steps=0)
    with pytest.raises(ValueError, match="hebb_matrix: wanted x"):
        bam.store(x, y[:1])
