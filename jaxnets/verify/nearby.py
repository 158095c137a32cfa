"""Points next to the given one, in the same domain."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxnets.verify.problem import Problem


def nearby(problem: Problem, number: int, by: float) -> Iterator[list[Any]]:
    """Operands whose floating-point entries are off by random factors within `by` of 1.

    What is positive stays so, and zero stays zero: probabilities, variances and masks stay in their domains.
    """
    generator = np.random.default_rng(problem.seed)

    def near(x: Any) -> Any:
        return (np.asarray(x) * (1 + by * generator.uniform(-1, 1, np.shape(x)))).astype(x.dtype)

    for _ in range(number):
        yield problem.merge([near(x) for x in problem.inputs()])
