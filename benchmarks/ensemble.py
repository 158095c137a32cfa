"""What a step takes each of 16 networks 784-30-10 that are trained at once, and one after the other.

All members see the same batches of 10, or each its own.  Before anything is timed, the members trained at once must end
an epoch as they do alone.  Run it with `python benchmarks/ensemble.py`; the results are written to
benchmarks/results/ensemble, with the endings .md and .json.
"""

from collections.abc import Callable, Iterator

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets import data
from jaxnets.nets import mlp
from jaxnets.ops.activations import sigmoid
from jaxnets.ops.losses import quadratic
from jaxnets.rule import autodiff
from jaxnets.train import State, Step, fit_by_epoch, gradient_step, init_state, member, sweep_by_epoch

MEMBERS, SIZES, BATCH = 16, (784, 30, 10), 10
KEYS, ORDER = jax.random.split(jax.random.key(0), MEMBERS), jax.random.key(1)
RATES = jnp.linspace(1.0, 4.0, MEMBERS)
FOREVER = 1_000_000


def loss(params: mlp.Params, batch: mlp.Batch) -> jax.Array:
    return mlp.loss(params, batch, activations=(sigmoid, sigmoid), cost=quadratic)


def step_of(rate: jax.Array) -> Step:
    return gradient_step(loss, optax.sgd(rate))


def control_step_of(rate: jax.Array) -> Step:
    return gradient_step(autodiff(loss), optax.sgd(rate))


def init(key: jax.Array, rate: jax.Array) -> State:
    return init_state(mlp.init(key, SIZES), optax.sgd(rate))


def at_once(examples: mlp.Batch, order: jax.Array, of: Callable[..., Step] = step_of) -> Iterator[State]:
    """The stacked states after every epoch."""
    settings = {"settings": RATES, "keys": KEYS, "order": order, "batch_size": BATCH, "epochs": FOREVER}
    return (states for states, _ in sweep_by_epoch(of, init, examples, **settings))


def alone(examples: mlp.Batch, number: int) -> Iterator[State]:
    """The state of one member after every epoch."""
    rate = RATES[number]
    options = {"key": ORDER, "batch_size": BATCH, "epochs": FOREVER}
    return (state for state, _ in fit_by_epoch(step_of(rate), init(KEYS[number], rate), examples, **options))


def one_after_the_other(examples: mlp.Batch) -> Callable[[], object]:
    members = [alone(examples, number) for number in range(MEMBERS)]
    return lambda: [next(epochs) for epochs in members]


def assert_the_same(examples: mlp.Batch) -> None:
    states = next(at_once(examples, ORDER))
    for number in (0, MEMBERS - 1):
        theirs = next(alone(examples, number))
        for a, b in zip(jax.tree.leaves(member(states, number)), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def main() -> None:
    digits = data.mnist_small()
    examples = jnp.asarray(data.as_inputs(digits.train_images)), jnp.asarray(data.one_hot(digits.train_labels, 10))
    assert_the_same(examples)
    units = MEMBERS * (len(examples[0]) // BATCH)
    reference = "at once, the same batches for all"
    runs = {
        reference: at_once(examples, ORDER),
        "control: the same by autodiff": at_once(examples, ORDER, control_step_of),
        "at once, batches of each member's own": at_once(examples, jax.random.split(ORDER, MEMBERS)),
    }
    variants = {
        name: harness.Variant(lambda states=states: jax.block_until_ready(next(states)), units)
        for name, states in runs.items()
    }
    variants["one after the other"] = harness.Variant(one_after_the_other(examples), units)
    report = harness.measure(
        variants,
        reference,
        title=f"{MEMBERS} networks 784-30-10, batch {BATCH}",
        unit="step of one network",
        note="Epochs of SGD on 6000 images, each network with a learning rate of its own.",
    )
    print(harness.write(report, "ensemble"))


if __name__ == "__main__":
    main()
