"""The inception module, and GoogLeNet.

A module looks at its input through four branches side by side and stacks their channels: 1×1; 1×1 then 3×3; 1×1 then
5×5; 3×3 max pool then 1×1.  The 1×1 convolutions reduce the channels that the expensive kernels read.  Stacking has the
simplest of all pull-backs: the cotangent is cut where the channels were joined, and the four cotangents of the input
are added.  The equations of the pieces are in jaxnets.ops.

Source: Szegedy et al. 2015, Going deeper with convolutions, figure 2b, table 1; section 5 for the auxiliary
classifiers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Float

from jaxnets.ops.activations import relu
from jaxnets.ops.affine import affine
from jaxnets.ops.convolution import conv2d, same
from jaxnets.ops.dropout import dropout
from jaxnets.ops.normalization import local_response_norm
from jaxnets.ops.pooling import global_mean_pool, max_pool, mean_pool

HE = initializers.he_normal()
AROUND = ((1, 1), (1, 1))


class Widths(NamedTuple):
    """The channels of each convolution of a module, named as in table 1 of the paper."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int

    @property
    def out(self) -> int:
        """The channels of the module's result."""
        return self.one + self.three + self.five + self.pool


class Layer(NamedTuple):
    """Weights and biases of a convolution or of a fully connected layer."""

    w: Float[Array, "..."]
    b: Float[Array, " n_out"]


class Module(NamedTuple):
    """The six convolutions of a module."""

    one: Layer
    three_reduce: Layer
    three: Layer
    five_reduce: Layer
    five: Layer
    pool: Layer


def init_module(key: Array, n_in: int, widths: Widths, *, dtype: Any = jnp.float32) -> Module:
    """Random weights (He et al. 2015), biases zero."""
    shapes = (
        (1, n_in, widths.one),
        (1, n_in, widths.three_reduce),
        (3, widths.three_reduce, widths.three),
        (1, n_in, widths.five_reduce),
        (5, widths.five_reduce, widths.five),
        (1, n_in, widths.pool),
    )
    keys = jax.random.split(key, len(shapes))
    return Module(*(_convolution(k, *shape, dtype) for k, shape in zip(keys, shapes, strict=True)))


def module(params: Module, x: Float[Array, "batch height width n_in"]) -> Float[Array, "batch height width n_out"]:
    """The four branches, their channels stacked in the order 1×1, 3×3, 5×5, pool."""
    around = max_pool(x, window=(3, 3), stride=(1, 1), padding=AROUND)
    branches = [
        _same(params.one, x),
        _same(params.three, _same(params.three_reduce, x)),
        _same(params.five, _same(params.five_reduce, x)),
        _same(params.pool, around),
    ]
    return jnp.concatenate(branches, axis=3)


class Architecture(NamedTuple):
    """A stem, and stages of modules with a max pool of stride 2 between them."""

    stem: tuple[int, int, int] | None
    """Filters of 7×7 with stride 2, of 1×1 and of 3×3; None: a single 3×3 of as many filters as the first module's."""
    stages: tuple[tuple[Widths, ...], ...]
    auxiliary: tuple[int, ...]
    """The modules, counted from 0, after which an auxiliary classifier stands."""


GOOGLENET = Architecture(
    (64, 64, 192),
    (
        (Widths(64, 96, 128, 16, 32, 32), Widths(128, 128, 192, 32, 96, 64)),
        (
            Widths(192, 96, 208, 16, 48, 64),
            Widths(160, 112, 224, 24, 64, 64),
            Widths(128, 128, 256, 24, 64, 64),
            Widths(112, 144, 288, 32, 64, 64),
            Widths(256, 160, 320, 32, 128, 128),
        ),
        (Widths(256, 160, 320, 32, 128, 128), Widths(384, 192, 384, 48, 128, 128)),
    ),
    (2, 5),
)
"""Table 1 of the paper, for 224×224 images: 22 layers with weights."""


def small_images(width: int = 16) -> Architecture:
    """Two stages of two modules for images of 28×28 or 32×32; a module gives 4·width channels, then 8·width.

    Raises:
      ValueError: if width is no multiple of 4, or not positive.
    """
    if width < 4 or width % 4:
        raise ValueError(f"inception.small_images: width is {width}, wanted a positive multiple of 4")
    few = Widths(width, width, 2 * width, width // 4, width // 2, width // 2)
    many = Widths(*(2 * channels for channels in few))
    return Architecture(None, ((few, few), (many, many)), ())


class Auxiliary(NamedTuple):
    """A classifier on the way: 1×1 convolution, hidden layer, logits."""

    reduce: Layer
    hidden: Layer
    head: Layer


class Params(NamedTuple):
    """Everything that is trained."""

    stem: tuple[Layer, ...]
    modules: tuple[Module, ...]
    auxiliary: tuple[Auxiliary, ...]
    head: Layer


class Logits(NamedTuple):
    """Of the classifier at the end, and of those on the way."""

    final: Float[Array, "batch classes"]
    auxiliary: tuple[Float[Array, "batch classes"], ...]


def init(
    key: Array, architecture: Architecture, *, channels: int = 3, classes: int = 1000, dtype: Any = jnp.float32
) -> Params:
    """Random parameters (He et al. 2015), biases zero.  Auxiliary classifiers are for 14×14 maps, as in GoogLeNet.

    Raises:
      ValueError: if the number of channels or of classes is not positive.
    """
    if min(channels, classes) < 1:
        raise ValueError(f"inception.init: channels is {channels} and classes {classes}, wanted positive numbers")
    widths = [w for stage in architecture.stages for w in stage]
    stem_key, head_key, auxiliary_key, *keys = jax.random.split(key, 3 + len(widths))
    if architecture.stem is None:
        shapes = [(3, channels, widths[0].out)]
    else:
        first, second, third = architecture.stem
        shapes = [(7, channels, first), (1, first, second), (3, second, third)]
    stem = tuple(
        _convolution(k, *shape, dtype) for k, shape in zip(jax.random.split(stem_key, len(shapes)), shapes, strict=True)
    )
    n_ins = [shapes[-1][2], *(w.out for w in widths[:-1])]
    modules = tuple(init_module(k, n, w, dtype=dtype) for k, n, w in zip(keys, n_ins, widths, strict=True))
    auxiliary = tuple(
        _init_auxiliary(jax.random.fold_in(auxiliary_key, at), widths[at].out, classes, dtype)
        for at in architecture.auxiliary
    )
    return Params(stem, modules, auxiliary, _dense(head_key, widths[-1].out, classes, dtype))


def apply(
    params: Params,
    x: Float[Array, "batch height width channels"],
    *,
    architecture: Architecture,
    dropout_key: Array | None = None,
) -> Logits:
    """Logits of the classifier; in training, with a key, also of the auxiliary ones.

    In training 40% of what the classifier reads is dropped, and 70% of what the auxiliary ones read.  The paper adds
    their losses to the classifier's with the factor 0.3.

    Raises:
      ValueError: if the images, the parameters and the architecture do not fit.
    """
    _check(params, architecture)
    a = _stem(params.stem, x, architecture)
    auxiliary, number = [], 0
    for index, stage in enumerate(architecture.stages):
        if index > 0:
            a = _halved(a)
        for _ in stage:
            a = module(params.modules[number], a)
            if dropout_key is not None and number in architecture.auxiliary:
                place = architecture.auxiliary.index(number)
                key = jax.random.fold_in(dropout_key, 1 + place)
                auxiliary.append(_auxiliary(params.auxiliary[place], a, key))
            number += 1
    pooled = global_mean_pool(a)
    if dropout_key is not None:
        pooled = dropout(jax.random.fold_in(dropout_key, 0), pooled, rate=0.4)
    return Logits(affine(pooled, params.head.w, params.head.b), tuple(auxiliary))


def _check(params: Params, architecture: Architecture) -> None:
    found = len(params.stem), len(params.modules), len(params.auxiliary)
    stem = 1 if architecture.stem is None else len(architecture.stem)
    if found != (wanted := (stem, sum(map(len, architecture.stages)), len(architecture.auxiliary))):
        raise ValueError(
            f"inception: params have {found} layers of the stem, modules and auxiliary classifiers, "
            f"the architecture {wanted}"
        )


def _stem(layers: tuple[Layer, ...], x: Array, architecture: Architecture) -> Array:
    if architecture.stem is None:
        return _same(layers[0], x)
    first, second, third = layers
    a = relu(conv2d(x, first.w, first.b, stride=(2, 2), padding=((3, 3), (3, 3))))
    a = local_response_norm(_halved(a))
    a = local_response_norm(_same(third, _same(second, a)))
    return _halved(a)


def _halved(a: Array) -> Array:
    return max_pool(a, window=(3, 3), stride=(2, 2), padding=AROUND)


def _auxiliary(params: Auxiliary, a: Array, key: Array) -> Array:
    a = mean_pool(a, window=(5, 5), stride=(3, 3))
    a = _same(params.reduce, a)
    a = relu(affine(lax.collapse(a, 1), params.hidden.w, params.hidden.b))
    return affine(dropout(key, a, rate=0.7), params.head.w, params.head.b)


def _same(layer: Layer, x: Array) -> Array:
    height, width = layer.w.shape[:2]
    return relu(conv2d(x, layer.w, layer.b, padding=same((height, width))))


def _init_auxiliary(key: Array, n_in: int, classes: int, dtype: Any) -> Auxiliary:
    reduce_key, hidden_key, head_key = jax.random.split(key, 3)
    return Auxiliary(
        _convolution(reduce_key, 1, n_in, 128, dtype),
        _dense(hidden_key, 4 * 4 * 128, 1024, dtype),
        _dense(head_key, 1024, classes, dtype),
    )


def _convolution(key: Array, kernel: int, n_in: int, n_out: int, dtype: Any) -> Layer:
    return Layer(HE(key, (kernel, kernel, n_in, n_out), dtype), jnp.zeros(n_out, dtype))


def _dense(key: Array, n_in: int, n_out: int, dtype: Any) -> Layer:
    return Layer(HE(key, (n_in, n_out), dtype), jnp.zeros(n_out, dtype))
