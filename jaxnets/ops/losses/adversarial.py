"""Losses of the two players of a generative adversarial network.  Derivation: derivations/losses.md.

    r and f are the discriminator's logits for real and for generated data, D = σ(logit); all costs are minimised
    gan_discriminator_loss      (LS52) C_x = -log D(r) - log(1 - D(f)) = softplus(-r) + softplus(f)
                                (LS53) r_bar = -C̄_x σ(-r),  f_bar = C̄_x σ(f)
    gan_generator_minimax_loss  (LS54) C_x = log(1 - D(f)) = -softplus(f)      (LS55) f_bar = -C̄_x σ(f)
    gan_generator_loss          (LS56) C_x = -log D(f) = softplus(-f)          (LS57) f_bar = -C̄_x σ(-f)

Source: Goodfellow et al., "Generative adversarial nets" (2014), eq. (1), section 3 and algorithm 1.
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from jaxnets.ops.losses._check import check_alike
from jaxnets.ops.losses._stable import softplus
from jaxnets.ops.losses.reduction import Cost, Reduction, reduce, spread
from jaxnets.rule import rule

Logits = Float[Array, "batch *outputs"]


class DiscriminatorResiduals(NamedTuple):
    """Both batches of logits."""

    real_logits: Logits
    fake_logits: Logits


class GeneratorResiduals(NamedTuple):
    """The logits of the generated data."""

    fake_logits: Logits


def gan_discriminator_loss_forward(
    real_logits: Logits, fake_logits: Logits, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, DiscriminatorResiduals]:
    """Discriminator's loss: minus its value in the game, for as many real examples as generated ones.

    Raises:
      ValueError: if the logits differ in shape or dtype or are no floating-point arrays.
    """
    check_alike("gan_discriminator_loss", {"real_logits": real_logits, "fake_logits": fake_logits})
    terms = softplus(-real_logits) + softplus(fake_logits)  # (LS52)
    return reduce(terms, reduction), DiscriminatorResiduals(real_logits, fake_logits)


def gan_discriminator_loss_backward(
    residuals: DiscriminatorResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Logits, Logits]:
    """Cotangents of the real and the generated data's logits."""
    r, f = residuals
    cx_bar = spread(c_bar, r, reduction)
    return -cx_bar * jax.nn.sigmoid(-r), cx_bar * jax.nn.sigmoid(f)  # (LS53)


def gan_generator_minimax_loss_forward(
    fake_logits: Logits, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, GeneratorResiduals]:
    """Generator's part of the game's value; its gradient vanishes while the discriminator wins (f far below 0).

    Raises:
      ValueError: if the logits have no batch axis or are no floating-point array.
    """
    check_alike("gan_generator_minimax_loss", {"fake_logits": fake_logits})
    return reduce(-softplus(fake_logits), reduction), GeneratorResiduals(fake_logits)  # (LS54)


def gan_generator_minimax_loss_backward(
    residuals: GeneratorResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Logits]:
    """Cotangent of the generated data's logits."""
    (f,) = residuals
    return (-spread(c_bar, f, reduction) * jax.nn.sigmoid(f),)  # (LS55)


def gan_generator_loss_forward(
    fake_logits: Logits, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, GeneratorResiduals]:
    """Generator's loss in its form that does not saturate while the discriminator wins.

    Raises:
      ValueError: if the logits have no batch axis or are no floating-point array.
    """
    check_alike("gan_generator_loss", {"fake_logits": fake_logits})
    return reduce(softplus(-fake_logits), reduction), GeneratorResiduals(fake_logits)  # (LS56)


def gan_generator_loss_backward(residuals: GeneratorResiduals, c_bar: Cost, *, reduction: Reduction) -> tuple[Logits]:
    """Cotangent of the generated data's logits."""
    (f,) = residuals
    return (-spread(c_bar, f, reduction) * jax.nn.sigmoid(-f),)  # (LS57)


gan_discriminator_loss = rule(gan_discriminator_loss_forward, gan_discriminator_loss_backward)
gan_generator_minimax_loss = rule(gan_generator_minimax_loss_forward, gan_generator_minimax_loss_backward)
gan_generator_loss = rule(gan_generator_loss_forward, gan_generator_loss_backward)
