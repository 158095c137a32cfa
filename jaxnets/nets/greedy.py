"""Greedy training of a stack of RBMs: one after the other, each on what the one below makes of the data.

Derivations: derivations/dbn.md, why it improves a bound; derivations/dbm.md, with doubled inputs.

Sources: Hinton, Osindero and Teh 2006, A fast learning algorithm for deep belief nets, section 4; Hinton and
Salakhutdinov 2006, Reducing the dimensionality of data with neural networks: probabilities, not samples, as the data of
the next layer.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import optax
from jaxtyping import Array, Float, Key

from jaxnets.nets import rbm
from jaxnets.nets.contrastive_divergence import BERNOULLI, Machine, Reconstruction, cd_step, init_cd
from jaxnets.train import Epoch, apply_in_batches, fit

Rows = Float[Array, "examples _"]


def init_stack(
    key: Key[Array, ""], sizes: Sequence[int], *, scale: float = 0.01, dtype: jax.typing.DTypeLike = jax.numpy.float32
) -> tuple[rbm.Params, ...]:
    """RBMs between so many units per layer, the visible one first, each by `rbm.init`.

    Raises:
      ValueError: if there are fewer than two layers, or one without units.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"init_stack: sizes are {tuple(sizes)}, wanted at least two positive numbers")
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(
        rbm.init(k, below, above, scale=scale, dtype=dtype)
        for k, below, above in zip(keys, sizes[:-1], sizes[1:], strict=True)
    )


def pretrain(
    stack: Sequence[rbm.Params],
    v: Rows,
    optimizer: optax.GradientTransformation,
    *,
    key: Key[Array, ""],
    batch_size: int,
    epochs: int,
    steps: int = 1,
    reconstruction: Reconstruction = Reconstruction.MEANS,
    machines: Sequence[Machine] | None = None,
    on_epoch: Callable[[int, Epoch], object] | None = None,
) -> tuple[tuple[rbm.Params, ...], Rows]:
    """Train the RBMs by CD, the lowest first.

    Args:
      stack: where they start, as `init_stack` makes them.
      v: the data, in [0, 1].
      optimizer: of every RBM; momentum and weight decay are its own.
      key: for the order of the examples, and for the chains.
      batch_size: examples in a step.
      epochs: passes over the data for each RBM.
      steps: rounds of the chains, the k of CD-k.
      reconstruction: what they make of the visible units.  Probabilities make good features; but the longer chains of
        an RBM that generates leave the data, unless it has learnt from chains that draw them.
      machines: how each RBM is trained, if not as an RBM of binary units.
      on_epoch: called with the number of the RBM, from 1, and the `Epoch`; its loss is the reconstruction error.

    Returns:
      The trained RBMs, and the hidden probabilities of the last one.

    Raises:
      ValueError: if there is not a machine for each RBM, or the widths do not fit; and the errors of `fit`.
    """
    machines = (BERNOULLI,) * len(stack) if machines is None else machines
    if len(machines) != len(stack):
        raise ValueError(f"pretrain: got {len(machines)} machines for {len(stack)} RBMs")
    trained = []
    for number, (layer, machine) in enumerate(zip(stack, machines, strict=True), 1):
        if v.ndim != 2 or v.shape[1:] != layer.b.shape:
            raise ValueError(
                f"pretrain: RBM {number} has {layer.b.shape[0]} visible units, and is given data of shape {v.shape}"
            )
        fit_key, step_key = jax.random.split(jax.random.fold_in(key, number))
        step = cd_step(optimizer, steps=steps, machine=machine, reconstruction=reconstruction)
        told = None if on_epoch is None else (lambda epoch, number=number: on_epoch(number, epoch))
        state, _ = fit(
            step,
            init_cd(layer, optimizer, step_key),
            v,
            key=fit_key,
            batch_size=batch_size,
            epochs=epochs,
            on_epoch=told,
        )
        trained.append(state.params)
        upwards = jax.jit(partial(_upwards, machine))
        v = upwards(state.params, v)
    return tuple(trained), v


def _upwards(machine: Machine, params: rbm.Params, v: Rows) -> Rows:
    return apply_in_batches(partial(machine.hidden_probabilities, params), v, batch_size=1000)
