"""What a step of training takes: seconds, memory, operations, and its share of what the device can do.

A step is measured as `fit` runs it, inside a compiled loop that gathers each batch: there a small step is not hidden
behind the time of a call from Python, and XLA may choose other code than outside of a loop.  The operations are counted
in the jaxpr (`flops`), since XLA counts the body of a loop once.  What the device can do is measured too, by products
of large matrices: no data sheet is asked.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int32

from ._batches import count_examples, take_examples
from ._epoch import checked_step
from .flops import Flops, flops
from .step import State, Step


class Memory(NamedTuple):
    """Bytes on the device, as XLA planned them, for steps in a compiled loop."""

    arguments: int
    """The state and the batch."""
    outputs: int
    """The next state and the losses."""
    temporary: int
    """All else: activations, gradients, the gathered batch."""
    aliased: int
    """Of the outputs, what takes the place of an argument: the state is donated."""
    device_peak: int | None
    """The most that this process has held on the device so far, by the device's own count, where it keeps one."""

    @property
    def peak(self) -> int:
        """What is held at once."""
        return self.arguments + self.outputs - self.aliased + self.temporary


class Profile(NamedTuple):
    """What one call of a step takes.

    A step that reports k losses has made k updates of the parameters in a call: its seconds and operations are of all.
    """

    updates: int
    flops: Flops
    seconds: float
    compile_seconds: float
    """To trace, lower and compile the loop."""
    memory: Memory | None
    """None where XLA does not tell."""
    matmul_peak: float
    """`matmul_peak()` of the device, measured in the same run."""

    @property
    def flops_per_second(self) -> float:
        """The operations, by the time that they took."""
        return self.flops.count / self.seconds

    @property
    def share_of_peak(self) -> float:
        """The operations per second, as a part of the most there can be."""
        return self.flops_per_second / self.matmul_peak


def profile_step(step: Step, state: State, batch: Any, *, seconds: float = 0.2) -> Profile:
    """Measure a step on the default device; the given state is left as it was.

    Args:
      step: as for `fit`.
      state: where it begins.
      batch: a pytree of arrays that share their first axis, the examples; each turn takes them in another order, so
        that nothing is the same for all turns and could be computed once.
      seconds: least length of a run; the time is the median of five.

    Raises:
      ValueError: if the batch is empty or its arrays differ in their number of examples, or what the step returns
        cannot go into the next one.
    """
    count_examples("profile_step", batch)
    batch = jax.tree.map(jnp.asarray, batch)
    state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)  # which is then given away
    _, losses = jax.eval_shape(lambda s, b: checked_step("profile_step", step, s, b), state, batch)
    counted = flops(step, state, batch)
    begin = time.perf_counter()
    compiled = jax.jit(repeated(step), donate_argnums=0).lower(state, batch, np.int32(1)).compile()
    compile_seconds = time.perf_counter() - begin

    def timed(turns: int) -> float:
        nonlocal state
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(compiled(state, batch, np.int32(turns)))
        return time.perf_counter() - begin

    timed(1)
    turns = 1
    while timed(turns) < seconds:
        turns *= 2
    each = statistics.median(timed(turns) for _ in range(5)) / turns
    return Profile(losses.size, counted, each, compile_seconds, _memory(compiled), matmul_peak())


def repeated(step: Step) -> Callable[[State, Any, Int32[Any, ""]], tuple[State, Array]]:
    """Return run(state, batch, turns) -> (state, sum of the losses): so many steps, to be compiled as one loop.

    Each takes the examples of the batch from another one on.
    """

    def run(state: State, batch: Any, turns: Int32[Any, ""]) -> tuple[State, Array]:
        examples = count_examples("profile_step", batch)

        def turn(number: Int32[Array, ""], carry: tuple[State, Array]) -> tuple[State, Array]:
            state, total = carry
            rows = (jnp.arange(examples, dtype=np.int32) + number) % np.int32(examples)
            after, losses = checked_step("profile_step", step, state, take_examples(batch, rows))
            return after, total + losses.sum()

        _, losses = jax.eval_shape(lambda s, b: step(s, b), state, batch)
        return lax.fori_loop(np.int32(0), turns, turn, (state, jnp.zeros((), losses.dtype)))

    return run


def matmul_peak(dtype: Any = jnp.float32, *, largest: int = 8192, seconds: float = 0.05) -> float:
    """Return the most FLOP/s of a product a @ b of square matrices on the default device, at JAX's default precision.

    The matrices are doubled until a product takes so many seconds, or they have `largest` rows; of each size the best
    of five runs counts.
    """
    best, size = 0.0, min(256, largest)
    multiply = jax.jit(jnp.matmul)
    while True:
        a, b = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
        jax.block_until_ready(multiply(a, b))
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            jax.block_until_ready(multiply(a, b))
            times.append(time.perf_counter() - begin)
        best = max(best, 2 * size**3 / min(times))
        if min(times) >= seconds or 2 * size > largest:
            return best
        size *= 2


def _memory(compiled: jax.stages.Compiled) -> Memory | None:
    planned = compiled.memory_analysis()
    if planned is None:
        return None
    used = jax.devices()[0].memory_stats() or {}
    return Memory(
        planned.argument_size_in_bytes,
        planned.output_size_in_bytes,
        planned.temp_size_in_bytes,
        planned.alias_size_in_bytes,
        used.get("peak_bytes_in_use"),
    )
