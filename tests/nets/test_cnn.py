"""The small convolutional network: against loops, against Flax, and against what its chapter promises."""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.data import digits_6x6, one_hot
from jaxnets.nets import cnn
from jaxnets.rule import autodiff
from jaxnets.verify.checks.local import local

pytestmark = pytest.mark.usefixtures("x64")


@partial(jax.jit, static_argnames=("image", "outputs"))
def _init(key, *, image, outputs):
    return cnn.init(key, image=image, outputs=outputs, biases=jax.nn.initializers.normal(1.0), dtype=float)


def sample(n=4, image=(6, 8, 2), outputs=5, seed=0):
    params_key, x_key, t_key = jax.random.split(jax.random.key(seed), 3)
    params = _init(params_key, image=image, outputs=outputs)
    return params, (jax.random.normal(x_key, (n, *image)), jax.random.dirichlet(t_key, jnp.ones(outputs), (n,)))


def test_the_network_of_the_chapter_has_69_parameters():
    params = jax.eval_shape(cnn.init, jax.random.key(0))
    assert [leaf.size for leaf in jax.tree.leaves(params)] == [27, 3, 36, 3]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


class Peer(nn.Module):
    """The same network of Flax's layers, its pooled maps laid out as they are here."""

    @nn.compact
    def __call__(self, x):
        a = nn.sigmoid(nn.Conv(3, (3, 3), padding="VALID", param_dtype=float)(x))
        a = nn.max_pool(a, (2, 2), (2, 2))
        return nn.sigmoid(nn.Dense(5, param_dtype=float)(a.reshape(len(x), -1)))


def test_flax_has_the_same_output_and_gradient():
    params, (x, t) = sample()
    (wF, bF), (wO, bO) = params
    theirs = {"Conv_0": {"kernel": wF, "bias": bF}, "Dense_0": {"kernel": wO.reshape(-1, 5), "bias": bO}}

    def their_loss(theirs):
        return 0.5 * jnp.mean(jnp.sum((Peer().apply({"params": theirs}, x) - t) ** 2, -1))

    np.testing.assert_allclose(jax.jit(cnn.loss)(params, (x, t)), jax.jit(their_loss)(theirs), rtol=1e-13)
    bar, ours = jax.jit(jax.grad(their_loss))(theirs), jax.jit(jax.grad(cnn.loss))(params, (x, t))
    np.testing.assert_allclose(ours.filters.w, bar["Conv_0"]["kernel"], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(ours.output.w.reshape(-1, 5), bar["Dense_0"]["kernel"], rtol=1e-11, atol=1e-15)


def test_the_rule_and_the_written_gradient_are_the_same():
    args = sample()
    written, deltas = jax.jit(cnn.gradient)(*args)
    chex.assert_trees_all_close(written, jax.jit(jax.grad(cnn.loss, (0, 1)))(*args), rtol=1e-13)
    assert [delta.shape for delta in deltas.values()] == [(4, 4, 6, 3), (4, 5)]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("zO", lambda saved, a_bar, right: right._replace(output=a_bar)),
        ("zF", lambda saved, a_bar, right: right._replace(filters=right.filters.at[:, 1:].set(right.filters[:, :-1]))),
        ("zF", lambda saved, a_bar, right: right._replace(filters=right.filters / (1 - saved.a_filters))),
    ],
)
def test_a_wrong_delta_is_named(monkeypatch, name, wrong):
    deltas = cnn.deltas
    monkeypatch.setattr(cnn, "deltas", lambda saved, a_bar: wrong(saved, a_bar, deltas(saved, a_bar)))
    report = verify.gradient(cnn.loss, cnn.gradient, *sample(), checks=(local,))
    assert report.first_wrong is not None
    assert report.first_wrong.name == name


def test_of_equal_entries_the_first_one_is_the_maximum():
    params, (x, t) = sample(n=1)
    batch = jnp.zeros_like(x), t
    hand, deltas = jax.jit(cnn.gradient)(params, batch)
    assert (deltas["zF"][:, ::2, ::2] != 0).all()
    assert (deltas["zF"] != 0).sum() == 2 * 3 * 3
    chex.assert_trees_all_close(
        hand, jax.jit(jax.grad(autodiff(cnn.loss), (0, 1)))(params, batch), rtol=1e-12, atol=1e-16
    )


def test_all_96_training_images_are_learned():
    images, labels = digits_6x6()
    batch = jnp.asarray(images[..., None]), jnp.asarray(one_hot(labels, 3))

    @jax.jit
    def step(_, params):
        bar = jax.grad(cnn.loss)(params, batch)
        return jax.tree.map(lambda p, g: p - 2 * g, params, bar)

    params = cnn.init(jax.random.key(0))
    trained = jax.lax.fori_loop(0, 1000, step, params)
    assert cnn.loss(trained, batch) < 0.01 < cnn.loss(params, batch)
    np.testing.assert_array_equal(np.argmax(cnn.apply(trained, batch[0]), 1), labels)


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    params, (x, t) = sample()
    with pytest.raises(
        ValueError, match=r"cnn: wanted images NHWC and filters HWIO of the same channels, got x \(4, 6"
    ):
        cnn.apply(params, x[..., :1])
    with pytest.raises(ValueError, match=r"cnn: x .* make feature maps of 3 x 6, wanted even ones"):
        cnn.apply(params, x[:, 1:])
    with pytest.raises(ValueError, match=r"cnn: the output's w is \(2, 3, 3, 5\), the pooled maps are \(1, 3, 3\)"):
        cnn.apply(params, x[:, 2:])
    with pytest.raises(ValueError, match=r"cnn: the biases are \(3,\) and \(4,\), wanted \(3,\) and \(5,\)"):
        cnn.apply(params._replace(output=params.output._replace(b=t[0, :4])), x)
    with pytest.raises(ValueError, match="quadratic"):
        cnn.loss(params, (x, t[:, 1:]))
    for sizes in ({"image": (7, 6, 1)}, {"kernel": 7}, {"filters": 0}):
        with pytest.raises(ValueError, match=r"cnn\.init: image .* wanted positive numbers and even maps"):
            cnn.init(jax.random.key(0), **sizes)
