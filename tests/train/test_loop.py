"""The loop: the right batches in the right order, nothing lost, nothing destroyed, failures named."""

import inspect
import itertools
import os
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.train import (
    Epoch,
    NonFinite,
    NonFiniteError,
    State,
    epoch_order,
    fit,
    fit_by_epoch,
    gradient_step,
    init_state,
    no_better,
)

KEY = jax.random.key(7)


def record(state, batch):
    """A step that writes down, for each example it sees, the number of the step (from 1)."""
    count, seen, times = state.params
    count = count + 1
    return State((count, seen.at[batch].set(count), times.at[batch].add(1)), ()), count.astype(jnp.float32)


def blank(examples):
    nothing = jnp.zeros(examples, jnp.int32)
    return State((jnp.int32(0), nothing, nothing), ())


def add(state, batch):
    """An exact step: the parameter gains the sum of the batch; the loss is the batch's mean."""
    return State(state.params + batch.sum(), state.opt_state), batch.mean()


def count_steps(state, batch):
    """A step that counts itself and whose loss is that count."""
    return State(state.params + 1, ()), state.params + 1


def linear(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"]) - y) ** 2)


def linear_data(n=23):
    k1, k2 = jax.random.split(jax.random.key(0))
    return jax.random.normal(k1, (n, 3)), jax.random.normal(k2, (n,))


# --- order and batches


@pytest.mark.parametrize(("examples", "batch_size"), [(12, 4), (13, 4), (5, 5), (7, 1), (9, 8)])
@pytest.mark.parametrize("epochs", [1, 3])
def test_every_example_is_seen_once_an_epoch(examples, batch_size, epochs):
    state, _ = fit(record, blank(examples), jnp.arange(examples), key=KEY, batch_size=batch_size, epochs=epochs)
    count, _, times = state.params
    assert count == epochs * -(-examples // batch_size)
    np.testing.assert_array_equal(times, np.full(examples, epochs))


def test_batches_are_cut_from_the_epochs_order_the_rest_last():
    state, _ = fit(record, blank(13), jnp.arange(13), key=KEY, batch_size=4, epochs=2)
    seen = state.params[1]
    expected = np.zeros(13, int)
    expected[np.asarray(epoch_order(KEY, 2, 13))] = 4 + 1 + np.arange(13) // 4
    np.testing.assert_array_equal(seen, expected)


def test_the_order_depends_on_the_key_and_on_the_epoch_alone():
    orders = [tuple(epoch_order(jax.random.key(k), e, 50).tolist()) for k in (0, 1) for e in (1, 2, 3)]
    assert len(set(orders)) == 6
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert tuple(epoch_order(jax.random.key(1), 2, 50).tolist()) == orders[4]


def python_loop(step, state, data, key, batch_size, epochs):
    """The same training, step by step, without scan, donation or gather on the device."""
    step = jax.jit(step)
    n = len(jax.tree.leaves(data)[0])
    means = []
    for epoch in range(1, epochs + 1):
        order, total = np.asarray(epoch_order(key, epoch, n)), 0.0
        for first in range(0, n, batch_size):
            rows = order[first : first + batch_size]
            state, loss = step(state, jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], data))
            total += len(rows) * float(loss)
        means.append(total / n)
    return state, means


@pytest.mark.parametrize("batch_size", [1, 4, 10, 23])
def test_the_compiled_epoch_is_the_plain_loop(batch_size):
    with jax.enable_x64(True):
        optimizer = optax.adam(0.01)
        step = gradient_step(linear, optimizer)
        state = init_state({"w": jnp.array([0.3, -0.2, 0.9])}, optimizer)
        data = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), linear_data())
        got, history = fit(step, state, data, key=KEY, batch_size=batch_size, epochs=3)
        wanted, means = python_loop(step, state, data, KEY, batch_size, 3)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose([epoch.loss for epoch in history], means, rtol=1e-13)


def test_exact_arithmetic_is_the_plain_loop_bit_for_bit():
    data = jnp.arange(13.0)
    got, history = fit(add, State(jnp.zeros(()), ()), data, key=KEY, batch_size=4, epochs=3)
    wanted, means = python_loop(add, State(jnp.zeros(()), ()), data, KEY, 4, 3)
    assert got.params == wanted.params == 3 * 78
    assert [epoch.loss for epoch in history] == pytest.approx(means, rel=1e-15)


def train(key, **options):
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = init_state({"w": jnp.array([0.3, -0.2, 0.9])}, optimizer)
    options = {"batch_size": 4, "epochs": 3} | options
    state = options.pop("state", state)
    return fit(gradient_step(linear, optimizer), state, linear_data(), key=key, **options)


def same(a, b):
    return all(bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_the_same_key_gives_the_same_result_and_another_key_another():
    (a, history_a), (b, history_b), (c, _) = (
        train(jax.random.key(0)),
        train(jax.random.key(0)),
        train(jax.random.key(1)),
    )
    assert same(a, b)
    assert [epoch.loss for epoch in history_a] == [epoch.loss for epoch in history_b]
    assert not same(a.params, c.params)


def test_training_can_be_resumed():
    whole, history = train(KEY, epochs=5)
    part, first = train(KEY, epochs=2)
    resumed, last = train(KEY, state=part, epochs=3, start=2)
    assert same(whole, resumed)
    assert [(e.epoch, e.loss) for e in first + last] == [(e.epoch, e.loss) for e in history]


# --- state and data


def test_the_callers_state_and_data_live_on():
    optimizer = optax.adam(0.1)
    w = jnp.array([0.3, -0.2, 0.9])
    state = init_state({"w": w}, optimizer)
    data = linear_data()
    fit(gradient_step(linear, optimizer), state, data, key=KEY, batch_size=4, epochs=2)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((state, data)))
    np.testing.assert_array_equal(w, np.float32([0.3, -0.2, 0.9]))


def test_the_loops_own_state_is_donated():
    epochs = fit_by_epoch(add, State(jnp.zeros(()), ()), jnp.ones(4), key=KEY, batch_size=2, epochs=2)
    first, _ = next(epochs)
    assert first.params == 4
    second, _ = next(epochs)
    assert first.params.is_deleted()
    assert second.params == 8


def test_one_buffer_may_stand_twice_in_the_state():
    def step(state, batch):
        params = state.params + batch.sum()
        return State(params, params), batch.mean()

    x = jnp.ones(4)
    state, _ = fit(step, State(x[0], x[0]), x, key=KEY, batch_size=2, epochs=3)
    assert state.params == state.opt_state == 13
    shared = jnp.zeros(3)
    state, _ = fit(
        lambda state, batch: (state, batch.mean()), State(shared, shared), x, key=KEY, batch_size=2, epochs=2
    )
    np.testing.assert_array_equal(state.opt_state, np.zeros(3))


def test_weak_types_and_python_numbers_in_the_state_are_taken():
    def step(state, batch):
        return State(jnp.where(state.params > 0, 1.0, 2.0), (state.opt_state[0] + 1, 5)), batch.mean()

    state, _ = fit(step, State(jnp.asarray(0.5), (0, 4)), jnp.ones(5), key=KEY, batch_size=2, epochs=3)
    assert state.params == 1
    assert state.opt_state == (9, 5)


def test_a_step_may_carry_a_random_key():
    def step(state, batch):
        total, key = state.params, state.opt_state
        key, now = jax.random.split(key)
        return State(total.at[1:].set(total[:-1]).at[0].set(jax.random.uniform(now)), key), batch.mean()

    start = State(jnp.zeros(6), jax.random.key(0))
    state, _ = fit(step, start, jnp.ones(5), key=KEY, batch_size=2, epochs=2)
    assert len(set(state.params.tolist())) == 6
    assert jax.random.uniform(start.opt_state) == jax.random.uniform(jax.random.key(0))


def test_data_may_be_numpy_a_tree_and_of_any_dtype():
    data = {"x": np.arange(10, dtype=np.uint8), "deep": (np.ones((10, 2, 3)), jax.random.split(jax.random.key(0), 10))}

    def step(state, batch):
        assert batch["deep"][0].shape[1:] == (2, 3)
        assert batch["x"].dtype == jnp.uint8
        draws = jax.vmap(jax.random.uniform)(batch["deep"][1])
        return State(state.params + draws.sum(), ()), batch["x"].astype(jnp.float32).mean()

    state, (epoch,) = fit(step, State(jnp.zeros(()), ()), data, key=KEY, batch_size=3, epochs=1)
    np.testing.assert_allclose(state.params, jax.vmap(jax.random.uniform)(data["deep"][1]).sum(), rtol=1e-6)
    assert epoch.loss == pytest.approx(4.5)


def test_no_epochs_return_the_state_as_it_is():
    state = State(jnp.ones(3), ())
    after, history = fit(add, state, jnp.ones(4), key=KEY, batch_size=2, epochs=0)
    assert after is state
    assert history == ()


# --- history, callbacks, time


def test_history_callbacks_and_metrics():
    called = []
    state, history = fit(
        add,
        State(jnp.zeros(()), ()),
        jnp.arange(10.0),
        key=KEY,
        batch_size=4,
        epochs=3,
        evaluate=lambda params: {"total": params, "half": params / 2},
        on_epoch=called.append,
    )
    assert called == list(history)
    assert all(isinstance(epoch, Epoch) for epoch in history)
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert [epoch.metrics for epoch in history] == [{"total": 45 * k, "half": 45 * k / 2} for k in (1, 2, 3)]
    assert {type(value) for epoch in history for value in epoch.metrics.values()} == {float}
    # The mean over examples, and not over batches: the last one is half as large.
    assert [epoch.loss for epoch in history] == pytest.approx([4.5] * 3)
    assert all(epoch.seconds > 0 for epoch in history)
    assert state.params == 135


def test_without_evaluate_there_are_no_metrics():
    _, (epoch,) = fit(add, State(jnp.zeros(()), ()), jnp.ones(4), key=KEY, batch_size=2, epochs=1)
    assert epoch.metrics == {}


def test_evaluate_may_close_over_arrays():
    test_set = jnp.arange(6.0)
    _, history = fit(
        add,
        State(jnp.zeros(()), ()),
        jnp.ones(4),
        key=KEY,
        batch_size=2,
        epochs=2,
        evaluate=lambda params: {"mean": jax.jit(lambda p: (test_set * p).mean())(params), "constant": jnp.float32(3)},
    )
    assert [epoch.metrics for epoch in history] == [{"mean": 10, "constant": 3}, {"mean": 20, "constant": 3}]


def test_the_step_is_traced_once_and_compiling_is_not_training():
    traces = []

    def slow_to_trace(state, batch):
        traces.append(batch.shape)
        time.sleep(1 if len(batch) == 2 else 0)
        return add(state, batch)

    _, history = fit(slow_to_trace, State(jnp.zeros(()), ()), jnp.ones(7), key=KEY, batch_size=2, epochs=3)
    assert traces == [(2,), (1,)]
    assert all(epoch.seconds < 1 for epoch in history)


def test_the_arguments_are_checked_at_the_call_and_an_early_stop_keeps_the_state():
    with pytest.raises(ValueError, match="batch_size"):
        fit_by_epoch(add, State(jnp.zeros(()), ()), jnp.ones(4), key=KEY, batch_size=0, epochs=2)
    epochs = fit_by_epoch(add, State(jnp.zeros(()), ()), jnp.ones(4), key=KEY, batch_size=2, epochs=9)
    *_, (state, epoch) = itertools.islice(epochs, 3)
    assert epoch.epoch == 3
    assert state.params == 12


def test_fit_and_fit_by_epoch_take_the_same_arguments():
    def described(function):
        return [(p.name, p.kind, p.default, str(p.annotation)) for p in inspect.signature(function).parameters.values()]

    by_epoch = described(fit_by_epoch)
    assert by_epoch == described(fit)[: len(by_epoch)]
    assert [name for name, *_ in described(fit)[len(by_epoch) :]] == ["on_epoch", "stop"]


# --- several losses a step


def pairs(state, batch):
    """A step of two halves: two losses a call, and one for a batch that cannot be halved."""
    parts = jnp.split(batch, 2 if len(batch) % 2 == 0 else 1)
    return State(state.params + batch.sum(), ()), jnp.stack([part.mean() for part in parts])


@pytest.mark.parametrize("examples", [12, 13, 14])
def test_a_step_may_return_several_losses(examples):
    state, (epoch,) = fit(pairs, State(jnp.zeros(()), ()), jnp.arange(float(examples)), key=KEY, batch_size=4, epochs=1)
    assert state.params == sum(range(examples))
    assert epoch.loss == pytest.approx((examples - 1) / 2)


def test_a_bad_loss_among_several_is_counted_in_losses():
    data = jnp.arange(14.0).at[5].set(jnp.inf)
    # 3 calls of 4 examples with 2 losses each, then one of 2 examples with 2: 8 losses, a loss for 2 or 1 examples.
    place = np.asarray(epoch_order(KEY, 1, 14)).tolist().index(5)
    step = place // 2 + 1 if place < 12 else place - 12 + 7
    with pytest.raises(NonFiniteError, match=rf"^fit: loss is inf at epoch 1, step {step} of 8$"):
        fit(pairs, State(jnp.zeros(()), ()), data, key=KEY, batch_size=4, epochs=1)


# --- failures while training


@pytest.mark.parametrize(("value", "bad"), [("nan", 1), ("inf", 4), ("-inf", 5), ("nan", 13), ("nan", 15)])
def test_a_loss_that_is_not_finite_is_named(value, bad):
    def step(state, batch):
        state, count = count_steps(state, batch)
        return state, jnp.where(count >= bad, float(value), count)

    called = []
    with pytest.raises(FloatingPointError) as caught:
        fit(step, State(jnp.float32(0), ()), jnp.ones(13), key=KEY, batch_size=3, epochs=9, on_epoch=called.append)
    epoch, place = divmod(bad - 1, 5)
    assert isinstance(caught.value, NonFiniteError)
    assert str(caught.value) == f"fit: loss is {value} at epoch {epoch + 1}, step {place + 1} of 5"
    assert [each.epoch for each in called] == list(range(1, epoch + 1))


@pytest.mark.parametrize("poisoned", [0, 6, 12])
def test_one_bad_example_is_traced_to_its_step(poisoned):
    x, y = linear_data(13)
    data = x, y.at[poisoned].set(jnp.nan)
    optimizer = optax.sgd(0.1)
    place = np.asarray(epoch_order(KEY, 4, 13)).tolist().index(poisoned) // 3 + 1
    with pytest.raises(NonFiniteError, match=rf"^fit: loss is nan at epoch 4, step {place} of 5$"):
        fit(
            gradient_step(linear, optimizer),
            init_state({"w": jnp.ones(3)}, optimizer),
            data,
            key=KEY,
            batch_size=3,
            epochs=2,
            start=3,
        )


def test_a_diverging_run_stops():
    optimizer = optax.sgd(1e6)
    step = gradient_step(lambda w, x: jnp.mean((x * w) ** 2), optimizer)
    with pytest.raises(NonFiniteError, match=r"fit: loss is (inf|nan) at epoch 1, step \d+ of 50"):
        fit(step, init_state(jnp.float32(1), optimizer), jnp.ones(100), key=KEY, batch_size=2, epochs=5)


@pytest.mark.parametrize(
    ("bad", "non_finite", "where"),
    [
        (6, NonFinite.STOP, ", though all of its losses are"),
        (4, NonFinite.TRACE, ", step 1 of 3, though the loss is"),
        (6, NonFinite.TRACE, ", step 3 of 3, though the loss is"),
    ],
)
def test_a_parameter_that_a_step_spoils_is_named(bad, non_finite, where):
    def step(state, batch):
        count = state.opt_state + 1
        w = jnp.where(count == bad, jnp.nan, state.params["w"])
        return State({"w": w, "n": state.params["n"]}, count), batch.mean()

    start = State({"w": jnp.ones(2), "n": jnp.int32(1)}, jnp.int32(0))
    with pytest.raises(NonFiniteError, match=rf"^fit: params\['w'\] is not finite after epoch 2{where}$"):
        fit(step, start, jnp.ones(9), key=KEY, batch_size=3, epochs=2, non_finite=non_finite)


def test_bad_steps_may_be_skipped_and_are_counted():
    x, y = linear_data(13)
    optimizer = optax.adam(0.1)
    options = {"key": KEY, "batch_size": 3, "epochs": 2}
    start = init_state({"w": jnp.ones(3)}, optimizer)
    skipping = {"non_finite": NonFinite.SKIP, **options}
    state, history = fit(gradient_step(linear, optimizer), start, (x, y.at[6].set(jnp.nan)), **skipping)
    assert [epoch.skipped for epoch in history] == [1, 1]
    assert all(np.isfinite(epoch.loss) for epoch in history)
    assert jnp.isfinite(state.params["w"]).all()
    assert state.opt_state[0].count == 8
    # Where nothing is bad, nothing is changed.
    good, _ = fit(gradient_step(linear, optimizer), start, (x, y), **options)
    same, history = fit(gradient_step(linear, optimizer), start, (x, y), **skipping)
    np.testing.assert_array_equal(good.params["w"], same.params["w"])
    assert history[0].skipped == 0
    with pytest.raises(NonFiniteError, match="loss is nan at epoch 1, step 1 of 5"):
        fit(gradient_step(linear, optimizer), start, (x, y + jnp.nan), **skipping)


def epochs_of(*values):
    return tuple(Epoch(number + 1, 0.0, {"accuracy": value}, 0.0) for number, value in enumerate(values))


def test_training_stops_when_a_metric_becomes_no_better():
    stop = no_better("accuracy", patience=1)
    assert not stop(epochs_of(0.5, 0.4, 0.6, 0.6))
    assert stop(epochs_of(0.5, 0.4, 0.6, 0.6, 0.5))
    assert stop(epochs_of(0.5, 0.4, 0.3))
    assert no_better("accuracy", patience=0, smaller=True)(epochs_of(0.5, 0.4, 0.4))
    assert no_better("accuracy", patience=0, least=0.2)(epochs_of(0.5, 0.6))
    with pytest.raises(ValueError, match=r"no_better: metric is 'loss', wanted one of \['accuracy'\]"):
        no_better("loss", patience=1)(epochs_of(0.5))
    with pytest.raises(ValueError, match=r"patience is -1, least 0\.0; wanted numbers that are"):
        no_better("loss", patience=-1)

    def worse_after_three(params):
        return {"accuracy": -jnp.abs(params - 3.0)}

    step = lambda state, batch: (State(state.params + 1, ()), batch.mean())
    _, history = fit(
        step,
        State(jnp.zeros(()), ()),
        jnp.ones(3),
        key=KEY,
        batch_size=3,
        epochs=9,
        evaluate=worse_after_three,
        stop=stop,
    )
    assert len(history) == 5


def test_an_optimizer_may_hold_infinities():
    state = State(jnp.zeros(()), jnp.inf)
    after, _ = fit(add, state, jnp.ones(4), key=KEY, batch_size=2, epochs=2)
    assert after.opt_state == jnp.inf


# --- wrong arguments


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": ()}, "fit: data holds no arrays"),
        ({"data": jnp.ones((0, 3))}, r"fit: data has no examples \(data \(0, 3\)\)"),
        ({"data": {"x": jnp.ones((4, 2)), "y": jnp.ones(5)}}, r"fit: data\['y'\] has 5 examples, data\['x'\] has 4"),
        ({"data": [1.0, 2.0]}, r"fit: data\[0\] is 1\.0, wanted an array"),
        ({"data": (jnp.ones(3), "abc")}, r"fit: data\[1\] is 'abc', wanted an array"),
        ({"data": (jnp.ones(3), jnp.ones(()))}, r"fit: data\[1\] is .*, wanted an array whose first axis"),
        ({"batch_size": 0}, "fit: batch_size is 0, wanted at least 1"),
        ({"batch_size": -3}, "fit: batch_size is -3, wanted at least 1"),
        ({"batch_size": 7}, "fit: batch_size is 7, but data has 6 examples"),
        ({"epochs": -1}, "fit: epochs is -1, wanted at least 0"),
        ({"start": -1}, "fit: start is -1, wanted at least 0"),
        ({"key": jax.random.split(KEY, 2)}, r"fit: key has shape \(2,\), wanted one key"),
        ({"step": lambda state, batch: (state, batch[:, None])}, r"fit: step returned losses as float32\[2, 1\], want"),
        ({"step": lambda state, batch: (state, batch[:0])}, r"fit: step returned losses as float32\[0\], wanted"),
        ({"step": lambda state, batch: (state, jnp.int32(3))}, r"fit: step returned losses as int32\[\], wanted"),
        (
            {"step": lambda state, batch: (State(state.params.astype(jnp.bfloat16), ()), batch.mean())},
            r"fit: step returned state\.params as bfloat16\[\], got float32\[\]",
        ),
        (
            {"step": lambda state, batch: (State(jnp.stack([state.params] * 2), ()), batch.mean())},
            r"fit: step returned state\.params as float32\[2\], got float32\[\]",
        ),
        ({"step": lambda state, batch: (State(state.params, 1), batch.mean())}, "fit: step returned a state"),
        ({"evaluate": lambda params: {"all": jnp.ones(3)}}, r"fit: evaluate returned all of shape \(3,\)"),
    ],
)
def test_value_errors_name_the_argument(own_errors, change, message):
    arguments = {"step": add, "state": State(jnp.zeros(()), ()), "data": jnp.ones(6)}
    arguments |= {"key": KEY, "batch_size": 2, "epochs": 1} | change
    step, state, data = (arguments.pop(name) for name in ("step", "state", "data"))
    with pytest.raises(ValueError, match=message):
        fit(step, state, data, **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": jax.random.PRNGKey(0)}, r"fit: key is uint32 array of shape \(2,\), wanted a typed key, as from jax"),
        ({"key": 0}, "fit: key is 0, wanted a typed key"),
        ({"batch_size": 2.0}, r"fit: batch_size is 2\.0, wanted an int"),
        ({"epochs": 1.5}, r"fit: epochs is 1\.5, wanted an int"),
        (
            {"evaluate": lambda params: params},
            "fit: evaluate returned ShapeDtypeStruct, wanted a dict",
        ),
    ],
)
def test_type_errors_name_the_argument(own_errors, change, message):
    with pytest.raises(TypeError, match=message):
        fit(add, State(jnp.zeros(()), ()), jnp.ones(6), **({"key": KEY, "batch_size": 2, "epochs": 1} | change))


# --- several devices

TWO_DEVICES = """
    import warnings; warnings.simplefilter("error")
    import jax, jax.numpy as jnp, numpy as np, optax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from jaxnets.train import State, fit, gradient_step, init_state

    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    split, everywhere = NamedSharding(mesh, P("d")), NamedSharding(mesh, P())

    def loss(w, batch):
        return jnp.mean((batch @ w - 1) ** 2)

    def total(w):
        return {"total": w.sum()}

    def train(place_state, place_data):
        optimizer = optax.adam(0.1)
        state = place_state(init_state(jnp.ones((4, 3)), optimizer))
        data = place_data(jnp.sin(jnp.arange(40.0)).reshape(10, 4))
        key = jax.random.key(0)
        step = gradient_step(loss, optimizer)
        after, history = fit(step, state, data, key=key, batch_size=4, epochs=3, evaluate=total)
        np.testing.assert_allclose(history[-1].metrics["total"], after.params.sum(), rtol=1e-5)
        return after.params

    def onto(sharding):
        return lambda tree: jax.tree.map(lambda x: jax.device_put(x, sharding if x.ndim else everywhere), tree)

    here = lambda tree: tree
    wanted = train(here, here)
    cases = [(here, onto(split)), (onto(split), onto(everywhere)), (onto(everywhere), onto(split))]
    for place_state, place_data in cases:
        got = train(place_state, place_data)
        assert len(got.sharding.device_set) == 2, got.sharding
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert train(onto(split), onto(everywhere)).sharding.is_equivalent_to(split, 2)

    def spread(state, batch):
        w = jax.lax.with_sharding_constraint(state.params + batch.sum(0), split)
        return State(w, ()), batch.mean()

    state = State(jax.device_put(jnp.zeros(4), everywhere), ())
    state, _ = fit(spread, state, jnp.ones((5, 4)), key=jax.random.key(0), batch_size=2, epochs=2)
    np.testing.assert_array_equal(state.params, np.full(4, 10))
"""


def test_state_and_data_may_lie_on_a_mesh():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(TWO_DEVICES)], check=True, env=environment)
