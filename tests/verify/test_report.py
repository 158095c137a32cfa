"""The report: table, JSON, and an assertion that stays short."""

import json
import math

import numpy as np
import pytest

from jaxnets.verify import Report, Row, Verdict
from jaxnets.verify.compare import compare

OK = Row("w", Verdict.OK, 1e-16)
WRONG = Row("b", Verdict.WRONG, 2.0, (1, 2), -1.0, 1.0)
POWERLESS = Row("x", Verdict.NO_POWER, 1e-3)


def test_ok_needs_every_row():
    assert Report("f", (OK,)).ok
    assert not Report("f", (OK, WRONG)).ok
    assert not Report("f", (OK, POWERLESS)).ok
    assert Report("f", (OK, POWERLESS)).first_wrong is None
    assert Report("f", (OK, POWERLESS, WRONG)).first_wrong == WRONG


def test_the_table_has_a_line_for_each_row_and_places_the_wrong_ones():
    lines = str(Report("f", (OK, WRONG))).splitlines()
    assert lines[0] == "f"
    assert len(lines) == 4
    assert " ".join(lines[3].split()) == "b WRONG 2.0e+00 worst at [1, 2]: by hand -1, autodiff 1"


def test_json_is_valid_even_where_the_error_is_not_a_number():
    report = Report("f", (OK, Row("x", Verdict.WRONG, math.nan), Row("y", Verdict.WRONG, math.inf)))
    record = json.loads(report.to_json())
    assert (record["ok"], record["first_wrong"], record["worst_error"]) == (False, "x", "nan")
    assert [row["verdict"] for row in record["rows"]] == ["ok", "WRONG", "WRONG"]


def test_check_raises_with_at_most_15_lines():
    Report("f", (OK,)).check()
    with pytest.raises(AssertionError) as failure:
        Report("f", (WRONG,) * 100).check()
    lines = str(failure.value).splitlines()
    assert len(lines) == 15
    assert lines[0] == "f: 100 of 100 rows are not ok"
    assert lines[-1] == "... and 88 more"
    with pytest.raises(AssertionError, match="no power here"):
        Report("f", (OK, POWERLESS)).check()


@pytest.mark.parametrize(
    ("hand", "truth", "noise", "verdict"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, Verdict.OK),
        ([1.0 + 1e-10, 2.0], [1.0, 2.0], 0.0, Verdict.OK),
        ([1.0 + 1e-8, 2.0], [1.0, 2.0], 0.0, Verdict.WRONG),
        ([1.0 + 1e-8, 2.0], [1.0, 2.0], 1e-9, Verdict.OK),
        ([1.0 + 1e-8, 2.0], [1.0, 2.0], 1e-3, Verdict.NO_POWER),
        ([9.0, 2.0], [1.0, 2.0], 1e-3, Verdict.WRONG),
        ([0.0], [0.0], 0.0, Verdict.OK),
        ([1e-300], [0.0], 0.0, Verdict.WRONG),
        ([np.nan], [np.nan], 0.0, Verdict.WRONG),
        ([np.inf], [np.inf], 0.0, Verdict.WRONG),
        ([[1.0]], [1.0], 0.0, Verdict.WRONG),
    ],
)
def test_compare(hand, truth, noise, verdict):
    assert compare("w", hand, truth, noise).verdict is verdict


def test_compare_names_the_worst_entry():
    row = compare("w", [[1.0, 2.0], [3.0, 4.5]], [[1.0, 2.0], [3.0, 4.0]])
    assert (row.worst, row.hand, row.truth) == ((1, 1), 4.5, 4.0)
