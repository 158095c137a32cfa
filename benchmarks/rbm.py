"""A step of contrastive divergence (CD-1) of a machine 784-500 on batches of 100: by hand, by autodiff, and elsewhere.

One round: the hidden units are drawn given the data, the visible ones take their means, the hidden ones are
probabilities again; then gradient descent.  scikit-learn has a persistent chain instead of the data to start from, and
draws both layers: the nearest variant of ours stands beside it.  The products of matrices alone, without draws,
nonlinearities, biases and the reconstruction error, show how much time is left to save.  Before anything is timed, the
steps are compared at parameters for which nothing is left to chance.  Run it with `python benchmarks/rbm.py`; the
results are written to benchmarks/results/rbm, with the endings .md and .json.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from jaxtyping import Array
from sklearn.neural_network import BernoulliRBM

from jaxnets import data
from jaxnets.nets import contrastive_divergence as cd
from jaxnets.nets import rbm
from jaxnets.nets.contrastive_divergence import Reconstruction
from jaxnets.rule import autodiff
from jaxnets.train import State, Step, estimating_step

VISIBLE, HIDDEN, BATCH, RATE = 784, 500, 100, 0.05
SCANNED = 10
SGD = optax.sgd(RATE)

Surrogate = Callable[[rbm.Params, Array, Array], Array]


def surrogate(params: rbm.Params, v: Array, v_1: Array) -> Array:
    """Its gradient with v_1 held fixed is the direction of CD."""
    v_1 = jax.lax.stop_gradient(v_1)
    return rbm.free_energy(params, v).mean() - rbm.free_energy(params, v_1).mean()


def natural(params: rbm.Params, v: Array, v_1: Array) -> Array:
    """The same as it is mostly written, of JAX's own functions."""
    v_1 = jax.lax.stop_gradient(v_1)

    def f(v: Array) -> Array:
        return -(v @ params.b) - jax.nn.softplus(v @ params.w + params.c).sum(1)

    return f(v).mean() - f(v_1).mean()


def by_grad(of: Surrogate) -> Step:
    """A step along the gradient of a difference of free energies."""

    def estimate(params: rbm.Params, carried: tuple[()], v: Array, key: Array) -> tuple[Any, tuple[()], Array]:
        h = jax.random.bernoulli(key, jax.nn.sigmoid(v @ params.w + params.c)).astype(v.dtype)
        v_1 = jax.nn.sigmoid(h @ params.w.T + params.b)
        return jax.grad(of)(params, v, v_1), carried, jnp.square(v - v_1).sum(1).mean()

    return estimating_step(estimate, SGD)


def products(state: State, v: Array) -> tuple[State, Array]:
    """The five products of matrices of a step, each of what the one before it gave, and nothing else."""
    w = state.params.w
    p = v @ w
    v_1 = p @ w.T
    p_1 = v_1 @ w
    # A step so small that products, which nothing holds between 0 and 1, do not grow.
    w = w + 1e-12 * (v.T @ p - v_1.T @ p_1)
    return state._replace(params=state.params._replace(w=w)), p_1[0, 0]


STEPS: dict[str, Step] = {
    "jaxnets": cd.cd_step(SGD, reconstruction=Reconstruction.MEANS),
    "jaxnets, visible units drawn": cd.cd_step(SGD),
    "jax.grad of F(v) - F(v_1), rules by hand": by_grad(surrogate),
    "jax.grad of F(v) - F(v_1), rules taken out": by_grad(autodiff(surrogate)),
    "jax.grad of F(v) - F(v_1), JAX's functions": by_grad(natural),
}
REFERENCE = "jaxnets"


def jax_runner(step: Step, state: State, v: np.ndarray, steps: int = SCANNED) -> harness.Variant:
    """So many steps in one compiled scan, as `fit` has them; it goes on from the state of the last call, in place."""
    batch = jnp.asarray(v)

    def scanned(state: State, batch: Array) -> tuple[State, Array]:
        return jax.lax.scan(lambda state, _: step(state, batch), state, None, length=steps)

    compiled = jax.jit(scanned, donate_argnums=0).lower(state, batch).compile()
    held = [jax.tree.map(jnp.copy, state)]

    def run() -> None:
        held[0], loss = compiled(held[0], batch)
        jax.block_until_ready((held[0].params, loss))

    return harness.Variant(run, steps, compiled)


def torch_step(params: list[torch.Tensor], v: torch.Tensor) -> None:
    """CD-1 as a loop in PyTorch does it, without autograd, in place."""
    w, b, c = params
    p = torch.sigmoid(torch.addmm(c, v, w))
    h = torch.bernoulli(p)
    v_1 = torch.sigmoid(torch.addmm(b, h, w.T))
    p_1 = torch.sigmoid(torch.addmm(c, v_1, w))
    rate = RATE / len(v)
    w.addmm_(v.T, p, alpha=rate).addmm_(v_1.T, p_1, alpha=-rate)
    b.add_((v - v_1).sum(0), alpha=rate)
    c.add_((p - p_1).sum(0), alpha=rate)
    ((v - v_1) ** 2).sum(1).mean()


def torch_usual_step(params: list[torch.Tensor], v: torch.Tensor) -> None:
    """The same as it is mostly written: a product for each of the statistics, then their difference."""
    w, b, c = params
    p = torch.sigmoid(v @ w + c)
    h = torch.bernoulli(p)
    v_1 = torch.sigmoid(h @ w.T + b)
    p_1 = torch.sigmoid(v_1 @ w + c)
    w += RATE * (v.T @ p - v_1.T @ p_1) / len(v)
    b += RATE * (v - v_1).mean(0)
    c += RATE * (p - p_1).mean(0)
    ((v - v_1) ** 2).sum(1).mean()


def torch_grad_step(params: list[torch.Tensor], v: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """CD-1 by autograd of the difference of free energies."""
    w, b, c = params

    def f(v: torch.Tensor) -> torch.Tensor:
        return -(v @ b) - torch.nn.functional.softplus(v @ w + c).sum(1)

    with torch.no_grad():
        h = torch.bernoulli(torch.sigmoid(v @ w + c))
        v_1 = torch.sigmoid(h @ w.T + b)
    optimizer.zero_grad()
    (f(v).mean() - f(v_1).mean()).backward()
    optimizer.step()
    ((v - v_1) ** 2).sum(1).mean()


TORCH_STEPS: dict[str, Callable[[list[torch.Tensor], torch.Tensor], None]] = {
    "PyTorch, in place": torch_step,
    "PyTorch, as mostly written": torch_usual_step,
}


def tensors_of(params: rbm.Params) -> list[torch.Tensor]:
    return [torch.tensor(np.asarray(leaf)) for leaf in params]


def torch_grad_runner(params: rbm.Params, v: np.ndarray) -> Callable[[], None]:
    tensors = [tensor.requires_grad_() for tensor in tensors_of(params)]
    return partial(torch_grad_step, tensors, torch.tensor(v), torch.optim.SGD(tensors, lr=RATE))


def sklearn_runner(params: rbm.Params, v: np.ndarray) -> Callable[[], None]:
    """The step that its `fit` takes for each batch, which stays in float32 (`partial_fit` would not)."""
    peer: Any = BernoulliRBM(HIDDEN, learning_rate=RATE, batch_size=BATCH, n_iter=1, random_state=0)
    peer.fit(v)
    peer.components_, peer.intercept_visible_, peer.intercept_hidden_ = (
        np.array(leaf, np.float32, order="F") for leaf in (params.w.T, params.b, params.c)
    )
    assert peer.h_samples_.dtype == np.float32
    return partial(peer._fit, v, np.random.RandomState(0))


def start(params: rbm.Params, v: np.ndarray, *, persistent: bool = False) -> State:
    key = jax.random.key(1)
    return cd.init_pcd(params, jnp.asarray(v), SGD, key) if persistent else cd.init_cd(params, SGD, key)


def assert_the_same(v: np.ndarray) -> None:
    """With large weights every unit is certain, so that all must go to the same parameters."""
    w = 1e4 * jax.random.normal(jax.random.key(2), (VISIBLE, HIDDEN))
    params = rbm.Params(w, jnp.full(VISIBLE, 3e3), jnp.full(HIDDEN, -2e3))
    moves = {}
    for name, step in STEPS.items():
        state, _ = jax.jit(step)(start(params, v), jnp.asarray(v))
        moves[name] = jax.tree.map(lambda after, before: np.asarray(after - before), state.params, params)
    # float32 loses the small step beside the large parameters; the direction itself is compared.
    wanted, _ = cd.contrastive_divergence(params, jnp.asarray(v), jax.random.key(3))
    assert max(float(jnp.abs(leaf).max()) for leaf in wanted) > 0.1
    for name in moves:
        for mine, true in zip(moves[name], wanted, strict=True):
            np.testing.assert_allclose(mine, -RATE * np.asarray(true), atol=4e-3, err_msg=name)
    for name, step in TORCH_STEPS.items():
        tensors = tensors_of(params)
        step(tensors, torch.tensor(v))
        for after, before, true in zip(tensors, params, wanted, strict=True):
            moved = after.numpy() - np.asarray(before)
            np.testing.assert_allclose(moved, -RATE * np.asarray(true), atol=4e-3, err_msg=name)


def main() -> None:
    images = data.as_inputs(data.mnist_small().train_images[:BATCH])
    v = (images > 0.5).astype(np.float32)
    assert_the_same(v)
    params = rbm.init(jax.random.key(0), VISIBLE, HIDDEN)._replace(b=rbm.data_biases(jnp.asarray(v)))
    variants = {name: jax_runner(step, start(params, v), v) for name, step in STEPS.items()}
    variants["jaxnets, a call for each step"] = jax_runner(STEPS[REFERENCE], start(params, v), v, steps=1)
    variants["jaxnets, persistent chains"] = jax_runner(cd.pcd_step(SGD), start(params, v, persistent=True), v)
    variants["products of matrices alone, in JAX"] = jax_runner(products, start(params, v), v)
    for name, step in TORCH_STEPS.items():
        variants[name] = harness.Variant(partial(step, tensors_of(params), torch.tensor(v)))
    variants["PyTorch, autograd of F(v) - F(v_1)"] = harness.Variant(torch_grad_runner(params, v))
    variants["scikit-learn, persistent chain"] = harness.Variant(sklearn_runner(params, v))
    report = harness.measure(
        variants,
        REFERENCE,
        title=f"CD-1 of a machine {VISIBLE}-{HIDDEN}, batch {BATCH}",
        unit="step",
        note=f"All in float32. JAX runs {SCANNED} steps in one compiled scan, as `jaxnets.train.fit` runs an epoch; "
        "PyTorch and scikit-learn run one after the other. Hidden units are drawn, visible ones are means, unless the "
        "name says otherwise.",
        block_s=0.2,
        packages=("torch", "scikit-learn"),
    )
    print(harness.write(report, "rbm"))


if __name__ == "__main__":
    main()
