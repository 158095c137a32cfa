"""Data that stays in host memory: the same run, to the last bit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.data import encode_idx, map_idx
from jaxnets.nets import lenet
from jaxnets.train import NonFinite, NonFiniteError, State, fit, fit_by_epoch, gradient_step, init_state
from jaxnets.train.checkpoint import Checkpoints, fit_resumable

KEY = jax.random.key(5)
OPTIMIZER = optax.adam(0.01)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (47, 28, 28)).astype(np.uint8)
LABELS = RNG.integers(0, 10, 47).astype(np.uint8)


def loss(params, batch):
    """LeNet-5, of images as they are in the files."""
    images, labels = batch
    x = images[..., None].astype(jnp.float32) / 255
    return lenet.loss(params, (x, jax.nn.one_hot(labels, 10)))


STEP = gradient_step(loss, OPTIMIZER)


def assert_same(run, other):
    for ours, theirs in zip(jax.tree.leaves(run[0]), jax.tree.leaves(other[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [epoch._replace(seconds=0.0) for epoch in run[1]] == [epoch._replace(seconds=0.0) for epoch in other[1]]


def start():
    return init_state(lenet.init(jax.random.key(0)), OPTIMIZER)


def test_a_network_of_mapped_files_and_from_checkpoints(tmp_path):
    """Nine batches of five and a rest of two."""
    for name, array in (("images", IMAGES), ("labels", LABELS)):
        (tmp_path / name).write_bytes(encode_idx(array))
    mapped = map_idx(tmp_path / "images"), map_idx(tmp_path / "labels")
    whole = fit(STEP, start(), (IMAGES, LABELS), key=KEY, batch_size=5, epochs=2)
    assert_same(fit(STEP, start(), mapped, key=KEY, batch_size=5, epochs=2, stream=4), whole)
    for epochs in (1, 2):
        with Checkpoints(tmp_path / "run") as checkpoints:
            found = fit_resumable(
                STEP, start(), mapped, checkpoints=checkpoints, key=KEY, batch_size=5, epochs=epochs, stream=4
            )
    assert_same(found, whole)


class Rows:
    """As an HDF5 file: indexed by rising row numbers, and by nothing else; it notes what is asked of it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.asked = []

    def __getitem__(self, rows):
        assert (np.diff(rows) > 0).all()
        self.asked.append(rows)
        return self.array[rows]


def add_up(state, batch):
    """What comes of it depends on the order of all examples."""
    params = state.params * 0.75 + batch.sum(0)
    return State(params, ()), params.mean()


@pytest.mark.parametrize(
    ("examples", "batch_size", "stream"),
    [(29, 3, 2), (30, 3, 3), (24, 2, 5), (7, 7, 2), (9, 8, 3), (15, 1, 2), (29, 3, 100)],
)
def test_the_same_in_chunks_of_any_size(examples, batch_size, stream):
    data = np.random.default_rng(1).normal(size=(examples, 13)).astype(np.float32)
    options = {"key": KEY, "batch_size": batch_size, "epochs": 2, "evaluate": lambda p: {"first": p[0]}}
    rows = Rows(data)
    run = fit(add_up, State(jnp.zeros(13), ()), rows, stream=stream, **options)
    assert_same(run, fit(add_up, State(jnp.zeros(13), ()), data, **options))
    assert max(map(len, rows.asked)) <= (stream + 1) * batch_size
    assert sorted(np.concatenate(rows.asked)[-examples:]) == list(range(examples))


@pytest.mark.parametrize("non_finite", NonFinite)
def test_what_is_not_finite_is_named_and_counted_as_in_memory(non_finite):
    data = np.ones((23, 2), np.float32)
    data[11] = np.nan
    fits = functools.partial(
        fit, add_up, State(jnp.zeros(2), ()), data, key=KEY, batch_size=2, epochs=1, non_finite=non_finite
    )
    if non_finite is NonFinite.SKIP:
        run = fits(stream=3)
        assert run[1][0].skipped == 1
        assert_same(run, fits())
        return
    with pytest.raises(NonFiniteError) as streamed:
        fits(stream=3)
    with pytest.raises(NonFiniteError) as whole:
        fits()
    assert str(streamed.value) == str(whole.value)


@pytest.mark.parametrize(
    ("stream", "error", "message"),
    [
        (1, ValueError, "fit: stream is 1, wanted at least 2"),
        (2.5, TypeError, r"fit: stream is 2\.5, wanted an int"),
        (True, TypeError, "fit: stream is True, wanted an int"),
    ],
)
@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named(stream, error, message):
    with pytest.raises(error, match=message):
        fit_by_epoch(add_up, State(jnp.zeros(2), ()), np.ones((4, 2)), key=KEY, batch_size=2, epochs=1, stream=stream)
