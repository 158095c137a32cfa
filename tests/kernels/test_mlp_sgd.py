"""The deferred kernel against one step after another, and that against `jax.grad` of the loss."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxnets.kernels.mlp_sgd import default_group, sgd_block, sgd_block_plain, sgd_step
from jaxnets.rule import autodiff, rule


class Layer(NamedTuple):
    w: jax.Array
    b: jax.Array


class TrainingState(NamedTuple):
    params: tuple[Layer, ...]
    opt_state: jax.Array


def linear_forward(z):
    return z, ()


def linear_backward(residuals, a_bar):
    return (a_bar,)


def sigmoid_forward(z):
    a = 1 / (1 + jnp.exp(-z))
    return a, a


def sigmoid_backward(a, a_bar):
    return (a_bar * a * (1 - a),)


def softplus_forward(z):
    return jnp.logaddexp(z, 0), z


def softplus_backward(z, a_bar):
    return (a_bar / (1 + jnp.exp(-z)),)


def softmax_forward(z):
    e = jnp.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return p, p


def softmax_backward(p, p_bar):
    return (p * (p_bar - (p * p_bar).sum(1, keepdims=True)),)


def quadratic_forward(a, t):
    return ((a - t) ** 2).sum() / (2 * a.shape[0]), a - t


def quadratic_backward(e, c_bar):
    e_bar = c_bar * e / e.shape[0]
    return e_bar, -e_bar


def cross_entropy_forward(z, t):
    """Of logits z with a distribution t."""
    log_p = z - jax.scipy.special.logsumexp(z, axis=1, keepdims=True)
    return -(t * log_p).sum() / z.shape[0], (log_p, t)


def cross_entropy_backward(residuals, c_bar):
    log_p, t = residuals
    scale = c_bar / t.shape[0]
    return scale * (jnp.exp(log_p) * t.sum(1, keepdims=True) - t), -scale * log_p


linear = rule(linear_forward, linear_backward)
sigmoid = rule(sigmoid_forward, sigmoid_backward)
softplus = rule(softplus_forward, softplus_backward)
softmax = rule(softmax_forward, softmax_backward)
quadratic = rule(quadratic_forward, quadratic_backward)
cross_entropy = rule(cross_entropy_forward, cross_entropy_backward)

ENDS = {"quadratic": (sigmoid, quadratic), "softmax": (softmax, quadratic), "cross entropy": (linear, cross_entropy)}


class Problem(NamedTuple):
    params: tuple[Layer, ...]
    batch: tuple[jax.Array, jax.Array]


def problem(sizes, examples, dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(random.normal(size=shape), dtype)

    params = tuple(Layer(normal(n, m) / n**0.5, normal(m)) for n, m in itertools.pairwise(sizes))
    target = jnp.asarray(random.dirichlet(np.ones(sizes[-1]), examples), dtype)
    return Problem(params, (normal(examples, sizes[0]), target))


def by_grad(params, batch, *, activations, cost, learning_rate, batch_size, l2):
    """The steps of `sgd_block` as one would write them with `jax.grad`, no rule left."""

    def loss(params, x, t):
        a = x
        for layer, activation in zip(params, activations, strict=True):
            a = activation(a @ layer.w + layer.b[None, :])
        return cost(a, t) + l2 / 2 * sum((layer.w**2).sum() for layer in params)

    value_and_grad = jax.jit(jax.value_and_grad(autodiff(loss)))
    losses = []
    for start in range(0, batch[0].shape[0], batch_size):
        x, t = (leaf[start : start + batch_size] for leaf in batch)
        value, bar = value_and_grad(params, x, t)
        params = jax.tree.map(lambda p, g: p - learning_rate * g, params, bar)
        losses.append(value)
    return params, jnp.stack(losses)


def assert_close(got, wanted, tolerance):
    for left, right in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert left.shape == right.shape
        assert left.dtype == right.dtype
        assert float(jnp.linalg.norm(left - right)) <= tolerance * float(jnp.linalg.norm(right))


blocks = st.fixed_dictionaries(
    {
        "sizes": st.lists(st.integers(1, 6), min_size=2, max_size=4),
        "batch_size": st.integers(1, 4),
        "steps": st.integers(1, 6),
        "group": st.one_of(st.none(), st.integers(1, 7)),
        "l2": st.sampled_from([0.0, 0.3]),
        "hidden": st.sampled_from([sigmoid, softplus, softmax]),
        "end": st.sampled_from(sorted(ENDS)),
        "seed": st.integers(0, 2**16),
    }
)


DEEP = {
    "sizes": [5, 4, 6, 3],
    "batch_size": 3,
    "steps": 6,
    "l2": 0.3,
    "hidden": softplus,
    "end": "quadratic",
    "seed": 1,
}


@settings(max_examples=3, deadline=None)
@given(blocks)
@example(DEEP | {"group": 6})
@example(DEEP | {"group": 4})
def test_a_block_is_one_step_after_another(block):
    output, cost = ENDS[block["end"]]
    depth = len(block["sizes"]) - 1
    setting = {
        "activations": (block["hidden"],) * (depth - 1) + (output,),
        "cost": cost,
        "learning_rate": 0.4,
        "batch_size": block["batch_size"],
        "l2": block["l2"],
    }
    with jax.enable_x64():
        params, batch = problem(block["sizes"], block["steps"] * block["batch_size"], seed=block["seed"])
        wanted = by_grad(params, batch, **setting)
        assert_close(sgd_block_plain(params, batch, **setting), wanted, 1e-12)
        assert_close(sgd_block(params, batch, **setting, group=block["group"]), wanted, 1e-12)


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_float32_stays_close_over_many_steps(l2):
    setting = {
        "activations": (sigmoid, sigmoid),
        "cost": quadratic,
        "learning_rate": 0.5,
        "batch_size": 5,
        "l2": l2,
    }
    params, batch = problem((40, 12, 3), 500, np.float32)
    wanted = jax.jit(lambda p, b: sgd_block_plain(p, b, **setting))(params, batch)
    got = jax.jit(lambda p, b: sgd_block(p, b, **setting, group=10))(params, batch)
    assert_close(got, wanted, 2e-5)
    assert float(jnp.linalg.norm(got[0][0].w - params[0].w)) > 0.1


@pytest.mark.usefixtures("x64")
def test_the_layers_keep_their_type():
    params, batch = problem((3, 4, 2), 4)
    after, _ = sgd_block(params, batch, activations=(sigmoid, sigmoid), cost=quadratic, learning_rate=0.1, batch_size=2)
    assert jax.tree.structure(after) == jax.tree.structure(params)


@pytest.mark.usefixtures("x64")
def test_sgd_step_changes_the_parameters_of_a_state_and_nothing_else():
    params, batch = problem((3, 4, 2), 6)
    setting = {"activations": (sigmoid, sigmoid), "cost": quadratic, "learning_rate": 0.1, "batch_size": 2}
    state, losses = jax.jit(sgd_step(**setting, l2=0.2, group=2))(TrainingState(params, jnp.arange(2)), batch)
    wanted, wanted_losses = sgd_block(params, batch, **setting, l2=0.2, group=2)
    assert isinstance(state, TrainingState)
    assert state.opt_state.tolist() == [0, 1]
    assert_close((state.params, losses), (wanted, wanted_losses), 1e-14)
    assert losses.shape == (3,)


def test_the_default_group_defers_wide_layers_only_and_is_never_empty():
    assert [default_group(units, 10) for units in (3, 63, 64, 500)] == [1, 1, 10, 10]
    assert [default_group(100, batch_size) for batch_size in (1, 30, 100, 101)] == [100, 3, 1, 1]


@pytest.mark.parametrize("function", [sgd_block, sgd_block_plain])
@pytest.mark.parametrize(
    ("sizes", "examples", "changes", "message"),
    [
        ((3, 4, 2), 7, {}, r"x has 7 examples, wanted a multiple of batch_size 2"),
        ((3, 4, 2), 0, {}, r"x has 0 examples, wanted a multiple of batch_size 2"),
        ((3, 4, 2), 4, {"batch_size": 0}, r"x has 4 examples, wanted a multiple of batch_size 0"),
        ((3, 4, 2), 4, {"activations": (sigmoid,)}, r"got 1 activations for 2 layers"),
        ((3, 4, 2), 4, {"x": (4, 5)}, r"layer 1 gets 5 features, its w is \(3, 4\), its b is \(4,\)"),
        ((3, 4, 2), 4, {"x": (6, 3)}, r"x is \(6, 3\), t is \(4, 2\), wanted \(examples, n_in\)"),
        ((3, 4, 2), 4, {"t": (4, 3)}, r"t has 3 columns, the last layer 2 units \(t \(4, 3\)\)"),
    ],
)
@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_refused(function, sizes, examples, changes, message):
    params, (x, t) = problem(sizes, examples, np.float32)
    x = jnp.zeros(changes.get("x", x.shape))
    t = jnp.zeros(changes.get("t", t.shape))
    with pytest.raises(ValueError, match=f"{function.__name__}: {message}"):
        function(
            params,
            (x, t),
            activations=changes.get("activations", (sigmoid, sigmoid)),
            cost=quadratic,
            learning_rate=0.1,
            batch_size=changes.get("batch_size", 2),
        )


def test_an_empty_group_is_refused():
    params, batch = problem((3, 2), 4, np.float32)
    with pytest.raises(ValueError, match="sgd_block: group is 0, wanted at least 1"):
        sgd_block(params, batch, activations=(sigmoid,), cost=quadratic, learning_rate=0.1, batch_size=2, group=0)
