"""Every derivation, broken in at least three ways: a check that accepts one of them would be worth nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import verify
from jaxnets.catalog import DERIVATIONS
from jaxnets.nets import mlp
from jaxnets.ops import activations
from jaxnets.ops.affine import affine
from jaxnets.rule import rule
from jaxnets.verify.checks.call_sites import call_sites
from jaxnets.verify.leaves import is_inexact, to_float64
from jaxnets.verify.point import equations_at
from jaxnets.verify.problem import pose

pytestmark = pytest.mark.usefixtures("x64")

MUTATIONS = {
    "negated": lambda bar: -bar,
    "off by one part in ten thousand": lambda bar: bar * 1.0001,
    "one entry off": lambda bar: bar.ravel().at[0].add(0.01).reshape(bar.shape),
}


def mutate_leaf(bars, position, mutation):
    """The cotangents with one floating-point leaf changed."""
    leaves, tree = jax.tree.flatten(bars)
    floats = [index for index, leaf in enumerate(leaves) if is_inexact(leaf)]
    index = floats[position % len(floats)]
    leaves[index] = mutation(leaves[index])
    return jax.tree.unflatten(tree, leaves)


CONSTANTS = (1e-6, -1.0, 1e6)
"""What is added where a gradient is zero, and stays right when it is negated or scaled."""


def mutants(bars):
    """(name, leaf, mutation): every leaf is broken at least once, and every mutation is used at least once."""
    leaves = [leaf for leaf in jax.tree.leaves(bars) if is_inexact(leaf)]
    n_leaves = len(leaves)
    names = list(MUTATIONS)
    for turn in range(max(n_leaves, len(names))):
        name = names[turn % len(names)]
        yield name, turn % n_leaves, MUTATIONS[name]
    for position in [position for position, leaf in enumerate(leaves) if not np.any(leaf)]:
        for constant in CONSTANTS:
            yield f"plus {constant}", position, lambda bar, constant=constant: bar + constant


@pytest.mark.parametrize("entry", DERIVATIONS, ids=lambda entry: entry.name)
def test_every_broken_derivation_is_rejected(entry):
    """Every equation and every leaf is judged.  The diagnosis, which takes long to compile, is left out."""
    hand = entry.gradient and (lambda args, y_bar: entry.gradient(*args))
    args = to_float64(entry.sample(jax.random.key(0)))
    problem = pose("mutants", entry.function, args, hand, scalar_loss=hand is not None)._replace(explain=False)
    right = problem.hand(problem.operands, problem.cotangents)
    rejected = 0
    for name, leaf, mutation in mutants(right):
        broken = mutate_leaf(right, leaf, mutation)
        if all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(broken), jax.tree.leaves(right), strict=True)):
            continue  # it changes nothing at these values, and cannot be told apart
        mutant = problem._replace(hand=lambda *at, broken=broken: broken)
        rows = equations_at(mutant, problem.operands, problem.cotangents)
        assert any(row.verdict is verify.Verdict.WRONG for row in rows), (name, leaf)
        rejected += 1
    assert rejected >= 3


def affine_with(x_bar=None, w_bar=None, b_bar=None):
    """The affine rule with one of its equations replaced."""

    def backward(residuals, z_bar):
        bars = affine.backward(residuals, z_bar)
        wrong = [f and f(residuals, z_bar) for f in (x_bar, w_bar, b_bar)]
        return tuple(right if bar is None else bar for bar, right in zip(wrong, bars, strict=True))

    return rule(affine.forward, backward)


SQUARE = (jnp.ones((3, 3)) + jnp.eye(3), jnp.arange(9.0).reshape(3, 3), jnp.ones(3))
KEY = jax.random.key(5)

MISTAKES = {
    "w for its transpose, which only a square w lets pass": (
        affine_with(x_bar=lambda r, z_bar: z_bar @ r.w),
        SQUARE,
        "rule affine, input 0",
    ),
    "a mean over the batch for the sum": (
        affine_with(b_bar=lambda r, z_bar: z_bar.mean(0)),
        SQUARE,
        "rule affine, input 2",
    ),
    "weights and inputs swapped": (
        affine_with(w_bar=lambda r, z_bar: z_bar.T @ r.x),
        SQUARE,
        "rule affine, input 1",
    ),
    "tanh' evaluated at the weighted input": (
        rule(lambda z: (jnp.tanh(z), z), lambda z, a_bar: (a_bar * (1 - z**2),)),
        (SQUARE[1],),
        "rule <lambda>, input 0",
    ),
    "softmax without its row sum": (
        rule(activations.softmax.forward, lambda p, p_bar: (p * p_bar,)),
        (SQUARE[1] / 9,),
        "rule softmax, input 0",
    ),
    "p - y for targets that do not sum to one": (
        rule(
            lambda z, p: (-jnp.sum(p * jax.nn.log_softmax(z)), (z, p)),
            lambda r, c_bar: (c_bar * (jax.nn.softmax(r[0]) - r[1]), -c_bar * jax.nn.log_softmax(r[0])),
        ),
        (SQUARE[1], SQUARE[0]),
        "rule <lambda>, input 0",
    ),
    "a slope left out of the recursion of deltas": (
        rule(
            lambda params, x: mlp.mlp_forward(params, x, activations=(activations.sigmoid,) * 2),
            lambda r, a_bar: mlp.from_deltas(
                r,
                (
                    mlp.deltas(r, a_bar, activations=(activations.sigmoid,) * 2)[1] @ r.w[1].T,
                    mlp.deltas(r, a_bar, activations=(activations.sigmoid,) * 2)[1],
                ),
            ),
        ),
        (mlp.init(KEY, (3, 3, 3)), SQUARE[0].astype(jnp.float32)),
        "rule <lambda>, input 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistakes_that_people_make_are_found_and_placed(mistake):
    broken, args, place = MISTAKES[mistake]
    report = verify.rules(broken, *args, checks=(call_sites,))
    assert place in [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]


def test_an_equivalent_form_is_accepted():
    """Subtracting the mean of a cotangent that softmax kills anyway is another way to write the same derivation."""

    def backward(p, p_bar):
        centred = p_bar - p_bar.mean(-1, keepdims=True)
        return (p * (centred - jnp.sum(p * centred, -1, keepdims=True)),)

    verify.rules(rule(activations.softmax.forward, backward), SQUARE[1] / 9).check()
