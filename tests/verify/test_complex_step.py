"""Every complex form against JAX's forward mode, which has the same derivatives by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.verify.complex_step import NoComplexForm, derivative

pytestmark = pytest.mark.usefixtures("x64")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5))
IMAGE, KERNEL = RNG.normal(size=(2, 6, 8, 3)), RNG.normal(size=(3, 3, 3, 4))


def along(f, *args):
    """The derivative along a random direction by the complex step, and by forward mode."""
    generator = np.random.default_rng(1)
    v = [generator.normal(size=x.shape) if x.dtype == float else None for x in args]
    closed = jax.make_jaxpr(f)(*args)
    ours = jax.jit(lambda *args: derivative(closed, args, v))(*args)
    zeros = [np.zeros(x.shape, jax.dtypes.float0) for x in args]
    tangents = [zero if v_x is None else v_x for zero, v_x in zip(zeros, v, strict=True)]
    return ours, jax.tree.leaves(jax.jvp(f, args, tuple(tangents))[1])


def pooled(x, start, reduce):
    return jax.lax.reduce_window(x, start, reduce, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def repeated(x):
    return jax.lax.while_loop(lambda s: s[1] < 3, lambda s: (jnp.sin(s[0]), s[1] + 1), (x, 0))[0]


def scanned(w, x):
    def step(carry, x_t):
        h, _, count = carry
        h = jnp.tanh(w @ h + x_t)
        return (h, 1.0, count + 1), (h, 2.0, count)

    (h, one, _), (hs, _, _) = jax.lax.scan(step, (jnp.zeros(5), 0.0, 0), x)
    return one * h, hs


def scattered(x):
    return x.at[2].set(0.0).at[0].add(x[1]).at[3].add(-x[1])


def branched(x):
    return jax.lax.cond(x[0, 0] > 0, lambda x: jnp.zeros(x.shape), lambda x: 2 * x, x)


def inner_gradient(x):
    return jax.grad(lambda x: jnp.sum(jnp.tanh(x) ** 2))(x)


FORMS = {
    "sum, product, quotient": (lambda x, y: (x + y) * x / (y - 3.0) - x, X, Y),
    "powers": (lambda x: x**3 - x**-2 + jnp.square(x), X),
    "a real power": (lambda x, y: jnp.abs(x) ** y, X, Y),
    "powers of negative numbers": (lambda x, n: x ** n.astype(float), X, np.array([[3], [-2], [1], [0]])),
    "a square at zero": (lambda x: x ** jnp.full(x.shape, 2.0), np.zeros(3)),
    "exp and log": (lambda x: jnp.log(jnp.exp(x) + jnp.exp2(x)) + jnp.expm1(x) + jnp.log1p(x**2), X),
    "roots": (lambda x: jnp.sqrt(x**2) + jax.lax.rsqrt(x**2 + 1), X),
    "trigonometry": (lambda x: jnp.sin(x) * jnp.cos(x) + jnp.tan(x), X),
    "inverse trigonometry": (lambda x: jnp.arcsin(x / 4) + jnp.arccos(x / 5) + jnp.arctan(x), X),
    "hyperbolic": (lambda x: jnp.sinh(x) + jnp.cosh(x) + jnp.arcsinh(x) + jnp.arctanh(x / 4), X),
    "arccosh": (lambda x: jnp.arccosh(2 + x**2), X),
    "tanh, saturated": (lambda x: jnp.tanh(9 * x), X),
    "sigmoid, saturated": (lambda x: jax.nn.sigmoid(9 * x), X),
    "atan2": (lambda x, y: jnp.arctan2(x, y), X, Y),
    "remainders": (lambda x, y: jax.lax.rem(5 * x, y) + jnp.mod(5 * x, y), X, Y),
    "max, min, abs": (lambda x, y: jnp.maximum(x, y) - jnp.minimum(x, 0.1) * jnp.abs(y), X, Y),
    "clamp": (lambda x: jnp.clip(x, -0.5, 0.5) + jax.lax.clamp(-0.1, x, 1.0), X),
    "reduced max and min": (lambda x: (jnp.max(x, 0), jnp.min(x), jnp.max(x[None], (0, 2))), X),
    "sort": (lambda x: (jnp.sort(x, -1), x[jnp.argsort(x[:, 0])], jnp.median(x)), X),
    "steps": (lambda x: x * jnp.sign(x) + jnp.floor(x) + jnp.round(x) + jnp.ceil(x) * x, X),
    "as an integer and back": (lambda x: x * (3 * x).astype(int).astype(float), X),
    "argmax": (lambda x: x[jnp.argmax(x[:, 0]), jnp.argmin(x[0])], X),
    "choices": (lambda x, y: jnp.where((x > y) & jnp.isfinite(x), x, jnp.where(x != y, 3 * y, 1.0)), X, Y),
    "sums": (lambda x: jnp.cumsum(x, 0) + jnp.cumprod(x, 1) + jnp.prod(x) * jnp.sum(x), X),
    "moves": (lambda x: jnp.pad(jnp.concatenate([x, x[::-1]]).T.reshape(2, 4, 5), 1)[0, None], X),
    "split and stack": (lambda x: jnp.stack(jnp.split(jnp.tile(x, (1, 2)), 5, 1)), X),
    "slices at run time": (lambda x, i: jax.lax.dynamic_update_slice(x, 2 * x[i][None], (i, i)), X, np.array(1)),
    "gather": (lambda x, i: x[i, i] + x.at[i, 0].get(mode="fill", fill_value=0.0), X, np.array([0, 2, 2])),
    "scatter": (scattered, X),
    "matrix product": (lambda x, y: jnp.einsum("ij,kj->ik", x, y), X, Y),
    "convolution": (lambda x, w: jax.lax.conv(x, w, (2, 1), "SAME"), IMAGE.transpose(0, 3, 1, 2), KERNEL.T),
    "pooling by sums": (lambda x: pooled(x, 0.0, jax.lax.add), IMAGE),
    "mask of -inf": (lambda x, y: jax.nn.softmax(jnp.where(x > y, x, -jnp.inf)), X, Y),
    "logsumexp, saturated": (lambda x: jax.scipy.special.logsumexp(40 * x, axis=1), X),
    "named, rematerialized": (jax.checkpoint(lambda x: jax.nn.log_softmax(jnp.sin(x))), X),
    "scan": (scanned, RNG.normal(size=(5, 5)), X),
    "while": (repeated, X),
    "cond, moving": (branched, -abs(X)),
    "cond, still": (branched, abs(X)),
    "vmap and jit": (jax.vmap(jax.jit(lambda x, y: x @ y * jax.nn.gelu(x))), X, Y),
    "a gradient inside": (inner_gradient, X),
    "random numbers": (lambda x: x * jax.random.normal(jax.random.key(0), x.shape), X),
    "held": (lambda x: x * jax.lax.stop_gradient(jnp.exp(x)), X),
}


@pytest.mark.parametrize("case", FORMS)
def test_it_is_the_derivative_to_rounding(case):
    f, *args = FORMS[case]
    ours, theirs = along(f, *args)
    for one, other in zip(ours, theirs, strict=True):
        if jnp.issubdtype(other.dtype, jnp.floating):
            np.testing.assert_allclose(one, other, rtol=2e-13, atol=2e-14 * np.max(abs(other)), equal_nan=False)


def test_where_they_saturate_no_digit_is_lost():
    x = np.array([0.1, 3.0, 17.0, -30.0])
    for f, slope in ((jnp.tanh, 1 / np.cosh(x) ** 2), (jax.nn.sigmoid, np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2)):
        (ours,) = derivative(jax.make_jaxpr(f)(x), [x], [np.ones(4)])
        np.testing.assert_allclose(ours, slope, rtol=1e-14)


def test_integer_powers():
    x, n = np.array([0.5, -2.0, -3.0, -1.5]), np.array([3, 3, -2, 1])
    closed = jax.make_jaxpr(jax.lax.pow)(x, n)
    (ours,) = jax.jit(lambda x, n: derivative(closed, [x, n], [np.ones(4), None]))(x, n)
    np.testing.assert_allclose(ours, n * x ** (n - 1.0), rtol=1e-15)


def test_single_precision_inside_stays_single():
    ((ours,), (theirs,)) = along(lambda x: jnp.sin(x.astype(jnp.float32)).astype(float), X)
    error = np.max(abs(ours - theirs))
    assert 1e-10 < error < 1e-6


REFUSED = {
    "erf": lambda x: jax.lax.erf(x),
    "reduce_window_max": lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2, 2), (1, 1), "VALID"),
    "cummax": lambda x: jax.lax.cummax(x),
    "cholesky": lambda x: jnp.linalg.cholesky(x @ x.T + jnp.eye(4)),
    "complex numbers": lambda x: jnp.abs(jnp.fft.fft(x)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_complex_form_is_named(reason):
    with pytest.raises(NoComplexForm, match=reason):
        along(REFUSED[reason], X)
    with pytest.raises(NoComplexForm, match=reason):
        along(lambda xs: jax.lax.scan(lambda c, x: (c, REFUSED[reason](x)), 0, xs)[1], X[None])


def test_what_does_not_move_needs_no_complex_form():
    ours, theirs = along(lambda x: x * jax.lax.erf(jnp.arange(5.0))[None], X)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-15)


def test_outputs_of_every_kind():
    def f(x):
        return x.astype(jnp.float32), jnp.float32(1.0), jnp.sum(x), jnp.argmax(x), jax.random.key(0)

    ours = derivative(jax.make_jaxpr(f)(X[0]), [X[0]], [np.ones(5)])
    assert [y is None or y.dtype for y in ours] == [jnp.float32, jnp.float32, jnp.float64, True, True]
    assert [float(jnp.sum(y)) for y in ours[:3]] == [5.0, 0.0, 5.0]


def test_rules_for_derivatives_have_no_say():
    @jax.custom_jvp
    def cube(x):
        return x**3

    cube.defjvp(lambda primals, tangents: (cube(*primals), tangents[0]))

    @jax.custom_vjp
    def outer(x):
        return cube(x)

    outer.defvjp(lambda x: (outer(x), None), lambda _, y_bar: (y_bar,))
    closed = jax.make_jaxpr(outer)(2.0)
    assert derivative(closed, [2.0], [1.0]) == [12.0]
