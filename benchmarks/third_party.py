"""Gradient rules written by hand in other libraries, verified as they are with `jaxnets.verify`.

    python benchmarks/third_party.py [--only SUBSTRING]

No rule is changed.  Where JAX can differentiate the plain computation under the rule, `verify.rules` judges every call;
where it cannot (a while loop, a Pallas kernel, an adaptive solver) `verify.vjp` compares the library's function with a
plain one of the same value.  Writes benchmarks/results/third-party-rules.md.

Most rules hold in a part of their inputs, and an iteration converges for some: the checks are those at the input.  Edge
inputs, where they make sense: all floating-point arguments times 40, zero, and small integers (ties).
"""

import argparse
import importlib
import importlib.metadata
import math
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import verify

RESULTS = Path(__file__).parent / "results" / "third-party-rules.md"

EDGES: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
    ("× 40", lambda a: 40 * a),
    ("zeros", np.zeros_like),
    ("integers", lambda a: np.rint(2 * a)),
)


class Problem(NamedTuple):
    """`f` calls the rule; `plain`, where it is given, computes the same without it."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    plain: Callable[..., Any] | None = None


class Case(NamedTuple):
    """One rule at one kind of arguments; `finding` is what was found when it was studied."""

    library: str  # the distribution's name
    rule: str
    arguments: str
    build: Callable[[], Problem]
    finding: str
    edges: bool = False  # whether the edge inputs are in the rule's domain
    at_edges: str = ""  # what was found where they are not ok


class Outcome(NamedTuple):
    verdict: str
    error: str


def library(name: str) -> Any:
    """A module of a library, which may not be installed; it has no types here."""
    module: ModuleType = importlib.import_module(name)
    return module


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def symmetric(size: int) -> np.ndarray:
    a = normal(size, size)
    return a @ a.T + np.eye(size)


def flow(a: Any, y: Any) -> Any:
    """exp(a) y, the solution at time 1 of the linear differential equation dy/dt = a y, by its series."""
    total = term = y
    for k in range(1, 40):
        term = a @ term / k
        total = total + term
    return total


# --- JAX ---


def jax_odeint() -> Problem:
    ode = library("jax.experimental.ode")
    times = np.array([0.0, 0.5, 1.0])

    def solve(y: Any, a: Any) -> Any:
        return ode.odeint(lambda y, t, a: a @ y, y, jnp.asarray(times), a, rtol=1e-10, atol=1e-10)

    def exact(y: Any, a: Any) -> Any:
        return jnp.stack([flow(a * t, y) for t in times])

    return Problem(solve, (normal(3), normal(3, 3)), exact)


def jax_attention() -> Problem:
    module = library("jax.experimental.pallas.ops.gpu.attention")
    blocks = module.BlockSizes(16, 16, 16, 16, 16, 16)

    def attention(q: Any, k: Any, v: Any) -> Any:
        low = (a.astype(jnp.float32) for a in (q, k, v))  # the kernel computes in float32
        return module.mha(*low, None, causal=True, interpret=True, block_sizes=blocks).astype(q.dtype)

    plain = lambda q, k, v: module.mha_reference(q, k, v, None, causal=True)
    return Problem(attention, tuple(normal(1, 32, 2, 16, seed=i) / 2 for i in range(3)), plain)


# --- Optax, RLax, Flax, Equinox, Diffrax, JAXopt ---


def optax_scale_gradient(scale: float) -> Problem:
    optax = library("optax")
    return Problem(lambda x: optax.scale_gradient(x, scale), (normal(6),))


def rlax_clip_gradient(bound: float) -> Problem:
    rlax = library("rlax")
    return Problem(lambda x: rlax.clip_gradient(x, -bound, bound), (normal(6),))


def flax_qdq(name: str) -> Problem:
    ops = library("flax.linen.fp8_ops")
    dtype = jnp.float8_e4m3fn if name == "in_qdq" else jnp.float8_e5m2
    qdq = getattr(ops, name)
    return Problem(lambda x: qdq(x.dtype, dtype, x, jnp.ones(1), jnp.ones(4)), (normal(3, 4),))


def equinox_while() -> Problem:
    loops = library("equinox.internal")

    def loop(x: Any, w: Any) -> Any:
        body = lambda carry: (carry[0] + 1, jnp.sin(w * carry[1]))
        return loops.while_loop(lambda carry: carry[0] < 5, body, (0, x), max_steps=8, kind="checkpointed")[1]

    def plain(x: Any, w: Any) -> Any:
        for _ in range(5):
            x = jnp.sin(w * x)
        return x

    return Problem(loop, (normal(3), normal(1, 3)[0]), plain)


def diffrax_backsolve() -> Problem:
    diffrax = library("diffrax")

    def solve(y: Any, a: Any) -> Any:
        controller = diffrax.PIDController(rtol=1e-10, atol=1e-10)
        term = diffrax.ODETerm(lambda t, y, a: a @ y)
        adjoint = diffrax.BacksolveAdjoint()
        return diffrax.diffeqsolve(
            term, diffrax.Dopri8(), 0.0, 1.0, 0.01, y, a, stepsize_controller=controller, adjoint=adjoint
        ).ys[0]

    return Problem(solve, (normal(3), normal(3, 3)), lambda y, a: flow(a, y))


def jaxopt_custom_root() -> Problem:
    implicit = library("jaxopt.implicit_diff")

    def optimality(w: Any, penalty: Any, x: Any, y: Any) -> Any:
        return x.T @ (x @ w - y) + penalty * w

    @implicit.custom_root(optimality)
    def ridge(init: Any, penalty: Any, x: Any, y: Any) -> Any:
        return jnp.linalg.solve(x.T @ x + penalty * jnp.eye(3), x.T @ y)

    return Problem(lambda penalty, x, y: ridge(None, penalty, x, y), (np.float64(0.5), normal(7, 3), normal(7)))


# --- OTT ---


def ott_softmin(*, rules: bool) -> Problem:
    utils = library("ott.math.utils")
    softmin = lambda x: utils.softmin(x, 0.7, 1)
    plain = lambda x: -0.7 * jax.scipy.special.logsumexp(x / -0.7, axis=1)
    return Problem(softmin, (normal(3, 4),), None if rules else plain)


def ott_sqrtm(name: str) -> Problem:
    roots = library("ott.math.matrix_square_root")
    root = lambda x: getattr(roots, name)(x, min_iterations=40, max_iterations=40)
    # The third result of `sqrtm` is the history of its errors, which its rule leaves out on purpose.
    return Problem((lambda x: root(x)[:2]) if name == "sqrtm" else root, (symmetric(4),))


def ott_fixpoint(least: int) -> Problem:
    loops = library("ott.math.fixed_point_loop")

    def body(i: Any, c: Any, s: Any, e: Any) -> Any:
        return jnp.sin(c * s) + 0.1 * s**2

    def iterate(c: Any, s: Any) -> Any:
        return loops.fixpoint_iter_backprop(lambda *_: True, body, least, 6, 2, c, s)

    def plain(c: Any, s: Any) -> Any:
        for _ in range(6):
            s = body(0, c, s, False)
        return s

    return Problem(iterate, (np.float64(0.8), normal(3)), None if least == 6 else plain)


EPSILON = 2.0
"""Strong enough a regularisation for the iterations to converge to rounding error."""


def ott_sinkhorn(*, least: int, most: int, implicit: bool) -> Problem:
    solvers, problems = library("ott.solvers.linear.sinkhorn"), library("ott.problems.linear.linear_problem")
    clouds = library("ott.geometry.pointcloud")
    differentiation = library("ott.solvers.linear.implicit_differentiation").ImplicitDiff() if implicit else None

    def plan(x: Any, y: Any) -> Any:
        geometry = clouds.PointCloud(x, y, epsilon=EPSILON)
        # Its own uniform weights are float32.
        problem = problems.LinearProblem(geometry, *(jnp.full(len(z), 1 / len(z), z.dtype) for z in (x, y)))
        solver = solvers.Sinkhorn(
            implicit_diff=differentiation,
            min_iterations=least,
            max_iterations=most,
            inner_iterations=5,
            threshold=1e-14,
        )
        return solver(problem).matrix

    def unrolled(x: Any, y: Any) -> Any:
        cost = jnp.sum((x[:, None] - y[None]) ** 2, -1)

        def iterate(f: Any, _: None) -> Any:
            g = -EPSILON * (jax.nn.logsumexp((f[:, None] - cost) / EPSILON, axis=0) + math.log(len(y)))
            return -EPSILON * (jax.nn.logsumexp((g[None] - cost) / EPSILON, axis=1) + math.log(len(x))), g

        f, gs = jax.lax.scan(iterate, jnp.zeros(len(x)), None, length=most)
        return jnp.exp((f[:, None] + gs[-1][None] - cost) / EPSILON)

    return Problem(plan, (normal(4, 2), normal(5, 2)), unrolled if implicit or least < most else None)


def ott_h_legendre() -> Problem:
    costs, regularizers = library("ott.geometry.costs"), library("ott.geometry.regularizers")
    cost = costs.RegTICost(regularizers.L1(), lam=0.3)
    return Problem(cost.h_legendre, (normal(6),))


def ott_semidiscrete(epsilon: float) -> Problem:
    loss = library("ott.solvers.linear.semidiscrete")._semidiscrete_loss
    cloud = library("ott.geometry.pointcloud").PointCloud(normal(4, 2), normal(5, 2), epsilon=epsilon)
    problem = library("ott.problems.linear.linear_problem").LinearProblem(cloud)

    def plain(g: Any) -> Any:
        f, _ = problem._c_transform(g, axis=1)
        return -(jnp.mean(f) + jnp.dot(g, problem.b))

    return Problem(lambda g: loss(g, problem), (normal(5),), plain)


# --- JAX MD, flash-attention-jax, Matfree ---


def jax_md_rotate(*, normalised: bool) -> Problem:
    body = library("jax_md.rigid_body")
    q = normal(4) / np.linalg.norm(normal(4))
    plain = lambda q, v: body._quaternion_rotate_raw(q / jnp.linalg.norm(q), v)
    return Problem(body._quaternion_rotate, (q, normal(3)), plain if normalised else None)


def jax_md_segment(*, rules: bool) -> Problem:
    kernels = library("jax_md._nn.uma.kernels")
    args = (normal(5, 3), normal(3, 4, 3), np.array([2, 0, 3]))
    return Problem(kernels._segment_mm_2d, args, None if rules else kernels.segment_mm_reference)


def flash(name: str, keys: int = 5) -> Problem:
    attention = getattr(library("flash_attention_jax"), name)
    q, k, v = normal(2, 2, keys, 3), normal(2, 2, keys, 3, seed=1), normal(2, 2, keys, 3, seed=2)
    mask = np.arange(2 * keys).reshape(2, keys) % 4 != 3
    if name == "causal_flash_attention":
        return Problem(attention, (q, k, v))
    if name == "cosine_sim_flash_attention":
        return Problem(lambda q, k, v: attention(q, k, v, mask[0]), (q[0, 0], k[0, 0], v[0, 0]))
    return Problem(lambda q, k, v: attention(q, k, v, mask), (q, k, v))


def matfree_decomposition(name: str, reortho: str, size: int = 4) -> Problem:
    decompose = getattr(library("matfree.decomp"), name)(size, reortho=reortho)
    # Lanczos is for symmetric matrices, whatever the parameters.
    matvec = (lambda v, p: (p + p.T) @ v) if name == "tridiag_sym" else (lambda v, p: p @ v)

    def parts(v: Any, p: Any) -> Any:
        result = decompose(matvec, v, p)
        return result.Q_tall, result.J_small, result.residual, result.init_length_inv

    return Problem(parts, (normal(6), symmetric(6) if name == "tridiag_sym" else normal(6, 6)))


def matfree_tridiag_parameters(count: int) -> Problem:
    decompose = library("matfree.decomp").tridiag_sym(4, reortho="none")
    a = symmetric(6)
    matvec = lambda v, *parameters: a @ v + sum(p * v for p in parameters)
    return Problem(
        lambda v, *ps: decompose(matvec, v, *ps).J_small, (normal(6), *(normal(6, seed=i) for i in range(count)))
    )


def matfree_lstsq(rows: int, columns: int) -> Problem:
    solve = library("matfree.lstsq").lsmr(atol=1e-14, btol=1e-14, ctol=1e-14)

    def by_lsmr(a: Any, b: Any, damp: Any) -> Any:
        return solve(lambda v, a: a.T @ v, b, a, damp=damp)[0]

    def plain(a: Any, b: Any, damp: Any) -> Any:
        return jnp.linalg.solve(a.T @ a + damp**2 * jnp.eye(columns), a.T @ b)

    return Problem(by_lsmr, (normal(rows, columns), normal(rows), np.float64(0.7)), plain)


# --- TensorFlow Probability, on JAX ---


def tfp_sqrt(*, at_zero: bool) -> Problem:
    util = library("tensorflow_probability.substrates.jax.math.psd_kernels.internal.util")
    x = np.array([0.0, 1.0, 4.0]) if at_zero else np.abs(normal(4))
    return Problem(util.sqrt_with_finite_grads, (x,))


def tfp_von_mises_cdf(concentration: float) -> Problem:
    cdf = library("tensorflow_probability.substrates.jax.distributions.von_mises").von_mises_cdf
    nodes, weights = np.polynomial.legendre.leggauss(80)

    def density(t: Any, k: Any) -> Any:
        return jnp.exp(k * (jnp.cos(t) - 1)) / (2 * np.pi * jax.scipy.special.i0e(k))

    def plain(x: Any, k: Any) -> Any:
        half = (x + np.pi) / 2
        return jnp.sum(weights * half[:, None] * density(half[:, None] * (nodes + 1) - np.pi, k[:, None]), axis=1)

    return Problem(cdf, (np.array([-2.0, -0.3, 0.9]), np.array([1.0, 0.8, 1.2]) * concentration), plain)


def tfp_hyp2f1() -> Problem:
    hyp2f1 = library("tensorflow_probability.substrates.jax.math.hypergeometric").hyp2f1_small_argument
    a, b, c = 0.6, 1.3, 2.2

    def series(z: Any) -> Any:
        total, term = jnp.ones_like(z), jnp.ones_like(z)
        for k in range(80):
            term = term * z * ((a + k) * (b + k) / ((c + k) * (k + 1)))
            total = total + term
        return total

    f = lambda z: hyp2f1(*(jnp.full_like(z, p) for p in (a, b, c)), z)
    return Problem(f, (np.array([-0.45, -0.1, 0.2, 0.4]),), series)


def tfp_ode() -> Problem:
    solver = library("tensorflow_probability.substrates.jax").math.ode.DormandPrince(rtol=1e-10, atol=1e-12)

    def solve(y: Any, a: Any) -> Any:
        field = lambda t, y, a: a @ y
        return solver.solve(field, 0.0, y, jnp.array([1.0]), constants={"a": a}).states[0]

    return Problem(solve, (normal(3), normal(3, 3)), lambda y, a: flow(a, y))


def tfp_psum() -> Problem:
    distribute = library("tensorflow_probability.substrates.jax.internal.distribute_lib")
    f = lambda x: jax.vmap(lambda v: distribute.psum(jnp.sin(v), "i"), axis_name="i")(x)
    return Problem(f, (normal(4),))


# --- NetKet, Spyx, AQT, Qwix, RingAttention, Haliax ---


def netket_expect(*, score: bool, variance: bool = False) -> Problem:
    expect = library("netket.jax").expect
    log_pdf = (lambda p, s: -jnp.sum((s - p) ** 2, -1)) if score else (lambda p, s: jnp.zeros(len(s)))

    def f(p: Any, s: Any) -> Any:
        mean, statistics = expect(log_pdf, lambda p, s: jnp.sin(s @ p), p, s)
        return statistics.variance if variance else mean

    return Problem(f, (normal(2), normal(6, 2)))


def spyx_packed(*, binary: bool) -> Problem:
    dense = library("spyx.experimental.compress").packed_spike_dense
    spikes = normal(4, 9)
    return Problem(dense, ((spikes > 0).astype(float) if binary else spikes, normal(9, 3)))


def spyx_surrogate() -> Problem:
    return Problem(library("spyx.axn").tanh(), (normal(6),))


DOT = (((1,), (0,)), ((), ()))


def aqt_dot(bits: int | None) -> Problem:
    product = library("aqt.jax.v2.config").dot_general_make(bits, bits)
    # It accepts no float64.
    f = lambda x, w: product(x.astype(jnp.float32), w.astype(jnp.float32), DOT)
    return Problem(f, (normal(4, 3), normal(3, 5)))


def qwix_dot(qtype: str | None) -> Problem:
    module = library("qwix._src.core.dot_general_qt")
    config = module.DotGeneralQtConfig(lhs_qtype=qtype, rhs_qtype=qtype)
    return Problem(lambda x, w: module.dot_general_qt(x, w, DOT, config), (normal(4, 3), normal(3, 5)))


def qwix_convolution(groups: int) -> Problem:
    module = library("qwix._src.core.conv_general_qt")
    layout = ("NHWC", "HWIO", "NHWC")

    def convolve(x: Any, w: Any) -> Any:
        config = module.ConvGeneralQtConfig()
        return module.conv_general_qt(x, w, config, (2, 1), "SAME", None, (1, 2), layout, groups)

    return Problem(convolve, (normal(2, 6, 7, 4), normal(3, 2, 4 // groups, 6)))


def ring_attention() -> Problem:
    attention = library("ringattention").ringattention_inference
    return Problem(attention, (normal(2, 4, 1, 3),))


def haliax_qdq() -> Problem:
    return Problem(library("haliax._src.fp8").in_qdq, (normal(3),))


SURROGATE = "Deliberate, and documented:"
STRAIGHT = "Deliberate to all appearance, though the rule has no documentation:"

SATURATED = (
    "As for one key: with saturated weights the true gradient vanishes, the rule's does not (8e-7 in flash_attention)."
)

CASES: tuple[Case, ...] = (
    Case(
        "jax",
        "experimental.ode.odeint",
        "y′ = a y, rtol = atol = 1e-10",
        jax_odeint,
        "Agrees with the series of exp(a t) y to the solver's tolerance. Under its rule is a while loop, so by vjp.",
    ),
    Case(
        "jax",
        "pallas.ops.gpu.attention.mha",
        "causal, interpreted, 32 steps",
        jax_attention,
        "Not verified: the kernel mixes int32 and int64 where 64-bit types are enabled, as they are in the verifier.",
    ),
    Case(
        "optax",
        "scale_gradient",
        "scale -0.5",
        lambda: optax_scale_gradient(-0.5),
        f"{SURROGATE} the forward pass is the identity, the gradient is scaled.",
    ),
    Case(
        "rlax", "clip_gradient", "bounds ±1", lambda: rlax_clip_gradient(1.0), f"{SURROGATE} the cotangent is clipped."
    ),
    Case("rlax", "clip_gradient", "bounds ±100", lambda: rlax_clip_gradient(100.0), "Agrees where nothing is clipped."),
    Case(
        "flax",
        "fp8_ops.in_qdq",
        "scale 1, history 1",
        lambda: flax_qdq("in_qdq"),
        f"{STRAIGHT} straight through the rounding; as gradients of scale and history it returns their next values.",
    ),
    Case(
        "flax",
        "fp8_ops.out_qdq",
        "scale 1, history 1",
        lambda: flax_qdq("out_qdq"),
        f"{STRAIGHT} the identity whose cotangent is rounded to fp8; next scale and history in place of gradients.",
    ),
    Case(
        "equinox",
        "internal.while_loop, checkpointed",
        "x ← sin(w x), 5 steps",
        equinox_while,
        "Agrees with the loop written out. A while loop, so by vjp.",
        edges=True,
    ),
    Case(
        "diffrax",
        "BacksolveAdjoint",
        "y′ = a y, Dopri8, rtol = atol = 1e-10",
        diffrax_backsolve,
        "Agrees to the solver's tolerance. A while loop, so by vjp.",
    ),
    Case(
        "jaxopt",
        "implicit_diff.custom_root",
        "ridge regression, closed form",
        jaxopt_custom_root,
        "Agrees: the conjugate gradient solver of its backward pass has converged to rounding error.",
    ),
    Case(
        "ott-jax",
        "math.utils.softmin",
        "γ = 0.7, axis 1, whole rule",
        lambda: ott_softmin(rules=True),
        "The rule returns None, zero, for γ, of which the value depends.",
    ),
    Case(
        "ott-jax",
        "math.utils.softmin",
        "γ = 0.7, axis 1, in x alone",
        lambda: ott_softmin(rules=False),
        "Agrees in x.",
        edges=True,
    ),
    Case(
        "ott-jax",
        "math.matrix_square_root.sqrtm",
        "4 × 4, 40 iterations",
        lambda: ott_sqrtm("sqrtm"),
        "Agrees with autodiff of the Newton-Schulz iterations. The cotangent of the error history is ignored.",
    ),
    Case(
        "ott-jax",
        "math.matrix_square_root.sqrtm_only",
        "4 × 4, 40 iterations",
        lambda: ott_sqrtm("sqrtm_only"),
        "Agrees.",
    ),
    Case(
        "ott-jax",
        "math.matrix_square_root.inv_sqrtm_only",
        "4 × 4, 40 iterations",
        lambda: ott_sqrtm("inv_sqrtm_only"),
        "Agrees.",
    ),
    Case(
        "ott-jax",
        "math.fixed_point_loop.fixpoint_iter_backprop",
        "min = 5, max = 6 iterations",
        lambda: ott_fixpoint(5),
        "Agrees with the loop written out. A while loop, so by vjp.",
        edges=True,
    ),
    Case(
        "ott-jax",
        "math.fixed_point_loop.fixpoint_iter_backprop",
        "min = max = 6 iterations",
        lambda: ott_fixpoint(6),
        "A mistake: with min = max the backward scan starts at iteration 0 in place of the last checkpoint, and reads "
        "the stored states 0, -1, -2, … (state -1 was never written). Central differences agree with autodiff.",
    ),
    Case(
        "ott-jax",
        "Sinkhorn(implicit_diff=None)",
        "min = max = 20 iterations",
        lambda: ott_sinkhorn(least=20, most=20, implicit=False),
        "The same mistake, from the public solver; confirmed for x by central differences. Where the error is infinite "
        "the true gradient is 0; that input was not studied further.",
    ),
    Case(
        "ott-jax",
        "Sinkhorn(implicit_diff=None)",
        "min 100, max 400 iterations",
        lambda: ott_sinkhorn(least=100, most=400, implicit=False),
        "Agrees with iterations written out, both converged.",
    ),
    Case(
        "ott-jax",
        "Sinkhorn, implicit differentiation",
        "min 100, max 400 iterations",
        lambda: ott_sinkhorn(least=100, most=400, implicit=True),
        "Agrees with iterations written out, both converged.",
    ),
    Case("ott-jax", "RegTICost.h_legendre", "L1, λ = 0.3", ott_h_legendre, "Agrees (Danskin).", edges=True),
    Case("ott-jax", "semidiscrete loss", "ε = 0.5", lambda: ott_semidiscrete(0.5), "Agrees in g, soft.", edges=True),
    Case("ott-jax", "semidiscrete loss", "ε = 0", lambda: ott_semidiscrete(0.0), "Agrees in g, hard.", edges=True),
    Case(
        "jax-md",
        "rigid_body quaternion rotation",
        "unit quaternion, whole rule",
        lambda: jax_md_rotate(normalised=False),
        "Differs: the gradient is projected on the unit sphere's tangent.",
    ),
    Case(
        "jax-md",
        "rigid_body quaternion rotation",
        "unit quaternion, against q/‖q‖",
        lambda: jax_md_rotate(normalised=True),
        "Agrees with the rotation by the normalised quaternion.",
    ),
    Case(
        "jax-md",
        "segment_mm (UMA)",
        "sizes 2, 0, 3, by its calls",
        lambda: jax_md_segment(rules=True),
        "Not verified by its calls: its backward pass needs the sizes as constants, and gets traced values.",
    ),
    Case(
        "jax-md",
        "segment_mm (UMA)",
        "sizes 2, 0, 3",
        lambda: jax_md_segment(rules=False),
        "Agrees; an empty segment too.",
        edges=True,
    ),
    Case(
        "flash-attention-jax",
        "flash_attention",
        "masked, 5 keys",
        lambda: flash("flash_attention"),
        "Agrees to 3e-10: a constant of 1e-10 in the denominator is left out of its derivative.",
        edges=True,
        at_edges=SATURATED,
    ),
    Case(
        "flash-attention-jax",
        "flash_attention",
        "one key",
        lambda: flash("flash_attention", 1),
        "As above: the true gradient of q and k is 0, the rule gives up to 3e-10, far below float32 rounding.",
    ),
    Case(
        "flash-attention-jax",
        "causal_flash_attention",
        "5 keys",
        lambda: flash("causal_flash_attention"),
        "Agrees to 2e-10, as above.",
        edges=True,
        at_edges=SATURATED,
    ),
    Case(
        "flash-attention-jax",
        "cosine_sim_flash_attention",
        "masked, 5 keys",
        lambda: flash("cosine_sim_flash_attention"),
        "Agrees.",
        edges=True,
        at_edges="The rule agrees. Outside of it, the library's norm has no derivative at 0: NaN by both ways.",
    ),
    Case(
        "matfree",
        "decomp.tridiag_sym, no reorthogonalisation",
        "6 × 6, 4 steps",
        lambda: matfree_decomposition("tridiag_sym", "none"),
        "Agrees, all four results.",
    ),
    Case(
        "matfree",
        "decomp.tridiag_sym, no reorthogonalisation",
        "no parameters",
        lambda: matfree_tridiag_parameters(0),
        "Raises: its backward pass unpacks exactly one parameter. With reortho='full' the gradient exists.",
    ),
    Case(
        "matfree",
        "decomp.tridiag_sym, no reorthogonalisation",
        "two parameters",
        lambda: matfree_tridiag_parameters(2),
        "Raises, as above.",
    ),
    Case(
        "matfree",
        "decomp.hessenberg",
        "6 × 6, 4 steps, full",
        lambda: matfree_decomposition("hessenberg", "full"),
        "Agrees, all four results.",
    ),
    Case(
        "matfree",
        "decomp.hessenberg",
        "6 × 6, 1 step, none",
        lambda: matfree_decomposition("hessenberg", "none", 1),
        "Agrees, all four results.",
    ),
    Case(
        "matfree",
        "lstsq.lsmr",
        "7 × 3, damped",
        lambda: matfree_lstsq(7, 3),
        "Agrees with the normal equations. A while loop, so by vjp.",
    ),
    Case(
        "matfree",
        "lstsq.lsmr",
        "3 × 7, damped",
        lambda: matfree_lstsq(3, 7),
        "Agrees with the normal equations. A while loop, so by vjp.",
    ),
    Case("tfp-nightly", "sqrt_with_finite_grads", "positive", lambda: tfp_sqrt(at_zero=False), "Agrees."),
    Case(
        "tfp-nightly",
        "sqrt_with_finite_grads",
        "with a zero",
        lambda: tfp_sqrt(at_zero=True),
        f"{SURROGATE} 1e154 where the derivative is infinite.",
    ),
    Case(
        "tfp-nightly",
        "von_mises_cdf, series",
        "concentrations 1.6 to 2.4",
        lambda: tfp_von_mises_cdf(2.0),
        "Agrees with quadrature of the density. A while loop, so by vjp.",
    ),
    Case(
        "tfp-nightly",
        "von_mises_cdf, normal approximation",
        "concentrations 16 to 24",
        lambda: tfp_von_mises_cdf(20.0),
        "Precision: the forward pass is off by 1e-9 (8 digits by design). The rule is the derivative of that forward "
        "pass, confirmed by central differences.",
    ),
    Case(
        "tfp-nightly",
        "hyp2f1_small_argument",
        "in z, |z| < 0.5",
        tfp_hyp2f1,
        "Agrees in z with the series. For a, b and c the rule gives none, as its documentation says.",
    ),
    Case(
        "tfp-nightly",
        "math.ode.DormandPrince adjoint",
        "y′ = a y, rtol 1e-10",
        tfp_ode,
        "Precision: a tighter tolerance does not help. The solver's coefficients pass through float32 on their way to "
        "float64 (off by up to 5e-9), and its values are off by 8e-9 too.",
    ),
    Case("tfp-nightly", "distribute_lib.psum", "under vmap", tfp_psum, "Agrees.", edges=True),
    Case(
        "netket",
        "jax.expect",
        "log-density of the parameters",
        lambda: netket_expect(score=True),
        f"{SURROGATE} it adds the score function term, by which the samples depend on the parameters.",
    ),
    Case(
        "netket",
        "jax.expect",
        "constant log-density",
        lambda: netket_expect(score=False),
        "Agrees where the score function term is 0.",
    ),
    Case(
        "netket",
        "jax.expect, variance of its statistics",
        "constant log-density",
        lambda: netket_expect(score=False, variance=True),
        "The cotangents of the statistics are dropped, so the gradient of the variance is 0.",
    ),
    Case("spyx", "compress.packed_spike_dense", "binary spikes", lambda: spyx_packed(binary=True), "Agrees."),
    Case(
        "spyx",
        "compress.packed_spike_dense",
        "real numbers",
        lambda: spyx_packed(binary=False),
        f"{SURROGATE} out of its domain, where the gradient of the weights is wrong.",
    ),
    Case("spyx", "axn.tanh", "Heaviside step", spyx_surrogate, f"{SURROGATE} a surrogate gradient for spikes."),
    Case(
        "aqtp",
        "dot_general",
        "8 bits, float32",
        lambda: aqt_dot(8),
        "Deliberate to all appearance: straight through the rounding to 8 bits, whose own derivative is 0.",
    ),
    Case("qwix", "dot_general_qt", "not quantized", lambda: qwix_dot(None), "Agrees.", edges=True),
    Case("qwix", "dot_general_qt", "int8", lambda: qwix_dot("int8"), f"{STRAIGHT} straight through the rounding."),
    Case("qwix", "conv_general_qt", "stride 2, dilation 2", lambda: qwix_convolution(1), "Agrees.", edges=True),
    Case(
        "qwix",
        "conv_general_qt",
        "two feature groups",
        lambda: qwix_convolution(2),
        "Raises in the backward pass: it hands feature_group_count on to both transposed convolutions. "
        "jax.lax.conv_general_dilated has a gradient there.",
    ),
    Case(
        "ringattention",
        "ring_attention_inference",
        "",
        ring_attention,
        "Cannot be imported with this JAX, so not verified.",
    ),
    Case("haliax", "fp8 in_qdq", "", haliax_qdq, "Cannot be imported with this JAX, so not verified."),
)


def verified(problem: Problem, args: tuple[Any, ...]) -> verify.Report:
    if problem.plain is None:
        return verify.rules(problem.f, *args, checks=verify.AT_THE_INPUT)

    def hand(args: tuple[Any, ...], y_bar: Any) -> tuple[Any, ...]:
        bars = jax.vjp(problem.f, *map(jnp.asarray, args))[1](y_bar)
        return tuple(None if bar.dtype == jax.dtypes.float0 else bar for bar in bars)

    return verify.vjp(problem.plain, hand, *args, checks=verify.AT_THE_INPUT)


def brief(error: Exception) -> str:
    """An error in some words, without the paths of this machine."""
    words = [word for word in str(error).split() if "/" not in word]
    return f"{type(error).__name__}: {' '.join(words)[:90]}"


def outcome(problem: Problem, args: tuple[Any, ...]) -> Outcome:
    try:
        report = verified(problem, args)
    except Exception as error:
        return Outcome(brief(error), "")
    wrong = [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]
    sites = [row.error for row in report.rows if row.name.startswith("rule ")] or [row.error for row in report.rows]
    worst = math.nan if any(map(math.isnan, sites)) else max(sites)
    powerless = any(row.verdict is verify.Verdict.NO_POWER for row in report.rows)
    verdict = "ok" if report.ok else "WRONG: " + ", ".join(wrong) if wrong else "no power" if powerless else "ok"
    return Outcome(verdict, f"{worst:.1e}")


def noted(found: Outcome, finding: str) -> tuple[str, str, str]:
    return found.verdict, found.error, "" if found.verdict == "ok" else finding


def rows(case: Case) -> Iterator[tuple[str, ...]]:
    try:
        version = importlib.metadata.version(case.library)
    except importlib.metadata.PackageNotFoundError:
        yield case.library, "", case.rule, "", case.arguments, "not installed", "", ""
        return
    try:
        with jax.enable_x64():
            problem = case.build()
    except Exception as error:
        reason = brief(error)
        yield case.library, version, case.rule, "", case.arguments, f"cannot be imported: {reason}", "", case.finding
        return
    by = "vjp" if problem.plain else "rules"
    yield case.library, version, case.rule, by, case.arguments, *outcome(problem, problem.args), case.finding
    for name, change in EDGES if case.edges else ():
        moved = tuple(change(a) if np.issubdtype(np.asarray(a).dtype, np.floating) else a for a in problem.args)
        yield case.library, version, case.rule, by, f"the same, {name}", *noted(outcome(problem, moved), case.at_edges)


HEADER = ("library", "rule", "by", "arguments", "verdict", "worst error of a site", "finding")


def markdown(table: list[tuple[str, ...]]) -> str:
    machine = f"python {platform.python_version()}; jax {jax.__version__}"
    lines = [
        "# Rules of other libraries, as they are",
        "",
        "Written by `python benchmarks/third_party.py`. Errors are norm-wise, in float64; *by* says how: `rules` judges"
        " each call of the rule, `vjp` compares with a plain function of the same value. WRONG means: not autodiff of "
        "the plain computation to 1e-9. The finding says whether that is a mistake, deliberate, or precision.",
        "",
        machine,
        "",
        f"| {' | '.join(HEADER)} |",
        "|" + " --- |" * len(HEADER),
    ]
    lines += [f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in table]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only cases whose library or rule holds this")
    only = parser.parse_args().only
    table = []
    for each in CASES:
        if only not in f"{each.library} {each.rule}":
            continue
        for name, version, *rest in rows(each):
            table.append((f"{name} {version}".strip(), *rest))
            print(" | ".join(table[-1][:6]), flush=True)
    if not only:
        RESULTS.write_text(markdown(table))


if __name__ == "__main__":
    main()
