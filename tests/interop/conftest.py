"""Small networks with drawn parameters, in float64, each with an input and the function that the network is."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.interop import from_flax, to_flax
from jaxnets.nets import cnn, gru, language_model, lenet, lstm, mlp, recurrent, resnet, rnn, textcnn
from jaxnets.nets.recurrent import Sequences
from jaxnets.ops.activations import linear, relu
from jaxnets.ops.embedding import embed

RESNET = partial(
    resnet.Architecture, blocks=(1, 1), widths=(2, 3), large_images=False, shortcut=resnet.Shortcut.PROJECTION
)


class Network(NamedTuple):
    params: Any
    ours: Callable[..., Any]
    x: Any


def like(tree):
    """The same structure, with every array drawn: no bias stays 0, no scale 1."""
    draw = np.random.default_rng(9)
    return jax.tree.map(lambda leaf: jnp.asarray(0.5 * draw.normal(size=leaf.shape)), tree)


def init(function, **static):
    return like(jax.eval_shape(partial(function, dtype=float, **static), jax.random.key(0)))


def normal(*shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape))


def tokens():
    return jnp.arange(10).reshape(2, 5) * 3 % 7


def recurrent_network(net):
    params = init(recurrent.init, cell=net.CELL, n_in=5, hidden=(3, 4), n_out=2)
    return Network(params, lambda p, x: recurrent.many_to_many(p, Sequences(x), cell=net.CELL), normal(2, 4, 5))


def words(net):
    params = init(language_model.init, cell=net.CELL, words=7, features=5, hidden=(3, 4))
    return Network(params, lambda p, t: language_model.apply(p, t, cell=net.CELL)[0], tokens())


def residual(training, *, bottleneck):
    architecture = RESNET(bottleneck=bottleneck)
    params, statistics = init(resnet.init, architecture=architecture, classes=4)
    network = params, jax.tree.map(lambda a: 0.5 + a**2, statistics)  # variances are positive
    return Network(
        network, lambda p, x: resnet.apply(*p, x, architecture=architecture, training=training), normal(3, 6, 6, 3)
    )


NETWORKS = {
    "mlp": lambda: Network(
        init(mlp.init, sizes=(4, 5, 2)), partial(mlp.apply, activations=(relu, linear)), normal(3, 4)
    ),
    "cnn": lambda: Network(init(cnn.init, image=(6, 8, 2), outputs=4), cnn.apply, normal(2, 6, 8, 2)),
    "lenet": lambda: Network(init(lenet.init), lenet.apply, normal(2, 28, 28, 1)),
    "textcnn": lambda: Network(
        init(textcnn.init, words=7, features=4, widths=(2, 4), filters=3), textcnn.apply, tokens()
    ),
    "embedding": lambda: Network(normal(7, 3), embed, tokens()),
    "rnn": lambda: recurrent_network(rnn),
    "lstm": lambda: recurrent_network(lstm),
    "gru": lambda: recurrent_network(gru),
    "words by gru": lambda: words(gru),
    "words by lstm": lambda: words(lstm),
    "residual": lambda: residual(False, bottleneck=False),
    "residual, training": lambda: residual(True, bottleneck=False),
    "bottlenecks": lambda: residual(False, bottleneck=True),
    "bottlenecks, training": lambda: residual(True, bottleneck=True),
}


@pytest.fixture
def network(request, x64):
    return NETWORKS[request.param]()


@pytest.fixture
def drawn():
    return like


@pytest.fixture
def flax_promotes():
    """Flax adds arrays of other ranks, and asks which dtype holds both float64 and float32."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def there_and_back():
    def check(params, naming):
        again = from_flax(to_flax(params, naming), jax.eval_shape(lambda: params), naming)
        assert jax.tree.structure(again) == jax.tree.structure(params)
        for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)

    return check
