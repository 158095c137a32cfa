"""On many devices, and in many processes, the gradient and the run are those of one device."""

import os
import socket
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.train import data_parallel

COMMON = """
import functools, sys
import jax, jax.numpy as jnp, numpy as np, optax
jax.config.update("jax_enable_x64", True)
from jaxnets.nets import lenet, mlp, resnet
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic, softmax_cross_entropy_with_integer_labels
from jaxnets.train import Stateful, data_parallel, fit, gradient_step, init_state, init_stateful, stateful_step
from jaxnets.train.checkpoint import Checkpoints, fit_resumable

rng = np.random.default_rng(0)
X, T = rng.normal(size=(48, 6)), rng.uniform(size=(48, 3))
loss = functools.partial(mlp.loss, activations=(sigmoid, sigmoid), cost=quadratic)
optimizer = optax.adam(0.05)
start = init_state(mlp.init(jax.random.key(0), (6, 16, 3), dtype=float), optimizer)
step = gradient_step(loss, optimizer)
options = dict(key=jax.random.key(1), batch_size=16, epochs=2)

def total(params):
    return {"total": sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)), "loss": loss(params, (X, T))}

def save(path, state, history):
    np.savez(path, *map(np.asarray, jax.tree.leaves(state)), losses=[epoch.metrics["loss"] for epoch in history])

def assert_same(tree, other, tolerance=1e-12):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=tolerance, atol=tolerance)
"""

ON_EIGHT_DEVICES = """
assert jax.device_count() == 8
one = data_parallel(jax.devices()[:1], shares=8)
alone, history = fit(step, start, (X, T), placement=one, evaluate=total, **options)
for placement in (data_parallel(), data_parallel(split_state=True), data_parallel(jax.devices()[:4], shares=8)):
    state, epochs = fit(step, start, placement.examples((X, T)), placement=placement, evaluate=total, **options)
    assert_same(state, alone)
    assert_same([e.loss for e in epochs], [e.loss for e in history])
    assert_same([dict(e.metrics) for e in epochs], [dict(e.metrics) for e in history])
    w = state.params[0].w
    assert len(w.sharding.device_set) == placement.mesh.size
    assert w.sharding.is_fully_replicated != placement.split_state
    held = w.addressable_shards[0].data.size
    assert held == (w.size // 8 if placement.split_state else w.size), (held, w.size)

# The gradient of each batch, and no device is sent the examples of another one.
split = data_parallel()
placed = split.examples((X[:16], T[:16]))
compiled = jax.jit(jax.grad(loss)).lower(split.state(start.params), placed).compile()
assert_same(compiled(split.state(start.params), placed), jax.grad(loss)(start.params, (X[:16], T[:16])))
text = compiled.as_text()
assert "all-reduce" in text and "all-gather" not in text, text

# Batch normalisation: means over the examples of all devices.
architecture = resnet.small_images(8)._replace(widths=(4, 4, 8))
images, labels = rng.normal(size=(16, 8, 8, 1)), rng.integers(0, 10, 16).astype(np.int32)
params, statistics = resnet.init(jax.random.key(2), architecture, channels=1, dtype=float)

def of_batch(params, statistics, batch, key):
    logits, moved = resnet.apply(params, statistics, batch[0], architecture=architecture, training=True)
    return softmax_cross_entropy_with_integer_labels(logits, batch[1]), moved

sgd = optax.sgd(0.1)
begin = init_stateful(params, statistics, sgd, jax.random.key(3))
of_images = dict(key=jax.random.key(4), batch_size=16, epochs=1)
runs = [fit(stateful_step(of_batch, sgd), begin, (images, labels), placement=p, **of_images) for p in (one, split)]
assert_same(runs[0][0].params, runs[1][0].params, 1e-9)
"""

BEFORE_ALL_ELSE = """
import sys, jax
number, port, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize(f"localhost:{port}", 2, number)
"""

IN_TWO_PROCESSES = """
assert jax.device_count() == 4 and jax.local_device_count() == 2
placement = data_parallel()
mine = slice(24 * number, 24 * (number + 1))
data = placement.examples((X[mine], T[mine]))
more = dict(placement=placement, evaluate=total, key=options["key"], batch_size=16)
with Checkpoints(directory + "/run") as checkpoints:
    fit_resumable(step, start, data, checkpoints=checkpoints, epochs=1, **more)
with Checkpoints(directory + "/run") as checkpoints:
    assert checkpoints.epochs() == (1,)
    # The examples of this process will do too.
    state, history = fit_resumable(step, start, (X[mine], T[mine]), checkpoints=checkpoints, epochs=2, **more)
assert [epoch.epoch for epoch in history] == [1, 2]

# From the memory of the hosts, a few batches at a time: the same.
streamed, _ = fit(step, start, (X[mine], T[mine]), epochs=2, stream=2, **more)
for a, b in zip(jax.tree.leaves(streamed), jax.tree.leaves(state), strict=True):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
save(f"{directory}/{number}.npz", state, history)
"""


def environment(devices):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def test_eight_devices_compute_what_one_does():
    subprocess.run([sys.executable, "-c", COMMON + ON_EIGHT_DEVICES], env=environment(8), check=True)


def test_two_processes_with_a_part_of_the_data_each_end_with_the_parameters_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BEFORE_ALL_ELSE + COMMON + IN_TWO_PROCESSES, str(number), port, str(tmp_path)],
            env=environment(2),
        )
        for number in range(2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    alone = textwrap.dedent(
        """
        import os
        state, history = fit(step, start, (X, T), placement=data_parallel(shares=4), evaluate=total, **options)
        save(sys.argv[1], state, history)
        """
    )
    subprocess.run([sys.executable, "-c", COMMON + alone, tmp_path / "one.npz"], env=environment(1), check=True)
    first, second, one = (np.load(tmp_path / f"{name}.npz") for name in ("0", "1", "one"))
    for name in one:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], one[name], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="data_parallel: shares is 0, wanted a positive multiple of 1 devices"):
        data_parallel(jax.devices()[:1], shares=0)
    placement = data_parallel(jax.devices()[:1], shares=4)
    with pytest.raises(ValueError, match="fit: batch_size is 6 examples, wanted a multiple of 4 shares"):
        placement.check_shares("fit", data=8, batch_size=6)
    with pytest.raises(ValueError, match="wanted an array"):
        placement.examples(3)
    np.testing.assert_array_equal(placement.examples(np.arange(4.0)), jnp.arange(4.0))
