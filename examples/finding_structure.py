"""Elman's two experiments: a network that foretells what comes next errs where nothing could have told it.

`python examples/finding_structure.py`

In a stream of bits every third is the exclusive or of the two before it: the error is small there, and nowhere else.
In a stream of letters, words without spaces between them, it is large at the first letter of a word and falls from
letter to letter: where words begin can be seen in the error.  Both networks are trained with Elman's truncation, the
context a copy through which no gradient goes (Elman 1990, Finding structure in time).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.data import temporal_xor
from jaxnets.nets import recurrent, rnn, srn
from jaxnets.ops.losses import sigmoid_cross_entropy, token_cross_entropy

WORDS = (
    "a",
    "boy",
    "many",
    "years",
    "ago",
    "lived",
    "by",
    "the",
    "sea",
    "with",
    "his",
    "dog",
    "and",
    "played",
    "happily",
)
LETTERS = "".join(sorted(set("".join(WORDS))))


def outputs(params, x):
    """What the network foretells at every step; the gradient goes back no further than its own."""
    (layer,) = params.layers
    start = rnn.start(layer, x.shape[0])
    h, _ = srn.truncated(lambda x, h: rnn.CELL.run(layer, x, h, None), x, start, steps=1)
    return recurrent.at_every_step(params.head, h)


def trained(loss, params, rate, steps):
    """The parameters after so many steps of Adam, each on everything there is."""
    optimizer = optax.adam(rate)

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), None, length=steps)[0][0]

    return run(params)


def exclusive_or():
    """The mean error at two random bits, and at the one after them that is their exclusive or."""
    stream = jnp.asarray(temporal_xor(np.random.default_rng(0), 3000))
    x, t = (part.reshape(1, -1, 1) for part in (stream[:-1], stream[1:]))
    params = recurrent.init(jax.random.key(0), rnn.CELL, 1, (8,), 1)
    params = trained(lambda p: sigmoid_cross_entropy(outputs(p, x)[0], t[0]), params, rate=0.02, steps=400)
    error = np.asarray(jnp.abs(jax.nn.sigmoid(outputs(params, x)) - t))[0, :, 0]
    return error[2 : 2 + 3 * 998].reshape(-1, 3).mean(0)


def letters(rng, streams, length):
    """Codes of letters in streams of words without spaces, and the place of each letter in its word."""
    rows = []
    for _ in range(streams):
        words = [WORDS[k] for k in rng.integers(0, len(WORDS), length)]
        text = "".join(words)[:length]
        places = np.concatenate([np.arange(len(word)) for word in words])[:length]
        rows.append(([LETTERS.index(letter) for letter in text], places))
    codes, places = (np.array(part, np.int32) for part in zip(*rows, strict=True))
    return codes, places


def words_in_letters():
    """The mean error, in nats, at the first, second and third letter of words of at least three, and a piece of it."""
    codes, places = letters(np.random.default_rng(0), 20, 200)
    x, t = jax.nn.one_hot(codes[:, :-1], len(LETTERS)), jnp.asarray(codes[:, 1:])
    params = recurrent.init(jax.random.key(1), rnn.CELL, len(LETTERS), (20,), len(LETTERS))
    params = trained(lambda p: token_cross_entropy(outputs(p, x), t), params, rate=0.02, steps=500)
    error = optax.softmax_cross_entropy_with_integer_labels(outputs(params, x), t)
    by_place = [float(error[places[:, 1:] == place].mean()) for place in range(3)]
    return by_place, codes[0, 1:40], places[0, 1:40], error[0, :39]


def main():
    """Train both, print the errors, and check that they are where they should be."""
    first, second, third = exclusive_or()
    print(f"bits: mean error {first:.2f}, {second:.2f}, and {third:.2f} where the bit is the exclusive or of these two")
    assert third < 0.35 < 0.45 < min(first, second)

    by_place, codes, places, errors = words_in_letters()
    for code, place, error in zip(codes, places, errors, strict=True):
        print(f"{'| ' if place == 0 else '  '}{LETTERS[code]} {'#' * round(10 * float(error))}")
    print(
        "letters: mean error {:.2f} nats at the first of a word, {:.2f} at the second, {:.2f} at the third".format(
            *by_place
        )
    )
    assert by_place[0] > 1.5 * by_place[1] > 1.5 * by_place[2]


if __name__ == "__main__":
    main()
