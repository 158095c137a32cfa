"""How many random patterns a Hopfield network holds: overlap after recall versus load, beside the theory.

`python examples/hopfield_capacity.py --picture hopfield-capacity.png`

Every trial stores random patterns by Hebb's rule and lets the first of them go, one unit after the other, until no unit
would change.  All loads and trials are one compiled call.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot as plt

from jaxnets.nets import hopfield

LOADS = (0.05, 0.08, 0.10, 0.12, 0.138, 0.15, 0.16, 0.18, 0.20, 0.25, 0.30)


def theory():
    """Load and overlap of infinitely many units, on the stable branch; the largest load comes last."""
    load, overlap = (np.asarray(a) for a in hopfield.mean_field(jnp.linspace(3.0, 1.0, 20_001)))
    last = int(load.argmax()) + 1
    return load[:last], overlap[:last]


def draw(units, overlaps, path):
    """Trials, their means with standard errors, and the theory."""
    load, overlap = theory()
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for alpha, trials in zip(LOADS, overlaps, strict=True):
        axes.plot(np.full(trials.shape, alpha), trials, ".", color="C0", alpha=0.2)
    error = overlaps.std(1, ddof=1) / np.sqrt(overlaps.shape[1])
    axes.errorbar(LOADS, overlaps.mean(1), error, fmt="o-", color="C0", capsize=3, label=f"mean of trials, N = {units}")
    axes.plot(load, overlap, color="C1", zorder=3, label="theory, N → ∞")
    axes.plot([load[-1]] * 2, [0, overlap[-1]], "--", color="C1", zorder=3)
    axes.set(
        xlabel="load: patterns / N", ylabel="overlap with the pattern after recall", ylim=(0, 1.03), xlim=(0.03, 0.31)
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=90)


def main():
    """Measure, print, draw if asked, and check that the memory breaks down where the theory says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=400)
    parser.add_argument("--trials", type=int, default=40, help="of every load, at least 2")
    parser.add_argument("--picture", help="where the picture goes")
    options = parser.parse_args()

    patterns = tuple(round(load * options.units) for load in LOADS)
    measure = jax.jit(
        functools.partial(
            hopfield.overlap_by_load, units=options.units, patterns=patterns, trials=options.trials, max_sweeps=100
        )
    )
    overlaps = np.asarray(measure(jax.random.key(0)))
    means = dict(zip(LOADS, overlaps.mean(1), strict=True))
    errors = overlaps.std(1, ddof=1) / np.sqrt(options.trials)
    for (load, mean), error, stored in zip(means.items(), errors, patterns, strict=True):
        print(f"load {load:.3f} ({stored} of {options.units}): overlap {mean:.3f} ± {error:.3f}")
    load, overlap = theory()
    print(f"theory: down to {overlap[-1]:.3f} at load {load[-1]:.4f}, then nothing")
    if options.picture:
        draw(options.units, overlaps, options.picture)

    assert abs(load[-1] - 0.138) < 1e-3
    assert means[0.05] > 0.995
    assert means[0.10] > 0.98
    assert means[0.138] > 0.85
    assert means[0.18] < 0.85
    assert means[0.25] < 0.5
    # The break: just above the load of the theory much more is lost than on the whole way there.
    assert means[0.138] - means[0.18] > 2 * (means[0.05] - means[0.138])


if __name__ == "__main__":
    main()
