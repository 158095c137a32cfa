"""Train a network on the characters of three plays, and let it write.

`python examples/write_text.py`
"""

import argparse
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.data import decode, encode, public_domain_text, windows
from jaxnets.nets import language_model, lstm
from jaxnets.train import fit, gradient_step, init_state, mean_in_batches


def single_character_entropy(train, test, characters):
    """Bits a character of the test text, for who knows only how often each stands in the training text."""
    often = np.bincount(train, minlength=characters) + 1
    return -np.log2(often / often.sum())[test].mean()


def main():
    """Train, print bits a character after every epoch, write at three temperatures, and check what was learnt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100, help="characters that the gradient goes back")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--characters", type=int, help="of the training text; all of it if left out")
    options = parser.parse_args()

    text = public_domain_text()
    codes = text.train[: options.characters]
    train, test = (jnp.asarray(windows(part, options.steps)) for part in (codes, text.test))
    cell, batch_size = lstm.CELL, 8
    rate = optax.cosine_decay_schedule(0.004, options.epochs * (len(train) // batch_size))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    loss = functools.partial(language_model.loss, cell=cell)
    params = language_model.init(jax.random.key(0), cell, len(text.characters), hidden=(options.units,))

    def bits(params):
        nats = mean_in_batches(functools.partial(loss, params), test, batch_size=64)
        return {"bits": nats / math.log(2)}

    single = single_character_entropy(codes, text.test, len(text.characters))
    print(f"single characters: {single:.2f} bits")
    state, history = fit(
        gradient_step(loss, optimizer),
        init_state(params, optimizer),
        train,
        key=jax.random.key(1),
        batch_size=batch_size,
        epochs=options.epochs,
        evaluate=bits,
        on_epoch=lambda epoch: print(
            f"epoch {epoch.epoch}: {epoch.metrics['bits']:.2f} bits a character, {epoch.seconds:.0f} s", flush=True
        ),
    )
    prompt = jnp.asarray(encode("\n", text.characters))[None]
    for temperature in (0.5, 0.8, 1.0):
        write = functools.partial(language_model.generate, length=300, cell=cell, temperature=temperature)
        written = jax.jit(write)(state.params, jax.random.key(2), prompt)
        print(f"\n--- temperature {temperature} ---\n{decode(np.asarray(written[0]), text.characters)}")
    if options == parser.parse_args([]):  # a smaller network, or less text, does not get as far
        assert history[-1].metrics["bits"] < single / 2


if __name__ == "__main__":
    main()
