"""You derived a gradient on paper and wrote it in NumPy.  Is it right, and if not, which equation is wrong?

The loss is written once, in JAX, with names for the values whose deltas the derivation gives.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from jaxnets import verify


def loss(w1, w2, x, t):
    """Two layers of tanh units and half the squared error."""
    z1 = checkpoint_name(x @ w1, "z1")
    z2 = checkpoint_name(jnp.tanh(z1) @ w2, "z2")
    return 0.5 * jnp.sum((jnp.tanh(z2) - t) ** 2)


def derivation(w1, w2, x, t):
    """My derivation, with a mistake: the slope of the hidden layer is taken at z1, as 1 - z1²."""
    w1, w2, x, t = map(np.asarray, (w1, w2, x, t))
    z1 = x @ w1
    a1 = np.tanh(z1)
    a2 = np.tanh(a1 @ w2)
    delta2 = (a2 - t) * (1 - a2**2)
    delta1 = delta2 @ w2.T * (1 - z1**2)
    return (x.T @ delta1, a1.T @ delta2, delta1 @ w1.T, t - a2), {"z1": delta1, "z2": delta2}


def main():
    """Verify the derivation; the report must name the hidden delta, and not the output's."""
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = ((3, 4), (4, 2), (5, 3), (5, 2))
    args = [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]
    report = verify.gradient(loss, derivation, *args)
    print(report)
    assert report.first_wrong is not None
    assert report.first_wrong.name == "z1"
    equations = {row.name: row for row in report.rows if row.check == "local"}
    assert equations["z2"].ok


if __name__ == "__main__":
    main()
