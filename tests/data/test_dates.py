"""Dates in English and in the ISO form, read by a parser of the tests' own."""

import datetime
import re

import numpy as np
import pytest

from jaxnets.data import DATE_SOURCE, DATE_TARGET, date_translation, decode

MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTH, WEEKDAY = f"(?P<month>{'|'.join(MONTHS)})", f"(?P<weekday>{'|'.join(WEEKDAYS)})"
MON, WDAY = f"(?P<mon>{'|'.join(m[:3] for m in MONTHS)})", f"(?P<wday>{'|'.join(w[:3] for w in WEEKDAYS)})"
DAY, YEAR, SUFFIX = "(?P<day>[1-9][0-9]?)", "(?P<year>[0-9]{4})", "(?P<suffix>st|nd|rd|th)"
FORMS = {
    "Tuesday, March 3, 2015": f"{WEEKDAY}, {MONTH} {DAY}, {YEAR}",
    "March 3, 2015": f"{MONTH} {DAY}, {YEAR}",
    "March 3rd, 2015": f"{MONTH} {DAY}{SUFFIX}, {YEAR}",
    "the 3rd of March 2015": f"the {DAY}{SUFFIX} of {MONTH} {YEAR}",
    "3 March 2015": f"{DAY} {MONTH} {YEAR}",
    "3 Mar 2015": f"{DAY} {MON} {YEAR}",
    "Mar 3, 2015": f"{MON} {DAY}, {YEAR}",
    "Tue, 03 Mar 2015": f"{WDAY}, (?P<day>[0-9]{{2}}) {MON} {YEAR}",
}
SUFFIXES = {1: "st", 21: "st", 31: "st", 2: "nd", 22: "nd", 3: "rd", 23: "rd"}


def parse(text):
    """Return the date, and the form that it is written in; the weekday and the ordinal must be right."""
    form, parts = next((form, m.groupdict()) for form, p in FORMS.items() if (m := re.fullmatch(p, text)))
    months = MONTHS if "month" in parts else [month[:3] for month in MONTHS]
    day = int(parts["day"])
    date = datetime.date(int(parts["year"]), months.index(parts.get("month") or parts.get("mon")) + 1, day)
    name = parts.get("weekday") or parts.get("wday")
    assert name is None or WEEKDAYS[date.weekday()].startswith(name)
    assert "suffix" not in parts or parts["suffix"] == SUFFIXES.get(day, "th")
    return date, form


@pytest.fixture(scope="module")
def drawn():
    return date_translation(np.random.default_rng(0), 4000)


def test_shapes(drawn):
    assert drawn.source.shape == (4000, 29)
    assert drawn.target.shape == (4000, 12)
    assert all(array.dtype == np.int32 for array in drawn)
    assert (drawn.target_lengths == 12).all()
    for row, end in zip(drawn.source, drawn.source_lengths, strict=True):
        assert (row[:end] > 0).all()
        assert not row[end:].any()
    assert drawn.source_lengths.min() == len("3 Mar 2015")
    assert drawn.source_lengths.max() == len("Wednesday, September 30, 2015")


def test_source_and_target_are_the_same_date(drawn):
    forms = []
    for source, target in zip(drawn.source, drawn.target, strict=True):
        date, form = parse(decode(source, DATE_SOURCE))
        forms.append(form)
        assert target[0] == DATE_TARGET.index("\x02")
        assert target[-1] == DATE_TARGET.index("\x03")
        assert datetime.date.fromisoformat(decode(target, DATE_TARGET)) == date
    # The short forms of May are the long ones as well: the parser takes these for the first that fits.
    shares = {form: forms.count(form) / 4000 for form in FORMS}
    assert all(abs(share - 1 / 8) < 0.04 for share in shares.values()), shares


def test_dates_are_drawn_evenly():
    target = date_translation(np.random.default_rng(1), 8000).target
    dates = [datetime.date.fromisoformat(decode(row, DATE_TARGET)) for row in target]
    assert datetime.date(1900, 1, 1) <= min(dates) < datetime.date(1900, 6, 1)
    assert datetime.date(2099, 7, 1) < max(dates) <= datetime.date(2099, 12, 31)
    np.testing.assert_allclose(np.histogram([d.year for d in dates], 10)[0] / 8000, 0.1, atol=0.015)
    np.testing.assert_allclose(np.bincount([d.month for d in dates])[1:] / 8000, 1 / 12, atol=0.015)
    assert {d.day for d in dates} == set(range(1, 32))


class Ends:
    """In place of a generator: the first or the last number of each range."""

    def __init__(self, last):
        self.last = last

    def integers(self, low, high, n):
        return np.full(n, high - 1 if self.last else low)


@pytest.mark.usefixtures("own_errors")
@pytest.mark.parametrize(
    ("last", "source", "target"),
    [(False, "Monday, January 1, 1900", "1900-01-01"), (True, "Thu, 31 Dec 2099", "2099-12-31")],
)
def test_the_first_day_and_the_last(last, source, target):
    drawn = date_translation(Ends(last), 1)
    assert decode(drawn.source[0], DATE_SOURCE) == source
    assert decode(drawn.target[0], DATE_TARGET) == target


def test_the_tables():
    assert DATE_TARGET == "\x00\x02\x03-0123456789"
    assert DATE_SOURCE[:4] == "\x00 ,0"
    assert len(set(DATE_SOURCE)) == len(DATE_SOURCE) == 65


def test_the_seed_decides():
    first, again, other = (date_translation(np.random.default_rng(seed), 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.source, again.source)
    assert (first.source != other.source).any()


def test_no_dates():
    with pytest.raises(ValueError, match=r"^date_translation: n is 0, wanted at least 1$"):
        date_translation(np.random.default_rng(0), 0)
