"""The training loop: each epoch is one compiled `lax.scan` of a pure step over the reshuffled data.

The loop knows no network and no optimizer. The data stays on the device, unless it is streamed from the host, and each
batch is gathered inside the scan; the state is donated, so that one copy of the parameters and of the optimizer's state
is held, not two.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Key

from ._arguments import check_key, check_sizes, check_stream
from ._compiled import compiled_epoch
from ._epoch import Batching, NonFinite
from ._evaluation import Evaluate, compiled_evaluate
from ._stream import streamed_epoch
from .placement import Placement
from .step import State, Step


class NonFiniteError(FloatingPointError):
    """A loss, or a parameter, became infinite or not a number."""


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
    non_finite: NonFinite = NonFinite.STOP,
    placement: Placement | None = None,
    stream: int | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    stop: Stop | None = None,
) -> tuple[State, tuple[Epoch, ...]]:
    """Train for a number of epochs, or until `stop` says so; return the last state and the history.

    `data` is a pytree of arrays that share their first axis, the examples; `step` is given batches of the same
    structure. Every example is used exactly once an epoch, in an order drawn anew for each (`epoch_order`): where
    `batch_size` does not divide the number of examples, the rest is a last, smaller batch.

    `evaluate(params)` returns named scalars; it is compiled, and run after each epoch. `on_epoch` is called with each
    `Epoch` as it ends, `stop` with all of them so far (see `no_better`). `start` is the number of epochs already
    trained: `fit` for 5 epochs, then for 3 with `start=5` and the same key, is `fit` for 8. The given `state` is left
    as it was.

    With a `placement` (see `data_parallel`) the same happens on many devices, also of several processes. Each batch has
    as many examples of every device's share, which is shuffled by itself.

    With `stream` the data stays in host memory, for sets that are too large for the device: about so many batches at a
    time, two or more, are read and sent while the device computes on those before. The leaves of `data` may then be
    whatever has a shape and is indexed by an array of rising row numbers: NumPy arrays, files mapped into memory
    (`jaxnets.data.map_idx`), HDF5 or Zarr. The order of the examples and the result are the same, to the last bit.
    Several processes each have their own examples, as for `Placement.examples`.

    Raises ValueError or TypeError for arguments that do not fit together, and NonFiniteError at the end of the first
    epoch with a loss that is not finite, or that leaves parameters that are not (its message names the step or the
    leaf, both with `NonFinite.TRACE`); with `NonFinite.SKIP` only if no step of an epoch is finite.
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
        placement=placement,
        stream=stream,
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
    placement: Placement | None = None,
    stream: int | None = None,
) -> Iterator[tuple[State, Epoch]]:
    """Train as `fit` does, yielding the state and the `Epoch` after each epoch: to save, to plot, or to stop early.

    A yielded state is donated to the next epoch. Leave the loop with it, or copy what is kept longer:
    `jax.tree.map(jnp.copy, state)`. The arguments are checked at the call, with `fit`'s errors.
    """
    check_key("fit", key)
    processes = 1
    if placement is not None and stream is None:
        data = placement.examples(data)  # of all processes, before they are counted
    elif placement is not None:
        processes = placement.processes()
    examples = check_sizes("fit", data, batch_size, epochs, start, processes)
    if placement is not None:
        placement.check_shares("fit", data=examples, batch_size=batch_size)
    check_stream("fit", stream)
    batching = Batching(examples, batch_size, 1 if placement is None else placement.shares)
    numbers = range(start + 1, start + epochs + 1)
    return _epochs(step, state, data, key, batching, numbers, evaluate, non_finite, placement, stream)


def _epochs(
    step: Step,
    state: State,
    data: Any,
    key: Key[Array, ""],
    batching: Batching,
    numbers: range,
    evaluate: Evaluate | None,
    non_finite: NonFinite,
    placement: Placement | None,
    stream: int | None,
) -> Iterator[tuple[State, Epoch]]:
    if not numbers:
        return
    if placement is not None:
        state = placement.state(state)
    # The copy is what is donated: the caller's arrays live on, and no buffer is given away twice.
    state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
    if stream is None:
        data = jax.tree.map(jnp.asarray, data)
        run_epoch = compiled_epoch(step, state, data, key, batching, non_finite, placement)
    else:
        run_epoch = streamed_epoch(step, state, data, key, batching, non_finite, placement, stream)
    metrics_of = compiled_evaluate("fit", evaluate, state.params, placement=placement)

    for number in numbers:
        begin = time.perf_counter()
        state, losses, flags, ends = jax.block_until_ready(run_epoch(state, number))
        seconds = time.perf_counter() - begin
        each = [row for part in losses for row in np.asarray(part).astype(np.float64).reshape(len(part), -1)]
        flags = np.concatenate([np.asarray(part) for part in flags])
        whole: np.ndarray = np.all(flags, axis=1, keepdims=True)[:, 0]
        if not (whole.any() if non_finite is NonFinite.SKIP else whole.all()):
            raise NonFiniteError(_first_not_finite(number, each, state.params, flags))
        if not np.all(ends):
            name = _leaf_name(state.params, int(np.argmin(ends)))
            raise NonFiniteError(f"fit: {name} is not finite after epoch {number}, though all of its losses are")
        kept = [(size, row.mean()) for size, row, good in zip(batching.sizes(), each, whole, strict=True) if good]
        loss = math.fsum(size * mean for size, mean in kept) / sum(size for size, _ in kept)
        yield state, Epoch(number, loss, metrics_of(state.params), seconds, int((~whole).sum()))


def _first_not_finite(epoch: int, losses: list[np.ndarray], params: Any, finite: Bool[np.ndarray, "steps _"]) -> str:
    """Where, and what, for an error; `finite` are the flags of `batches_function`."""
    at = int(np.flatnonzero(~finite.all(1))[0])
    # A row of several losses is of as many updates.
    before, of = sum(map(len, losses[:at])), sum(map(len, losses))
    if not finite[at, 0]:
        place = int(np.flatnonzero(~np.isfinite(losses[at]))[0])
        return f"fit: loss is {losses[at][place]} at epoch {epoch}, step {before + place + 1} of {of}"
    name = _leaf_name(params, int(np.argmin(finite[at])) - 1)
    where = f"epoch {epoch}, step {before + len(losses[at])} of {of}"
    return f"fit: {name} is not finite after {where}, though the loss is"


def _leaf_name(params: Any, number: int) -> str:
    path, _ = jax.tree.leaves_with_path(params)[number]
    return "params" + jax.tree_util.keystr(path)
