"""What the tests of the diagnosis share: verify a derivation, and read the best explanation of each wrong row."""

import inspect
from pathlib import Path

import pytest

from jaxnets import verify
from jaxnets.verify.checks.against_autodiff import against_autodiff
from jaxnets.verify.checks.local import local


@pytest.fixture
def best():
    """best(loss, hand, *args): the first explanation of each row that is wrong, by its name."""

    def of(loss, hand, *args, deltas=True):
        checks = (local,) if deltas else (against_autodiff,)
        report = verify.gradient(loss, hand, *args, checks=checks)
        wrong = [row for row in report.rows if row.verdict is verify.Verdict.WRONG]
        return {row.name: row.diagnosis[0] if row.diagnosis else None for row in wrong}

    return of


@pytest.fixture
def place():
    """place(f, text): the file and the line of f where the text stands, as an explanation names it."""

    def of(f, text):
        lines, first = inspect.getsourcelines(f)
        (number,) = [number for number, line in enumerate(lines, first) if text in line]
        return f"{Path(inspect.getsourcefile(f)).name}:{number}:"

    return of
