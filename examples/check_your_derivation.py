"""You derived backpropagation through time for an LSTM.  Is it right, and if not, which equation is wrong, and how?

Write the loss in JAX, with a name for each value whose delta you derived.  Write the derivation, in JAX or NumPy, so
that it returns the gradients and those deltas.  `main`, or `jaxnets verify` on this file, judges each equation alone.
"""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.nn import sigmoid

from jaxnets import verify


def cell(w, b, xh, c):
    """One step, from the input with the last hidden state (xh) and the last cell state (c)."""
    z = xh @ w + b
    f = sigmoid(checkpoint_name(z[0], "z_f"))
    i = sigmoid(checkpoint_name(z[1], "z_i"))
    o = sigmoid(checkpoint_name(z[2], "z_o"))
    g = jnp.tanh(checkpoint_name(z[3], "z_g"))
    c = checkpoint_name(f * c + i * g, "c")
    h = checkpoint_name(o * jnp.tanh(c), "h")
    return h, c, (f, i, o, g)


def loss(w, b, x, target):
    """Half the squared distance of the hidden states from the targets, over all steps."""

    def step(carry, inputs):
        (h, c), (x_t, target_t) = carry, inputs
        h, c, _ = cell(w, b, jnp.concatenate([x_t, h]), c)
        return (h, c), 0.5 * jnp.sum((h - target_t) ** 2)

    start = jnp.zeros_like(target[0])
    return jnp.sum(jax.lax.scan(step, (start, start), (x, target))[1])


def derivation(w, b, x, target, lag=1):
    """Backpropagation through time.  The forget gate scales c[t - lag]: lag 1 is right, and 0 is the mistake."""
    n_in, steps, start = x.shape[1], range(1, len(x) + 1), jnp.zeros_like(target[0])
    h, c, xh, gates = {0: start}, {0: start}, {}, {}  # by step
    for t in steps:
        xh[t] = jnp.concatenate([x[t - 1], h[t - 1]])
        h[t], c[t], gates[t] = cell(w, b, xh[t], c[t - 1])

    history, h_later, c_later = [], start, start  # nothing comes back to the last step
    for t in reversed(steps):
        (f, i, o, g), a = gates[t], jnp.tanh(c[t])
        dh = h[t] - target[t - 1] + h_later  # (1) δh_t = h_t - target_t + Σ_k U_k δz_k,t+1
        dc = dh * o * (1 - a**2) + c_later  # (2) δc_t = δh_t o_t (1 - tanh² c_t) + δc_t+1 f_t+1
        dz_f = dc * c[t - lag] * f * (1 - f)  # (3) δz_f,t = δc_t c_t-1 f_t (1 - f_t)
        dz_i = dc * g * i * (1 - i)  # (4) δz_i,t = δc_t g_t i_t (1 - i_t)
        dz_o = dh * a * o * (1 - o)  # (5) δz_o,t = δh_t tanh(c_t) o_t (1 - o_t)
        dz_g = dc * i * (1 - g**2)  # (6) δz_g,t = δc_t i_t (1 - g_t²)
        dz = jnp.stack([dz_f, dz_i, dz_o, dz_g])
        dxh = jnp.einsum("kmn,kn->m", w, dz)  # (7) δxh_t = Σ_k W_k δz_k,t; U_k is the part of W_k for h
        h_later, c_later = dxh[n_in:], dc * f
        history.append((dh, dc, dz, dxh))

    dh, dc, dz, dxh = map(jnp.stack, zip(*reversed(history), strict=True))  # the first axis is time
    w_bar = jnp.einsum("tm,tkn->kmn", jnp.stack([xh[t] for t in steps]), dz)  # (8) ∂L/∂W_k = Σ_t xh_t δz_k,tᵀ
    b_bar = dz.sum(0)  # (9) ∂L/∂b_k = Σ_t δz_k,t
    target_bar = target - jnp.stack([h[t] for t in steps])  # (10) ∂L/∂target_t = target_t - h_t
    deltas = {"h": dh, "c": dc, "z_f": dz[:, 0], "z_i": dz[:, 1], "z_o": dz[:, 2], "z_g": dz[:, 3]}
    return (w_bar, b_bar, dxh[:, :n_in], target_bar), deltas


def mistaken(w, b, x, target):
    """The derivation with c_t where c_t-1 belongs, in (3)."""
    return derivation(w, b, x, target, lag=0)


def sample(key):
    """Six steps, three inputs, two hidden units: no two dimensions are equal, so that nothing can be mixed up."""
    shapes = ((4, 3 + 2, 2), (4, 2), (6, 3), (6, 2))
    return tuple(map(jax.random.normal, jax.random.split(key, 4), shapes))


def main():
    """Find the mistake, read what it is, and see that the derivation without it is right."""
    args = sample(jax.random.key(0))
    report = verify.gradient(loss, mistaken, *args)
    print(report)
    wrong = report.first_wrong
    assert wrong is not None
    assert wrong.name == "z_f"  # equation (3), and none of those that inherit its error
    assert wrong.diagnosis[0].text == "c is used where the previous step's c belongs, in `f * c`"
    assert wrong.diagnosis[0].source.startswith("check_your_derivation.py:")
    fixed = verify.gradient(loss, derivation, *args)
    fixed.check()  # raises AssertionError if anything is wrong: the line for a test
    print("\nfixed:", fixed)


EQUATIONS = ("(1)", "(2)", "(3)", "(4)", "(5)", "(6)", "(7)", "(8)", "(9)", "(10)")
LSTM = verify.Derivation("lstm", loss, sample, "check_your_derivation.py", EQUATIONS, gradient=derivation)

if __name__ == "__main__":
    main()
