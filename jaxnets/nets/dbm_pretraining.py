"""From a stack of RBMs to a deep Boltzmann machine.  Derivation: derivations/dbm.md.

A layer inside the machine is driven from both sides, one of a stack of RBMs only from below.  So while a layer is
trained alone, each side that will have another neighbour counts twice.  For RBM l with weights w and biases b, c:

    (DM21) p(h = 1 | v) = σ(c + s v w), s = 2 but 1 in RBM L;  p(v = 1 | h) = σ(b + r h wᵀ), r = 2 but 1 in RBM 1
    (DM22) w^l = w of RBM l;  b^0 = b of RBM 1, b^L = c of RBM L, between them b^l = (c of RBM l + b of RBM l+1) / 2

With two hidden layers the machine's distribution of h^1 is then the geometric mean, normalised, of the two that the
RBMs have: that of the first with two copies of v, and that of the second with two copies of h^2.

Source: Salakhutdinov and Hinton 2009, Deep Boltzmann machines, section 3.1.
"""

import itertools
from collections.abc import Sequence

from jaxnets.nets import dbm, rbm
from jaxnets.nets.binary import sample_bernoulli
from jaxnets.nets.contrastive_divergence import Machine, statistics
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.affine import affine


def doubled(layers: int) -> tuple[Machine, ...]:
    """How so many RBMs are trained (`jaxnets.nets.greedy.pretrain`): each with the sides doubled that will have another
    neighbour (DM21).

    ValueError if there are less than two.
    """
    if layers < 2:
        raise ValueError(f"doubled: got {layers} RBMs, wanted at least two")
    return tuple(_machine(2 if number < layers - 1 else 1, 2 if number > 0 else 1) for number in range(layers))


def _machine(up: int, down: int) -> Machine:
    return Machine(
        lambda params, v: sigmoid(affine(up * v, params.w, params.c)),  # (DM21)
        lambda params, h: sigmoid(affine(down * h, params.w.T, params.b)),  # (DM21)
        lambda params, means, key: sample_bernoulli(key, means),
        statistics,
    )


def compose(stack: Sequence[rbm.Params]) -> dbm.Params:
    """The deep Boltzmann machine made of RBMs that were trained with `doubled` (DM22).

    Raises:
      ValueError: if there are less than two, or the widths do not fit.
    """
    if len(stack) < 2:
        raise ValueError(f"compose: got {len(stack)} RBMs, wanted at least two")
    for number, (below, above) in enumerate(itertools.pairwise(stack), 1):
        if below.c.shape != above.b.shape:
            raise ValueError(
                f"compose: RBM {number} has {below.c.shape[0]} hidden units, the next {above.b.shape[0]} visible ones"
            )
    between = [(below.c + above.b) / 2 for below, above in itertools.pairwise(stack)]
    return dbm.Params(tuple(layer.w for layer in stack), (stack[0].b, *between, stack[-1].c))  # (DM22)
