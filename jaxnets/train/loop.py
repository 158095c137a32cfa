"""The training loop: each epoch is one compiled `lax.scan` of a pure step over the reshuffled data.

The loop knows no network and no optimizer. The data stays on the device and each batch is gathered inside the scan;
the state is donated, so that one copy of the parameters and of the optimizer's state is held, not two.
"""

import enum
import math
import time
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, Bool, Integer, Key

from ._batches import count_examples, take_examples
from .step import State, Step


class NonFiniteError(FloatingPointError):
    """A loss, or a parameter, became infinite or not a number."""


class NonFinite(enum.Enum):
    """What is done with a step whose loss, or a parameter after it, is infinite or not a number."""

    STOP = enum.auto()
    """Training ends with a `NonFiniteError` that names the step and what was not finite."""
    SKIP = enum.auto()
    """The step is undone and counted (`Epoch.skipped`)."""


class Epoch(NamedTuple):
    """What an epoch came to.

    `epoch` counts from 1. `loss` is the mean over the examples of the epoch, each taken when its step was run, without
    those of steps that were `skipped`. `metrics` is what `evaluate` returned after the epoch, as floats (empty without
    one). `seconds` is the time of training alone: neither compiling nor evaluating counts.
    """

    epoch: int
    loss: float
    metrics: Mapping[str, float]
    seconds: float
    skipped: int = 0


Stop = Callable[[tuple[Epoch, ...]], bool]
"""Whether training ends here, asked after every epoch with the history."""

Evaluate = Callable[[Any], Mapping[str, Array]]


def epoch_order(key: Key[Array, ""], epoch: int | Integer[Array, ""], examples: int) -> Integer[Array, " examples"]:
    """Return the order in which `fit` takes the examples in an epoch (from 1): it depends on nothing else."""
    # One sort by 64 random bits an example: `jax.random.permutation` sorts twice, which shows beside small steps.
    high, low = jax.random.bits(jax.random.fold_in(key, epoch), (2, examples), jnp.uint32)
    return jax.lax.sort((high, low, jnp.arange(examples)), num_keys=2)[2]


def fit(
    step: Step,
    state: State,
    data: Any,
    *,
    key: Key[Array, ""],
    batch_size: int,
    epochs: int,
    start: int = 0,
    evaluate: Evaluate | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    stop: Stop | None = None,
    non_finite: NonFinite = NonFinite.STOP,
) -> tuple[State, tuple[Epoch, ...]]:
    """Train for a number of epochs, or until `stop` says so; return the last state and the history.

    `data` is a pytree of arrays that share their first axis, the examples; `step` is given batches of the same
    structure. Every example is used exactly once an epoch, in an order drawn anew for each (`epoch_order`): where
    `batch_size` does not divide the number of examples, the rest is a last, smaller batch.

    `evaluate(params)` returns named scalars; it is compiled, and run after each epoch. `on_epoch` is called with each
    `Epoch` as it ends, `stop` with all of them so far (see `no_better`). `start` is the number of epochs already
    trained: `fit` for 5 epochs, then for 3 with `start=5` and the same key, is `fit` for 8. The given `state` is left
    as it was.

    Raises ValueError or TypeError for arguments that do not fit together, and NonFiniteError at the end of the first
    epoch with a step that has a loss that is not finite, or leaves parameters that are not (its message names the step
    and the leaf); with `NonFinite.SKIP` only if there is no other step in an epoch.
    """
    history: list[Epoch] = []
    for trained, epoch in fit_by_epoch(
        step,
        state,
        data,
        key=key,
        batch_size=batch_size,
        epochs=epochs,
        start=start,
        evaluate=evaluate,
        non_finite=non_finite,
    ):
        state = trained
        history.append(epoch)
        if on_epoch is not None:
            on_epoch(epoch)
        if stop is not None and stop(tuple(history)):
            break
    return state, tuple(history)


def fit_by_epoch(
    step: Step,
    state: State,
    data: Any,
    *,
    key: Key[Array, ""],
    batch_size: int,
    epochs: int,
    start: int = 0,
    evaluate: Evaluate | None = None,
    non_finite: NonFinite = NonFinite.STOP,
) -> Iterator[tuple[State, Epoch]]:
    """Train as `fit` does, yielding the state and the `Epoch` after each epoch: to save, to plot, or to stop early.

    A yielded state is donated to the next epoch. Leave the loop with it, or copy what is kept longer:
    `jax.tree.map(jnp.copy, state)`. The arguments are checked at the call, with `fit`'s errors.
    """
    _check_key(key)
    for name, value, least in (("batch_size", batch_size, 1), ("epochs", epochs, 0), ("start", start, 0)):
        if not isinstance(value, Integral):
            raise TypeError(f"fit: {name} is {value!r}, wanted an int")
        if value < least:
            raise ValueError(f"fit: {name} is {value}, wanted at least {least}")
    examples = count_examples("fit", data)
    if batch_size > examples:
        raise ValueError(f"fit: batch_size is {batch_size}, but data has {examples} examples")
    numbers = range(start + 1, start + epochs + 1)
    return _epochs(step, state, data, key, examples, batch_size, numbers, evaluate, non_finite)


def _check_key(key: Any) -> None:
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        got = f"{key.dtype} array of shape {key.shape}" if isinstance(key, jax.Array | np.ndarray) else repr(key)
        raise TypeError(f"fit: key is {got}, wanted a typed key, as from jax.random.key(0)")
    if key.shape != ():
        raise ValueError(f"fit: key has shape {key.shape}, wanted one key of shape ()")


def _epochs(
    step: Step,
    state: State,
    data: Any,
    key: Key[Array, ""],
    examples: int,
    batch_size: int,
    numbers: range,
    evaluate: Evaluate | None,
    non_finite: NonFinite,
) -> Iterator[tuple[State, Epoch]]:
    if not numbers:
        return
    data = jax.tree.map(jnp.asarray, data)
    # The copy is what is donated: the caller's arrays live on, and no buffer is given away twice.
    state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
    # An argument that is not kept has no sharding to tell, and a step may ignore part of its state.
    run = jax.jit(_epoch_function(step, examples, batch_size, non_finite), donate_argnums=0, keep_unused=True)
    compiled = run.lower(state, data, key, jnp.uint32(numbers[0])).compile()
    state_shardings = compiled.input_shardings[0][0]
    metrics_of = _no_metrics if evaluate is None else _compiled_evaluate(evaluate, state.params)
    steps, rest = divmod(examples, batch_size)
    sizes = [batch_size] * steps + [rest] * (rest > 0)

    for number in numbers:
        begin = time.perf_counter()
        state, losses, finite = jax.block_until_ready(compiled(state, data, key, jnp.uint32(number)))
        seconds = time.perf_counter() - begin
        each = [row for part in losses for row in np.asarray(part).astype(np.float64).reshape(len(part), -1)]
        flags = np.concatenate([np.asarray(part) for part in finite])
        whole: np.ndarray = np.all(flags, axis=1, keepdims=True)[:, 0]
        if not (whole.all() if non_finite is NonFinite.STOP else whole.any()):
            raise NonFiniteError(_first_not_finite(number, each, state.params, flags))
        kept = [(size, row.mean()) for size, row, good in zip(sizes, each, whole, strict=True) if good]
        loss = math.fsum(size * mean for size, mean in kept) / sum(size for size, _ in kept)
        state = _place(state, state_shardings)
        yield state, Epoch(number, loss, metrics_of(state.params), seconds, int((~whole).sum()))


def _epoch_function(
    step: Step, examples: int, batch_size: int, non_finite: NonFinite
) -> Callable[..., tuple[State, list[Array], list[Array]]]:
    """Return epoch(state, data, key, number) -> (state, losses, what was finite), of the whole and of the rest batches.

    What was finite has a row a step: its losses, and each leaf of the parameters after it.
    """
    steps = examples // batch_size

    def epoch(state: State, data: Any, key: Key[Array, ""], number: Integer[Array, ""]):
        def body(state: State, rows: Integer[Array, " batch"]) -> tuple[State, tuple[Array, Array]]:
            after, losses = _checked_step(step, state, take_examples(data, rows))
            finite = jnp.stack([_all_finite(leaf) for leaf in (losses, *jax.tree.leaves(after.params))])
            if non_finite is NonFinite.SKIP:
                after = jax.tree.map(lambda new, old: jnp.where(finite.all(), new, old), after, state)
            return after, (losses, finite)

        order = epoch_order(key, number, examples)
        whole, rest = jnp.split(order, [steps * batch_size])
        state, parts = jax.lax.scan(body, state, whole.reshape(steps, batch_size))
        found = [parts]
        if rest.size:
            state, last = body(state, rest)
            found.append(jax.tree.map(lambda a: a[None], last))
        losses, finite = zip(*found, strict=True)
        return state, list(losses), list(finite)

    return epoch


def _checked_step(step: Step, state: State, batch: Any) -> tuple[State, Array]:
    """Run a step; ValueError, at trace time, if what it returns cannot go into the next one."""
    after, losses = step(state, batch)
    if jax.tree.structure(after) != jax.tree.structure(state):
        raise ValueError(f"fit: step returned a state {jax.tree.structure(after)}, got {jax.tree.structure(state)}")
    after = jax.tree.map(jnp.asarray, after)
    for (path, old), new in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(after), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            name = "state" + jax.tree_util.keystr(path)
            raise ValueError(
                f"fit: step returned {name} as {new.dtype}{list(new.shape)}, got {old.dtype}{list(old.shape)}"
            )
    losses = jnp.asarray(losses)
    if losses.ndim > 1 or not losses.size or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise ValueError(
            f"fit: step returned losses as {losses.dtype}{list(losses.shape)}, wanted a floating-point scalar or vector"
        )
    return after, losses


def _all_finite(leaf: Array) -> Bool[Array, ""]:
    return jnp.isfinite(leaf).all() if jnp.issubdtype(leaf.dtype, jnp.inexact) else jnp.bool_(True)


def _first_not_finite(epoch: int, losses: list[np.ndarray], params: Any, finite: Bool[np.ndarray, "steps _"]) -> str:
    """Where, and what, for an error; `finite` is as `_epoch_function` returns it."""
    at = int(np.flatnonzero(~finite.all(1))[0])
    # A row of several losses is of as many updates.
    before, of = sum(map(len, losses[:at])), sum(map(len, losses))
    if not finite[at, 0]:
        place = int(np.flatnonzero(~np.isfinite(losses[at]))[0])
        return f"fit: loss is {losses[at][place]} at epoch {epoch}, step {before + place + 1} of {of}"
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    name = "params" + jax.tree_util.keystr(paths[int(np.flatnonzero(~finite[at])[0]) - 1])
    where = f"epoch {epoch}, step {before + len(losses[at])} of {of}"
    return f"fit: {name} is not finite after {where}, though the loss is"


def _place(state: State, shardings: Any) -> State:
    """Move each leaf to where the compiled epoch takes it: on a mesh a leaf may come out laid out otherwise."""

    def place(leaf: Array, sharding: jax.sharding.Sharding) -> Array:
        return leaf if leaf.sharding.is_equivalent_to(sharding, leaf.ndim) else jax.device_put(leaf, sharding)

    return jax.tree.map(place, state, shardings)


def _no_metrics(params: Any) -> dict[str, float]:
    return {}


def _compiled_evaluate(evaluate: Evaluate, params: Any) -> Callable[[Any], dict[str, float]]:
    """Return params -> the metrics as floats.

    The arrays that `evaluate` closes over (a test set) are passed as arguments: as constants they would be written
    into the compiled program, seconds of compiling for 60,000 images.
    """
    closed, shapes = jax.make_jaxpr(evaluate, return_shape=True)(params)
    if not isinstance(shapes, Mapping):
        raise TypeError(f"fit: evaluate returned {type(shapes).__name__}, wanted a dict of named scalars")
    for name, metric in shapes.items():
        if metric.shape != ():
            raise ValueError(f"fit: evaluate returned {name} of shape {metric.shape}, wanted a scalar")
    structure = jax.tree.structure(shapes)
    run = jax.jit(lambda consts, leaves: jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, consts))(*leaves))

    def metrics_of(params: Any) -> dict[str, float]:
        values = jax.tree.unflatten(structure, run(closed.consts, jax.tree.leaves(params)))
        return {name: float(value) for name, value in values.items()}

    return metrics_of
