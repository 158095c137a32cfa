"""Train LeNet-5 on all devices of all machines of a cluster; each process reads only its part of the data.

The same command is started once on every machine.  Under SLURM, on GKE and on TPU pods the processes find each other:

    srun python examples/multihost.py --cluster --checkpoints /shared/run

Elsewhere they are told, here two on one machine:

    python examples/multihost.py --coordinator localhost:1234 --processes 2 --process 0 &
    python examples/multihost.py --coordinator localhost:1234 --processes 2 --process 1

Without any of it the program runs on the devices of this machine.  A job that was stopped goes on from its last
checkpoint when it is started again, with the same number of devices.
"""

import argparse
import tempfile

import jax
import jax.numpy as jnp
import optax

from jaxnets.data import as_images, mnist_small, one_hot
from jaxnets.nets import lenet
from jaxnets.train import accuracy, data_parallel, gradient_step, init_state
from jaxnets.train.checkpoint import Checkpoints, fit_resumable


def main():
    """Train, and let one of the processes print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", action="store_true", help="find the other processes by the cluster's means")
    parser.add_argument("--coordinator", help="host:port of process 0")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--checkpoints", help="a directory that all machines see")
    options = parser.parse_args()
    # Before anything else is asked of JAX.
    if options.cluster:
        jax.distributed.initialize()
    elif options.coordinator:
        jax.distributed.initialize(options.coordinator, options.processes, options.process)

    placement = data_parallel()
    digits = mnist_small()
    part = len(digits.train_images) // jax.process_count()
    part -= part % (jax.local_device_count())
    mine = slice(part * jax.process_index(), part * (jax.process_index() + 1))
    examples = as_images(digits.train_images[mine]), one_hot(digits.train_labels[mine], 10)
    test, labels = as_images(digits.test_images), digits.test_labels.astype("int32")

    optimizer = optax.adam(0.002)
    step = gradient_step(lenet.loss, optimizer)
    state = init_state(lenet.init(jax.random.key(0)), optimizer)
    first = jax.process_index() == 0

    def tell(epoch):
        if first:
            right = epoch.metrics["accuracy"]
            print(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}, {right:.1%} right, {epoch.seconds:.1f} s", flush=True)

    with Checkpoints(options.checkpoints or tempfile.mkdtemp()) as checkpoints:
        if first:
            print(f"{jax.process_count()} processes, {jax.device_count()} devices, {part} images in each process")
        fit_resumable(
            step,
            state,
            placement.examples(examples),
            checkpoints=checkpoints,
            placement=placement,
            key=jax.random.key(1),
            batch_size=48 * placement.shares,
            epochs=options.epochs,
            evaluate=lambda params: {"accuracy": accuracy(lenet.apply(params, jnp.asarray(test)), jnp.asarray(labels))},
            on_epoch=tell,
        )


if __name__ == "__main__":
    main()
