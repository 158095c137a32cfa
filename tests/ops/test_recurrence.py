"""The recurrent rules against plain loops, against autodiff of these, and against Flax's cells."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.kernels.parts import part_size
from jaxnets.ops.activations import linear, relu, sigmoid, tanh
from jaxnets.ops.recurrence import AttentionWeights, LSTMState, attention_lstm, elman, gru, lstm
from jaxnets.ops.recurrence.elman import elman_deltas
from jaxnets.rule import autodiff

pytestmark = pytest.mark.usefixtures("x64")

BATCH, N_IN, N = 4, 3, 5


def logistic(z):
    return 1 / (1 + jnp.exp(-z))


def elman_step(weights, h, x):
    w_x, w_h, b = weights
    return jnp.tanh(x @ w_x + h @ w_h + b)


def lstm_step(weights, state, x):
    w_x, w_h, b, *peepholes = weights
    h, c = state
    p_i, p_f, p_o = jnp.split(peepholes[0], 3) if peepholes else (0.0, 0.0, 0.0)
    z_i, z_f, z_g, z_o = jnp.split(x @ w_x + h @ w_h + b, 4)
    new_c = logistic(z_f + p_f * c) * c + logistic(z_i + p_i * c) * jnp.tanh(z_g)
    return LSTMState(logistic(z_o + p_o * new_c) * jnp.tanh(new_c), new_c)


def gru_step(weights, h, x):
    w_x, w_h, b, b_n = weights
    y_r, y_u, y_n = jnp.split(x @ w_x + b, 3)
    v_r, v_u, v_n = jnp.split(h @ w_h, 3)
    u = logistic(y_u + v_u)
    return (1 - u) * jnp.tanh(y_n + logistic(y_r + v_r) * (v_n + b_n)) + u * h


def loop(step, weights, x, state, lengths, reverse):
    """One example after the other, one step after the other, and no step that is not there."""
    outputs, lasts = [], []
    for n, length in enumerate(lengths):
        own = jax.tree.map(lambda leaf, n=n: leaf[n], state)
        h = [jnp.zeros(N)] * x.shape[1]
        for t in reversed(range(length)) if reverse else range(length):
            own = step(weights, own, x[n, t])
            h[t] = own.h if isinstance(own, LSTMState) else own
        outputs.append(jnp.stack(h))
        lasts.append(own)
    return jnp.stack(outputs), jax.tree.map(lambda *leaves: jnp.stack(leaves), *lasts)


def run_elman(weights, x, state, lengths, **static):
    return elman(x, *weights, state, lengths, **static)


def run_lstm(weights, x, state, lengths, **static):
    return lstm(x, *weights, state, lengths, **static)


def run_peephole_lstm(weights, x, state, lengths, **static):
    w_x, w_h, b, peepholes = weights
    return lstm(x, w_x, w_h, b, state, lengths, peepholes, **static)


def run_gru(weights, x, state, lengths, **static):
    return gru(x, *weights, state, lengths, **static)


RULES = {
    "elman": (run_elman, elman_step, ((N_IN, N), (N, N), (N,)), {}),
    "lstm": (run_lstm, lstm_step, ((N_IN, 4 * N), (N, 4 * N), (4 * N,)), {"keep_gates": False}),
    "lstm, gates kept": (run_lstm, lstm_step, ((N_IN, 4 * N), (N, 4 * N), (4 * N,)), {"keep_gates": True}),
    "peepholes": (run_peephole_lstm, lstm_step, ((N_IN, 4 * N), (N, 4 * N), (4 * N,), (3 * N,)), {"keep_gates": False}),
    "gru": (run_gru, gru_step, ((N_IN, 3 * N), (N, 3 * N), (3 * N,), (N,)), {"keep_gates": True}),
    "gru, gates not kept": (run_gru, gru_step, ((N_IN, 3 * N), (N, 3 * N), (3 * N,), (N,)), {"keep_gates": False}),
}

every_rule = pytest.mark.parametrize("name", RULES)


def normal(seed, *shapes):
    generator = np.random.default_rng(seed)
    return tuple(jnp.asarray(generator.normal(size=shape)) for shape in shapes)


def arguments(name, steps, seed=0):
    _, _, shapes, _ = RULES[name]
    x, h, c, *weights = normal(seed, (BATCH, steps, N_IN), (BATCH, N), (BATCH, N), *shapes)
    return tuple(weights), x, LSTMState(h, c) if "lstm" in name or name == "peepholes" else h


@every_rule
@pytest.mark.parametrize("reverse", [False, True])
def test_steps_one_by_one(name, reverse):
    """Of sequences that are whole, over before, and empty, in chunks that do not divide them."""
    run, step, _, static = RULES[name]
    weights, x, state = arguments(name, 7)
    lengths = (7, 0, 3, 1)
    ours = run(weights, x, state, jnp.array(lengths, jnp.int32), reverse=reverse, chunk=3, **static)
    theirs = loop(step, weights, x, state, lengths, reverse)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@every_rule
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_autodiff(name, steps, masked):
    """Of a scan of plain steps, with cotangents of the outputs and of the last states."""
    run, step, _, static = RULES[name]
    weights, x, state = arguments(name, steps)
    lengths = jnp.array([steps, 0, (steps + 1) // 2, 1], jnp.int32) if masked else None

    def plain(weights, x, state):
        def one(x, state, length):
            def body(state, inputs):
                t, x = inputs
                new = step(weights, state, x)
                here = t < length
                state = jax.tree.map(lambda a, b: jnp.where(here, a, b), new, state)
                h = state.h if isinstance(state, LSTMState) else state
                return state, jnp.where(here, h, 0.0)

            state, h = jax.lax.scan(body, state, (jnp.arange(steps), x))
            return h, state

        return jax.vmap(one)(x, state, jnp.full(BATCH, steps) if lengths is None else lengths)

    def pulled_back(f):
        @jax.jit
        def bars(weights, x, state):
            y, pull_back = jax.vjp(f, weights, x, state)
            generator = np.random.default_rng(1)
            return pull_back(jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape)), y))

        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return jax.tree.leaves(bars(weights, x, state))

    ours = pulled_back(lambda weights, x, state: run(weights, x, state, lengths, chunk=8, **static))
    for a, b in zip(ours, pulled_back(plain), strict=True):
        assert np.linalg.norm(a - b) <= 1e-12 * np.linalg.norm(b)


@every_rule
def test_padding_is_not_looked_at(name):
    """Whatever stands after the end of a sequence, everything is the same to the last bit, and its gradient is 0."""
    run, _, _, static = RULES[name]
    weights, x, state = arguments(name, 6)
    lengths = jnp.array([6, 2, 4, 0], jnp.int32)
    beyond = np.arange(6)[None, :, None] >= np.asarray(lengths)[:, None, None]

    def value(weights, x, state):
        h, last = run(weights, x, state, lengths, chunk=2, **static)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((h, last)))

    both = [jax.grad(value, (0, 1, 2))(weights, jnp.where(beyond, fill, x), state) for fill in (0.0, 1e3)]
    for a, b in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(both[0][1][np.broadcast_to(beyond, x.shape)], 0.0)


@every_rule
def test_reverse_is_the_reversed_input(name):
    run, _, _, static = RULES[name]
    weights, x, state = arguments(name, 6)
    h, last = run(weights, x, state, None, reverse=True, **static)
    flipped, also_last = run(weights, x[:, ::-1], state, None, **static)
    np.testing.assert_array_equal(h, flipped[:, ::-1])
    jax.tree.map(np.testing.assert_array_equal, last, also_last)


@every_rule
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_narrow_dtypes(name, dtype):
    """The gradient has the dtype, and not more than four times the error of autodiff of the same forward pass."""
    run, _, _, static = RULES[name]
    wide = arguments(name, 20)
    narrow = jax.tree.map(lambda leaf: leaf.astype(dtype), wide)
    wide = jax.tree.map(lambda leaf: leaf.astype(float), narrow)

    def value(weights, x, state):
        h, _ = run(weights, x, state, None, **static)
        return jnp.sum(h * h)

    exact = jax.jit(jax.grad(value, (0, 1, 2)))(*wide)
    ours = jax.jit(jax.grad(value, (0, 1, 2)))(*narrow)
    auto = jax.jit(jax.grad(autodiff(value), (0, 1, 2)))(*narrow)
    for a, b, truth in zip(*map(jax.tree.leaves, (ours, auto, exact)), strict=True):
        assert a.dtype == dtype
        error, other = (np.linalg.norm(np.asarray(leaf, float) - truth) for leaf in (a, b))
        assert error <= 4 * max(other, float(jnp.finfo(dtype).eps) * np.linalg.norm(truth))


def test_attention_over_many_steps_in_bfloat16():
    """What a thousand steps give to the same array is summed in more than 8 binary digits."""
    n, n_m, n_a, steps, places = 4, 3, 5, 1000, 6
    shapes = ((N_IN, 4 * n), (n_m, 4 * n), (n, 4 * n), (4 * n,), (n, n_a), (n_m, n_a), (n_a,))
    x, memory, h, c, *weights = normal(0, (1, steps, N_IN), (1, places, n_m), (1, n), (1, n), *shapes)
    wide = AttentionWeights(*weights), x, memory, LSTMState(h, c)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), wide)

    @jax.jit
    def slopes(weights, x, memory, state):
        value = lambda *a: jnp.sum(jnp.square(attention_lstm(*a).s))
        return jax.grad(value, (0, 2))(weights, x, memory, state)

    exact = slopes(*jax.tree.map(lambda leaf: leaf.astype(float), narrow))
    for ours, truth in zip(*map(jax.tree.leaves, (slopes(*narrow), exact)), strict=True):
        assert ours.dtype == jnp.bfloat16
        assert np.linalg.norm(np.asarray(ours, float) - truth) <= 0.05 * np.linalg.norm(truth)


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8])
def test_lengths_of_eight_bits(dtype):
    """They hold the lengths, but not the number of the last step."""
    weights, x, h_0 = arguments("elman", 300)
    lengths = jnp.array([3, 0, 100, 127])
    for ours, wanted in zip(
        elman(x, *weights, h_0, lengths.astype(dtype)), elman(x, *weights, h_0, lengths), strict=True
    ):
        np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize("activation", [tanh, sigmoid, relu])
def test_activations(activation):
    weights, x, h_0 = arguments("elman", 6)
    verify.rules(functools.partial(elman, activation=activation), x, *weights, h_0).check()


def test_an_activation_that_keeps_its_input_is_refused():
    weights, x, h_0 = arguments("elman", 6)
    with pytest.raises(ValueError, match="linear does not keep"):
        elman(x, *weights, h_0, activation=linear)


def test_deltas_of_every_step():
    """δ_t is the derivative of the loss with respect to what is added to z_t."""
    weights, x, h_0 = arguments("elman", 6)
    w_x, w_h, b = weights

    def value(added):
        h, states = h_0, []
        for t in range(6):
            h = jnp.tanh(x[:, t] @ w_x + h @ w_h + b[None, :] + added[t])
            states.append(h)
        return 0.5 * sum(jnp.sum(h * h) for h in states)

    (h, last), residuals = elman.forward(x, *weights, h_0, chunk=6)
    _, delta = elman_deltas(residuals, (h, jnp.zeros_like(last)), chunk=6)
    np.testing.assert_allclose(delta, jax.grad(value)(jnp.zeros((6, BATCH, N))), rtol=1e-12, atol=1e-14)


def test_flax_cells():
    """The same weights in Flax's cells, which have a Dense layer for each gate."""
    x, h, c = normal(3, (BATCH, 6, N_IN), (BATCH, N), (BATCH, N))

    def run(cell, carry):
        layer = nn.RNN(cell, return_carry=True)
        variables = layer.init(jax.random.key(0), x, initial_carry=carry)
        moved = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.arange(leaf.size).reshape(leaf.shape) / leaf.size, variables)
        return moved["params"]["cell"], layer.apply(moved, x, initial_carry=carry)

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        dense, (_, theirs) = run(nn.OptimizedLSTMCell(N, param_dtype=float), (c, h))
    weights = [jnp.concatenate([dense[k + gate]["kernel"] for gate in "ifgo"], 1) for k in "ih"]
    biases = jnp.concatenate([dense["h" + gate]["bias"] for gate in "ifgo"])
    np.testing.assert_allclose(lstm(x, *weights, biases, LSTMState(h, c))[0], theirs, rtol=1e-12)

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        dense, (_, theirs) = run(nn.GRUCell(N, param_dtype=float), h)
    # What Flax calls z is u here.
    weights = [jnp.concatenate([dense[k + gate]["kernel"] for gate in "rzn"], 1) for k in "ih"]
    biases = jnp.concatenate([dense["i" + gate]["bias"] for gate in "rzn"])
    np.testing.assert_allclose(gru(x, *weights, biases, dense["hn"]["bias"], h)[0], theirs, rtol=1e-12)

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        dense, (_, theirs) = run(nn.SimpleCell(N, param_dtype=float), h)
    ours = elman(x, dense["i"]["kernel"], dense["h"]["kernel"], dense["i"]["bias"], h)[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (4, 0, 3)}, "at least one step"),
        ({"x": (4, 7)}, r"x is \(4, 7\)"),
        ({"w_x": (2, 20)}, "x has 3 features"),
        ({"w_h": (5, 15)}, r"w_h is \(5, 15\)"),
        ({"b": (5,)}, r"b is \(5,\), wanted \(20,\)"),
        ({"h": (3, 5)}, r"state.h is \(3, 5\)"),
        ({"peepholes": (5,)}, r"peepholes is \(5,\)"),
    ],
)
@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named(change, message):
    shapes = {"x": (4, 7, 3), "w_x": (3, 20), "w_h": (5, 20), "b": (20,), "h": (4, 5), "c": (4, 5), "peepholes": (15,)}
    a = {name: jnp.zeros(shape) for name, shape in (shapes | change).items()}
    with pytest.raises(ValueError, match=f"^lstm: .*{message}"):
        lstm(a["x"], a["w_x"], a["w_h"], a["b"], LSTMState(a["h"], a["c"]), None, a["peepholes"])


@pytest.mark.usefixtures("own_errors")
def test_dtypes_and_lengths_are_checked():
    weights, x, h_0 = arguments("elman", 6)
    with pytest.raises(ValueError, match="one floating-point dtype"):
        elman(x.astype(jnp.float32), *weights, h_0)
    with pytest.raises(ValueError, match=r"lengths is float64\[4\], wanted 4 integers"):
        elman(x, *weights, h_0, jnp.ones(4))
    with pytest.raises(ValueError, match="chunk is 0"):
        elman(x, *weights, h_0, chunk=0)


@pytest.mark.usefixtures("own_errors")
def test_what_is_no_array_is_named():
    (w_x, w_h, b), x, (h, c) = arguments("lstm", 6)
    with pytest.raises(TypeError, match=r"lstm: state is a tuple, wanted an LSTMState\(h, c\)"):
        lstm(x, w_x, w_h, b, (h, c))
    with pytest.raises(TypeError, match="lstm: lengths is a list, wanted an array"):
        lstm(x, w_x, w_h, b, LSTMState(h, c), [6, 2, 4, 0])
    weights, x, h_0 = arguments("elman", 6)
    with pytest.raises(TypeError, match="elman: h_0 is a NoneType, wanted an array"):
        elman(x, *weights, None)
    with pytest.raises(TypeError, match=r"elman: activation is .*, wanted a rule"):
        elman(x, *weights, h_0, activation=jnp.tanh)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"state": (np.zeros((2, 5)),) * 2}, TypeError, "state is a tuple"),
        ({"state": LSTMState(*[np.zeros(5)] * 2)}, ValueError, r"state.h is \(5,\), wanted \(2, n\)"),
        (
            {"state": LSTMState(np.zeros((2, 5)), np.zeros((2, 4)))},
            ValueError,
            r"state.c is \(2, 4\), wanted \(2, 5\)",
        ),
        ({"weights": ()}, TypeError, "weights is a tuple"),
        ({"v": np.zeros((7, 1))}, ValueError, r"v is \(7, 1\), wanted \(7,\)"),
        ({"memory": np.zeros((2, 0, 6))}, ValueError, "at least one step and one place"),
        (
            {"memory": np.zeros((2, 8, 6), np.float32)},
            ValueError,
            "one floating-point dtype, got .*'memory': 'float32'",
        ),
        ({"lengths": np.zeros(3, int)}, ValueError, r"lengths is int64\[3\], wanted 2 integers"),
    ],
)
@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_attention_is_named(change, error, message):
    shapes = {"w_x": (3, 20), "w_s": (6, 20), "w_h": (5, 20), "b": (20,), "w_a": (5, 7), "u_a": (6, 7), "v": (7,)}
    weights = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    state = LSTMState(jnp.zeros((2, 5)), jnp.zeros((2, 5)))
    rest = {"x": jnp.zeros((2, 4, 3)), "memory": jnp.zeros((2, 8, 6)), "state": state, "lengths": None}
    weights |= {name: a for name, a in change.items() if name in weights}
    rest = (
        {"weights": AttentionWeights(**weights)} | rest | {name: a for name, a in change.items() if name not in weights}
    )
    with pytest.raises(error, match=f"^attention_lstm: .*{message}"):
        attention_lstm(*rest.values())


@pytest.mark.parametrize(
    ("length", "most", "size"), [(100, 10, 10), (7, 10, 7), (101, 10, 10), (50, 16, 10), (13, 4, 4)]
)
def test_sizes_of_parts(length, most, size):
    assert part_size(length, most) == size
