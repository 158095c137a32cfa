"""Checkpoints of a training, written by Orbax: all from which it goes on as if it had never stopped.

    with Checkpoints("runs/lenet", keep=3, run={"batch_size": 32}) as checkpoints:
        state, history = fit_resumable(step, state, data, checkpoints=checkpoints, key=key, batch_size=32, epochs=20)

A checkpoint holds the state (parameters, optimizer, keys), the key that orders the examples, and the history; with the
same data, program and machine the run that goes on from it ends bit for bit as the one that was not interrupted.  Orbax
renames a checkpoint into its place when it is complete, so a process may be killed at any moment.  Nothing is pickled.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ._epoch import NonFinite
from ._evaluation import Evaluate
from .loop import Epoch, Stop, fit_by_epoch
from .placement import Placement
from .step import State, Step

FORMAT = "jaxnets training state, version 1"

_ARRAYS, _ABOUT = "arrays", "about"


class CheckpointError(Exception):
    """A checkpoint is damaged, of something else, or of another run."""


class Restored(NamedTuple):
    """Where a training goes on."""

    state: State
    history: tuple[Epoch, ...]


class Checkpoints:
    """The checkpoints of one run, in a directory of its own; close it, or use it in a `with`.

    Args:
      directory: made if there is none.
      keep: how many checkpoints are kept, the latest; older ones are deleted.
      run: what must be the same when the run goes on (batch size, rates, the names of data sets), as JSON.

    Raises:
      ValueError: if `keep` is less than 1, or `run` is not JSON.
    """

    def __init__(self, directory: str | Path, *, keep: int = 3, run: Mapping[str, Any] | None = None):
        import orbax.checkpoint as ocp

        if keep < 1:
            raise ValueError(f"Checkpoints: keep is {keep}, wanted at least 1")
        try:
            self._run = json.loads(json.dumps(dict(run or {})))
        except TypeError as error:
            raise ValueError(f"Checkpoints: run is {run!r}, wanted what JSON can hold ({error})") from None
        self.directory = Path(directory).absolute()
        # Not asynchronous: the next epoch is given the arrays of this state to write into.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options, item_names=(_ARRAYS, _ABOUT))

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait until all is written."""
        self._manager.close()

    def epochs(self) -> tuple[int, ...]:
        """After how many epochs each of the checkpoints was written, in order."""
        return tuple(sorted(self._manager.all_steps()))

    def save(self, state: State, history: tuple[Epoch, ...], key: Key[Array, ""]) -> None:
        """Write a checkpoint after the last epoch of `history`; an earlier one of the same epoch is replaced."""
        import orbax.checkpoint as ocp

        leaves = _leaves(state)
        about = {
            "run": self._run,
            "key": _key_text(key),
            "history": [epoch._asdict() | {"metrics": dict(epoch.metrics)} for epoch in history],
            "leaves": {name: _kind(leaf) for name, leaf in leaves.items()},
            "digests": {name: _digest(leaf) for name, leaf in leaves.items() if leaf.is_fully_addressable},
        }
        sealed = {"format": FORMAT, "about": about, "digest": _json_digest(about)}
        epoch = history[-1].epoch
        if epoch in self._manager.all_steps():
            self._manager.delete(epoch)
        # Orbax has no empty arrays; there is nothing to be saved of them.
        arrays = {name: leaf for name, leaf in leaves.items() if leaf.size}
        self._manager.save(
            epoch, args=ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(sealed))
        )

    def restore(self, like: State, key: Key[Array, ""], *, fallback: bool = False) -> Restored | None:
        """Read the latest checkpoint; None if there is none.

        Args:
          like: a state of the same structure, shapes, dtypes and placement on devices.
          key: the key of the run.
          fallback: whether an earlier checkpoint is taken if the latest is damaged.

        Raises:
          CheckpointError: if the checkpoint is damaged, or not of this run: what it differs in is named.
        """
        damaged: list[str] = []
        for epoch in reversed(self.epochs()):
            where = self.directory / str(epoch)
            try:
                return self._read(epoch, like, key)
            except _DamagedError as error:
                damaged.append(f"{where} is damaged: {error}")
                if not fallback:
                    others = [other for other in self.epochs() if other < epoch]
                    hint = f"; fallback=True takes that of epoch {others[-1]}" if others else ""
                    raise CheckpointError(f"checkpoint {damaged[0]}{hint}") from error
        if damaged:
            raise CheckpointError("no checkpoint is whole: " + "; ".join(damaged))
        return None

    def _read(self, epoch: int, like: State, key: Key[Array, ""]) -> Restored:
        import orbax.checkpoint as ocp

        where = self.directory / str(epoch)
        if not (where / _ABOUT).is_dir():
            raise CheckpointError(f"checkpoint {where} is not one of jaxnets: it has no {_ABOUT!r}")
        sealed = _whole(lambda: self._manager.restore(epoch, args=ocp.args.Composite(about=ocp.args.JsonRestore())))
        if not isinstance(sealed[_ABOUT], dict) or sealed[_ABOUT].get("format") != FORMAT:
            raise CheckpointError(f"checkpoint {where} is not one of jaxnets in this format: wanted {FORMAT!r}")
        about = sealed[_ABOUT].get("about")
        if _json_digest(about) != sealed[_ABOUT].get("digest"):
            raise _DamagedError("what it says of itself has been changed")
        leaves = _leaves(like)
        self._check_run(where, about, leaves, key)
        targets = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in leaves.items()
            if leaf.size
        }
        found = _whole(
            lambda: self._manager.restore(epoch, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(targets)))
        )[_ARRAYS]
        arrays = {name: found[name] if leaf.size else leaf for name, leaf in leaves.items()}
        for name, digest in about["digests"].items():
            if arrays[name].is_fully_addressable and _digest(arrays[name]) != digest:
                raise _DamagedError(f"{name} has not the numbers that were written")
        return Restored(_like(like, arrays), tuple(Epoch(**entry) for entry in about["history"]))

    def _check_run(self, where: Path, about: dict[str, Any], leaves: dict[str, Array], key: Key[Array, ""]) -> None:
        """CheckpointError if the checkpoint is of another run."""
        wanted = {name: _kind(leaf) for name, leaf in leaves.items()}
        for what, got, expected in (
            ("", about["run"], self._run),
            ("", {"key": about["key"]}, {"key": _key_text(key)}),
            ("state", about["leaves"], wanted),
        ):
            for name in sorted(got.keys() | expected.keys()):
                if got.get(name, "missing") != expected.get(name, "missing"):
                    raise CheckpointError(
                        f"checkpoint {where} is of another run: {what}{name} is {got.get(name, 'missing')} there, "
                        f"{expected.get(name, 'missing')} here"
                    )


def fit_resumable(
    step: Step,
    state: State,
    data: Any,
    *,
    checkpoints: Checkpoints,
    key: Key[Array, ""],
    batch_size: int,
    epochs: int,
    evaluate: Evaluate | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
    stop: Stop | None = None,
    non_finite: NonFinite = NonFinite.STOP,
    placement: Placement | None = None,
    stream: int | None = None,
    fallback: bool = False,
) -> Restored:
    """Train as `fit` until `epochs` epochs are done in all, from the latest checkpoint on, and write one after each.

    `on_epoch` is called for the epochs that are trained now; the history holds the others too.

    Args:
      fallback: whether an earlier checkpoint is taken if the latest is damaged.

    Raises:
      CheckpointError: if the latest checkpoint is damaged or of another run.
      ValueError, TypeError, NonFiniteError: as `fit`.
    """
    if placement is not None:
        state = placement.state(state)
    state, history = checkpoints.restore(state, key, fallback=fallback) or Restored(state, ())
    done = history[-1].epoch if history else 0
    if history and stop is not None and stop(history):
        return Restored(state, history)
    for trained, epoch in fit_by_epoch(
        step,
        state,
        data,
        key=key,
        batch_size=batch_size,
        epochs=max(epochs - done, 0),
        start=done,
        evaluate=evaluate,
        non_finite=non_finite,
        placement=placement,
        stream=stream,
    ):
        state, history = trained, (*history, epoch)
        checkpoints.save(state, history, key)
        if on_epoch is not None:
            on_epoch(epoch)
        if stop is not None and stop(history):
            break
    return Restored(state, history)


class _DamagedError(Exception):
    """What a checkpoint holds cannot be read."""


def _whole(read: Callable[[], Any]) -> Any:
    """What is read; whatever goes wrong there is a damage."""
    try:
        return read()
    except Exception as error:
        raise _DamagedError(str(error).strip().split("\n")[0] or type(error).__name__) from error


def _leaves(state: State) -> dict[str, Array]:
    """Every array by its path; keys as the integers that they consist of."""
    return {
        jax.tree_util.keystr(path): jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(state)
    }


def _like(like: State, arrays: dict[str, Array]) -> State:
    def put(path: Any, leaf: Any) -> Any:
        array = arrays[jax.tree_util.keystr(path)]
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else array

    return jax.tree.map_with_path(put, like)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _kind(leaf: Array) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _digest(leaf: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(leaf).tobytes()).hexdigest()


def _json_digest(about: Any) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _key_text(key: Key[Array, ""]) -> str:
    return f"{jax.random.key_impl(key)} {np.asarray(jax.random.key_data(key)).tolist()}"
