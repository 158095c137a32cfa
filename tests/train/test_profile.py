"""What is told of a step: its time, its operations, its memory, and the peak it is compared with."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.kernels.mlp_sgd import sgd_step
from jaxnets.nets import mlp
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic
from jaxnets.train import Flops, State, flops, gradient_step, init_state, matmul_peak, profile, profile_step
from jaxnets.train.profile import repeated

PEAK = 1e12


@pytest.fixture(autouse=True)
def known_peak(monkeypatch):
    monkeypatch.setattr(profile, "matmul_peak", lambda: PEAK)


def size_of(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def network():
    loss = functools.partial(mlp.loss, activations=(sigmoid, sigmoid), cost=quadratic)
    optimizer = optax.sgd(0.1, momentum=0.9)
    batch = jnp.ones((10, 12)), jnp.ones((10, 4))
    return gradient_step(loss, optimizer), init_state(mlp.init(jax.random.key(0), (12, 6, 4)), optimizer), batch


def test_of_a_step():
    step, state, batch = network()
    found = profile_step(step, state, batch, seconds=0.01)
    assert found.updates == 1
    assert found.flops == flops(step, state, batch) == Flops(2 * 10 * (2 * 12 * 6 + 3 * 6 * 4))
    assert 0 < found.seconds < 0.1
    assert found.compile_seconds > 0
    assert found.flops_per_second == pytest.approx(found.flops.count / found.seconds)
    assert found.share_of_peak == pytest.approx(found.flops_per_second / PEAK)
    # A step takes its state and its batch, and gives a state in the place of the old one.
    memory = found.memory
    assert size_of((state, batch)) <= memory.arguments <= size_of((state, batch)) + 64
    assert size_of(state) <= memory.aliased <= memory.outputs <= size_of(state) + 256
    assert memory.peak == memory.arguments + memory.outputs - memory.aliased + memory.temporary
    assert memory.device_peak is None or memory.device_peak > 0
    # The state can be used still, though the measured one was given away.
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_of_a_call_that_makes_several_updates():
    _, state, batch = network()
    several = sgd_step(activations=(sigmoid, sigmoid), cost=quadratic, learning_rate=1.0, batch_size=2)
    assert profile_step(several, State(state.params, ()), batch, seconds=0.01).updates == 5


def test_a_step_that_sleeps_takes_that_long():
    def step(state, batch):
        def sleep(x):
            time.sleep(0.005)
            return x

        mean = jax.pure_callback(sleep, jax.ShapeDtypeStruct((), jnp.float32), batch.mean() + state.params)
        return State(mean, state.opt_state), mean

    found = profile_step(step, State(jnp.float32(0), jax.random.key(0)), np.ones(3, np.float32), seconds=0.02)
    assert 0.005 < found.seconds < 0.05
    assert found.flops == Flops(0)


def test_temporary_memory():
    def step(state, batch):
        squares = batch[:, :, None] * batch[:, None, :] + state.params
        return State(jnp.linalg.cholesky(squares)[:1], ()), squares.sum()

    batch = np.ones((8, 32), np.float32)
    found = profile_step(step, State(jnp.eye(32)[None], ()), batch, seconds=0.001)
    assert found.memory.temporary >= 8 * 32 * 32 * 4


def test_every_turn_takes_the_examples_from_another_one_on():
    def step(state, batch):
        seen, number = state
        return State(seen.at[number].set(batch), number + 1), batch.astype(np.float32) * 2

    state, total = repeated(step)(State(jnp.zeros((4, 3), np.int32), 0), jnp.array([5, 6, 7]), np.int32(4))
    np.testing.assert_array_equal(state.params, [[5, 6, 7], [6, 7, 5], [7, 5, 6], [5, 6, 7]])
    assert state.opt_state == 4
    assert total == 4 * 2 * (5 + 6 + 7)


def test_the_peak_is_that_of_the_best_run_of_products():
    begin = time.perf_counter()
    peak = matmul_peak(largest=256)
    # Six products were run at least, and none of them faster than the peak.
    assert 0 < 6 * 2 * 256**3 / peak < 6 * (time.perf_counter() - begin)
    assert matmul_peak(jnp.bfloat16, largest=256) > 0


def mean(state, batch):
    return state, batch.mean()


@pytest.mark.parametrize(
    ("step", "batch", "message"),
    [
        (mean, (np.ones((3, 2)), np.ones(2)), r"profile_step: data\[1\] has 2 examples, data\[0\] has 3"),
        (mean, (), "profile_step: data holds no arrays"),
        (lambda state, batch: (State(1, 2), batch.mean()), np.ones(3, np.float32), "profile_step: step returned a sta"),
        (lambda state, batch: (state, batch[:, None]), np.ones(3, np.float32), "profile_step: step returned losses as"),
    ],
)
def test_errors(step, batch, message):
    with pytest.raises(ValueError, match=message):
        profile_step(step, State(jnp.zeros(3), ()), batch)
