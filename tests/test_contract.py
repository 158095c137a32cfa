"""What every derivation of the catalog promises, whatever it computes.

Passes are compiled as a whole, but for the one test that compares that with one operation after the other: compiling
each operation on its own is most of what such a test would take.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.catalog import DERIVATIONS
from jaxnets.rule import autodiff
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.call_sites import call_sites
from jaxnets.verify.leaves import is_inexact, random_cotangent

pytestmark = pytest.mark.usefixtures("x64")

every_derivation = pytest.mark.parametrize("entry", DERIVATIONS, ids=lambda entry: entry.name)

functions = pytest.mark.parametrize(
    "entry", [e for e in DERIVATIONS if not e.name.endswith(("/prime", "/second"))], ids=lambda entry: entry.name
)
"""All but the derivatives of activations as functions of their own, element-wise like the activations themselves."""

per_example = pytest.mark.parametrize(
    "entry",
    [e for e in DERIVATIONS if e.name != "mlp/sgd_block" and not e.name.endswith(("/prime", "/second"))],
    ids=lambda entry: entry.name,
)
"""Of these, all but the kernel, which takes whole blocks of minibatches and gives a difference of parameters."""

one_of_each_family = pytest.mark.parametrize(
    "entry", {e.name.split("/")[0]: e for e in reversed(DERIVATIONS)}.values(), ids=lambda entry: entry.name
)

FIXED_SIZE = ("cnn", "lenet", "lenet1998")
"""Networks whose layers want images of a certain size."""

WINDOWED = (
    *(*FIXED_SIZE, "convolution/conv2d/", "convolution/conv_transpose2d", "convolution/local2d"),
    *("kernels/winograd", "pooling/"),
)
"""What has windows that do not fit into a single pixel."""

GATED = ("recurrence/lstm", "recurrence/gru", "recurrence/attention_lstm", "lstm", "gru")
"""What has several columns of weights for each unit."""

BATCH = {
    **{"mlp": 7, "cnn": 7, "lenet": 2, "lenet1998": 2, "dropout": 5},
    **{"jordan": 2, "rnn": 2, "lstm": 2, "gru": 2},
    **{"dbn": 6, "dbm": 6},
    **{"learning_rules": 5, "hopfield": 5, "dense_hopfield": 5, "bam": 5},
    **{"boltzmann": 6, "rbm": 6, "gaussian_rbm": 6},
}
"""The batch size of a sample, where it is not simply the first axis of the first argument."""


@functools.cache
def sample(entry, seed=0):
    return entry.sample(jax.random.key(seed))


def batch_size(entry):
    family = entry.name.split("/")[0]
    return BATCH[family] if family in BATCH else jax.tree.leaves(sample(entry))[0].shape[0]


def by_hand(entry):
    """The hand-derived vector-Jacobian product of an entry as (f, args, y_bar) -> cotangents of the float leaves."""

    def vjp(args, y_bar):
        if entry.gradient is not None:
            result = entry.gradient(*args)
            bars = result[0] if isinstance(result[-1], dict) else result
            return [y_bar * leaf for leaf in floats(bars)]
        inputs, rebuild = split(args)
        return list(jax.vjp(lambda *inputs: entry.function(*rebuild(inputs)), *inputs)[1](y_bar))

    return vjp


def true(entry):
    """What autodiff makes of the forward pass, likewise."""

    @jax.jit
    def vjp(args, y_bar):
        inputs, rebuild = split(args)
        return list(jax.vjp(lambda *inputs: autodiff(entry.function)(*rebuild(inputs)), *inputs)[1](y_bar))

    return vjp


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if is_inexact(leaf)]


def split(args):
    """The float leaves of the arguments, and the way back."""
    leaves, tree = jax.tree.flatten(args)

    def rebuild(inputs):
        given = iter(inputs)
        return jax.tree.unflatten(tree, [next(given) if is_inexact(leaf) else leaf for leaf in leaves])

    return floats(args), rebuild


def cotangent(entry, args, seed=1):
    return random_cotangent(np.random.default_rng([seed, 2**32]), jax.eval_shape(entry.function, *args))


def assert_same(hand, truth, tolerance=1e-12):
    """Norm-wise, leaf by leaf: same number, shapes, dtypes and values."""
    assert len(hand) == len(truth)
    for ours, theirs in zip(hand, truth, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert np.linalg.norm(np.asarray(ours) - np.asarray(theirs)) <= tolerance * np.linalg.norm(theirs)


@pytest.mark.slow  # `jaxnets verify` checks it too; the next one has another oracle
@every_derivation
def test_agrees_with_autodiff_in_float64(entry):
    report = verify.derivation(entry, seed=1, checks=(call_sites, against_autodiff))
    report.check()
    assert report.worst_error <= 1e-12


@every_derivation
def test_is_the_adjoint_of_forward_mode(entry):
    """⟨ȳ, J q̇⟩ = ⟨Jᵀ ȳ, q̇⟩, with J q̇ by forward mode: an oracle that shares no reverse pass with the rule."""
    args = sample(entry)
    y_bar = cotangent(entry, args)
    inputs, rebuild = split(args)
    generator = np.random.default_rng(2)
    tangents = [random_cotangent(generator, leaf) for leaf in inputs]
    _, y_dot = jax.jit(lambda q, dq: jax.jvp(lambda *q: autodiff(entry.function)(*rebuild(q)), q, dq))(inputs, tangents)
    products = [np.sum(a * b) for a, b in zip(jax.jit(by_hand(entry))(args, y_bar), tangents, strict=True)]
    forward = np.sum(y_bar * np.asarray(y_dot))
    assert abs(forward - sum(products)) <= 1e-13 * (sum(map(abs, products)) + abs(forward))


@one_of_each_family
def test_jit_changes_nothing(entry):
    """Compiling each operation on its own takes long; a family has its control flow in common."""
    args = sample(entry)
    y_bar = cotangent(entry, args)
    hand = by_hand(entry)
    assert_same(jax.jit(hand)(args, y_bar), hand(args, y_bar), 1e-14)


@pytest.mark.slow  # `jaxnets verify` checks it too
@functions
def test_vmap_is_a_stack(entry):
    samples = [sample(entry, seed) for seed in (0, 1, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *samples)
    y_bars = np.stack([cotangent(entry, args, seed) for seed, args in enumerate(samples)])
    hand = jax.jit(by_hand(entry))
    singles = [hand(args, y_bar) for args, y_bar in zip(samples, y_bars, strict=True)]
    stacks = [np.stack(leaves) for leaves in zip(*singles, strict=True)]
    assert_same(jax.jit(jax.vmap(hand))(stacked, y_bars), stacks, 1e-14)


@pytest.mark.slow  # the next one is shorter
@per_example
def test_a_batch_of_one(entry):
    size = batch_size(entry)
    args = jax.tree.map(lambda a: a[:1] if a.ndim and a.shape[0] == size else a, sample(entry))
    y_bar = cotangent(entry, args)
    assert_same(jax.jit(by_hand(entry))(args, y_bar), true(entry)(args, y_bar))


@pytest.mark.parametrize(
    "entry",
    [
        e
        for e in DERIVATIONS
        if not e.name.startswith(("mlp/sgd_block", *WINDOWED, *GATED)) and not e.name.endswith(("/prime", "/second"))
    ],
    ids=lambda entry: entry.name,
)
def test_all_axes_of_size_one(entry):
    def shrink(a):
        return a[(slice(0, 1),) * a.ndim] if is_inexact(a) else jnp.zeros((1,) * a.ndim, a.dtype)

    args = jax.tree.map(shrink, sample(entry))
    y_bar = cotangent(entry, args)
    # With a single class a softmax is constant: its gradient is zero, exactly or but for rounding.
    for ours, theirs in zip(jax.jit(by_hand(entry))(args, y_bar), true(entry)(args, y_bar), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


OPERATIONS = (
    *("losses", "convolution", "kernels", "pooling", "normalization", "residual", "embedding", "recurrence"),
    *("learning_rules", "dbm"),
)
"""Families whose entries are functions of their own, which speak for themselves."""


MACHINES = ("boltzmann/", "rbm/", "gaussian_rbm/")


def speaker(entry):
    """The name that an error message begins with: that of the function, or of the network that it belongs to."""
    family, *names = entry.name.split("/")
    if entry.name.startswith(MACHINES):
        return rf"{family}\.\w+"  # every function of a machine, by its module
    name = names[0] if family in OPERATIONS else family
    others = {
        **{"bernoulli_negative_elbo": "sigmoid_cross_entropy", "rnn": "elman", "dbn": "layer_bound"},
        **{"dbm/log_partition": "free_energy", "dbm/log_likelihood": "log_unnormalized"},
        "dbm/lower_bound": "variational_free_energy",
    }
    return others.get(entry.name, others.get(name, name))


FITS_ANY_SHAPE = (
    *("activations", "losses/gan_generator", "losses/l2_penalty", "mlp/sgd_block", "dropout"),
    "normalization/local_response_norm",
)

LINES_WILL_DO = ("convolution/convolve2d", "embedding/embed", "losses/token_cross_entropy")
"""What takes any number of rows, but no vector in place of a matrix."""


@pytest.mark.parametrize(
    "entry", [e for e in DERIVATIONS if not e.name.startswith(FITS_ANY_SHAPE)], ids=lambda entry: entry.name
)
@pytest.mark.usefixtures("own_errors")
def test_bad_shapes_are_named(entry):
    args = sample(entry)
    if entry.name == "mlp":
        broken = (args[0], args[1][:, :-1])
    elif entry.name.startswith("mlp/") or entry.name in FIXED_SIZE:
        broken = (args[0], (args[1][0][:, :-1], args[1][1]))
    elif entry.name in ("rnn", "lstm", "gru"):
        broken = (args[0], (args[1][0][..., :-1], args[1][1]))
    elif entry.name == "jordan":
        broken = (args[0], args[1][..., :-1], args[2])
    elif entry.name == "rbf":
        broken = (args[0][:, :-1], args[1])
    elif entry.name.startswith(("hopfield/", "dense_hopfield")):
        broken = (args[0], args[1][:, :-1])
    elif entry.name.startswith(MACHINES):
        broken = (args[0]._replace(b=args[0].b[:-1]), *args[1:])
    elif entry.name == "dbm/log_partition":
        broken = (args[0]._replace(b=(args[0].b[0][:-1], *args[0].b[1:])),)
    elif entry.name in ("dbm/energy", "dbm/free_energy", "dbm/free_energy/odd"):
        broken = (args[0], (args[1][0][:, :-1], *args[1][1:]))
    elif entry.name.startswith(("dbn/", "dbm/")):
        broken = (args[0], args[1][:, :-1], *args[2:])
    elif len(args) == 1 or entry.name in LINES_WILL_DO:
        broken = (args[0][0], *args[1:])
    else:
        broken = (args[0][:-1, ...] if len(args) == 2 else args[0][..., :-1], *args[1:])
    with pytest.raises(ValueError, match=rf"^{speaker(entry)}: .*\d"):
        entry.function(*broken)


@pytest.mark.slow  # `jaxnets verify` checks it too
@per_example
def test_float32_is_as_good_as_autodiff_in_float32(entry):
    """Against the float64 truth the error is at most 8 times that of jax.grad in float32, either floored at one ulp."""
    args = sample(entry)
    y_bar = cotangent(entry, args)
    narrow = jax.tree.map(lambda a: a.astype(jnp.float32) if is_inexact(a) else a, (args, y_bar))
    wide = jax.tree.map(lambda a: a.astype(jnp.float64) if is_inexact(a) else a, narrow)
    exact = true(entry)(*wide)
    with jax.enable_x64(False):
        hand, auto = jax.jit(by_hand(entry))(*narrow), true(entry)(*narrow)
    for ours, theirs, truth in zip(hand, auto, exact, strict=True):
        assert ours.dtype == jnp.float32
        floor = np.finfo(np.float32).eps * np.linalg.norm(truth)
        error = np.linalg.norm(np.asarray(ours, np.float64) - truth)
        assert error <= 8 * max(np.linalg.norm(np.asarray(theirs, np.float64) - truth), floor)


def test_names_are_unique_and_documents_exist():
    names = [entry.name for entry in DERIVATIONS]
    assert len(set(names)) == len(names)
    assert all(entry.document.startswith("derivations/") and entry.equations for entry in DERIVATIONS)
