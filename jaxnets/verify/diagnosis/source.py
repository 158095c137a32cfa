"""The line of the user's program that an equation of a jaxpr comes from."""

import functools
import linecache
import os
from types import CodeType
from typing import NamedTuple

import jax
from jax.extend import core


class Source(NamedTuple):
    """Where an operation stands: `key` is one for each place in the program, the same for every turn of a loop."""

    key: str
    place: str  # "lstm.py:132:18", "" where it is not known
    text: str  # the expression, as it is written

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.text else self.place


def source_of(equation: core.JaxprEqn) -> Source:
    """The innermost place outside of JAX, with the expression there."""
    traceback = equation.source_info.traceback
    if traceback is None:
        return Source(f"{equation.primitive.name}", "", "")
    codes, instructions = traceback.raw_frames()
    stack = zip(codes, instructions, strict=True)
    key = "/".join([equation.primitive.name, *(f"{id(code):x}.{at}" for code, at in stack)])
    for code, at in zip(codes, instructions, strict=True):
        if not code.co_filename.startswith(_JAX):
            return Source(key, *_expression(code, at))
    return Source(key, "", "")


_JAX = os.path.dirname(jax.__file__)


@functools.lru_cache(maxsize=4096)
def _expression(code: CodeType, instruction: int) -> tuple[str, str]:
    first, last, start, end = list(code.co_positions())[instruction // 2]
    if first is None or start is None or end is None:
        return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}", ""
    lines = [linecache.getline(code.co_filename, number) for number in range(first, (last or first) + 1)]
    # Columns count the bytes of the line.
    raw = [line.encode() for line in lines]
    raw[-1] = raw[-1][:end]
    raw[0] = raw[0][start:]
    text = " ".join(" ".join(part.decode(errors="replace").split()) for part in raw).strip()
    return f"{os.path.basename(code.co_filename)}:{first}:{start + 1}", text if len(text) <= 80 else text[:79] + "…"
