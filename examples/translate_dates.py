"""Train an encoder and a decoder with attention to write dates in ISO form, and draw where the decoder looks.

`python examples/translate_dates.py --picture dates.png`
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

matplotlib.use("agg")
from matplotlib import pyplot as plt

from jaxnets.data import DATE_SOURCE, DATE_TARGET, END, START, date_translation, decode, unseen
from jaxnets.nets import seq2seq
from jaxnets.nets.decoding import greedy
from jaxnets.nets.seq2seq import ATTENTION, Pairs
from jaxnets.train import fit, gradient_step, init_state


def trained(train, epochs, batch_size=64):
    """The parameters after some epochs."""
    params = seq2seq.init_attentive(jax.random.key(0), len(DATE_SOURCE), len(DATE_TARGET), units=64)
    rate = optax.cosine_decay_schedule(0.005, epochs * (len(train.source) // batch_size))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state, _ = fit(
        gradient_step(functools.partial(seq2seq.loss, model=ATTENTION), optimizer),
        init_state(params, optimizer),
        train,
        key=jax.random.key(1),
        batch_size=batch_size,
        epochs=epochs,
        on_epoch=lambda epoch: print(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}, {epoch.seconds:.1f} s", flush=True),
    )
    return state.params


@jax.jit
def translated(params, pairs):
    """What the decoder writes."""
    start, end = DATE_TARGET.index(START), DATE_TARGET.index(END)
    return greedy(params, pairs.source, pairs.source_lengths, model=ATTENTION, start=start, end=end, longest=11)


def draw(params, pairs, path):
    """For each of four dates, how much the decoder looked at each character before it wrote one."""
    alpha = np.asarray(seq2seq.apply(params, pairs, model=ATTENTION).alpha)
    figure, panels = plt.subplots(2, 2, figsize=(11, 5.5), layout="constrained")
    for axes, source, target, weights in zip(panels.ravel(), pairs.source, pairs.target, alpha, strict=True):
        text, iso = decode(np.asarray(source), DATE_SOURCE), decode(np.asarray(target), DATE_TARGET)
        axes.imshow(weights[: len(iso), : len(text)], cmap="Greys", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(text)), text)
        axes.set_yticks(range(len(iso)), iso)
    figure.savefig(path, dpi=80)


def main():
    """Train, check that nearly all dates are written right, show a few, and draw the attention if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--picture", help="where the picture goes")
    options = parser.parse_args()

    train = date_translation(np.random.default_rng(0), options.examples)
    test = unseen(date_translation(np.random.default_rng(1), 1000), train)
    train, test = (Pairs(*map(jnp.asarray, pairs)) for pairs in (train, test))
    params = trained(train, options.epochs)
    words = np.asarray(translated(params, test))
    exact = (words == np.asarray(test.target[:, 1:])).all(1).mean()
    for source, written in zip(test.source[:5], words, strict=False):
        print(f"{decode(np.asarray(source), DATE_SOURCE)} -> {decode(written, DATE_TARGET)}")
    print(f"{exact:.1%} of {len(words)} dates that were not trained on are written without a mistake")
    if options.examples >= 20_000 and options.epochs >= 3:
        assert exact >= 0.99
    if options.picture:
        draw(params, jax.tree.map(lambda a: a[:4], test), options.picture)


if __name__ == "__main__":
    main()
