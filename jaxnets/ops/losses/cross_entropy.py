"""Cross entropies, from probabilities and from logits.  Derivation: derivations/losses.md.

    over classes, q the prediction, p the target; z the logits, q = softmax(z)
    cross_entropy          (LS35) C_x = -Σ_j p_j log q_j         (LS36) q_bar = -C̄_x p/q,  p_bar = -C̄_x log q
    softmax_cross_entropy  (LS37) C_x = -Σ_j p_j log q_j(z)      (LS38) z_bar = C̄_x (q Σ_j p_j - p),  p_bar = -C̄_x log q
    ..._with_integer_labels, k the class
                           (LS39) C_x = -log q_k(z)              (LS40) z_bar = C̄_x (q - 1_k)

    over yes-or-no outputs, a the prediction, y the target; z the logits, a = σ(z)
    binary_cross_entropy   (LS41) C_x = -Σ [y log a + (1 - y) log(1 - a)]
                           (LS42) a_bar = C̄_x ((1 - y)/(1 - a) - y/a),  y_bar = C̄_x (log(1 - a) - log a)
    sigmoid_cross_entropy  (LS43) C_x = Σ [y softplus(-z) + (1 - y) softplus(z)]
                           (LS44) z_bar = C̄_x (a - y),  y_bar = -C̄_x z

Convention: 0 log 0 = 0, with slope 0 in both factors.  An event that happens (p > 0) though it was given probability 0
costs infinity.  From logits no cost is infinite, unless a logit is.

Sources: Nielsen, Neural Networks and Deep Learning, ch. 3, eq. (57) to (63); Bishop, Pattern Recognition and Machine
Learning, section 4.3.4, eq. (4.108) and (4.109).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxnets.ops.losses._check import check_alike
from jaxnets.ops.losses._stable import log_softmax, softplus, unless_absent
from jaxnets.ops.losses.reduction import Cost, Reduction, reduce, spread
from jaxnets.rule import rule

Distributions = Float[Array, "batch *positions classes"]
Labels = Integer[Array, "batch *positions"]
Values = Float[Array, "batch *outputs"]


class ProbabilityResiduals(NamedTuple):
    """Both distributions; q is 1 where an event is absent, p = q = 0."""

    q: Distributions
    p: Distributions


def cross_entropy_forward(
    q: Distributions, p: Distributions, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, ProbabilityResiduals]:
    """Cross entropy H(p, q) of the predicted probabilities q against the target distribution p, in nats.

    Raises:
      ValueError: if q and p differ in shape or dtype, have no axis of classes, or are no floating-point arrays.
    """
    check_alike("cross_entropy", {"q": q, "p": p}, classes=True)
    q = unless_absent(q, p)
    return reduce(-p * jnp.log(q), reduction), ProbabilityResiduals(q, p)  # (LS35)


def cross_entropy_backward(
    residuals: ProbabilityResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Distributions, Distributions]:
    """Cotangents of q and p."""
    q, p = residuals
    cx_bar = spread(c_bar, q, reduction)
    return -cx_bar * p / q, -cx_bar * jnp.log(q)  # (LS36)


class SoftmaxResiduals(NamedTuple):
    """The logarithms of the predicted probabilities, and the target."""

    log_q: Distributions
    p: Distributions


def softmax_cross_entropy_forward(
    logits: Distributions, p: Distributions, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, SoftmaxResiduals]:
    """Cross entropy of softmax(logits) against the target distribution p, which need not sum to one.

    A logit of minus infinity removes its class, where p is 0.

    Raises:
      ValueError: if logits and p differ in shape or dtype, have no axis of classes, or are no floating-point arrays.
    """
    check_alike("softmax_cross_entropy", {"logits": logits, "p": p}, classes=True)
    log_q = log_softmax(logits)
    return reduce(-p * _zero_if_absent(log_q, p), reduction), SoftmaxResiduals(log_q, p)  # (LS37)


def softmax_cross_entropy_backward(
    residuals: SoftmaxResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Distributions, Distributions]:
    """Cotangents of the logits and of p."""
    log_q, p = residuals
    cx_bar = spread(c_bar, log_q, reduction)
    z_bar = cx_bar * (jnp.exp(log_q) * p.sum(-1, keepdims=True) - p)  # (LS38)
    return z_bar, -cx_bar * _zero_if_absent(log_q, p)  # (LS38)


def _zero_if_absent(log_q: Distributions, p: Distributions) -> Distributions:
    return jnp.where((p == 0) & jnp.isneginf(log_q), 0, log_q)


class LabelResiduals(NamedTuple):
    """The logarithms of the predicted probabilities, and the classes."""

    log_q: Distributions
    labels: Labels


def softmax_cross_entropy_with_integer_labels_forward(
    logits: Distributions, labels: Labels, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, LabelResiduals]:
    """Cross entropy of softmax(logits) against classes 0, 1, ..., given by their numbers.

    A label that is no class (also a negative one) makes its example's cost and gradient NaN.

    Raises:
      ValueError: if the logits have no axis of classes or are no floating-point array, or the labels are not integers
        of the logits' shape less that axis.
    """
    name = "softmax_cross_entropy_with_integer_labels"
    check_alike(name, {"logits": logits}, classes=True)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"{name}: labels are {labels.dtype}, wanted integers")
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"{name}: labels have shape {labels.shape}, wanted {logits.shape[:-1]} (logits have shape {logits.shape})"
        )
    log_q, labels = log_softmax(logits), labels.astype(jnp.int32)
    class_or_beyond = jnp.where(labels < 0, logits.shape[-1], labels)[..., None]  # a negative index would wrap around
    log_q_k = jnp.take_along_axis(log_q, class_or_beyond, -1, mode="fill", fill_value=jnp.nan)[..., 0]
    return reduce(-log_q_k, reduction), LabelResiduals(log_q, labels)  # (LS39)


def softmax_cross_entropy_with_integer_labels_backward(
    residuals: LabelResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Distributions, None]:
    """Cotangent of the logits."""
    log_q, labels = residuals
    one_k = jax.nn.one_hot(labels, log_q.shape[-1], dtype=log_q.dtype)
    is_class = ((labels >= 0) & (labels < log_q.shape[-1]))[..., None]
    z_bar = spread(c_bar, log_q, reduction) * (jnp.exp(log_q) - one_k)  # (LS40)
    return jnp.where(is_class, z_bar, jnp.nan), None


class BinaryResiduals(NamedTuple):
    """The target y, and the prediction a twice: with 1 where a = y = 0 (`yes`), with 0 where a = y = 1 (`no`)."""

    yes: Values
    no: Values
    y: Values


def binary_cross_entropy_forward(
    a: Values, y: Values, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, BinaryResiduals]:
    """Cross entropy of independent yes-or-no outputs from their predicted probabilities a, summed over the outputs.

    Raises:
      ValueError: if a and y differ in shape or dtype or are no floating-point arrays.
    """
    check_alike("binary_cross_entropy", {"a": a, "y": y})
    yes, no = unless_absent(a, y), jnp.where((a == 1) & (y == 1), 0, a)
    terms = -(y * jnp.log(yes) + (1 - y) * jnp.log1p(-no))  # (LS41)
    return reduce(terms, reduction), BinaryResiduals(yes, no, y)


def binary_cross_entropy_backward(
    residuals: BinaryResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Values, Values]:
    """Cotangents of a and y."""
    yes, no, y = residuals
    cx_bar = spread(c_bar, y, reduction)
    return cx_bar * ((1 - y) / (1 - no) - y / yes), cx_bar * (jnp.log1p(-no) - jnp.log(yes))  # (LS42)


class SigmoidResiduals(NamedTuple):
    """The logits and the target."""

    z: Values
    y: Values


def sigmoid_cross_entropy_forward(
    logits: Values, y: Values, *, reduction: Reduction = Reduction.MEAN
) -> tuple[Cost, SigmoidResiduals]:
    """Binary cross entropy of a = σ(logits), summed over the outputs: log a = -softplus(-z), log(1 - a) = -softplus(z).

    Raises:
      ValueError: if logits and y differ in shape or dtype or are no floating-point arrays.
    """
    check_alike("sigmoid_cross_entropy", {"logits": logits, "y": y})
    terms = y * softplus(-logits) + (1 - y) * softplus(logits)  # (LS43)
    return reduce(terms, reduction), SigmoidResiduals(logits, y)


def sigmoid_cross_entropy_backward(
    residuals: SigmoidResiduals, c_bar: Cost, *, reduction: Reduction
) -> tuple[Values, Values]:
    """Cotangents of the logits and of y."""
    z, y = residuals
    cx_bar = spread(c_bar, z, reduction)
    return cx_bar * (jax.nn.sigmoid(z) - y), -cx_bar * z  # (LS44)


cross_entropy = rule(cross_entropy_forward, cross_entropy_backward)
softmax_cross_entropy = rule(softmax_cross_entropy_forward, softmax_cross_entropy_backward)
softmax_cross_entropy_with_integer_labels = rule(
    softmax_cross_entropy_with_integer_labels_forward, softmax_cross_entropy_with_integer_labels_backward
)
binary_cross_entropy = rule(binary_cross_entropy_forward, binary_cross_entropy_backward)
sigmoid_cross_entropy = rule(sigmoid_cross_entropy_forward, sigmoid_cross_entropy_backward)
