"""Add two numbers that stand a hundred steps apart: an LSTM learns it, a simple recurrent network does not.

`python examples/adding_problem.py`

The task is experiment 4 of Hochreiter and Schmidhuber (1997). A sum is right if its error is below 0.04; always to
answer with the mean has a mean squared error of 1/24.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.data import adding_problem
from jaxnets.nets import lstm, recurrent, rnn
from jaxnets.nets.recurrent import Sequences
from jaxnets.ops.losses import quadratic
from jaxnets.train import fit, gradient_step, init_state

UNITS = 32


def sums(params, x, lengths, cell):
    """What the network answers after the last step of each sequence."""
    return recurrent.many_to_one(params, Sequences(x, lengths), cell=cell)[:, 0]


def trained(cell, train, batch_size=20):
    """The parameters after one pass over the sequences."""
    rate = optax.cosine_decay_schedule(0.005, len(train.targets) // batch_size)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    def loss(params, batch):
        return quadratic(sums(params, batch.inputs, batch.lengths, cell)[:, None], batch.targets[:, None])

    state, (epoch,) = fit(
        gradient_step(loss, optimizer),
        init_state(recurrent.init(jax.random.key(0), cell, 2, (UNITS,), 1), optimizer),
        train,
        key=jax.random.key(1),
        batch_size=batch_size,
        epochs=1,
    )
    return state.params, epoch.seconds


def main():
    """Train both in the same way, print how well they add, and check that one does and the other does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--examples", type=int, default=40_000)
    options = parser.parse_args()

    train, test = (
        adding_problem(np.random.default_rng(seed), n, options.length) for seed, n in ((0, options.examples), (1, 2560))
    )
    cells = {
        "LSTM": lstm.CELL._replace(init=functools.partial(lstm.chrono_init, longest=options.length)),
        "simple network": rnn.CELL,
    }
    right = {}
    for name, cell in cells.items():
        params, seconds = trained(cell, train)
        error = np.asarray(sums(params, jnp.asarray(test.inputs), jnp.asarray(test.lengths), cell)) - test.targets
        right[name] = (abs(error) < 0.04).mean()
        print(
            f"{name}: {right[name]:.1%} right, mean squared error {(error**2).mean():.5f}, {seconds:.0f} s", flush=True
        )
    if options == parser.parse_args([]):  # longer lags want more sequences
        assert right["LSTM"] >= 0.99
        assert right["simple network"] < 0.3


if __name__ == "__main__":
    main()
