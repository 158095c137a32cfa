"""Dates as people write them in English, to be translated into the ISO form 2015-03-03."""

import datetime
from string import ascii_letters, digits

import numpy as np

from .characters import END, PAD, START, TextPairs, encode_pairs
from .counts import check_at_least

DATE_SOURCE = PAD + " ," + digits + ascii_letters
"""The table of the source of `date_translation`: PAD 0, space, comma, digits, a to z, A to Z."""
DATE_TARGET = PAD + START + END + "-" + digits
"""The table of the target of `date_translation`: PAD 0, START 1, END 2, the hyphen 3, 0 to 9 4 to 13."""

_FIRST, _LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"
# Every form has the month as a word and the year with four digits, so that it can be read in one way only.
_FORMS = (
    "{weekday}, {month} {day}, {year}",
    "{month} {day}, {year}",
    "{month} {day}{suffix}, {year}",
    "the {day}{suffix} of {month} {year}",
    "{day} {month} {year}",
    "{day} {month:.3} {year}",
    "{month:.3} {day}, {year}",
    "{weekday:.3}, {day:02} {month:.3} {year}",
)
_LONGEST = len("Wednesday, September 30, 2015")


def date_translation(rng: np.random.Generator, n: int) -> TextPairs:
    """Return n dates as people write them, and in the ISO form.

    The dates are random, each day from 1900-01-01 to 2099-12-31 equally likely, and so is the form, one of these eight:

        Tuesday, March 3, 2015    March 3, 2015    March 3rd, 2015    the 3rd of March 2015
        3 March 2015              3 Mar 2015       Mar 3, 2015        Tue, 03 Mar 2015

    `source` (n, 29) has the codes of `DATE_SOURCE`. `target` (n, 12) has those of `DATE_TARGET`: START, the ten
    characters of the ISO form, END; a decoder is fed with target[:, :-1] and is to answer target[:, 1:]. Codes are 0
    after the end. `source_lengths` are 10 to 29, `target_lengths` all 12.

    Raises ValueError when n is below 1.
    """
    check_at_least("date_translation", "n", n, 1)
    days = rng.integers(_FIRST.toordinal(), _LAST.toordinal() + 1, n)
    forms = rng.integers(0, len(_FORMS), n)
    dates = [datetime.date.fromordinal(int(day)) for day in days]
    sources = [_written(date, _FORMS[form]) for date, form in zip(dates, forms, strict=True)]
    targets = [date.isoformat() for date in dates]
    return encode_pairs(sources, targets, (DATE_SOURCE, DATE_TARGET), (_LONGEST, len("2015-03-03") + 2))


def _written(date: datetime.date, form: str) -> str:
    return form.format(
        weekday=_WEEKDAYS[date.weekday()],
        day=date.day,
        suffix=_suffix(date.day),
        month=_MONTHS[date.month - 1],
        year=date.year,
    )


def _suffix(day: int) -> str:
    """Return the ending of the day's ordinal: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    return "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
