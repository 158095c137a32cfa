"""What a verification found: one row per equation or leaf, as a table, as JSON, as an assertion."""

import dataclasses
import enum
import json
import math
from collections.abc import Sequence
from typing import Any

MAX_LINES = 15


class Verdict(enum.Enum):
    """What is known of one row."""

    OK = "ok"
    WRONG = "WRONG"
    NO_POWER = "no power here"
    """The truth itself is rounding noise at this input, so that it can neither confirm nor refute."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison of a whole array.

    `error` is norm-wise: ‖hand - truth‖ / ‖truth‖ (0 where both are equal, infinite where only the truth is zero).
    `worst` is the index of the entry that differs most; `hand` and `truth` are the values there, where they are known.
    """

    name: str
    verdict: Verdict
    error: float
    worst: tuple[int, ...] | None = None
    hand: float | None = None
    truth: float | None = None
    note: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """The row as text: name, verdict, error, where."""
        place = "" if self.verdict is Verdict.OK or self.worst is None else f"worst at {list(self.worst)}"
        if place and self.hand is not None and self.truth is not None:
            place += f": by hand {self.hand:.6g}, autodiff {self.truth:.6g}"
        return self.name, self.verdict.value, f"{self.error:.1e}", "; ".join(filter(None, (place, self.note)))


@dataclasses.dataclass(frozen=True)
class Report:
    """All rows of one verification, in the order of the backward pass: the first wrong row is where to look first."""

    title: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """True when every row is ok (a row without power is not)."""
        return all(row.verdict is Verdict.OK for row in self.rows)

    @property
    def first_wrong(self) -> Row | None:
        """The first row of the backward pass that is wrong, None if there is none."""
        return next((row for row in self.rows if row.verdict is Verdict.WRONG), None)

    @property
    def worst_error(self) -> float:
        """The largest norm-wise error of all rows; NaN if any is NaN."""
        errors = [row.error for row in self.rows]
        return math.nan if any(map(math.isnan, errors)) else max(errors)

    def __str__(self) -> str:
        return "\n".join([self.title, *table([("row", "verdict", "error", ""), *(row.cells() for row in self.rows)])])

    def to_json(self) -> str:
        """The report as a JSON object (title, ok, first_wrong, worst_error, rows); inf and nan are strings."""
        return json.dumps(self.as_dict(), allow_nan=False)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON."""
        return {
            "title": self.title,
            "ok": self.ok,
            "first_wrong": self.first_wrong.name if self.first_wrong else None,
            "worst_error": _finite(self.worst_error),
            "rows": [
                {key: _finite(value) for key, value in vars(row).items()} | {"verdict": row.verdict.value}
                for row in self.rows
            ],
        }

    def check(self) -> None:
        """Raise AssertionError, with at most 15 lines, unless every row is ok."""
        if self.ok:
            return
        bad = [row for row in self.rows if row.verdict is not Verdict.OK]
        lines = [f"{self.title}: {len(bad)} of {len(self.rows)} rows are not ok"]
        if self.first_wrong:
            lines.append(f"first wrong in the order of the backward pass: {self.first_wrong.name}")
        room = MAX_LINES - len(lines) - 1
        lines += table([row.cells() for row in bad[:room]])
        if len(bad) > room:
            lines.append(f"... and {len(bad) - room} more")
        raise AssertionError("\n".join(lines))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
