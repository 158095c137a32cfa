"""Every test runs with silent promotions forbidden; `x64` gives the float64 that derivations are checked in."""

import os

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Nearly all the time of the tests is XLA compiling small programs that run once.
jax.config.update("jax_disable_most_optimizations", True)
# XLA reads its flags when it is first used.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"

# The same examples in every run: what is red here is red everywhere.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


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
