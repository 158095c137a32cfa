"""Gradient rules written by hand in other libraries, verified as they are with `jaxnets.verify`.

    python benchmarks/third_party.py [--only SUBSTRING]

No rule is changed.  Where JAX can differentiate the plain computation under the rule, `verify.rules` judges every call;
where it cannot (a while loop, a Pallas kernel, an adaptive solver) `verify.vjp` compares the library's function with a
plain one of the same value.  Writes benchmarks/results/third-party-rules.md.

Edge inputs: all floating-point arguments times 40, zero, and small integers (ties).
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
from jax.scipy.linalg import expm

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


# --- JAX ---


def jax_odeint() -> Problem:
    ode = library("jax.experimental.ode")
    times = np.array([0.0, 0.5, 1.0])

    def solve(y: Any, a: Any) -> Any:
        return ode.odeint(lambda y, t, a: a @ y, y, jnp.asarray(times), a, rtol=1e-10, atol=1e-10)

    def exact(y: Any, a: Any) -> Any:
        return jnp.stack([expm(a * t) @ y for t in times])

    return Problem(solve, (normal(3), normal(3, 3)), exact)


def jax_norm(name: str) -> Problem:
    module = library(f"jax.experimental.pallas.ops.gpu.{name}")
    kernel, reference = getattr(module, name), getattr(module, f"{name}_reference")
    return Problem(lambda x, w, b: kernel(x, w, b, interpret=True), (normal(4, 128), normal(128), normal(1, 128)[0]),
                   reference)


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

    return Problem(solve, (normal(3), normal(3, 3)), lambda y, a: expm(a) @ y)


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


def ott_sinkhorn(*, least: int, most: int, implicit: bool) -> Problem:
    solvers, problems = library("ott.solvers.linear.sinkhorn"), library("ott.problems.linear.linear_problem")
    clouds = library("ott.geometry.pointcloud")
    differentiation = library("ott.solvers.linear.implicit_differentiation").ImplicitDiff() if implicit else None

    def plan(x: Any, y: Any) -> Any:
        problem = problems.LinearProblem(clouds.PointCloud(x, y, epsilon=0.5))
        solver = solvers.Sinkhorn(
            implicit_diff=differentiation, min_iterations=least, max_iterations=most, threshold=1e-13
        )
        return solver(problem).matrix

    def unrolled(x: Any, y: Any) -> Any:
        cost = jnp.sum((x[:, None] - y[None]) ** 2, -1)
        f, g = jnp.zeros(len(x)), jnp.zeros(len(y))
        for _ in range(most):
            g = -0.5 * (jax.nn.logsumexp((f[:, None] - cost) / 0.5, axis=0) + math.log(len(y)))
            f = -0.5 * (jax.nn.logsumexp((g[None] - cost) / 0.5, axis=1) + math.log(len(x)))
        return jnp.exp((f[:, None] + g[None] - cost) / 0.5)

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


def jax_md_segment() -> Problem:
    multiply = library("jax_md._nn.uma.kernels")._segment_mm_2d
    return Problem(multiply, (normal(5, 3), normal(3, 4, 3), np.array([2, 0, 3])))


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
    return Problem(lambda v, *ps: decompose(matvec, v, *ps).J_small, (normal(6), *(normal(6, seed=i) for i in range(count))))


def matfree_lstsq(rows: int, columns: int) -> Problem:
    solve = library("matfree.lstsq").lsmr(atol=1e-14, btol=1e-14, ctol=1e-14)

    def by_lsmr(a: Any, b: Any, damp: Any) -> Any:
        return solve(lambda v, a: a.T @ v, b, (a,), damp=damp)[0]

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

    return Problem(solve, (normal(3), normal(3, 3)), lambda y, a: expm(a) @ y)


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
    config = library("aqt.jax.v2.config")
    product = config.config_v3(fwd_bits=bits, dlhs_bits=None, drhs_bits=None)
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
    return Problem(lambda x: library("haliax.quantization").in_qdq(x), (normal(3),))


CASES: tuple[Case, ...] = ()


def verified(problem: Problem, args: tuple[Any, ...]) -> verify.Report:
    if problem.plain is None:
        return verify.rules(problem.f, *args)
    hand = lambda args, y_bar: jax.vjp(problem.f, *args)[1](y_bar)
    return verify.vjp(problem.plain, hand, *args)


def outcome(problem: Problem, args: tuple[Any, ...]) -> Outcome:
    try:
        report = verified(problem, args)
    except Exception as error:  # noqa: BLE001
        return Outcome(f"{type(error).__name__}: {' '.join(str(error).split())[:90]}", "")
    wrong = [row.name for row in report.rows if row.verdict is verify.Verdict.WRONG]
    sites = [row.error for row in report.rows if row.name.startswith("rule ")] or [row.error for row in report.rows]
    worst = math.nan if any(map(math.isnan, sites)) else max(sites)
    powerless = any(row.verdict is verify.Verdict.NO_POWER for row in report.rows)
    verdict = "ok" if report.ok else "WRONG: " + ", ".join(wrong) if wrong else "no power" if powerless else "ok"
    return Outcome(verdict, f"{worst:.1e}")


def rows(case: Case) -> Iterator[tuple[str, ...]]:
    try:
        version = importlib.metadata.version(case.library)
    except importlib.metadata.PackageNotFoundError:
        yield case.library, "", case.rule, "", case.arguments, "not installed", "", ""
        return
    try:
        with jax.enable_x64():
            problem = case.build()
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"
        yield case.library, version, case.rule, "", case.arguments, f"cannot be imported: {reason}", "", case.finding
        return
    by = "vjp" if problem.plain else "rules"
    yield case.library, version, case.rule, by, case.arguments, *outcome(problem, problem.args), case.finding
    for name, change in EDGES if case.edges else ():
        moved = tuple(change(a) if np.issubdtype(np.asarray(a).dtype, np.floating) else a for a in problem.args)
        yield case.library, version, case.rule, by, f"the same, {name}", *outcome(problem, moved), ""


if __name__ == "__main__":
    for c in CASES:
        for r in rows(c): print(r)
