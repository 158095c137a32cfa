"""The adding problem, the temporal order and the copying task, against their definitions in the papers."""

import re

import numpy as np
import pytest

from jaxnets.data import TEMPORAL_ORDER_SYMBOLS, adding_problem, copy_task, temporal_order

DRAWS = [
    lambda rng: adding_problem(rng, 5, 30),
    lambda rng: temporal_order(rng, 5),
    lambda rng: temporal_order(rng, 5, symbols=3),
    lambda rng: copy_task(rng, 5, 7),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_the_seed_decides(draw):
    first, again, other = (draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.inputs != other.inputs).any()


@pytest.mark.parametrize("length", [11, 57, 100])
def test_adding_problem(length):
    inputs, lengths, targets = adding_problem(np.random.default_rng(0), 3000, length)
    longest = length + length // 10
    assert inputs.shape == (3000, longest, 2)
    assert [array.dtype for array in (inputs, lengths, targets)] == [np.float32, np.int32, np.float32]
    assert set(lengths) == set(range(length, longest + 1))
    assert targets.min() >= 0
    assert targets.max() <= 1
    seconds = set()
    for pairs, end, target in zip(inputs, lengths, targets, strict=True):
        values, markers = pairs[:end].T
        assert not pairs[end:].any()
        assert (np.abs(values) <= 1).all()
        assert markers[0] == markers[-1] == -1
        marked = np.flatnonzero(markers[1:-1]) + 1
        assert (markers[marked] == 1).all()
        # Where the first pair was drawn, its marker is -1, and it adds 0: one marker is left.
        assert len(marked) == (1 if values[0] == 0 else 2)
        assert len(marked) == 1 or marked[0] < 10
        # The T/2 - 1 places for the second leave out the marked one, so they reach to pair T/2 - 1, counted from 0.
        assert marked[-1] < max(10, length // 2)
        seconds.add(marked[-1])
        assert abs(target - (0.5 + values[marked].sum(dtype=np.float64) / 4)) < 1e-6
    assert max(seconds) == max(10, length // 2) - 1


def test_adding_problem_draws_evenly():
    """X1 in each of ten places, X2 in each of the T/2 others that it can have; values all over [-1, 1]."""
    n, length = 20_000, 40
    inputs, _, _ = adding_problem(np.random.default_rng(1), n, length)
    share = (inputs[:, :, 1] == 1).mean(0)
    # 19 places of X2: place i is free for it unless X1 has it.
    np.testing.assert_allclose(share[1:10], 1 / 10 + 9 / 10 / 19, atol=0.01)
    np.testing.assert_allclose(share[10:19], 1 / 19, atol=0.01)
    np.testing.assert_allclose(share[19], 1 / 19, atol=0.01)
    assert not share[20:].any()
    assert abs((inputs[:, 0, 0] == 0).mean() - (1 / 10 + 9 / 10 / 19)) < 0.01
    values = inputs[:, 1:length, 0]
    assert abs(values.mean()) < 0.005
    assert abs(values.var() - 1 / 3) < 0.005


CLASSES_2 = {"XX": 0, "XY": 1, "YX": 2, "YY": 3}
CLASSES_3 = {"XXX": 0, "XXY": 1, "XYX": 2, "XYY": 3, "YXX": 4, "YXY": 5, "YYX": 6, "YYY": 7}


@pytest.mark.parametrize(
    ("symbols", "classes", "places"),
    [(2, CLASSES_2, [(10, 20), (50, 60)]), (3, CLASSES_3, [(10, 20), (33, 43), (66, 76)])],
)
def test_temporal_order(symbols, classes, places):
    inputs, lengths, targets = temporal_order(np.random.default_rng(0), 2000, symbols)
    assert inputs.shape == (2000, 110, 8)
    assert [array.dtype for array in (inputs, lengths, targets)] == [np.float32, np.int32, np.int32]
    assert set(lengths) == set(range(100, 111))
    found = []
    for rows, end, target in zip(inputs, lengths, targets, strict=True):
        assert not rows[end:].any()
        assert (np.sort(rows[:end]) == [0, 0, 0, 0, 0, 0, 0, 1]).all()
        word = "".join(TEMPORAL_ORDER_SYMBOLS[code] for code in rows[:end].argmax(1))
        assert re.fullmatch("E[abcdXY]+B", word)
        found.append([match.start() for match in re.finditer("[XY]", word)])
        assert classes[re.sub("[^XY]", "", word)] == target
    for at, (low, high) in zip(np.array(found).T, places, strict=True):
        assert set(at) == set(range(low, high + 1))
    np.testing.assert_allclose(np.bincount(targets, minlength=len(classes)) / 2000, 1 / len(classes), atol=0.03)
    np.testing.assert_allclose(inputs[:, 1:10, :4].mean((0, 1)), 1 / 4, atol=0.02)


@pytest.mark.parametrize(("delay", "symbols", "length"), [(1, 8, 10), (5, 3, 4), (100, 8, 10), (2, 1, 1)])
def test_copy_task(delay, symbols, length):
    inputs, targets = copy_task(np.random.default_rng(0), 500, delay, symbols, length)
    assert inputs.shape == targets.shape == (500, delay + 2 * length)
    assert inputs.dtype == targets.dtype == np.int32
    blank, delimiter = symbols, symbols + 1
    for given, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
        kept = given[:length]
        assert given == kept + [blank] * (delay - 1) + [delimiter] + [blank] * length
        assert wanted == [blank] * (delay + length) + kept
    shares = np.bincount(inputs[:, :length].ravel(), minlength=symbols) / (500 * length)
    np.testing.assert_allclose(shares, 1 / symbols, atol=0.04)


def test_copy_task_as_in_the_paper():
    """Ten symbols of eight, and T + 20 steps."""
    inputs, _ = copy_task(np.random.default_rng(0), 3, 100)
    assert inputs.shape == (3, 120)
    assert inputs.max() == 9


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda rng: adding_problem(rng, 0, 100), "adding_problem: n is 0, wanted at least 1"),
        (lambda rng: adding_problem(rng, 1, 10), "adding_problem: length is 10, wanted at least 11"),
        (lambda rng: temporal_order(rng, -1), "temporal_order: n is -1, wanted at least 1"),
        (lambda rng: temporal_order(rng, 1, 4), "temporal_order: symbols is 4, wanted 2 or 3"),
        (lambda rng: copy_task(rng, 0, 1), "copy_task: n is 0, wanted at least 1"),
        (lambda rng: copy_task(rng, 1, 0), "copy_task: delay is 0, wanted at least 1"),
        (lambda rng: copy_task(rng, 1, 1, 0), "copy_task: symbols is 0, wanted at least 1"),
        (lambda rng: copy_task(rng, 1, 1, 8, 0), "copy_task: length is 0, wanted at least 1"),
    ],
)
def test_bad_arguments(draw, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        draw(np.random.default_rng(0))
