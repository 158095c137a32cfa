"""Encoder and decoder, with attention and without: what is looked at, what is written, what is learnt."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import verify
from jaxnets.data import LETTERS, reversal
from jaxnets.nets import seq2seq
from jaxnets.nets.decoding import beam, greedy
from jaxnets.nets.seq2seq import ATTENTION, PLAIN, Pairs

START, END = 1, 2
MODELS = {"plain": (PLAIN, seq2seq.init_plain), "attention": (ATTENTION, seq2seq.init_attentive)}
every_model = pytest.mark.parametrize(("model", "init"), MODELS.values(), ids=MODELS)


def params_of(init, dtype=float, words=6):
    return init(jax.random.key(0), 7, words, features=3, units=4, dtype=dtype)


def pairs(seed=0):
    generator = np.random.default_rng(seed)
    source, target = generator.integers(3, 7, (3, 5)), generator.integers(3, 6, (3, 4))
    target[:, 0] = START
    lengths = jnp.array([5, 1, 3], jnp.int32), jnp.array([4, 2, 3], jnp.int32)
    return Pairs(jnp.asarray(source, jnp.int32), lengths[0], jnp.asarray(target, jnp.int32), lengths[1])


@every_model
@pytest.mark.usefixtures("x64")
def test_gradients(model, init):
    verify.rules(
        jax.jit(functools.partial(seq2seq.loss, model=model)), params_of(init), pairs(), checks=verify.AT_THE_INPUT
    ).check()


@every_model
@pytest.mark.usefixtures("x64")
def test_padding_is_not_looked_at(model, init):
    """Whatever stands after the end of sources and targets, and however long the arrays are."""
    batch, params = pairs(), params_of(init)
    beyond = [
        np.arange(a.shape[1])[None] >= np.asarray(n)[:, None]
        for a, n in ((batch.source, batch.source_lengths), (batch.target, batch.target_lengths))
    ]
    other = batch._replace(source=jnp.where(beyond[0], 6, batch.source), target=jnp.where(beyond[1], 5, batch.target))
    longer = batch._replace(
        source=jnp.pad(batch.source, ((0, 0), (0, 3)), constant_values=4),
        target=jnp.pad(batch.target, ((0, 0), (0, 2)), constant_values=4),
    )
    run = jax.value_and_grad(functools.partial(seq2seq.loss, model=model))
    value, slopes = run(params, batch)
    for changed in (other, longer):
        same, also = run(params, changed)
        np.testing.assert_allclose(same, value, rtol=1e-14)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-15), also, slopes)


@pytest.mark.usefixtures("x64")
def test_what_the_decoder_begins_with_is_what_the_encoder_ended_with():
    """d h_0 of the decoder is d h_T of the encoder."""
    params, batch = params_of(seq2seq.init_plain), pairs()
    encoded = PLAIN.encode(params, batch.source, batch.source_lengths)

    def of_the_state(state):
        return jnp.sum(jnp.sin(PLAIN.decode(params, encoded, state, batch.target).logits))

    def of_the_encoder(encoder):
        encoded = PLAIN.encode(params._replace(encoder=encoder), batch.source, batch.source_lengths)
        return jnp.sum(jnp.sin(PLAIN.decode(params, encoded, encoded.state, batch.target).logits))

    state_bar = jax.grad(of_the_state)(encoded.state)
    pull_back = jax.vjp(
        lambda encoder: PLAIN.encode(params._replace(encoder=encoder), batch.source, batch.source_lengths).state,
        params.encoder,
    )[1]
    for chained, whole in zip(
        jax.tree.leaves(pull_back(state_bar)[0]), jax.tree.leaves(jax.grad(of_the_encoder)(params.encoder)), strict=True
    ):
        np.testing.assert_allclose(chained, whole, rtol=1e-11, atol=1e-14)


@every_model
def test_greedy_writes_the_likeliest_words(model, init):
    """What it wrote, given back as a target, has the greatest logits everywhere up to its end."""
    params, batch = params_of(init, jnp.float32), pairs()
    write = jax.jit(functools.partial(greedy, model=model, start=START, end=END, longest=8))
    words = write(params, batch.source, batch.source_lengths)
    target = jnp.concatenate([jnp.full((3, 1), START), words.astype(jnp.int32)], 1).astype(jnp.int32)
    decoded = seq2seq.apply(params, batch._replace(target=target), model=model)
    ended = np.cumsum(np.asarray(words) == END, 1) - (np.asarray(words) == END) > 0
    np.testing.assert_array_equal(np.where(ended, END, jnp.argmax(decoded.logits, -1)), words)
    assert words.shape == (3, 8)


@every_model
def test_a_beam_of_one_is_greedy(model, init):
    params, batch = params_of(init, jnp.float32), pairs()
    options = {"model": model, "start": START, "end": END, "longest": 6}
    words = greedy(params, batch.source, batch.source_lengths, **options)
    beams = beam(params, batch.source, batch.source_lengths, width=1, **options)
    np.testing.assert_array_equal(beams.words[:, 0], words)


@every_model
@pytest.mark.usefixtures("x64")
def test_a_beam_that_is_wide_enough_finds_the_likeliest_of_all(model, init):
    """Of all sequences of up to three words, each with its probability by teacher forcing."""
    params, batch = params_of(init, words=5), pairs()
    longest, words = 3, 5
    found = beam(
        params, batch.source, batch.source_lengths, model=model, start=START, end=END, longest=longest, width=words**2
    )
    logits_of = jax.jit(functools.partial(seq2seq.apply, model=model))
    best = np.full(3, -np.inf)
    for sequence in itertools.product(range(words), repeat=longest):
        first_end = sequence.index(END) if END in sequence else longest
        if any(word != END for word in sequence[first_end:]):
            continue
        target = jnp.broadcast_to(jnp.array([START, *sequence], jnp.int32), (3, longest + 1))
        log_p = jax.nn.log_softmax(logits_of(params, batch._replace(target=target)).logits)
        count = min(first_end + 1, longest)
        best = np.maximum(best, sum(np.asarray(log_p[:, t, sequence[t]]) for t in range(count)))
    np.testing.assert_allclose(found.scores[:, 0], best, rtol=1e-12)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_words_do_not_depend_on_the_dtype_of_the_source():
    """A target may have more words than the dtype of the source can count."""
    params, batch = params_of(seq2seq.init_plain, jnp.float32, words=300), pairs()
    options = {"model": PLAIN, "start": START, "end": END, "longest": 6}
    for write in (greedy, functools.partial(beam, width=2)):
        wanted, words = (
            jax.tree.leaves(write(params, source, batch.source_lengths, **options))[0]
            for source in (batch.source, batch.source.astype(jnp.uint8))
        )
        np.testing.assert_array_equal(words, wanted)
        assert words.max() > 255


@every_model
def test_a_beam_in_bfloat16_has_scores_in_float32(model, init):
    """Sequences that are nearly as likely as each other can be told apart."""
    params, batch = params_of(init, jnp.bfloat16), pairs()
    beams = beam(params, batch.source, batch.source_lengths, model=model, start=START, end=END, longest=6, width=4)
    assert beams.scores.dtype == jnp.float32
    assert all(len(np.unique(row)) == 4 for row in beams.scores)


def test_attention_is_a_distribution_over_the_places_there_are():
    params, batch = params_of(seq2seq.init_attentive, jnp.float32), pairs()
    alpha = np.asarray(seq2seq.apply(params, batch, model=ATTENTION).alpha)
    np.testing.assert_allclose(alpha.sum(-1), 1, rtol=1e-6)
    for n, length in enumerate((5, 1, 3)):
        assert (alpha[n, :, length:] == 0).all()
    assert (alpha[1, :, 0] == 1).all()


@pytest.mark.slow
def test_reversal_is_learnt():
    """Strings of up to four letters, with attention: nearly all are written right after a few hundred steps."""
    generator = np.random.default_rng(0)
    train, test = (Pairs(*map(jnp.asarray, reversal(generator, n, 1, 4))) for n in (16_000, 200))
    params = seq2seq.init_attentive(jax.random.key(0), len(LETTERS), len(LETTERS), features=16, units=32)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, 500))

    @jax.jit
    def fit(params):
        def step(carry, batch):
            params, state = carry
            slopes = jax.grad(functools.partial(seq2seq.loss, model=ATTENTION))(params, batch)
            updates, state = optimizer.update(slopes, state)
            return (optax.apply_updates(params, updates), state), None

        batches = jax.tree.map(lambda a: a.reshape(500, 32, *a.shape[1:]), train)
        return jax.lax.scan(step, (params, optimizer.init(params)), batches)[0][0]

    with jax.numpy_dtype_promotion("standard"):
        params = fit(params)
    write = jax.jit(functools.partial(greedy, model=ATTENTION, start=START, end=END, longest=5))
    words = write(params, test.source, test.source_lengths)
    wanted = np.where(np.arange(5)[None] < np.asarray(test.target_lengths)[:, None] - 1, test.target[:, 1:], END)
    assert (np.asarray(words) == wanted).all(1).mean() > 0.9


@pytest.mark.usefixtures("own_errors")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"seq2seq.init_plain: source_words 0"):
        seq2seq.init_plain(jax.random.key(0), 0, 5)
    params, batch = params_of(seq2seq.init_plain, jnp.float32), pairs()
    options = {"model": PLAIN, "start": START, "end": END}
    source = batch.source, batch.source_lengths
    with pytest.raises(ValueError, match="greedy: start is 6, end 2; the target has words 0 to 5"):
        greedy(params, *source, longest=3, **options | {"start": 6})
    with pytest.raises(ValueError, match="beam: start is 1, end -1; the target has words 0 to 5"):
        beam(params, *source, longest=3, width=2, **options | {"end": -1})
    with pytest.raises(ValueError, match=r"seq2seq: source is \(3, 5\), target \(3, 1\); wanted .* at least two words"):
        seq2seq.loss(params, batch._replace(target=batch.target[:, :1]), model=PLAIN)
    with pytest.raises(ValueError, match="greedy: longest is 0"):
        greedy(params, batch.source, batch.source_lengths, longest=0, **options)
    with pytest.raises(ValueError, match="beam: width is 0"):
        beam(params, batch.source, batch.source_lengths, longest=3, width=0, **options)
    weights = params_of(seq2seq.init_attentive, jnp.float32)
    broken = weights._replace(decoder=weights.decoder._replace(w_a=jnp.zeros((4, 3))))
    with pytest.raises(ValueError, match=r"attention_lstm: w_a is \(4, 3\), wanted \(4, 4\)"):
        seq2seq.loss(broken, batch, model=ATTENTION)
