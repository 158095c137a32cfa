"""Single neurons: truth tables, learning rules, the limits of a sigmoid."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxnets.nets import mlp, neuron
from jaxnets.nets.neuron import Unit
from jaxnets.ops.activations import sigmoid

pytestmark = pytest.mark.usefixtures("x64")

BITS = np.array(list(itertools.product([0.0, 1.0], repeat=2)))


def bits():
    return jnp.asarray(BITS)


def separable(outputs):
    """Whether some unit computes these four outputs, decided by a linear program."""
    signs = np.where(np.array(outputs) > 0, 1.0, -1.0)
    rows = -signs[:, None] * np.hstack([BITS, np.ones((4, 1))])
    return linprog(np.zeros(3), A_ub=rows, b_ub=-np.ones(4), bounds=[(None, None)] * 3).success


@pytest.mark.parametrize("outputs", list(itertools.product([0.0, 1.0], repeat=4)))
def test_one_unit_computes_14_of_the_16_functions_of_two_bits(outputs):
    assert separable(outputs) == (outputs not in [(0, 1, 1, 0), (1, 0, 0, 1)])
    if separable(outputs):
        run = neuron.train_perceptron(Unit(jnp.zeros(2), jnp.zeros(())), bits(), jnp.array(outputs), 1.0, 20)
        assert run.converged()
        np.testing.assert_array_equal(neuron.perceptron(run.unit, bits()), outputs)
        # The same function with a threshold, which its sum may equal: halve the distance to the next one.
        theta = -run.unit.b + jnp.where(jnp.isin(-run.unit.b, bits() @ run.unit.w), 0.5, 0.0)
        np.testing.assert_array_equal(neuron.mcculloch_pitts(bits(), run.unit.w, theta), outputs)


def test_the_two_conventions_differ_at_the_threshold():
    x, w = jnp.array([[1.0, 1.0]]), jnp.array([1.0, -1.0])
    assert neuron.mcculloch_pitts(x, w, jnp.zeros(())) == 1
    assert neuron.perceptron(Unit(w, jnp.zeros(())), x) == 0


@pytest.mark.parametrize(
    ("targets", "epochs", "w", "b"),
    [([0, 0, 0, 1], 6, (2, 1), -2), ([0, 1, 1, 1], 4, (1, 1), 0), ([1, 1, 1, 0], 6, (-2, -1), 3)],
)
def test_the_perceptron_rule_learns_the_gates_in_so_many_epochs(targets, epochs, w, b):
    run = neuron.train_perceptron(Unit(jnp.zeros(2), jnp.zeros(())), bits(), jnp.array(targets, float), 1.0, epochs)
    assert (tuple(run.unit.w), run.unit.b) == (w, b)
    assert run.mistakes[-1] == 0
    assert (run.mistakes[:-1] > 0).all()


def test_the_perceptron_rule_never_learns_xor():
    run = neuron.train_perceptron(Unit(jnp.zeros(2), jnp.zeros(())), bits(), jnp.array([0.0, 1.0, 1.0, 0.0]), 1.0, 50)
    assert not run.converged()
    assert (run.mistakes[5:] == 4).all()


def test_nand_and_what_is_built_of_it():
    nand = neuron.nand_unit()
    np.testing.assert_array_equal(bits() @ nand.w + nand.b, [3, 1, 1, -1])
    np.testing.assert_array_equal(neuron.perceptron(nand, bits()), [1, 1, 1, 0])
    # One source on both inputs: a NOT, with the weight -4.
    same = jnp.array([0.0, 1.0])
    np.testing.assert_array_equal(neuron.nand(same, same), [1, 0])
    np.testing.assert_array_equal(neuron.perceptron(Unit(jnp.array([-4.0]), jnp.array(3.0)), same[:, None]), [1, 0])
    total, carry = neuron.half_adder(bits()[:, 0], bits()[:, 1])
    np.testing.assert_array_equal(total, [0, 1, 1, 0])
    np.testing.assert_array_equal(carry, [0, 0, 0, 1])


def test_xor_by_three_sigmoid_neurons():
    low, mid, high = 4.5397868702434395e-05, 0.99995460213129761, 0.99999999999990652
    np.testing.assert_allclose(neuron.sigmoid_neuron(neuron.or_unit(), bits()), [low, mid, mid, high], rtol=1e-13)
    params = neuron.xor_network()
    hidden = mlp.apply(params[:1], bits(), activations=(sigmoid,))
    np.testing.assert_allclose(hidden[:, 1], [high, mid, mid, low], rtol=1e-12)
    output = mlp.apply(params, bits(), activations=(sigmoid, sigmoid))[:, 0]
    y0, y1 = 4.5439104876545907e-05, 0.99995451962149495
    np.testing.assert_allclose(output, [y0, y1, y1, y0], rtol=1e-13)
    # With the hidden outputs rounded to bits, as it is usually calculated.
    rounded = neuron.sigmoid_neuron(neuron.and_unit(), jnp.round(hidden))
    np.testing.assert_allclose(rounded, [low, mid, mid, low], rtol=1e-12)


def test_layers_of_perceptrons_are_perceptrons_in_layers():
    params = mlp.init(jax.random.key(0), (3, 3, 5, 1), dtype=float)
    x = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=3)))
    a = x
    for layer in params:
        columns = [neuron.perceptron(Unit(w, b), a) for w, b in zip(layer.w.T, layer.b, strict=True)]
        a = jnp.stack(columns, 1)
    np.testing.assert_array_equal(neuron.perceptron_layers(params, x), a)


def test_a_sharp_sigmoid_is_a_perceptron_except_at_zero():
    unit = Unit(jnp.array([1.0, -1.0]), jnp.zeros(()))
    sharp = jax.tree.map(lambda p: 1e4 * p, unit)
    np.testing.assert_allclose(neuron.sigmoid_neuron(sharp, bits()), [0.5, 0, 1, 0.5], atol=1e-12)


def test_linear_response_is_the_tangent_and_its_error_is_quadratic():
    unit, change = Unit(jnp.array([0.7, -1.3]), jnp.array(0.4)), Unit(jnp.array([0.3, 0.2]), jnp.array(-0.1))

    def plain(unit):
        return jax.nn.sigmoid(bits() @ unit.w + unit.b)

    _, tangent = jax.jvp(plain, (unit,), (change,))
    np.testing.assert_allclose(neuron.linear_response(unit, bits(), change), tangent, rtol=1e-14)

    def error(h):
        small = jax.tree.map(lambda d: h * d, change)
        moved = jax.tree.map(jnp.add, unit, small)
        return np.abs(plain(moved) - plain(unit) - neuron.linear_response(unit, bits(), small)).max()

    assert np.log2(error(1e-3) / error(5e-4)) == pytest.approx(2, abs=0.01)


def test_batch_gradient_descent_reaches_least_squares_below_the_critical_rate_and_diverges_above():
    rng = np.random.default_rng(1)
    x, t = jnp.asarray(rng.normal(size=(20, 3))), jnp.asarray(rng.normal(size=20))
    critical = 2 / np.linalg.eigvalsh(x.T @ x)[-1]
    best = np.linalg.lstsq(x, t, rcond=None)[0]
    np.testing.assert_allclose(neuron.train_linear_unit(jnp.zeros(3), x, t, 0.9 * critical, 500), best, rtol=1e-10)
    assert np.linalg.norm(neuron.train_linear_unit(jnp.zeros(3), x, t, 1.05 * critical, 500)) > 1e6


def test_a_bias_is_the_weight_of_a_constant_input():
    x, w = jnp.asarray(np.random.default_rng(2).normal(size=(5, 3))), jnp.array([0.5, -1.0, 2.0, 0.25])
    np.testing.assert_allclose(neuron.linear_unit(w, neuron.augment(x)), x @ w[:3] + w[3], rtol=1e-14)


@pytest.mark.usefixtures("own_errors")
def test_errors():
    with pytest.raises(ValueError, match=r"neuron: wanted x \(batch, features\) and w \(features,\)"):
        neuron.perceptron(neuron.nand_unit(), jnp.ones((4, 3)))
    unit = Unit(jnp.zeros(2), jnp.zeros(()))
    for call in (
        lambda t: neuron.linear_unit_loss(unit.w, bits(), t),
        lambda t: neuron.train_linear_unit(unit.w, bits(), t, 1.0, 1),
        lambda t: neuron.train_perceptron(unit, bits(), t, 1.0, 1),
    ):
        with pytest.raises(ValueError, match=r"neuron: t has shape \(1,\), wanted one target for each row"):
            call(jnp.ones(1))
