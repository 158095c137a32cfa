"""An epoch as one function that can be compiled: a `lax.scan` of a step over the data in a new order."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer, Key

from ._batches import take_examples
from .step import State, Step


class NonFinite(enum.Enum):
    """What is done with a step whose loss, or a parameter after it, is infinite or not a number."""

    STOP = enum.auto()
    """Training ends with a `NonFiniteError` that names the step whose loss is not, or the leaf if all losses are."""
    TRACE = enum.auto()
    """The same, but every leaf is looked at after every step, so that the first step and leaf are named.

    That is one more pass over the parameters: with batches of 10 a step of 784-100-10 takes half as long again.
    """
    SKIP = enum.auto()
    """The step is undone and counted (`Epoch.skipped`)."""


def epoch_order(key: Key[Array, ""], epoch: int | Integer[Array, ""], examples: int) -> Integer[Array, " examples"]:
    """Return the order in which `fit` takes the examples in an epoch (from 1): it depends on nothing else."""
    # One sort by 64 random bits an example: `jax.random.permutation` sorts twice, which shows beside small steps.
    high, low = jax.random.bits(jax.random.fold_in(key, epoch), (2, examples), jnp.uint32)
    return jax.lax.sort((high, low, jnp.arange(examples)), num_keys=2)[2]


def order_in_shares(
    key: Key[Array, ""], epoch: int | Integer[Array, ""], examples: int, shares: int
) -> Integer[Array, "shares each"]:
    """Return the order of every share of the examples: rows of it, as the examples of each share lie side by side."""
    each = examples // shares
    if shares == 1:
        return epoch_order(key, epoch, each)[None]
    return jax.vmap(lambda share: epoch_order(jax.random.fold_in(key, share), epoch, each))(jnp.arange(shares))


class Batching(NamedTuple):
    """How the examples fall into batches: as many of every share in each, what is left over in a last, smaller one."""

    examples: int
    size: int
    shares: int = 1

    def sizes(self) -> list[int]:
        """Examples of each batch."""
        steps, rest = divmod(self.examples, self.size)
        return [self.size] * steps + [rest] * (rest > 0)

    def rows(
        self, order: Integer[Any, "shares each"]
    ) -> tuple[Integer[Any, "steps shares _"], Integer[Any, "shares _"]]:
        """Rows of every share, in an order, for the whole batches and for the rest; of NumPy or of JAX."""
        each, steps = self.size // self.shares, self.examples // self.size
        whole, rest = order[:, : steps * each], order[:, steps * each :]
        return whole.reshape(self.shares, steps, each).swapaxes(0, 1), rest


RunBatches = Callable[[State, Any, Any, Any], tuple[State, list[Array], list[Array]]]


def batches_function(step: Step, shares: int, non_finite: NonFinite) -> RunBatches:
    """Return run(state, data, whole, rest) -> (state, losses, flags), of the whole and of the rest batches.

    `whole` and `rest` are as `Batching.rows` returns them.  Flags tell what was finite, a row a step: its losses, and
    with `TRACE` and `SKIP` each leaf of the parameters after it.
    """
    look = flagged_step if non_finite is not NonFinite.STOP else _loss_flagged_step

    def run(state: State, data: Any, whole: Array, rest: Array) -> tuple[State, list[Array], list[Array]]:
        data = jax.tree.map(lambda a: a.reshape(shares, -1, *a.shape[1:]), data)

        def body(state: State, rows: Integer[Array, "shares each"]) -> tuple[State, tuple[Array, Array]]:
            batch = jax.tree.map(lambda a: jax.lax.collapse(a, 0, 2), jax.vmap(take_examples)(data, rows))
            after, losses, finite = look(step, state, batch)
            if non_finite is NonFinite.SKIP:
                after = jax.tree.map(lambda new, old: jnp.where(finite.all(), new, old), after, state)
            return after, (losses, finite)

        found = []
        if whole.size:
            state, parts = jax.lax.scan(body, state, whole)
            found.append(parts)
        if rest.size:
            state, last = body(state, rest)
            found.append(jax.tree.map(lambda a: a[None], last))
        losses, flags = zip(*found, strict=True)
        return state, list(losses), list(flags)

    return run


def flagged_step(step: Step, state: State, batch: Any) -> tuple[State, Array, Bool[Array, " leaves"]]:
    """Run a step, checked; and whether its losses, and each leaf of the parameters after it, are finite."""
    after, losses, finite = _loss_flagged_step(step, state, batch)
    return after, losses, jnp.concatenate([finite, finite_leaves(after.params)])


def _loss_flagged_step(step: Step, state: State, batch: Any) -> tuple[State, Array, Bool[Array, "1"]]:
    after, losses = checked_step("fit", step, state, batch)
    return after, losses, _all_finite(losses)[None]


def finite_leaves(params: Any) -> Bool[Array, " leaves"]:
    """Whether each leaf is finite."""
    return jnp.stack([jnp.bool_(True), *(_all_finite(leaf) for leaf in jax.tree.leaves(params))])[1:]


def checked_step(function: str, step: Step, state: State, batch: Any) -> tuple[State, Array]:
    """Run a step; ValueError, at trace time and in the name of the function, if its results cannot go into the next."""
    after, losses = step(state, batch)
    if jax.tree.structure(after) != jax.tree.structure(state):
        raise ValueError(
            f"{function}: step returned a state {jax.tree.structure(after)}, got {jax.tree.structure(state)}"
        )
    after = jax.tree.map(jnp.asarray, after)
    for (path, old), new in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(after), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            name = "state" + jax.tree_util.keystr(path)
            raise ValueError(
                f"{function}: step returned {name} as {new.dtype}{list(new.shape)}, got {old.dtype}{list(old.shape)}"
            )
    losses = jnp.asarray(losses)
    if losses.ndim > 1 or not losses.size or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise ValueError(
            f"{function}: step returned losses as {losses.dtype}{list(losses.shape)}, "
            "wanted a floating-point scalar or vector"
        )
    return after, losses


def _all_finite(leaf: Array) -> Bool[Array, ""]:
    return jnp.isfinite(leaf).all() if jnp.issubdtype(leaf.dtype, jnp.inexact) else jnp.bool_(True)
