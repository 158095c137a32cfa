"""The report: table, JSON, and an assertion that stays short."""

import dataclasses
import json
import math

import numpy as np
import pytest

from jaxnets.verify import Explanation, Report, Row, Verdict
from jaxnets.verify.compare import compare

OK = Row("w", Verdict.OK, 1e-16, check="local")
WRONG = Row("b", Verdict.WRONG, 2.0, (1, 2), -1.0, 1.0, check="local")
POWERLESS = Row("x", Verdict.NO_POWER, 1e-3, check="local")
SUBGRADIENT = Row("s", Verdict.SUBGRADIENT, 1.0, (0,), 1.0, 0.0, note="at a kink", check="local")
INHERITED = Row("i", Verdict.INHERITED, 0.5, (0,), 1.0, 2.0, check="against_autodiff")
EXPLAINED = dataclasses.replace(
    WRONG,
    diagnosis=(
        Explanation("off by the constant factor 2"),
        Explanation("the term through `x * y` (mul) is missing", "mine.py:12:5"),
    ),
)


def test_ok_needs_every_row():
    assert Report("f", (OK,)).ok
    assert not Report("f", (OK, WRONG)).ok
    assert not Report("f", (OK, POWERLESS)).ok
    assert Report("f", (OK, POWERLESS)).first_wrong is None
    assert Report("f", (OK, POWERLESS, WRONG)).first_wrong == WRONG


def test_a_subgradient_is_ok_and_what_is_inherited_is_not():
    assert Report("f", (OK, SUBGRADIENT)).ok
    assert not Report("f", (OK, INHERITED)).ok
    assert Report("f", (INHERITED,)).first_wrong is None


def test_no_power_at_an_extra_input_costs_nothing():
    extra = dataclasses.replace(POWERLESS, decisive=False)
    assert Report("f", (OK, extra)).ok
    assert Report("f", (OK, extra)).worst_error == 1e-16
    assert not Report("f", (dataclasses.replace(WRONG, decisive=False),)).ok


def lines_of(report):
    return [" ".join(line.split()) for line in str(report).splitlines()]


def test_the_table_has_a_line_for_each_row_and_places_the_wrong_ones():
    lines = lines_of(Report("f", (OK, WRONG, SUBGRADIENT)))
    assert lines[:5] == [
        "f",
        "check row verdict error",
        "local w ok 1.0e-16",
        "local b WRONG 2.0e+00 worst at [1, 2]: by hand -1, wanted 1",
        "local s another subgradient 1.0e+00 worst at [0]: by hand 1, wanted 0; at a kink",
    ]


def test_the_rows_of_a_check_where_all_is_right_are_one_line():
    worse = dataclasses.replace(OK, name="b", error=1e-12)
    assert lines_of(Report("f", (OK, worse)))[2:] == ["local 2 rows ok 1.0e-12"]


def test_the_table_names_the_checks_that_do_not_apply_and_ends_with_the_explanation():
    lines = lines_of(Report("f", (OK, EXPLAINED), not_applicable=(("shapes", "no sampler"), ("local", "no deltas"))))
    assert "not applicable: shapes, local" in lines
    assert lines[-5:] == [
        "first wrong equation: b (found by local)",
        "worst at [1, 2]: by hand -1, wanted 1",
        "diagnosis: off by the constant factor 2",
        "or: the term through `x * y` (mul) is missing",
        "forward pass: mine.py:12:5",
    ]


def test_what_is_not_explained_says_so():
    assert lines_of(Report("f", (WRONG,)))[-1] == "diagnosis: located, not explained"
    assert "diagnosis" not in str(Report("f", (OK,)))


def test_json_is_valid_even_where_the_error_is_not_a_number():
    rows = (
        OK,
        Row("x", Verdict.WRONG, math.nan, heat=((math.inf, 1.0),)),
        Row("y", Verdict.WRONG, math.inf),
        EXPLAINED,
    )
    report = Report("f", rows, seed=3, not_applicable=(("shapes", "no sampler"),))
    record = json.loads(report.to_json())
    assert record == json.loads(json.dumps(report.as_dict()))
    assert (record["ok"], record["first_wrong"], record["worst_error"]) == (False, "x", "nan")
    assert (record["seed"], record["not_applicable"]) == (3, {"shapes": "no sampler"})
    assert [row["verdict"] for row in record["rows"]] == ["ok", "WRONG", "WRONG", "WRONG"]
    assert [row["check"] for row in record["rows"]] == ["local", "", "", "local"]
    assert record["rows"][1]["heat"] == [["inf", 1.0]]
    assert record["rows"][3]["diagnosis"][1] == {
        "text": "the term through `x * y` (mul) is missing",
        "source": "mine.py:12:5",
    }


def test_json_of_complex_values():
    row = Row("z", Verdict.WRONG, 1.0, (0,), 1 + 2j, 3 - 1j)
    assert json.loads(Report("f", (row,)).to_json())["rows"][0]["hand"] == "(1+2j)"
    assert "by hand 1+2j, autodiff 3-1j" in str(Report("f", (row,)))


@pytest.mark.parametrize("reproduce", ["", "verify.rules(f, *args)"])
@pytest.mark.parametrize("first", [WRONG, EXPLAINED])
def test_check_raises_with_at_most_15_lines(first, reproduce):
    Report("f", (OK,), reproduce=reproduce).check()
    with pytest.raises(AssertionError) as failure:
        Report("f", (first, *(dataclasses.replace(WRONG) for _ in range(98)), INHERITED), reproduce=reproduce).check()
    lines = str(failure.value).splitlines()
    assert 12 < len(lines) <= 15
    assert "99 WRONG" in lines[0]
    assert "1 inherited" in lines[0]
    assert lines[1] == "first wrong equation: b (found by local)"
    shown = sum(line.startswith("local  b  WRONG") for line in lines)
    assert lines[-2 if reproduce else -1] == f"... and {99 - shown} more"
    assert not reproduce or lines[-1] == f"reproduce: {reproduce}"
    with pytest.raises(AssertionError, match="no power here"):
        Report("f", (OK, POWERLESS)).check()


def test_a_line_has_an_end():
    with pytest.raises(AssertionError) as failure:
        Report("f", (dataclasses.replace(WRONG, name="w" * 1000),)).check()
    assert max(map(len, str(failure.value).splitlines())) < 300


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
        (np.zeros((0, 3)), np.zeros((0, 3)), 0.0, Verdict.OK),
        (np.zeros((3, 0)), np.zeros((0, 3)), 0.0, Verdict.WRONG),
        ([1e300, 1e300], [1e300, 1e300 * (1 + 1e-8)], 0.0, Verdict.WRONG),
        ([1e-300, 1e-300], [1e-300, 1e-300 * (1 + 1e-8)], 0.0, Verdict.WRONG),
        ([1.0 + 1e-8j], [1.0], 0.0, Verdict.WRONG),
    ],
)
def test_compare(hand, truth, noise, verdict):
    assert compare("w", hand, truth, noise).verdict is verdict


def test_compare_names_the_worst_entry():
    row = compare("w", [[1.0, 2.0], [3.0, 4.5]], [[1.0, 2.0], [3.0, 4.0]])
    assert (row.worst, row.hand, row.truth) == ((1, 1), 4.5, 4.0)


def test_a_wrong_row_holds_a_picture_of_its_errors():
    truth = np.zeros((300, 2, 100))
    hand = truth.copy()
    hand[299, 1, 99], hand[0, 0, 0] = 3.0, 1.0
    heat = np.array(compare("w", hand, truth).heat)
    assert heat.shape == (64, 64)
    assert (heat[0, 0], heat[-1, -1], np.count_nonzero(heat)) == (1.0, 3.0, 2)
    assert compare("w", truth, truth).heat == ()
    assert compare("w", 1.0, 2.0).heat == ((1.0,),)
