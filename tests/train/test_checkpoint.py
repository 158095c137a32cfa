"""A training that is killed and goes on ends as the one that was not; what is damaged or foreign is refused."""

import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from jaxnets.train import fit, gradient_step, init_state, init_stateful, stateful_step
from jaxnets.train.checkpoint import CheckpointError, Checkpoints, fit_resumable

# Orbax and the libraries below it warn of themselves.
pytestmark = pytest.mark.filterwarnings("ignore")

KEY = jax.random.key(3)
OPTIMIZER = optax.adam(1e-2)
DATA = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
OPTIONS = {"key": KEY, "batch_size": 7}


def loss(params, batch):
    return jnp.mean((batch @ params["w"] - 1) ** 2)


STEP = gradient_step(loss, OPTIMIZER)


def state_of(size=3):
    return init_state({"w": jnp.ones(size), "nothing": jnp.zeros((0, 2))}, OPTIMIZER)


def assert_same(state, other):
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        if jnp.issubdtype(ours.dtype, jax.dtypes.prng_key):
            ours, theirs = jax.random.key_data(ours), jax.random.key_data(theirs)
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run of five epochs, of which the last two are kept."""
    directory = tmp_path_factory.mktemp("run")
    with Checkpoints(directory, keep=2, run={"rate": 0.01}) as checkpoints:
        state, history = fit_resumable(STEP, state_of(), DATA, checkpoints=checkpoints, epochs=5, **OPTIONS)
        assert checkpoints.epochs() == (4, 5)
    return directory, state, history


def copied(written, tmp_path):
    subprocess.run(["cp", "-r", written[0], tmp_path / "run"], check=True)
    return tmp_path / "run"


def test_what_is_read_is_what_was_written(written):
    directory, state, history = written
    with Checkpoints(directory, keep=2, run={"rate": 0.01}) as checkpoints:
        found = checkpoints.restore(state_of(), KEY)
    assert_same(found.state, state)
    assert found.history == history


def test_an_interrupted_run_is_the_uninterrupted_one(written, tmp_path):
    """In memory, by an earlier test's checkpoints and by those of another directory: to the last bit."""
    whole, history = fit(STEP, state_of(), DATA, epochs=7, **OPTIONS)
    with Checkpoints(copied(written, tmp_path), keep=2, run={"rate": 0.01}) as checkpoints:
        resumed = fit_resumable(STEP, state_of(), DATA, checkpoints=checkpoints, epochs=7, **OPTIONS)
        again = fit_resumable(STEP, state_of(), DATA, checkpoints=checkpoints, epochs=6, **OPTIONS)
    assert_same(resumed.state, whole)
    assert_same(again.state, whole)
    assert [epoch.loss for epoch in resumed.history] == [epoch.loss for epoch in history]


def test_keys_in_the_state_go_on(tmp_path):
    def noisy(params, carried, batch, key):
        return loss(params, batch + jax.random.normal(key, batch.shape)), carried + 1

    step = stateful_step(noisy, OPTIMIZER)
    state = init_stateful({"w": jnp.ones(3)}, jnp.zeros((), jnp.int32), OPTIMIZER, jax.random.key(5))
    whole, _ = fit(step, state, DATA, epochs=2, **OPTIONS)
    for epochs in (1, 2):
        with Checkpoints(tmp_path) as checkpoints:
            found = fit_resumable(step, state, DATA, checkpoints=checkpoints, epochs=epochs, **OPTIONS)
    assert_same(found.state, whole)


def test_another_run_is_refused_by_what_differs(written):
    directory, *_ = written
    refused = pytest.raises(CheckpointError, match=r"is of another run: rate is 0\.01 there, 0\.02 here")
    with Checkpoints(directory, run={"rate": 0.02}) as checkpoints, refused:
        checkpoints.restore(state_of(), KEY)
    with Checkpoints(directory, run={"rate": 0.01}) as checkpoints:
        with pytest.raises(CheckpointError, match=r"key is threefry2x32 \[0, 3\] there, .*\[0, 4\] here"):
            checkpoints.restore(state_of(), jax.random.key(4))
        wanted = r"state\.opt_state\[0\]\.mu\['w'\] is float32\[3\] there, float32\[4\] here"
        with pytest.raises(CheckpointError, match=wanted):
            checkpoints.restore(state_of(4), KEY)


@pytest.mark.parametrize("damage", ["cut off", "one byte", "gone"])
@pytest.mark.parametrize("file", ["about/metadata", "arrays/d/*", "arrays/manifest.ocdbt"])
def test_damage_is_found_and_the_one_before_taken_only_if_asked(written, tmp_path, file, damage):
    directory = copied(written, tmp_path)
    (path,) = (directory / "5").glob(file)
    whole = path.read_bytes()
    middle = len(whole) // 2
    if damage == "gone":
        path.unlink()
    else:
        rest = b"" if damage == "cut off" else bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes(whole[:middle] + rest)
    with Checkpoints(directory, keep=2, run={"rate": 0.01}) as checkpoints:
        with pytest.raises(CheckpointError, match=r"5 is damaged: .*; fallback=True takes that of epoch 4"):
            checkpoints.restore(state_of(), KEY)
        resumed = fit_resumable(
            STEP, state_of(), DATA, checkpoints=checkpoints, epochs=5, fallback=True, **OPTIONS
        )  # writes the damaged one anew
        assert_same(checkpoints.restore(state_of(), KEY).state, written[1])
    assert_same(resumed.state, written[1])


def test_what_is_not_ours_is_refused(tmp_path):
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(3, args=ocp.args.StandardSave({"w": jnp.ones(3)}))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="3 is not one of jaxnets"):
        checkpoints.restore(state_of(), KEY)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="keep is 0, wanted at least 1"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(ValueError, match="wanted what JSON can hold"):
        Checkpoints(tmp_path, run={"data": {1}})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state_of(), KEY) is None


PROGRAM = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import jax, jax.numpy as jnp, numpy as np
import test_checkpoint as t
from jaxnets.train.checkpoint import Checkpoints, fit_resumable

directory, result, epochs, what, number = *sys.argv[1:3], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
left = {{what: number}}

def happens(what):
    if left.get(what) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[what] = left.get(what, 0) - 1

def audit(event, arguments):
    changes = event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree")
    writes = event == "open" and len(arguments) > 2 and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    if (changes or writes) and ".orbax" in str(arguments[0]) or event == "shutil.rmtree":
        happens("file")

sys.addaudithook(audit)

def counted(value):
    happens("step")
    return value

def step(state, batch):
    state, value = t.STEP(state, batch)
    return state, jax.pure_callback(counted, jax.ShapeDtypeStruct((), jnp.float32), value)

with Checkpoints(directory, keep=2) as checkpoints:
    state, history = fit_resumable(step, t.state_of(), t.DATA, checkpoints=checkpoints, epochs=epochs, **t.OPTIONS)
np.save(result, np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state)]))
"""


def assert_killed_runs_end_as_the_whole_one(tmp_path, epochs, kills):
    """Each process goes on where the one before was killed: at a step, or before it writes, renames or deletes."""

    def run(name, what="nothing", number=0):
        arguments = tmp_path / name, tmp_path / f"{name}.npy", epochs, what, number
        process = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, arguments)], stderr=subprocess.PIPE)
        return process.returncode

    for what, number in kills:
        assert run("killed", what, number) == -signal.SIGKILL, (what, number)
    assert run("killed") == 0
    assert run("whole") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "whole.npy"))


def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    """Six steps an epoch: in the first; when a checkpoint is begun; in an epoch after two; before the last renaming."""
    kills = [("step", 3), ("file", 9), ("step", 15), ("file", 19)]
    assert_killed_runs_end_as_the_whole_one(tmp_path, 5, kills)


@pytest.mark.slow
def test_a_run_that_is_killed_at_every_change_of_a_file(tmp_path):
    """Of more than two checkpoints, the deletion of the first with them."""
    assert_killed_runs_end_as_the_whole_one(tmp_path, 80, [("file", number) for number in range(48)])
