"""Networks of recurrent layers: deep, in both directions, cut off, and as models of language."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import verify
from jaxnets.data import public_domain_text, temporal_xor
from jaxnets.nets import birnn, gru, language_model, lstm, recurrent, rnn, srn
from jaxnets.nets.recurrent import Sequences
from jaxnets.ops import losses
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.recurrence import elman
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")

CELLS = {"rnn": rnn.CELL, "lstm": lstm.CELL, "gru": gru.CELL}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def network(cell, hidden=(4, 3)):
    return recurrent.init(jax.random.key(0), cell, 3, hidden, 2, dtype=float)


@pytest.mark.parametrize(("name", "count"), [("rnn", 448), ("lstm", 1792), ("gru", 1360)])
def test_parameter_counts(name, count):
    """Of 11 inputs and 16 units: 1, 4 and 3 blocks of 16 (11 + 16 + 1), one more bias of a GRU; and the head's 17."""
    params = recurrent.init(jax.random.key(0), CELLS[name], 11, (16,), 1)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count + 17


@every_cell
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_parameters_of_narrow_dtypes(cell, dtype):
    """The orthogonal matrices too, which no factorisation in such a dtype would give."""
    params = recurrent.init(jax.random.key(0), cell, 3, (4,), 2, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    block = params.layers[0].w_h[:, :4].astype(jnp.float32)
    np.testing.assert_allclose(block.T @ block, np.eye(4), atol=0.02)
    x = normal(1, 2, 6, 3).astype(dtype)
    assert recurrent.many_to_many(params, Sequences(x), cell=cell).dtype == dtype


def test_units_begin_with_memories_of_all_lengths():
    layer = lstm.chrono_init(jax.random.key(0), 3, 300, longest=50)
    i, f, g, o = jnp.split(layer.b, 4)
    np.testing.assert_array_equal(i, -f)
    assert not g.any()
    assert not o.any()
    lags = np.exp(np.asarray(f, float))
    assert 1 <= lags.min() < 2
    assert 48 < lags.max() <= 49.001
    assert abs(lags.mean() - 25) < 2
    with pytest.raises(ValueError, match="chrono_init: longest is 2, wanted at least 3"):
        lstm.chrono_init(jax.random.key(0), 3, 4, longest=2)


@every_cell
def test_the_written_gradient_is_that_of_the_rules(cell):
    """Of `apply` as one rule, of `many_to_many` layer by layer, and of autodiff."""
    params, batch = network(cell), (normal(1, 2, 6, 3), normal(2, 2, 6, 2))
    options = {"cell": cell, "cost": losses.quadratic}
    ((written, (x_bar, _)), deltas) = recurrent.gradient(params, batch, **options)

    def by_layers(params, x):
        y = recurrent.many_to_many(params, Sequences(x), cell=cell)
        return losses.quadratic(y.reshape(-1, 2), batch[1].reshape(-1, 2))

    def whole(params, x):
        return recurrent.loss(params, (x, batch[1]), **options)

    for other in (whole, by_layers, autodiff(whole)):
        bars = jax.jit(jax.grad(other, (0, 1)))(params, batch[0])
        for ours, theirs in zip(jax.tree.leaves((written, x_bar)), jax.tree.leaves(bars), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)
    assert {name: delta.shape[:2] for name, delta in deltas.items()} == {"o": (2, 6), "z1": (6, 2), "z2": (6, 2)}


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        pytest.param(rnn.CELL, "z1", id="rnn"),
        pytest.param(lstm.CELL, "z2", id="lstm", marks=pytest.mark.slow),
        pytest.param(gru.CELL, "z1", id="gru", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_step_is_found_in_its_layer_and_at_its_step(cell, name):
    params, batch = network(cell), (normal(1, 2, 5, 3), normal(2, 2, 5, 2))
    options = {"cell": cell, "cost": losses.quadratic, "activation": sigmoid}

    def wrong(params, batch):
        bars, deltas = recurrent.gradient(params, batch, **options)
        return bars, {**deltas, name: deltas[name].at[3].multiply(1.1)}

    loss = functools.partial(recurrent.loss, **options)
    report = verify.gradient(loss, wrong, params, batch, checks=verify.AT_THE_INPUT)
    assert report.first_wrong.name == name
    assert report.first_wrong.worst[0] == 3


@every_cell
def test_a_text_in_pieces_is_the_text(cell):
    """The states after one piece are those before the next."""
    params, x = network(cell), normal(1, 2, 7, 3)
    h, last = recurrent.states(params, Sequences(x), cell=cell)
    first, between = recurrent.states(params, Sequences(x[:, :4]), cell=cell)
    second, after = recurrent.states(params, Sequences(x[:, 4:]), between, cell=cell)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), h, rtol=1e-12)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), last, after)


@every_cell
def test_many_to_one_is_the_output_at_the_last_step_there_is(cell):
    params, x = network(cell), normal(1, 3, 6, 3)
    lengths = jnp.array([6, 1, 4])
    y = recurrent.many_to_many(params, Sequences(x, lengths), cell=cell)
    one = recurrent.many_to_one(params, Sequences(x, lengths), cell=cell)
    np.testing.assert_allclose(one, y[jnp.arange(3), lengths - 1], rtol=1e-12)


@every_cell
@pytest.mark.parametrize("between", birnn.Between)
def test_reading_the_reversed_sequence_exchanges_the_directions(cell, between):
    params = birnn.init(jax.random.key(0), cell, 3, (4,), 2, between=between, dtype=float)
    (layer,), x = params.layers, normal(1, 2, 6, 3)
    exchanged = params._replace(layers=(birnn.Directions(layer.backward, layer.forward),))
    run = functools.partial(birnn.states, cell=cell, between=between)
    (h, ends), (turned, turned_ends) = run(params, Sequences(x)), run(exchanged, Sequences(x[:, ::-1]))
    np.testing.assert_allclose(h, jnp.roll(turned[:, ::-1], 4, axis=2), rtol=1e-12)
    np.testing.assert_allclose(ends, jnp.roll(turned_ends, 4, axis=1), rtol=1e-12)


def test_flax_reads_in_both_directions():
    """Sequences of different lengths, the outputs side by side."""
    params = birnn.init(jax.random.key(0), rnn.CELL, 3, (4,), 2, dtype=float)
    moved = jax.tree.map(lambda leaf: leaf + 0.1, params)
    x, lengths = normal(1, 3, 6, 3), jnp.array([6, 2, 4])
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        both = nn.Bidirectional(*(nn.RNN(nn.SimpleCell(4, param_dtype=float)) for _ in range(2)))
        cells = [{"i": {"kernel": w_x, "bias": b}, "h": {"kernel": w_h}} for w_x, w_h, b in moved.layers[0]]
        names = both.init(jax.random.key(0), x)["params"]
        variables = {"params": dict(zip(names, ({"cell": cell} for cell in cells), strict=True))}
        theirs = both.apply(variables, x, seq_lengths=lengths)
    ours, _ = birnn.states(moved, Sequences(x, lengths), cell=rnn.CELL)
    there = jnp.arange(6)[None, :, None] < lengths[:, None, None]
    np.testing.assert_allclose(ours, jnp.where(there, theirs, 0.0), rtol=1e-12)


@pytest.mark.parametrize("between", birnn.Between)
def test_bidirectional_gradients(between):
    params = birnn.init(jax.random.key(0), gru.CELL, 3, (4, 5), 2, between=between, dtype=float)
    sequences = Sequences(normal(1, 3, 6, 3), jnp.array([6, 2, 4]))

    def value(f, params, x):
        return jnp.sum(jnp.sin(f(params, Sequences(x, sequences.lengths), cell=gru.CELL, between=between)))

    for f in (birnn.many_to_many, birnn.many_to_one):
        hand = jax.jit(jax.grad(functools.partial(value, f), (0, 1)))(params, sequences.x)
        truth = jax.jit(jax.grad(autodiff(functools.partial(value, f)), (0, 1)))(params, sequences.x)
        for ours, theirs in zip(jax.tree.leaves(hand), jax.tree.leaves(truth), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_directions_that_stay_apart_do_not_see_each_other():
    params = birnn.init(jax.random.key(0), rnn.CELL, 3, (4, 4), 2, between=birnn.Between.APART, dtype=float)

    def at_step_two(x):
        return jnp.sum(birnn.states(params, Sequences(x), cell=rnn.CELL, between=birnn.Between.APART)[0][:, 2, :4])

    slope = jax.grad(at_step_two)(normal(1, 1, 6, 3))
    assert np.asarray(slope[0, :3]).all()
    np.testing.assert_array_equal(slope[0, 3:], 0.0)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 9])
def test_truncation_stops_the_gradient_between_segments(steps):
    weights, x, h_0 = network(rnn.CELL).layers[0], normal(1, 2, 7, 3), normal(2, 2, 4)

    def value(weights, cut):
        h = h_0
        states = []
        for t in range(7):
            h = jax.lax.stop_gradient(h) if cut and t % steps == 0 else h
            h = jnp.tanh(x[:, t] @ weights.w_x + h @ weights.w_h + weights.b[None])
            states.append(h)
        return jnp.sum(jnp.sin(jnp.stack(states, 1)))

    def truncated(weights):
        return jnp.sum(jnp.sin(srn.truncated(lambda x, h: elman(x, *weights, h), x, h_0, steps=steps)[0]))

    np.testing.assert_allclose(truncated(weights), value(weights, False), rtol=1e-12)
    hand, truth = jax.jit(jax.grad(truncated))(weights), jax.jit(jax.grad(lambda w: value(w, True)))(weights)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-13), hand, truth)


def test_the_temporal_xor_is_learnt_with_elmans_truncation():
    """The third bit of three is the exclusive or of the two before; the others cannot be foretold."""
    stream = jnp.asarray(temporal_xor(np.random.default_rng(0), 3000))
    x, t = stream[:-1].reshape(1, -1, 1).astype(float), stream[1:].reshape(1, -1, 1).astype(float)
    params = recurrent.init(jax.random.key(0), rnn.CELL, 1, (8,), 1, dtype=float)
    optimizer = optax.adam(0.02)

    def outputs(params):
        layer = params.layers[0]
        h, _ = srn.truncated(lambda x, h: elman(x, *layer, h), x, jnp.zeros((1, 8)), steps=1)
        return recurrent.at_every_step(params.head, h)

    def loss(params):
        return losses.sigmoid_cross_entropy(outputs(params)[0], t[0])

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), None, length=400)[0][0]

    with jax.numpy_dtype_promotion("standard"):
        error = jnp.abs(jax.nn.sigmoid(outputs(train(params))) - t)[0, :, 0]
    third = error[1 : 1 + 3 * 999].reshape(-1, 3).mean(0)  # the bit after two that are random
    assert third[0] < 0.35
    assert third[1] > 0.45
    assert third[2] > 0.45


def test_jordan_with_no_feedback_is_a_perceptron_at_every_step():
    params = srn.init(jax.random.key(0), 3, 4, 2, dtype=float)._replace(w_y=jnp.zeros((2, 4)))
    x = normal(1, 2, 5, 3)
    y = srn.jordan(params, x, jnp.zeros((2, 2)))
    hidden = jax.nn.sigmoid(x @ params.w_x + params.b[None, None])
    np.testing.assert_allclose(y, jax.nn.sigmoid(hidden @ params.v + params.c[None, None]), rtol=1e-12)


@every_cell
def test_a_language_model_begins_at_random_guessing(cell):
    params = language_model.init(jax.random.key(0), cell, 11, features=4, hidden=(8,), dtype=float)
    tokens = jax.random.randint(jax.random.key(1), (4, 20), 0, 11)
    assert abs(language_model.loss(params, tokens, cell=cell) - np.log(11)) < 0.5


@every_cell
def test_what_is_generated_is_drawn_from_the_logits(cell):
    """At a temperature near 0, the likeliest word after each prefix."""
    params = language_model.init(jax.random.key(0), cell, 11, features=4, hidden=(8,), dtype=float)
    prompt = jax.random.randint(jax.random.key(1), (2, 3), 0, 11)
    words = language_model.generate(params, jax.random.key(2), prompt, 5, cell=cell, temperature=1e-9)
    logits, _ = language_model.apply(params, jnp.concatenate([prompt, words], 1), cell=cell)
    np.testing.assert_array_equal(words, jnp.argmax(logits, -1)[:, 2:-1])


def test_a_temperature_need_not_be_known_when_the_program_is_compiled():
    params = language_model.init(jax.random.key(0), rnn.CELL, 11, features=4, hidden=(8,), dtype=float)
    prompt = jnp.zeros((1, 1), jnp.int32)
    draw = lambda temperature: language_model.generate(
        params, jax.random.key(2), prompt, 5, cell=rnn.CELL, temperature=temperature
    )
    np.testing.assert_array_equal(jax.jit(draw)(2.0), draw(2.0))


def test_a_character_model_learns():
    """A hundred steps on the plays: under 3 nats a character, from 4.2 of guessing."""
    text = public_domain_text()
    params = language_model.init(jax.random.key(0), gru.CELL, len(text.characters), features=16, hidden=(64,))
    optimizer = optax.adam(0.01)
    windows = jnp.asarray(text.train[: 100 * 16 * 41].reshape(100, 16, 41))

    @jax.jit
    def train(params):
        def step(carry, tokens):
            params, state = carry
            value, slopes = jax.value_and_grad(functools.partial(language_model.loss, cell=gru.CELL))(params, tokens)
            updates, state = optimizer.update(slopes, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), windows)[1]

    with jax.numpy_dtype_promotion("standard"):
        values = train(params)
    assert values[0] > 4
    assert values[-10:].mean() < 3


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"recurrent.init: .*hidden \(\)"):
        recurrent.init(jax.random.key(0), rnn.CELL, 3, (), 2)
    with pytest.raises(ValueError, match=r"birnn.init: n_in 0"):
        birnn.init(jax.random.key(0), rnn.CELL, 0, (3,), 2)
    with pytest.raises(ValueError, match="truncated: steps is 0"):
        srn.truncated(lambda x, h: (x, h), jnp.zeros((1, 2, 3)), 0.0, steps=0)
    params = language_model.init(jax.random.key(0), rnn.CELL, 5)
    generate = functools.partial(language_model.generate, params, jax.random.key(0), cell=rnn.CELL)
    with pytest.raises(ValueError, match="generate: length is 0"):
        generate(jnp.zeros((1, 1), int), 0)
    with pytest.raises(ValueError, match="temperature nan; wanted positive"):
        generate(jnp.zeros((1, 1), int), 1, temperature=float("nan"))
    with pytest.raises(ValueError, match=r"generate: prompt is \(1, 0\), wanted .* at least one word"):
        generate(jnp.zeros((1, 0), int), 1)
    with pytest.raises(ValueError, match=r"language_model.loss: tokens is \(1, 1\), wanted .* at least two steps"):
        language_model.loss(params, jnp.zeros((1, 1), int), cell=rnn.CELL)
    with pytest.raises(ValueError, match=r"truncated: .* x \(2, 3\); wanted .* \(batch, time, n_in\)"):
        srn.truncated(lambda x, h: (x, h), jnp.zeros((2, 3)), 0.0, steps=2)
    deep, x = network(rnn.CELL), Sequences(jnp.zeros((2, 5, 3)))
    with pytest.raises(ValueError, match=r"recurrent.states: before has 1 states, wanted one for each of 2 layers"):
        recurrent.states(deep, x, (jnp.zeros((2, 4)),), cell=rnn.CELL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": np.zeros((2, 1))}, r"c is \(2, 1\), wanted \(2,\)"),
        ({"w_x": np.zeros((3, 7))}, r"w_x is \(3, 7\), wanted \(3, 4\)"),
        ({"v": np.zeros((4, 2), np.float32)}, "one floating-point dtype, got .*'v': 'float32'"),
    ],
)
@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_jordans_network_is_named(change, message):
    params = srn.init(jax.random.key(0), 3, 4, 2, dtype=float)._replace(**change)
    with pytest.raises(ValueError, match=f"^jordan: .*{message}"):
        srn.jordan(params, jnp.zeros((2, 5, 3)), jnp.zeros((2, 2)))


@pytest.mark.usefixtures("own_errors")
def test_jordans_network_wants_steps_and_units():
    params = srn.init(jax.random.key(0), 3, 4, 2, dtype=float)
    with pytest.raises(ValueError, match=r"jordan: x is \(2, 0, 3\), wanted .* at least one step"):
        srn.jordan(params, jnp.zeros((2, 0, 3)), jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"srn.init: n_in 0, n 4, n_out 2: wanted positive numbers"):
        srn.init(jax.random.key(0), 0, 4, 2)
