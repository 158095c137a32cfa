"""A number as a reader would write it: minus one, one half, the batch size, N/(N-1)."""

import itertools
import math
from collections.abc import Iterator, Mapping

CLOSE = 1e-7


def named(factor: float, dimensions: Mapping[str, int]) -> str:
    """A factor in words, by small numbers and the given dimensions; "" where it is none of these.

    A small number that is also a dimension is given as both.
    """
    sign = "-" if factor < 0 else ""
    for candidates in _candidates(dimensions):
        fitting = [sign + name for value, name in candidates if math.isclose(abs(factor), value, rel_tol=CLOSE)]
        if fitting:
            return " or ".join(fitting[:2])
    return ""


def in_words(factor: float, dimensions: Mapping[str, int]) -> str:
    """A factor as a number and, where it has one, by its name."""
    number, name = f"{factor:.6g}", named(factor, dimensions)
    return number if name in ("", number) else f"{number} = {name}"


def _candidates(dimensions: Mapping[str, int]) -> Iterator[list[tuple[float, str]]]:
    """Values with their names, the plainest first."""
    sizes: dict[int, str] = {}
    for name, size in dimensions.items():
        if size > 1:
            sizes.setdefault(size, name)
    single = [(size, f"{name}={size}") for size, name in sizes.items()]
    yield [(1.0, "1"), (2.0, "2"), (0.5, "1/2"), *single, *((1 / size, f"1/({text})") for size, text in single)]
    yield [(a / b, f"{a}/{b}") for a in range(1, 5) for b in range(1, 5) if math.gcd(a, b) == 1 < b] + [
        (3.0, "3"),
        (4.0, "4"),
    ]
    yield [
        candidate
        for size, text in single
        for candidate in (
            (size / (size - 1), f"n/(n-1), n={text}"),
            ((size - 1) / size, f"(n-1)/n, n={text}"),
            (math.sqrt(size), f"sqrt({text})"),
            (1 / math.sqrt(size), f"1/sqrt({text})"),
        )
    ]
    yield [
        candidate
        for (size, text), (other, other_text) in itertools.combinations(single, 2)
        for candidate in (
            (size * other, f"({text})·({other_text})"),
            (1 / (size * other), f"1/(({text})·({other_text}))"),
            (size / other, f"({text})/({other_text})"),
            (other / size, f"({other_text})/({text})"),
            (math.sqrt(size / other), f"sqrt(({text})/({other_text}))"),
            (math.sqrt(other / size), f"sqrt(({other_text})/({text}))"),
        )
    ]
