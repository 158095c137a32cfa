"""Recurrent layers on a CPU: backpropagation through time by hand, by JAX's autodiff of a scan, and by PyTorch.

A step of training a layer on 64 sequences of 100 steps of 64 features, with the quadratic cost at every step.  Run it
with `python benchmarks/recurrent.py [part of a title ...]`; the results are written to benchmarks/results/recurrent.md
and .json.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import comparison
import jax
import jax.numpy as jnp
import numpy as np
import torch
from comparison import RATE, Case, Gradients
from jax import lax

from jaxnets.ops.recurrence import LSTMState, elman, gru, lstm
from jaxnets.rule import autodiff

BATCH, STEPS, FEATURES = 64, 100, 64

States = Callable[[Any, jax.Array], jax.Array]
"""(weights, x) -> h of all steps"""


def zeros(w_h: jax.Array) -> jax.Array:
    return jnp.zeros((BATCH, w_h.shape[0]), w_h.dtype)


def elman_states(weights: Any, x: jax.Array) -> jax.Array:
    w_x, w_h, b = weights
    return elman(x, w_x, w_h, b, zeros(w_h))[0]


def lstm_states(weights: Any, x: jax.Array, *, keep_gates: bool) -> jax.Array:
    w_x, w_h, b = weights
    start = zeros(w_h)
    return lstm(x, w_x, w_h, b, LSTMState(start, start), keep_gates=keep_gates)[0]


def gru_states(weights: Any, x: jax.Array, *, keep_gates: bool) -> jax.Array:
    w_x, w_h, b, b_n = weights
    return gru(x, w_x, w_h, b, b_n, zeros(w_h), keep_gates=keep_gates)[0]


def scanned(step: Callable[[Any, Any, jax.Array], tuple[Any, jax.Array]], states: int) -> States:
    """The plain way: everything of a step inside the scan."""

    def run(weights: Any, x: jax.Array) -> jax.Array:
        start = (zeros(weights[1]),) * states
        _, h = lax.scan(partial(step, weights), start, x.swapaxes(0, 1))
        return h.swapaxes(0, 1)

    return run


def elman_step(weights: Any, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    w_x, w_h, b = weights
    h = jnp.tanh(x @ w_x + state[0] @ w_h + b)
    return (h,), h


def lstm_step(weights: Any, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    w_x, w_h, b = weights
    h, c = state
    i, f, g, o = jnp.split(x @ w_x + h @ w_h + b, 4, 1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru_step(weights: Any, state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    w_x, w_h, b, b_n = weights
    (h,) = state
    y_r, y_u, y_n = jnp.split(x @ w_x + b, 3, 1)
    v_r, v_u, v_n = jnp.split(h @ w_h, 3, 1)
    u = jax.nn.sigmoid(y_u + v_u)
    h = (1 - u) * jnp.tanh(y_n + jax.nn.sigmoid(y_r + v_r) * (v_n + b_n)) + u * h
    return (h,), h


def training_step(states: States) -> Gradients:
    """The loss, and the weights after a step of gradient descent."""

    def loss(weights: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        return 0.5 * jnp.mean(jnp.sum((states(weights, x) - t) ** 2, -1))

    def step(weights: Any, x: jax.Array, t: jax.Array) -> Any:
        value, slopes = jax.value_and_grad(loss)(weights, x, t)
        return value, jax.tree.map(lambda w, slope: w - RATE * slope, weights, slopes)

    return step


def case(name: str, hidden: int, states: States, natural: States, module: Any, blocks: int, more: Any) -> Case:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    weights = [
        normal(FEATURES, blocks * hidden) / np.float32(FEATURES**0.5),
        normal(hidden, blocks * hidden) / np.float32(hidden**0.5),
        normal(blocks * hidden) / np.float32(10),
    ]
    if module is torch.nn.GRU:
        weights.append(normal(hidden) / np.float32(10))
    x, t = normal(BATCH, STEPS, FEATURES), normal(BATCH, STEPS, hidden)

    def torch_runner(batch_first: bool) -> Callable[[], Any]:
        layer = module(FEATURES, hidden, batch_first=batch_first)
        optimizer = torch.optim.SGD(layer.parameters(), lr=RATE)
        inputs, targets = (torch.tensor(a if batch_first else a.swapaxes(0, 1).copy()) for a in (x, t))

        def run() -> None:
            optimizer.zero_grad()
            h, _ = layer(inputs)
            (0.5 * ((h - targets) ** 2).sum(-1).mean()).backward()
            optimizer.step()

        return run

    return Case(
        f"{name}, {hidden} units, batch {BATCH}, {STEPS} steps of {FEATURES} features",
        training_step(states),
        training_step(autodiff(states)),
        training_step(natural),
        (tuple(weights), x, t),
        {f"PyTorch, {order} first": partial(torch_runner, order == "batch") for order in ("batch", "time")},
        {name: training_step(f) for name, f in more.items()},
    )


def elman_case(hidden: int) -> Case:
    return case("Elman", hidden, elman_states, scanned(elman_step, 1), torch.nn.RNN, 1, {})


def lstm_case(hidden: int) -> Case:
    kept, again = (partial(lstm_states, keep_gates=keep) for keep in (True, False))
    natural = scanned(lstm_step, 2)
    return case("LSTM", hidden, again, natural, torch.nn.LSTM, 4, {"jaxnets, gates kept": kept})


def gru_case(hidden: int) -> Case:
    kept, again = (partial(gru_states, keep_gates=keep) for keep in (True, False))
    natural = scanned(gru_step, 1)
    return case("GRU", hidden, kept, natural, torch.nn.GRU, 3, {"jaxnets, gates computed again": again})


CASES: tuple[Callable[[], Case], ...] = (
    lambda: elman_case(128),
    lambda: elman_case(256),
    lambda: lstm_case(128),
    lambda: lstm_case(256),
    lambda: gru_case(128),
    lambda: gru_case(256),
)

RECORD = comparison.Record(
    "recurrent",
    "Recurrent layers on a CPU",
    f"A step of training on {BATCH} sequences of {STEPS} steps of {FEATURES} features.",
)

if __name__ == "__main__":
    comparison.main(RECORD, CASES)
