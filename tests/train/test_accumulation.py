"""The gradient in parts is the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.nets import lenet
from jaxnets.train import gradient_step, init_state, value_and_grad_in_parts

pytestmark = pytest.mark.usefixtures("x64")


def loss(params, batch):
    return jnp.mean((batch["x"] @ params - batch["t"]) ** 2)


def sample(examples=12):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=3)), {"x": rng.normal(size=(examples, 3)), "t": rng.normal(size=examples)}


@pytest.mark.parametrize("micro_batch", [1, 4, 12])
def test_it_is_that_of_the_whole_batch(micro_batch):
    params, batch = sample()
    value, slope = value_and_grad_in_parts(loss, micro_batch)(params, batch)
    true_value, true_slope = jax.value_and_grad(loss)(params, batch)
    np.testing.assert_allclose(value, true_value, rtol=1e-14)
    np.testing.assert_allclose(slope, true_slope, rtol=1e-13)


def test_a_step_in_parts_is_that_of_optax_over_several_steps():
    params, batch = sample()
    optimizer = optax.adam(0.1)
    step = jax.jit(gradient_step(loss, optimizer, micro_batch=4))
    state, _ = step(init_state(params, optimizer), batch)
    several = optax.MultiSteps(optimizer, every_k_schedule=3)
    held = several.init(params)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic
        for part in range(3):
            slope = jax.grad(loss)(params, jax.tree.map(lambda a, part=part: a[4 * part : 4 * part + 4], batch))
            updates, held = several.update(slope, held, params)
            params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(state.params, params, rtol=1e-12)


@pytest.mark.parametrize("micro_batch", [1, 2, 256])
def test_narrow_parameters_do_not_lose_the_later_parts(micro_batch):
    params, batch = jnp.array(1.0, jnp.bfloat16), jnp.full(1024, 0.9, jnp.bfloat16)

    def loss(p, b):
        return jnp.mean((b * p) ** 2)

    value, slope = value_and_grad_in_parts(loss, micro_batch)(params, batch)
    assert value.dtype == slope.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(value), 0.81, rtol=0.02)
    np.testing.assert_allclose(float(slope), 1.62, rtol=0.04)


def test_inside_a_shard_map():
    params, batch = sample()
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    shard, whole = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()

    def mean(params, batch):
        value, slope = value_and_grad_in_parts(loss, 4)(params, batch)
        return jax.lax.pmean(value, "data"), slope

    value, slope = jax.shard_map(mean, mesh=mesh, in_specs=(whole, shard), out_specs=(whole, whole))(params, batch)
    true_value, true_slope = jax.value_and_grad(loss)(params, batch)
    np.testing.assert_allclose(value, true_value, rtol=1e-13)
    np.testing.assert_allclose(slope, true_slope, rtol=1e-13)


def test_a_step_of_a_network_in_parts():
    rng = np.random.default_rng(0)
    batch = jnp.asarray(rng.uniform(size=(4, 28, 28, 1))), jnp.asarray(np.eye(10)[[1, 2, 3, 4]])
    optimizer = optax.sgd(0.1)
    state = init_state(lenet.init(jax.random.key(0), dtype=jnp.float64), optimizer)
    (whole, value), (parts, mean) = (
        jax.jit(gradient_step(lenet.loss, optimizer, micro_batch=size))(state, batch) for size in (None, 2)
    )
    np.testing.assert_allclose(mean, value, rtol=1e-14)
    for ours, true in zip(jax.tree.leaves(parts.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_allclose(ours, true, rtol=1e-11, atol=1e-14)


def test_batches_that_do_not_fall_into_parts_are_named():
    params, batch = sample()
    with pytest.raises(ValueError, match=r"\[12\] examples, wanted a multiple of 5"):
        value_and_grad_in_parts(loss, 5)(params, batch)
    with pytest.raises(ValueError, match=r"\[11, 12\] examples"):
        value_and_grad_in_parts(loss, 4)(params, {**batch, "t": batch["t"][1:]})
    with pytest.raises(ValueError, match="micro_batch is 0"):
        value_and_grad_in_parts(loss, 0)
