"""What the recurrent rules share: the checks of their arguments, and which steps there are."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from jaxnets.kernels.parts import accumulator
from jaxnets.kernels.time_chunks import over_steps
from jaxnets.ops._floating import require_array, require_one_dtype

CHUNK = 10
"""Steps whose products are formed at once, unless the caller says otherwise."""


def check(
    what: str,
    gates: int,
    x: Array,
    w_x: Array,
    w_h: Array,
    vectors: dict[str, tuple[Array, int]],
    states: dict[str, Array],
    lengths: Array | None,
    chunk: int,
) -> None:
    """ValueError or TypeError, in the name of the rule, if arguments do not fit.

    Args:
      gates: how many blocks of columns the weights have.
      vectors: by name, those with so many entries for each unit.
      states: by name, those of shape (batch, units).
    """
    everything = {"x": x, "w_x": w_x, "w_h": w_h} | {name: a for name, (a, _) in vectors.items()} | states
    require_one_dtype(what, everything)
    if x.ndim != 3 or w_x.ndim != 2 or w_h.ndim != 2 or not x.shape[1]:
        raise ValueError(
            f"{what}: x is {x.shape}, w_x {w_x.shape}, w_h {w_h.shape};"
            " wanted (batch, time, n_in) with at least one step, and two matrices"
        )
    batch, _, n_in = x.shape
    n = w_h.shape[0]
    if w_x.shape != (n_in, gates * n) or w_h.shape != (n, gates * n):
        raise ValueError(
            f"{what}: x has {n_in} features, w_x is {w_x.shape}, w_h is {w_h.shape};"
            f" wanted (n_in, {gates} n) and (n, {gates} n)"
        )
    for name, (vector, blocks) in vectors.items():
        if vector.shape != (blocks * n,):
            raise ValueError(f"{what}: {name} is {vector.shape}, wanted ({blocks * n},) for {n} units")
    for name, state in states.items():
        if state.shape != (batch, n):
            raise ValueError(f"{what}: {name} is {state.shape}, wanted ({batch}, {n}): batch of x, units of w_h")
    check_lengths(what, lengths, batch)
    if chunk < 1:
        raise ValueError(f"{what}: chunk is {chunk}, wanted at least 1")


def check_lengths(what: str, lengths: Any, batch: int) -> None:
    """ValueError or TypeError, in the name of the rule, unless there are lengths of so many sequences, or None."""
    if lengths is None:
        return
    require_array(what, lengths, "lengths")
    if lengths.shape != (batch,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f"{what}: lengths is {lengths.dtype}{list(lengths.shape)}, wanted {batch} integers")


def present(lengths: Integer[Array, " batch"] | None, start: Any, steps: int) -> Bool[Array, "steps batch 1"] | None:
    """Which sequences have each of the steps from `start` on; None if all do."""
    if lengths is None:
        return None
    here = jnp.asarray(start, jnp.int32) + jnp.arange(steps, dtype=jnp.int32)
    return here[:, None, None] < lengths[None, :, None].astype(jnp.int32)  # 8 bits may hold a length, but not a step


def where_present(here: Array | None, new: Any, old: Any) -> Any:
    """`new` where a sequence has the step, `old` where it is over."""
    return new if here is None else jnp.where(here, new, old)


def only_present(lengths: Integer[Array, " batch"] | None, h: Float[Array, "batch time n"]) -> Array:
    """Zeros in place of the steps after the end of a sequence."""
    here = present(lengths, 0, h.shape[1])
    return h if here is None else jnp.where(here.swapaxes(0, 1), h, jnp.zeros_like(h))


def weight_cotangents(
    x: Float[Array, "steps batch n_in"], h: Float[Array, "steps batch n"], delta: Float[Array, "steps batch m"]
) -> tuple[Float[Array, "n_in m"], Float[Array, "n m"], Float[Array, " m"]]:
    """What some steps give to the cotangents of both weights and of the bias, in the dtype of their sum."""
    return (
        over_steps(x, delta),
        over_steps(h, delta),
        delta.sum((0, 1), dtype=accumulator(x.dtype)),
    )  # (RC4) (RC5) (RC6)


def squashed(z: Float[Array, "*batch m"], steepness: tuple[float, ...]) -> Array:
    """The value s tanh(s z) + (1 - s), with s a block of columns: logistic where s = ½, tanh where s = 1."""
    s = np.repeat(steepness, z.shape[-1] // len(steepness)).reshape((1,) * (z.ndim - 1) + (-1,))
    s = jnp.asarray(s, z.dtype)
    return s * jnp.tanh(s * z) + (1 - s)
