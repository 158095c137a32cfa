"""The one list of all derivations, walked by the command line and by the contract tests."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.catalog import block, samples
from jaxnets.catalog.associative_memories import ASSOCIATIVE_MEMORIES
from jaxnets.catalog.boltzmann import BOLTZMANN, RBM
from jaxnets.catalog.convolution import CONVOLUTION
from jaxnets.catalog.convolution_kernels import CONVOLUTION_KERNELS
from jaxnets.catalog.convolutional_networks import CONVOLUTIONAL_NETWORKS
from jaxnets.catalog.deep_belief import DEEP_BELIEF
from jaxnets.catalog.learning_rules import LEARNING_RULES
from jaxnets.catalog.pooling_and_normalization import DROPOUT, NORMALIZATION, POOLING
from jaxnets.catalog.recurrence import RECURRENCE
from jaxnets.catalog.residual import EMBEDDING, RESIDUAL
from jaxnets.catalog.samples import Sample, normal
from jaxnets.nets import mlp
from jaxnets.ops import activations, losses, steps
from jaxnets.ops.affine import affine
from jaxnets.rule import Rule
from jaxnets.verify import Derivation

ACTIVATIONS, LOSSES, MLP = "derivations/activations.md", "derivations/losses.md", "derivations/mlp.md"

Unary = Callable[..., Array]


def _elementwise(
    name: str, function: Rule[..., Array], prime: Unary, second: Unary, tags: tuple[str, str, str]
) -> tuple[Derivation, ...]:
    """A rule, and its first and second derivative as functions of z: each as the gradient of the one before."""
    value_tag, prime_tag, second_tag = tags

    def slope_of(f: Unary, f_prime: Unary) -> dict[str, Callable[..., Any]]:
        return {
            "function": lambda z, c: jnp.sum(c * f(z)),
            "gradient": lambda z, c: (c * f_prime(z), f(z)),
        }

    two = normal((5, 3), (5, 3))
    return (
        Derivation(f"activations/{name}", function, normal((5, 3)), ACTIVATIONS, (value_tag, prime_tag)),
        Derivation(
            f"activations/{name}/prime",
            sample=two,
            document=ACTIVATIONS,
            equations=(prime_tag,),
            **slope_of(function, prime),
        ),
        Derivation(
            f"activations/{name}/second",
            sample=two,
            document=ACTIVATIONS,
            equations=(second_tag,),
            **slope_of(prime, second),
        ),
    )


def _loss(name: str, function: Callable[..., Any], sample: Sample, *tags: str) -> Derivation:
    return Derivation(f"losses/{name}", function, sample, LOSSES, tags)


_PAIR = normal((5, 3), (5, 3))
_A, _S, _L = activations, steps, losses

_SIGMOID_NET: dict[str, Any] = {
    "activations": (_A.tanh, _A.sigmoid, _A.sigmoid),
    "cost": _L.quadratic,
    "l2": 0.1,
}
_SOFTMAX_NET: dict[str, Any] = {
    "activations": (_A.relu, _A.softplus, _A.linear),
    "cost": _L.softmax_cross_entropy,
}

_DIGITS_NET: dict[str, Any] = {
    "activations": (_A.sigmoid, _A.linear),
    "cost": _L.sigmoid_cross_entropy,
}

DERIVATIONS: tuple[Derivation, ...] = (
    Derivation("affine", affine, normal((5, 3), (3, 7), (7,)), "derivations/affine.md", ("AF1", "AF2", "AF3", "AF4")),
    *_elementwise("unit_step", _S.unit_step, _S.unit_step_prime, _S.unit_step_second, ("AC1", "AC2", "AC3")),
    *_elementwise("sign", _S.sign, _S.sign_prime, _S.sign_second, ("AC4", "AC5", "AC6")),
    *_elementwise(
        "piecewise_linear",
        _S.piecewise_linear,
        _S.piecewise_linear_prime,
        _S.piecewise_linear_second,
        ("AC7", "AC8", "AC9"),
    ),
    *_elementwise("linear", _A.linear, _A.linear_prime, _A.linear_second, ("AC10", "AC11", "AC12")),
    *_elementwise("sigmoid", _A.sigmoid, _A.sigmoid_prime, _A.sigmoid_second, ("AC13", "AC14", "AC15")),
    *_elementwise("tanh", _A.tanh, _A.tanh_prime, _A.tanh_second, ("AC16", "AC17", "AC18")),
    *_elementwise("softplus", _A.softplus, _A.softplus_prime, _A.softplus_second, ("AC19", "AC20", "AC21")),
    *_elementwise("relu", _A.relu, _A.relu_prime, _A.relu_second, ("AC22", "AC23", "AC24")),
    *_elementwise("leaky_relu", _A.leaky_relu, _A.leaky_relu_prime, _A.leaky_relu_second, ("AC25", "AC26", "AC27")),
    Derivation("activations/softmax", _A.softmax, normal((5, 3)), ACTIVATIONS, ("AC28", "AC29")),
    Derivation("activations/log_softmax", _A.log_softmax, normal((5, 3)), ACTIVATIONS, ("AC30", "AC31")),
    _loss("quadratic", _L.quadratic, _PAIR, "LS1", "LS2", "LS3", "LS4", "LS5", "LS6"),
    _loss("squared_error", _L.squared_error, _PAIR, "LS3", "LS4", "LS7", "LS8"),
    _loss("absolute_error", _L.absolute_error, _PAIR, "LS3", "LS4", "LS9", "LS10"),
    _loss("huber", _L.huber, _PAIR, "LS3", "LS4", "LS11", "LS12"),
    _loss("log_cosh", _L.log_cosh, _PAIR, "LS3", "LS4", "LS13", "LS14"),
    _loss("epsilon_insensitive", _L.epsilon_insensitive, _PAIR, "LS3", "LS4", "LS15", "LS16"),
    _loss("quantile", partial(_L.quantile, tau=0.3), _PAIR, "LS3", "LS4", "LS17", "LS18"),
    _loss("zero_one", _L.zero_one, samples.scores_and_signs, "LS19", "LS20", "LS21", "LS22"),
    _loss("perceptron", _L.perceptron, samples.scores_and_signs, "LS19", "LS20", "LS23", "LS24"),
    _loss("hinge", _L.hinge, samples.scores_and_signs, "LS19", "LS20", "LS25", "LS26"),
    _loss("squared_hinge", _L.squared_hinge, samples.scores_and_signs, "LS19", "LS20", "LS27", "LS28"),
    _loss("logistic", _L.logistic, samples.scores_and_signs, "LS19", "LS20", "LS29", "LS30"),
    _loss("exponential", _L.exponential, samples.scores_and_signs, "LS19", "LS20", "LS31", "LS32"),
    _loss("modified_huber", _L.modified_huber, samples.scores_and_signs, "LS19", "LS20", "LS33", "LS34"),
    _loss("cross_entropy", _L.cross_entropy, samples.distributions, "LS35", "LS36"),
    _loss("softmax_cross_entropy", _L.softmax_cross_entropy, samples.normal_and_distributions, "LS37", "LS38"),
    _loss(
        "softmax_cross_entropy_with_integer_labels",
        _L.softmax_cross_entropy_with_integer_labels,
        samples.normal_and_labels,
        "LS39",
        "LS40",
    ),
    _loss("token_cross_entropy", _L.token_cross_entropy, samples.logits_of_sequences, "LS60", "LS61"),
    _loss("binary_cross_entropy", _L.binary_cross_entropy, samples.probabilities, "LS41", "LS42"),
    _loss("sigmoid_cross_entropy", _L.sigmoid_cross_entropy, _PAIR, "LS43", "LS44"),
    _loss("gaussian_negative_log_likelihood", _L.gaussian_negative_log_likelihood, samples.gaussians, "LS45", "LS46"),
    _loss("kl_divergence", _L.kl_divergence, samples.distributions, "LS47", "LS48"),
    _loss("gaussian_kl", _L.gaussian_kl, _PAIR, "LS49", "LS50"),
    _loss("bernoulli_negative_elbo", _L.bernoulli_negative_elbo, normal((5, 3), (5, 3), (5, 2), (5, 2)), "LS51"),
    _loss("gan_discriminator_loss", _L.gan_discriminator_loss, _PAIR, "LS52", "LS53"),
    _loss("gan_generator_minimax_loss", _L.gan_generator_minimax_loss, normal((5, 3)), "LS54", "LS55"),
    _loss("gan_generator_loss", _L.gan_generator_loss, normal((5, 3)), "LS56", "LS57"),
    _loss("l2_penalty", _L.l2_penalty, lambda key: (normal((4, 3), (3, 2))(key), jnp.array(0.3)), "LS58", "LS59"),
    Derivation(
        "mlp",
        partial(mlp.apply, activations=_SIGMOID_NET["activations"]),
        samples.network_input,
        MLP,
        ("MP1", "MP2", "MP3", "BP1", "BP2", "BP3", "BP4"),
    ),
    Derivation(
        "mlp/quadratic",
        partial(mlp.loss, **_SIGMOID_NET),
        samples.network((4, 5, 3, 2), 7),
        MLP,
        ("MP1", "MP2", "MP3", "MP4", "MP5", "BP1", "BP2", "BP3", "BP4"),
        partial(mlp.gradient, **_SIGMOID_NET),
    ),
    Derivation(
        "mlp/cross_entropy",
        partial(mlp.loss, **_SOFTMAX_NET),
        samples.network((4, 5, 3, 2), 7),
        MLP,
        ("MP1", "MP2", "MP3", "BP1", "BP2", "BP3", "BP4"),
        partial(mlp.gradient, **_SOFTMAX_NET),
    ),
    Derivation(
        "mlp/sgd_block",
        block.sum_of_losses_along_the_path,
        block.sample,
        MLP,
        ("MK1", "MK2", "MK3", "MK5"),
        block.gradient,
    ),
    Derivation(
        "mlp/digits",
        partial(mlp.loss, **_DIGITS_NET),
        samples.digits,
        MLP,
        ("MP1", "MP2", "MP3", "BP1", "BP2", "BP3", "BP4"),
        partial(mlp.gradient, **_DIGITS_NET),
    ),
    *CONVOLUTION,
    *CONVOLUTION_KERNELS,
    *POOLING,
    *NORMALIZATION,
    *DROPOUT,
    *RESIDUAL,
    *EMBEDDING,
    *CONVOLUTIONAL_NETWORKS,
    *RECURRENCE,
    *LEARNING_RULES,
    *ASSOCIATIVE_MEMORIES,
    *BOLTZMANN,
    *RBM,
    *DEEP_BELIEF,
)
