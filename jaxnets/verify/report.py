"""What a verification found: one row per equation or leaf, as a table, as JSON, as an assertion."""

import dataclasses
import enum
import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

MAX_LINES = 15
MAX_WIDTH = 120


class Verdict(enum.Enum):
    """What is known of one row."""

    OK = "ok"
    WRONG = "WRONG"
    NO_POWER = "no power here"
    """The truth itself is rounding noise at this input, so that it can neither confirm nor refute."""
    SUBGRADIENT = "another subgradient"
    """The input is at a kink, and this is a valid subgradient there: another convention than JAX's, and no mistake."""
    INHERITED = "inherited"
    """It is wrong, and its own equation is right: the error comes from an equation that is wrong."""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """One hypothesis that reproduces a wrong value: what was done, in words, and the line of the forward pass."""

    text: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.text}, at {self.source}" if self.source else self.text


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison of a whole array.

    `error` is norm-wise: ‖hand - truth‖ / ‖truth‖ (0 where both are equal, infinite where only the truth is zero).
    `worst` is the index of the entry that differs most; `hand` and `truth` are the values there, where they are known.
    `diagnosis` holds the hypotheses that explain a wrong row, the best first; it is empty where none does.
    `heat` is the size of the error over the array, as rows of a picture, for a wrong row.
    """

    name: str
    verdict: Verdict
    error: float
    worst: tuple[int, ...] | None = None
    hand: float | complex | None = None
    truth: float | complex | None = None
    note: str = ""
    check: str = ""
    decisive: bool = True
    """False for an extra input, where it costs nothing to have no power."""
    diagnosis: tuple[Explanation, ...] = ()
    heat: tuple[tuple[float, ...], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is held against this row."""
        if self.verdict is Verdict.NO_POWER:
            return not self.decisive
        return self.verdict not in (Verdict.WRONG, Verdict.INHERITED)

    def place(self) -> str:
        """The worst entry with both its values, as text."""
        if self.verdict is Verdict.OK or self.worst is None:
            return ""
        values = ""
        if self.hand is not None and self.truth is not None:
            # A local truth is what the equation should make of the deltas by hand, which may be wrong themselves.
            other = "wanted" if self.check == "local" else "autodiff"
            values = f": by hand {self.hand:.6g}, {other} {self.truth:.6g}"
        return f"worst at {list(self.worst)}{values}"

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as text: check, name, verdict, error, where."""
        remarks = "; ".join(filter(None, (self.place(), self.note)))
        return self.check, self.name, self.verdict.value, f"{self.error:.1e}", remarks


@dataclasses.dataclass(frozen=True)
class Report:
    """All rows of one verification, in the order of the checks, and in a check in that of the backward pass: the first
    wrong row is where to look first.
    """

    title: str
    rows: tuple[Row, ...]
    seed: int = 0
    reproduce: str = ""
    """The Python expression that makes this report again."""
    not_applicable: tuple[tuple[str, str], ...] = ()
    """The checks that had nothing to say here, and why."""

    @property
    def ok(self) -> bool:
        """True when nothing is wrong, and the given input had the power to show it."""
        return all(row.ok for row in self.rows)

    @property
    def first_wrong(self) -> Row | None:
        """The first row that is wrong, None if there is none."""
        return next((row for row in self.rows if row.verdict is Verdict.WRONG), None)

    @property
    def worst_error(self) -> float:
        """The largest norm-wise error at the given input, extra inputs left out; NaN if any is NaN."""
        errors = [row.error for row in self.rows if row.decisive or row.verdict is Verdict.WRONG]
        return math.nan if any(map(math.isnan, errors)) else max(errors, default=0.0)

    def __str__(self) -> str:
        lines = table([("check", "row", "verdict", "error", ""), *self._cells()])
        idle = ", ".join(check for check, _ in self.not_applicable)
        return "\n".join([self.title, *lines, *([f"not applicable: {idle}"] if idle else []), *self.explanation()])

    def _cells(self) -> list[tuple[str, str, str, str, str]]:
        """The rows as text; those of a check where all is right as one line."""
        cells = []
        for check, rows in itertools.groupby(self.rows, key=lambda row: row.check):
            of_check = list(rows)
            if check and len(of_check) > 1 and all(row.verdict is Verdict.OK for row in of_check):
                worst = max(of_check, key=lambda row: row.error)
                cells.append((check, f"{len(of_check)} rows", *worst.cells()[2:4], ""))
            else:
                cells += [row.cells() for row in of_check]
        return cells

    def explanation(self) -> list[str]:
        """What is known about the first wrong row, in a few lines; none if nothing is wrong."""
        row = self.first_wrong
        if row is None:
            return []
        # The contract is about the answer as a whole, every other row is an equation.
        what = "first wrong equation" if row.check != "contract" else "the contract is broken"
        lines = [f"{what}: {row.name} (found by {row.check})" if row.check else f"{what}: {row.name}"]
        lines += [f"  {remark}" for remark in (row.place(), row.note) if remark]
        for number, hypothesis in enumerate(row.diagnosis[:3]):
            lines.append(f"{'diagnosis' if number == 0 else '  or'}: {hypothesis.text}")
            lines += [f"  forward pass: {hypothesis.source}"] if hypothesis.source else []
        if not row.diagnosis and row.worst is not None:
            lines.append("diagnosis: located, not explained")
        return lines

    def to_json(self) -> str:
        """The report as a JSON object (see `as_dict`); inf and nan are strings."""
        return json.dumps(self.as_dict(), allow_nan=False)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON: its title, what it says as a whole, and its rows."""
        return {
            "title": self.title,
            "ok": self.ok,
            "first_wrong": self.first_wrong.name if self.first_wrong else None,
            "worst_error": _finite(self.worst_error),
            "seed": self.seed,
            "reproduce": self.reproduce,
            "not_applicable": dict(self.not_applicable),
            "rows": [_plain(row) for row in self.rows],
        }

    def check(self) -> None:
        """Raise AssertionError, with at most 15 lines, unless the report is ok."""
        if self.ok:
            return
        bad = [row for row in self.rows if not row.ok]
        kinds = [verdict for verdict in Verdict if any(row.verdict is verdict for row in bad)]
        counts = [f"{sum(row.verdict is verdict for row in bad)} {verdict.value}" for verdict in kinds]
        lines = [f"{self.title}: of {len(self.rows)} rows {', '.join(counts)}", *self.explanation()]
        others = [row for row in bad if row is not self.first_wrong]
        room = MAX_LINES - len(lines) - (2 if self.reproduce else 1)
        shown = others[: max(room - (len(others) > room), 0)]
        lines += table([row.cells() for row in shown])
        lines += [f"... and {len(others) - len(shown)} more"] if len(others) > len(shown) else []
        lines += [f"reproduce: {self.reproduce}"] if self.reproduce else []
        raise AssertionError(
            "\n".join(line if len(line) <= 2 * MAX_WIDTH else line[: 2 * MAX_WIDTH] + "…" for line in lines)
        )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines with aligned columns."""
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def brief(error: Exception) -> str:
    """An error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _plain(row: Row) -> dict[str, Any]:
    return {
        **{key: _finite(value) for key, value in vars(row).items()},
        "verdict": row.verdict.value,
        "diagnosis": [{"text": hypothesis.text, "source": hypothesis.source} for hypothesis in row.diagnosis],
        "heat": [[_finite(value) for value in line] for line in row.heat],
    }


def _finite(value: Any) -> Any:
    # JSON has neither infinities nor complex numbers.
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
