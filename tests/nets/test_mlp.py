"""The fully connected network: against loops, against closed forms, against numbers that others printed."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from jaxnets import verify
from jaxnets.data import as_inputs, digits_4x3, mnist_small, one_hot
from jaxnets.nets import mlp
from jaxnets.nets.mlp import Layer
from jaxnets.nets.signal_flow import signal_flow_update
from jaxnets.ops import losses
from jaxnets.ops.activations import linear, log_softmax, relu, sigmoid, softmax, softplus, tanh

pytestmark = pytest.mark.usefixtures("x64")

TWO_SIGMOIDS = {"activations": (sigmoid, sigmoid), "cost": losses.quadratic}


def batch(sizes, n, seed=0):
    x_key, t_key = jax.random.split(jax.random.key(seed))
    return jax.random.normal(x_key, (n, sizes[0])), jax.random.dirichlet(t_key, jnp.ones(sizes[-1]), (n,))


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        ((12, 3, 2), 47),
        ((3, 3, 5, 1), 38),
        ((784, 15, 10), 11_935),
        ((784, 30, 10), 23_860),
        ((784, 100, 10), 79_510),
    ],
)
def test_parameter_counts(sizes, parameters):
    assert ravel_pytree(mlp.init(jax.random.key(0), sizes))[0].size == parameters


NETWORK = st.tuples(
    st.lists(st.integers(1, 5), min_size=2, max_size=4),
    st.integers(1, 5),
    st.integers(0, 2**31 - 1),
)


@settings(max_examples=3, deadline=None)
@given(NETWORK, st.data())
def test_any_depth_width_and_activation(network, data):
    sizes, n, seed = network
    chosen = st.sampled_from([linear, sigmoid, tanh, relu, softplus, softmax, log_softmax])
    gs = tuple(data.draw(chosen) for _ in sizes[1:])
    with jax.enable_x64():
        options = {"activations": gs, "cost": losses.quadratic, "l2": 0.01}
        args = mlp.init(jax.random.key(seed), sizes, dtype=float), batch(sizes, n, seed)
        report = verify.gradient(
            functools.partial(mlp.loss, **options), functools.partial(mlp.gradient, **options), *args
        )
        # A softmax of one unit, or units that are all cut off, has no gradient but rounding: that is not an error.
        assert report.first_wrong is None, str(report)


@pytest.mark.parametrize("cost", [losses.quadratic, losses.softmax_cross_entropy, losses.sigmoid_cross_entropy])
def test_the_rule_and_the_written_gradient_are_the_same(cost):
    options = {"activations": (tanh, sigmoid, linear), "cost": cost, "l2": 0.3}
    params, xt = mlp.init(jax.random.key(1), (4, 5, 3, 2), dtype=float), batch((4, 2), 6)
    written, deltas = mlp.gradient(params, xt, **options)
    by_rule = jax.grad(functools.partial(mlp.loss, **options), (0, 1))(params, xt)
    chex.assert_trees_all_close(written, by_rule, rtol=1e-14)
    assert [delta.shape for delta in deltas.values()] == [(6, 5), (6, 3), (6, 2)]


def test_a_mean_of_gradients_is_the_gradient_of_the_mean():
    loss = functools.partial(mlp.loss, **TWO_SIGMOIDS)
    params, (x, t) = mlp.init(jax.random.key(2), (4, 3, 2), dtype=float), batch((4, 2), 6)
    each = jax.vmap(lambda x, t: jax.grad(loss)(params, (x[None], t[None])))(x, t)
    chex.assert_trees_all_close(jax.tree.map(lambda g: g.mean(0), each), jax.grad(loss)(params, (x, t)), rtol=1e-13)


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        (mlp.SCALED_GAUSSIAN, 1 / 400),
        (mlp.UNIT_GAUSSIAN, 1.0),
        (mlp.GLOROT, 2 / 700),
        (mlp.HE, 2 / 400),
    ],
)
def test_initial_variances(scheme, variance):
    (layer,) = mlp.init(jax.random.key(3), (400, 300), weights=scheme)
    assert layer.w.dtype == jnp.float32
    assert np.var(layer.w) == pytest.approx(variance, rel=0.02)
    assert abs(np.mean(layer.w)) < 4 * (variance / layer.w.size) ** 0.5


def test_five_layer_fixture():
    params = tuple(
        Layer(jnp.array([[0.1 * n, 0.2], [-0.3, 0.4]]).T, jnp.array([0.05 * n, -0.05 * n])) for n in (1, 2, 3, 4)
    )
    xt = jnp.array([[0.5, -1.0]]), jnp.array([[1.0, 0.0]])
    options = {"activations": (sigmoid,) * 4, "cost": losses.quadratic}
    (grads, _), deltas = mlp.gradient(params, xt, **options)
    np.testing.assert_allclose(mlp.loss(params, xt, **options), 0.17029576829108026, rtol=1e-15)
    np.testing.assert_allclose(deltas["z1"][0], [-7.544314340127156e-05, -8.980113510599002e-05], rtol=1e-12)
    np.testing.assert_allclose(deltas["z4"][0], [-0.08607876123002905, 0.11188296518772795], rtol=1e-13)
    np.testing.assert_allclose(
        grads[0].w.T,
        [[-3.772157170063578e-05, 7.544314340127156e-05], [-4.490056755299501e-05, 8.980113510599002e-05]],
        rtol=1e-12,
    )


def test_the_signal_flow_picture_is_right_in_the_last_layer_only():
    params = mlp.init(jax.random.key(6), (2, 3, 2, 1), dtype=float)
    x, t = jnp.array([[0.3, 0.9]]), jnp.array([[0.2]])
    options = {"activations": (sigmoid,) * 3, "cost": losses.quadratic}
    (true, _), _ = mlp.gradient(params, (x, t), **options)
    drawn = signal_flow_update(params, x, t, 1.0)
    np.testing.assert_allclose(drawn[-1].w, -true[-1].w, rtol=1e-13)

    def as_gradient(params, xt):
        return tuple(Layer(-d.w, g.b) for d, g in zip(drawn, true, strict=True)), mlp.gradient(params, xt, **options)[
            0
        ][1]

    report = verify.gradient(functools.partial(mlp.loss, **options), as_gradient, params, (x, t))
    wrong = [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]
    assert wrong == ["params[0].w", "params[1].w"]


@pytest.mark.parametrize(
    ("cost", "start", "end"),
    [
        (losses.quadratic, (0.6, 0.9), 0.093955694863647243),
        (losses.quadratic, (2.0, 2.0), 0.20284842426777649),
        (losses.binary_cross_entropy, (0.6, 0.9), 0.011638208968903722),
        (losses.binary_cross_entropy, (2.0, 2.0), 0.012008741510817504),
    ],
)
def test_one_neuron_unlearns_its_bad_start(cost, start, end):
    """x = 1, target 0, rate 0.15, 300 steps: cross entropy has no slow start, and does nothing else."""
    params = (Layer(jnp.array([[start[0]]]), jnp.array([start[1]])),)
    xt = jnp.ones((1, 1)), jnp.zeros((1, 1))
    loss = functools.partial(mlp.loss, activations=(sigmoid,), cost=cost)

    def step(_, params):
        return jax.tree.map(lambda p, g: p - 0.15 * g, params, jax.grad(loss)(params, xt))

    final = mlp.apply(jax.lax.fori_loop(0, 300, step, params), xt[0], activations=(sigmoid,))
    np.testing.assert_allclose(final, [[end]], rtol=1e-12)


def train(params, xt, options, rate, steps):
    loss = functools.partial(mlp.loss, **options)

    def step(params, _):
        value, grads = jax.value_and_grad(loss)(params, xt)
        return jax.tree.map(lambda p, g: p - rate * g, params, grads), value

    return jax.lax.scan(step, params, None, length=steps)


def test_twelve_pixels_three_hidden_units_two_digits():
    """The 12-3-2 network with 47 parameters learns all 64 rebuilt images of 0 and 1."""
    images, labels = digits_4x3()
    x, t = jnp.asarray(images.reshape(64, 12), float), jnp.asarray(one_hot(labels, 2), float)
    params = mlp.init(jax.random.key(0), (12, 3, 2), dtype=float)
    params, costs = train(params, (x, t), TWO_SIGMOIDS, 5.0, 2000)
    assert costs[-1] < 0.01 < costs[0]
    outputs = mlp.apply(params, x, activations=(sigmoid, sigmoid))
    np.testing.assert_array_equal(outputs.argmax(1), labels)
    # One gradient of all 47 parameters: the mean over the examples of 64 gradients, and that of autodiff.
    verify.gradient(
        functools.partial(mlp.loss, **TWO_SIGMOIDS), functools.partial(mlp.gradient, **TWO_SIGMOIDS), params, (x, t)
    ).check()


def test_xor_is_learned_with_one_hidden_layer():
    x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    t = jnp.array([[0.0], [1.0], [1.0], [0.0]])
    options = {"activations": (tanh, linear), "cost": losses.sigmoid_cross_entropy}
    params = mlp.init(jax.random.key(1), (2, 2, 1), dtype=float)
    params, _ = train(params, (x, t), options, 0.5, 3000)
    logits = mlp.apply(params, x, activations=options["activations"])
    assert ((logits > 0) == (t == 1)).all()


def test_real_digits_are_learned_above_chance_in_a_few_steps():
    small = mnist_small()
    x, t = as_inputs(small.train_images)[:500], one_hot(small.train_labels, 10)[:500]
    options = {"activations": (relu, linear), "cost": losses.softmax_cross_entropy}
    _, costs = train(mlp.init(jax.random.key(0), (784, 16, 10)), (jnp.asarray(x), jnp.asarray(t)), options, 0.1, 60)
    assert costs[-1] < 0.7 * costs[0]


@pytest.mark.usefixtures("own_errors")
def test_errors_name_the_layer():
    params = mlp.init(jax.random.key(0), (4, 3, 2), dtype=float)
    x = jnp.ones((5, 4))
    both = (sigmoid, sigmoid)
    with pytest.raises(ValueError, match=r"mlp: x has shape \(4,\), wanted \(batch, features\)"):
        mlp.apply(params, x[0], activations=both)
    with pytest.raises(ValueError, match=r"mlp: layer 1 gets 3 features, its w is \(4, 3\)"):
        mlp.apply(params, x[:, :3], activations=both)
    with pytest.raises(ValueError, match=r"mlp: layer 2 gets 3 features, its w is \(4, 3\)"):
        mlp.apply((params[0], params[0]), x, activations=both)
    with pytest.raises(ValueError, match="mlp: got 1 activations for 2 layers"):
        mlp.apply(params, x, activations=(sigmoid,))
    with pytest.raises(TypeError, match=r"mlp: the activation of layer 2 is .*, wanted a rule"):
        mlp.apply(params, x, activations=(sigmoid, jnp.tanh))
    for sizes in [(4,), (4, 0, 2)]:
        with pytest.raises(ValueError, match=r"mlp\.init: sizes are"):
            mlp.init(jax.random.key(0), sizes)
