"""What to_flax and from_flax refuse, and by which name; namings of one's own."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.interop import from_flax, linen, to_flax
from jaxnets.interop.places import at
from jaxnets.nets import lstm, mlp, recurrent
from jaxnets.nets.mlp import Layer

LIKE = (
    Layer(jax.ShapeDtypeStruct((4, 5), jnp.float32), jax.ShapeDtypeStruct((5,), jnp.float32)),
    Layer(jax.ShapeDtypeStruct((5, 2), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)),
)


def zeros(like=LIKE):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)


def variables(**changes):
    made = to_flax(zeros(), linen.mlp)
    return {"params": made["params"] | changes}


def test_namings_need_no_flax():
    code = "import sys; from jaxnets.interop import linen, nnx; print('flax' in sys.modules, 'optax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_names_are_those_of_flax():
    assert jax.tree.map(jnp.shape, variables()) == {
        "params": {"Dense_0": {"kernel": (4, 5), "bias": (5,)}, "Dense_1": {"kernel": (5, 2), "bias": (2,)}}
    }


def test_blocks_are_the_gates_in_their_order():
    layer = lstm.Layer(jnp.arange(8.0)[None, :], jnp.zeros((2, 8)), jnp.arange(8.0))
    cell = to_flax(layer, linen.lstm)["params"]
    for number, gate in enumerate("ifgo"):
        np.testing.assert_array_equal(cell["i" + gate]["kernel"][0], [2 * number, 2 * number + 1])
        np.testing.assert_array_equal(cell["h" + gate]["bias"], [2 * number, 2 * number + 1])


def test_conversions_trace():
    params = mlp.init(jax.random.key(0), (4, 5, 2))
    there = jax.jit(partial(to_flax, naming=linen.mlp))(params)
    again = jax.jit(partial(from_flax, like=LIKE, naming=linen.mlp))(there)
    jax.tree.map(np.testing.assert_array_equal, again, params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"Dense_1": {"kernel": jnp.zeros((5, 3)), "bias": jnp.zeros(2)}},
            r"params/Dense_1/kernel has shape \(5, 3\), wanted \(5, 2\) for \[1\].w",
        ),
        ({"Dense_0": {"kernel": jnp.zeros((4, 5))}}, r"params/Dense_0/bias is missing, wanted \(5,\) for \[0\].b"),
        ({"Dense_2": {"bias": jnp.zeros(7)}}, "the parameters have no place for params/Dense_2/bias"),
        (
            {"Dense_0": {"kernel": "a word", "bias": jnp.zeros(5)}},
            r"params/Dense_0/kernel is a str, wanted an array for \[0\].w",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=f"^from_flax: {message}$"):
        from_flax(variables(**changes), LIKE, linen.mlp)


@pytest.mark.usefixtures("own_errors")
def test_blocks_of_different_sizes_are_named():
    layer = lstm.Layer(jnp.zeros((3, 6)), jnp.zeros((2, 8)), jnp.zeros(8))
    message = r": .w_x has shape \(3, 6\), wanted 4 blocks of columns of the same size$"
    with pytest.raises(ValueError, match="^to_flax" + message):
        to_flax(layer, linen.lstm)
    with pytest.raises(ValueError, match="^from_flax" + message):
        from_flax({}, layer, linen.lstm)


def test_no_cell_of_flax_has_peepholes():
    layer = lstm.Layer(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8), jnp.zeros(6))
    with pytest.raises(ValueError, match=r"^interop: the LSTM has peepholes, and no cell of Flax has"):
        to_flax(layer, linen.lstm)


def test_a_layer_of_another_kind_has_no_cell():
    head = recurrent.Head(jnp.zeros((3, 2)), jnp.zeros(2))
    with pytest.raises(TypeError, match=r"the recurrent layer is a .*Head.*, wanted one of rnn, lstm or gru"):
        to_flax(recurrent.Params((head,), head), linen.recurrent)


def test_a_naming_of_ones_own():
    """For a module whose layers have names: a tree of places."""
    places = (
        Layer(at("params", "hidden", "kernel"), at("params", "hidden", "bias")),
        Layer(at("params", "logits", "kernel"), at("params", "logits", "bias")),
    )
    made = to_flax(zeros(), lambda _: places)
    assert {name: layer["bias"].shape for name, layer in made["params"].items()} == {"hidden": (5,), "logits": (2,)}
    assert jax.tree.structure(from_flax(made, LIKE, lambda _: places)) == jax.tree.structure(LIKE)

    with pytest.raises(ValueError, match=r"^to_flax: the naming has another structure than the parameters"):
        to_flax(zeros(), lambda _: places[:1])
    with pytest.raises(ValueError, match=r"^to_flax: the naming has 'kernel' for \[0\].w, wanted a Place"):
        to_flax(zeros(), lambda _: (Layer("kernel", "bias"), places[1]))
    with pytest.raises(ValueError, match=r"two arrays at params/hidden/kernel, one of them \[1\].w"):
        to_flax(zeros(), lambda _: (places[0], places[0]))
