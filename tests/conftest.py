"""Every test runs with silent promotions forbidden; `x64` gives the float64 that derivations are checked in."""

import os

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# XLA reads its flags, and counts the cores for its threads, when it is first used.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    # A core for each worker: threads of several for the same cores are slower than one for each.
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

# The same examples in every run: what is red here is red everywhere.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def optimizations(request):
    """Nearly all the time of the tests is XLA compiling small programs that run once; trainings run for long."""
    long = any(request.node.get_closest_marker(name) for name in ("slow", "training"))
    jax.config.update("jax_disable_most_optimizations", not long)


@pytest.fixture
def x64():
    with jax.enable_x64():
        yield


@pytest.fixture
def own_errors():
    """Bad arguments reach our own error messages: without this, the run-time shape check of the tests speaks first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
