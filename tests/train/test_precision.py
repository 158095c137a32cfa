"""Computed in bfloat16, kept in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.nets import mlp
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic
from jaxnets.train import fit, gradient_step, init_state, mixed_precision

X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
DATA = X, (X[:, :2] > 0).astype(np.float32)


def loss(params, batch):
    return mlp.loss(params, batch, activations=(sigmoid, sigmoid), cost=quadratic)


def test_everything_inside_is_narrow_and_everything_outside_wide():
    params = mlp.init(jax.random.key(0), (6, 8, 2))
    seen = []

    def watched(params, batch):
        seen.extend(leaf.dtype for leaf in jax.tree.leaves((params, batch[:2])))
        assert batch[2].dtype == jnp.int32
        return loss(params, batch[:2])

    labels = jnp.zeros(64, jnp.int32)
    value, bars = jax.value_and_grad(mixed_precision(watched))(params, (*DATA, labels))
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in (value, *jax.tree.leaves(bars))} == {jnp.dtype(jnp.float32)}
    wanted = jax.grad(loss)(params, tuple(map(jnp.asarray, DATA)))
    for ours, theirs in zip(jax.tree.leaves(bars), jax.tree.leaves(wanted), strict=True):
        assert jnp.linalg.norm(ours - theirs) < 0.02 * jnp.linalg.norm(theirs)


def test_small_updates_are_not_lost():
    """Of steps of 1e-4 parameters near 1 in bfloat16, which has steps of 1/128 there, would see nothing."""
    optimizer = optax.sgd(1e-4)
    start = init_state(jnp.ones(3), optimizer)
    step = gradient_step(mixed_precision(lambda w, x: jnp.mean(x @ w)), optimizer)
    state, _ = fit(step, start, jnp.ones((100, 3)), key=jax.random.key(0), batch_size=1, epochs=1)
    np.testing.assert_allclose(state.params, 0.99, rtol=1e-5)


def test_it_learns():
    optimizer = optax.adam(0.05)
    start = init_state(mlp.init(jax.random.key(0), (6, 8, 2)), optimizer)
    _, history = fit(
        gradient_step(mixed_precision(loss), optimizer), start, DATA, key=jax.random.key(1), batch_size=16, epochs=15
    )
    assert history[-1].loss < 0.3 * history[0].loss


def test_no_integers():
    with pytest.raises(ValueError, match="mixed_precision: compute is int32, wanted a floating-point dtype"):
        mixed_precision(loss, jnp.int32)
