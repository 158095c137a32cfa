"""What one step of minibatch gradient descent takes: Nielsen's networks, batch 10, against six other ways to run it.

All train the same network on the same 6000 images (`jaxnets.data.mnist_small`) from the same weights: sigmoid layers,
quadratic cost, learning rate 3, every epoch in a new order.  Before anything is timed, each must end an epoch in the
same order with the same parameters.  Run it with `python benchmarks/mlp.py`; the results are written to
benchmarks/results/mlp-784-30-10 and mlp-784-100-10, with the endings .md and .json.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax.training.train_state import TrainState

from jaxnets import data
from jaxnets.kernels.mlp_sgd import sgd_step
from jaxnets.nets import mlp
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic
from jaxnets.rule import autodiff
from jaxnets.train import State, Step, epoch_order, fit_by_epoch, gradient_step, init_state

BATCH = 10
BLOCK = 20 * BATCH
RATE = 3.0
SETTING = {"activations": (sigmoid, sigmoid), "cost": quadratic}
KEY = jax.random.key(1)

Order = np.ndarray | None
Arrays = list[tuple[np.ndarray, np.ndarray]]


class Trainer(NamedTuple):
    """One way to train: `epoch(order)` runs an epoch (in an order of its own choice, where it is not given one)."""

    epoch: Callable[[Order], object]
    params: Callable[[], Arrays]
    compiled_step: jax.stages.Compiled | None = None


class Problem(NamedTuple):
    """What all start from."""

    params: mlp.Params
    x: np.ndarray
    t: np.ndarray


def loss(params: mlp.Params, batch: mlp.Batch) -> jax.Array:
    return mlp.loss(params, batch, **SETTING)


def kernel(problem: Problem) -> Trainer:
    """`fit` with the kernel: a block of 20 minibatches a step."""
    step = sgd_step(**SETTING, learning_rate=RATE, batch_size=BATCH)
    return _fit(problem, step, State(problem.params, ()), BLOCK)


def plain(problem: Problem) -> Trainer:
    """`fit` with the hand-derived gradient, a step at a time."""
    optimizer = optax.sgd(RATE)
    return _fit(problem, gradient_step(loss, optimizer), init_state(problem.params, optimizer), BATCH)


def control(problem: Problem) -> Trainer:
    """The same loop and network, differentiated by JAX."""
    optimizer = optax.sgd(RATE)
    return _fit(problem, gradient_step(autodiff(loss), optimizer), init_state(problem.params, optimizer), BATCH)


def _fit(problem: Problem, step: Step, state: State, batch_size: int) -> Trainer:
    examples = (jnp.asarray(problem.x), jnp.asarray(problem.t))
    epochs = fit_by_epoch(step, state, examples, key=KEY, batch_size=batch_size, epochs=1_000_000)
    batch = jax.tree.map(lambda leaf: leaf[:batch_size], examples)
    latest = [state]

    def epoch(_: Order) -> None:
        latest[0] = next(epochs)[0]

    def params() -> Arrays:
        return [(np.asarray(layer.w), np.asarray(layer.b)) for layer in latest[0].params]

    return Trainer(epoch, params, jax.jit(step).lower(state, batch).compile())


def flax_per_step(problem: Problem) -> Trainer:
    """Flax (linen) and Optax: a call of a compiled step a minibatch, which gathers its rows from data on the device."""

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in problem.params:
                x = nn.sigmoid(nn.Dense(layer.b.shape[0])(x))
            return x

    def cost(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        a: Any = Network().apply({"params": params}, x)
        return optax.losses.l2_loss(a, t).sum() / BATCH

    def step(state: TrainState, x: jax.Array, t: jax.Array, rows: jax.Array) -> tuple[TrainState, jax.Array]:
        value, grads = jax.value_and_grad(cost)(state.params, x[rows], t[rows])
        return state.apply_gradients(grads=grads), value

    x, t = jnp.asarray(problem.x), jnp.asarray(problem.t)
    start = {f"Dense_{i}": {"kernel": layer.w, "bias": layer.b} for i, layer in enumerate(problem.params)}
    start = jax.tree.map(jnp.copy, start)
    latest = [TrainState.create(apply_fn=Network().apply, params=start, tx=optax.sgd(RATE))]
    rows = np.zeros(BATCH, np.int32)
    run = jax.jit(step, donate_argnums=0)
    compiled = run.lower(latest[0], x, t, rows).compile()
    random = np.random.default_rng(0)

    def epoch(order: Order) -> None:
        order = random.permutation(len(x)) if order is None else order
        state = latest[0]
        for rows in order.astype(np.int32).reshape(-1, BATCH):
            state, _ = run(state, x, t, rows)
        latest[0] = jax.block_until_ready(state)

    def params() -> Arrays:
        layers = latest[0].params.values()
        return [(np.asarray(layer["kernel"]), np.asarray(layer["bias"])) for layer in layers]

    return Trainer(epoch, params, compiled)


def torch_optimizer(problem: Problem) -> Trainer:
    """PyTorch as its tutorials have it: a module and `torch.optim.SGD`."""

    def descent(parameters: list[torch.nn.Parameter]) -> Callable[[torch.Tensor], None]:
        # Its fastest way for 30 hidden units; for 100, `foreach=True` was up to 9 % faster in some runs, not in others.
        optimizer = torch.optim.SGD(parameters, lr=RATE, foreach=False)

        def descend(cost: torch.Tensor) -> None:
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()

        return descend

    return _torch(problem, descent)


def torch_bare(problem: Problem) -> Trainer:
    """PyTorch with the least around it: a module and its gradients, subtracted in place."""

    def descent(parameters: list[torch.nn.Parameter]) -> Callable[[torch.Tensor], None]:
        def descend(cost: torch.Tensor) -> None:
            gradients = torch.autograd.grad(cost, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(gradient, alpha=RATE)

        return descend

    return _torch(problem, descent)


def _torch(problem: Problem, descent: Callable[[list[torch.nn.Parameter]], Callable[[torch.Tensor], None]]) -> Trainer:
    """A loop over batches that are views of data shuffled once an epoch."""
    x, t = torch.tensor(problem.x), torch.tensor(problem.t)
    linears = []
    for layer in problem.params:
        n_in, n_out = layer.w.shape
        linear = torch.nn.Linear(n_in, n_out)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(np.asarray(layer.w).T))
            linear.bias.copy_(torch.tensor(np.asarray(layer.b)))
        linears.append(linear)
    network = torch.nn.Sequential(*(module for linear in linears for module in (linear, torch.nn.Sigmoid())))
    descend = descent(list(network.parameters()))
    criterion = torch.nn.MSELoss(reduction="sum")

    def epoch(order: Order) -> None:
        shuffled = torch.randperm(len(x)) if order is None else torch.tensor(order)
        for xs, ts in zip(x[shuffled].split(BATCH), t[shuffled].split(BATCH), strict=True):
            descend(criterion(network(xs), ts) / (2 * BATCH))

    def params() -> Arrays:
        return [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linears]

    return Trainer(epoch, params)


def numpy_loop(problem: Problem) -> Trainer:
    """NumPy as the textbooks teach it: float64 column vectors, backpropagation of one example after another."""
    weights = [np.asarray(layer.w, np.float64).T for layer in problem.params]
    biases = [np.asarray(layer.b, np.float64)[:, None] for layer in problem.params]
    pairs = [
        (x[:, None].astype(np.float64), t[:, None].astype(np.float64))
        for x, t in zip(problem.x, problem.t, strict=True)
    ]
    random = np.random.default_rng(0)

    def gradient(x: np.ndarray, t: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        activations = [x]
        for w, b in zip(weights, biases, strict=True):
            activations.append(1 / (1 + np.exp(-(w @ activations[-1] + b))))
        error = activations[-1] - t
        w_bars, b_bars = [], []
        for layer in reversed(range(len(weights))):
            a = activations[layer + 1]
            delta = error * a * (1 - a)
            w_bars.append(delta @ activations[layer].T)
            b_bars.append(delta)
            if layer:
                error = weights[layer].T @ delta
        return w_bars[::-1], b_bars[::-1]

    def epoch(order: Order) -> None:
        order = random.permutation(len(pairs)) if order is None else order
        for rows in order.reshape(-1, BATCH):
            w_sums = [np.zeros_like(w) for w in weights]
            b_sums = [np.zeros_like(b) for b in biases]
            for row in rows:
                w_bars, b_bars = gradient(*pairs[row])
                w_sums = [total + w_bar for total, w_bar in zip(w_sums, w_bars, strict=True)]
                b_sums = [total + b_bar for total, b_bar in zip(b_sums, b_bars, strict=True)]
            weights[:] = [w - RATE / BATCH * total for w, total in zip(weights, w_sums, strict=True)]
            biases[:] = [b - RATE / BATCH * total for b, total in zip(biases, b_sums, strict=True)]

    return Trainer(epoch, lambda: [(w.T, b[:, 0]) for w, b in zip(weights, biases, strict=True)])


TRAINERS: dict[str, Callable[[Problem], Trainer]] = {
    "jaxnets, kernel": kernel,
    "jaxnets, hand-derived gradient": plain,
    "control: the same by autodiff": control,
    "Flax and Optax, jit a step": flax_per_step,
    "PyTorch, torch.optim.SGD": torch_optimizer,
    "PyTorch, no optimizer": torch_bare,
    "NumPy, an example at a time": numpy_loop,
}


def require_equal(trainers: dict[str, Trainer], examples: int) -> None:
    """Train all for one epoch in the order of `fit`'s first; AssertionError unless their parameters agree to 1e-4."""
    order = np.asarray(epoch_order(KEY, 1, examples))
    for trainer in trainers.values():
        trainer.epoch(order)
    wanted = trainers["NumPy, an example at a time"].params()
    for name, trainer in trainers.items():
        for got, exact in zip(jax.tree.leaves(trainer.params()), jax.tree.leaves(wanted), strict=True):
            error = np.linalg.norm(got - exact) / np.linalg.norm(exact)
            assert error < 1e-4, f"{name}: parameters {got.shape} are off by {error:.1e} after an epoch"


def main() -> None:
    # More threads than one only slow such small products down.
    torch.set_num_threads(1)
    images = data.mnist_small()
    x, t = data.as_inputs(images.train_images), data.one_hot(images.train_labels, 10)
    for hidden in (30, 100):
        problem = Problem(mlp.init(jax.random.key(0), (784, hidden, 10)), x, t)
        trainers = {name: make(problem) for name, make in TRAINERS.items()}
        require_equal(trainers, len(x))
        variants = {
            name: harness.Variant(lambda trainer=trainer: trainer.epoch(None), len(x) // BATCH, trainer.compiled_step)
            for name, trainer in trainers.items()
        }
        report = harness.measure(
            variants,
            "jaxnets, kernel",
            title=f"784-{hidden}-10, minibatches of {BATCH}: one step of training",
            unit="step",
            note="Temporary memory is that of one compiled step; the kernel's is a block of 20 minibatches.",
            packages=("flax", "optax", "torch"),
            limit_s=300,
        )
        print(harness.write(report, f"mlp-784-{hidden}-10"))


if __name__ == "__main__":
    main()
