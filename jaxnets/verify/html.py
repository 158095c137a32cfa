"""Reports as one HTML page: no script, no network, readable in light, in dark and on paper."""

import html
import itertools
import math
import re
from collections.abc import Sequence

from jaxnets.verify.heat_map import LEVELS, heat_map
from jaxnets.verify.report import Explanation, Report, Row, Verdict

MARKS = {
    Verdict.OK: ("ok", "✓"),
    Verdict.WRONG: ("wrong", "✗"),
    Verdict.NO_POWER: ("weak", "○"),
    Verdict.SUBGRADIENT: ("other", "≈"),
    Verdict.INHERITED: ("inherited", "↳"),
}
"""CSS class and sign of a verdict; its text stands beside them, so that no colour is needed to read it."""


def to_html(reports: Sequence[Report], *, heading: str = "Hand-derived gradients against autodiff") -> str:
    """The reports as one self-contained HTML page.

    Each derivation can be folded, and so can each row that has more to tell.  What is not ok is open, with its worst
    entry, its diagnosis and a heat map of the error; an error that is only inherited stays folded.
    """
    right = sum(report.ok for report in reports)
    count = f"{right} of {len(reports)} {'derivation' if len(reports) == 1 else 'derivations'} ok"
    bad = [(number, report) for number, report in enumerate(reports, start=1) if not report.ok]
    parts = [
        _header(reports, heading, count),
        *([_look_first(bad)] if bad else []),
        '<div class="columns"><span>derivation</span><span>verdict</span><span>rows ok</span>'
        "<span>worst error</span></div>",
        "<main>",
        *(_derivation(number, report) for number, report in enumerate(reports, start=1)),
        "</main>",
    ]
    return PAGE.format(title=f"{_escape(heading)}: {count}", style=STYLE, body="\n".join(parts))


def _header(reports: Sequence[Report], heading: str, count: str) -> str:
    rows = [row for report in reports for row in report.rows]
    worst = max((report.worst_error for report in reports), key=lambda error: (math.isnan(error), error), default=0.0)
    facts = {
        "rows ok": f"{sum(row.ok for row in rows)} of {len(rows)}",
        "worst error": _number(worst),
        "seed": ", ".join(str(seed) for seed in sorted({report.seed for report in reports})) or "none",
    }
    kind = "ok" if all(report.ok for report in reports) else "wrong"
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f'<header><h1>{_escape(heading)}</h1>\n<p class="count {kind}">{count}</p>\n<dl>{listed}</dl></header>'


def _look_first(bad: Sequence[tuple[int, Report]]) -> str:
    """The first wrong row of each derivation, with its best explanation, and the switch that hides the others."""
    items = []
    for number, report in bad:
        row = _culprit(report)
        assert row is not None  # the report is not ok
        unexplained = "located, not explained" if row.verdict is Verdict.WRONG else row.verdict.value
        reason = _hypothesis(row.diagnosis[0]) if row.diagnosis else _text(row.note or unexplained)
        link = f'<a href="#d{number}"><b>{_escape(report.title)}</b> {_escape(row.name)}</a>'
        items.append(f"<li>{link}<br><span>{reason}</span></li>")
    return (
        f'<nav aria-label="Look here first"><h2>Look here first</h2>\n<ol>{"".join(items)}</ol>\n'
        '<label><input type="checkbox" id="only"> Show only what is not ok</label></nav>'
    )


def _culprit(report: Report) -> Row | None:
    """The row that a derivation is judged by; None where nothing is held against it."""
    return report.first_wrong or next((row for row in report.rows if not row.ok), None)


def _derivation(number: int, report: Report) -> str:
    culprit = _culprit(report)
    verdict = Verdict.OK if culprit is None else culprit.verdict
    parts = []
    for check, rows in itertools.groupby(report.rows, key=lambda row: row.check):
        of_check = list(rows)
        fine = "fine" if all(row.ok for row in of_check) else "bad"
        title = f"<h3>{_text(check)}</h3>" if check else ""
        parts.append(f'<section class="{fine}">{title}{"".join(_row(row) for row in of_check)}</section>')
    if report.not_applicable:
        idle = "".join(f"<dt>{_text(check)}</dt><dd>{_text(why)}</dd>" for check, why in report.not_applicable)
        parts.append(f'<section class="idle"><h3>not applicable</h3><dl>{idle}</dl></section>')
    if report.reproduce:
        parts.append(f"<section><h3>reproduce</h3><pre>{_escape(report.reproduce)}</pre></section>")
    summary = (
        f'<span class="name">{_escape(report.title)}</span>{_badge(verdict)}'
        f'<span class="number">{sum(row.ok for row in report.rows)} of {len(report.rows)}</span>'
        f'<span class="number">{_number(report.worst_error)}</span>'
    )
    state = 'class="derivation fine"' if report.ok else 'class="derivation bad" open'
    return f'<details id="d{number}" {state}><summary>{summary}</summary>\n{"".join(parts)}</details>'


def _row(row: Row) -> str:
    summary = (
        f'<span class="name">{_escape(row.name)}</span>{_badge(row.verdict)}<span></span>'
        f'<span class="number">{_number(row.error)}</span>'
    )
    body = _facts(row) + heat_map(row.heat)
    fine = "fine" if row.ok else "bad"
    if not body:
        return f'<div class="row {fine}">{summary}</div>\n'
    state = "" if row.ok or row.verdict is Verdict.INHERITED else " open"
    return f'<details class="row {fine}"{state}><summary>{summary}</summary><div class="body">{body}</div></details>\n'


def _facts(row: Row) -> str:
    """What is known of a row in words: the worst entry, the diagnosis, the note."""
    parts = []
    if row.verdict is not Verdict.OK and row.worst is not None:
        pairs = [("worst entry", str(list(row.worst)))] if row.worst else []
        if row.hand is not None and row.truth is not None:
            other = "wanted" if row.check == "local" else "autodiff"
            pairs += [("by hand", f"{row.hand:.6g}"), (other, f"{row.truth:.6g}")]
        parts.append(f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in pairs)}</dl>")
    if row.diagnosis:
        sentences = "".join(f"<li>{_hypothesis(hypothesis)}</li>" for hypothesis in row.diagnosis)
        parts.append(f'<ul class="diagnosis">{sentences}</ul>')
    if row.note:
        parts.append(f'<p class="note">{_text(row.note)}</p>')
    return f"<div>{''.join(parts)}</div>" if parts else ""


def _hypothesis(hypothesis: Explanation) -> str:
    source = f" <cite>forward pass: {_escape(hypothesis.source)}</cite>" if hypothesis.source else ""
    return _text(hypothesis.text) + source


def _badge(verdict: Verdict) -> str:
    kind, sign = MARKS[verdict]
    return f'<span class="verdict {kind}"><span aria-hidden="true">{sign}</span> {_escape(verdict.value)}</span>'


def _number(error: float) -> str:
    return "0" if error == 0 else f"{error:.1e}"


def _text(text: str) -> str:
    """A sentence, with its `code` set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _escape(text))


def _escape(text: str) -> str:
    return html.escape(text)


# The policy is what keeps the page off the network, whatever a name holds.
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

STYLE = """\
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --surface: #fff; --ink: #23262b; --quiet: #656a72; --line: #e4e1da;
  --ok: #1c6e46; --wrong: #b3261e; --weak: #855c00; --other: #4455a6; --inherited: #84524c;
  --infinite: #6d4fd0;
  --h0: #f1eee7; --h1: #fbe6d4; --h2: #f9cbaa; --h3: #f3a780; --h4: #e67f5c; --h5: #d25643; --h6: #b23436;
  --h7: #891b2d; --h8: #5c0b24;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #15171b; --surface: #1c1f24; --ink: #e3e5e9; --quiet: #9ba2ac; --line: #2e3239;
    --ok: #74cf9d; --wrong: #ff9389; --weak: #e6b96c; --other: #a9b6fb; --inherited: #d6aaa3;
    --infinite: #a58bfa;
    --h0: #272a31; --h1: #3b2731; --h2: #5a2735; --h3: #7f2c38; --h4: #a83b39; --h5: #cd5338; --h6: #e87b3e;
    --h7: #f6aa5d; --h8: #ffe0a8;
  }
}
* { box-sizing: border-box; }
body {
  max-width: 64rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { margin: 0; font-size: 1.05rem; font-weight: 500; color: var(--quiet); }
h2, h3, dt, .columns { margin: 0; font-size: .8rem; font-weight: 500; color: var(--quiet); }
dl, ol, ul, dd, p, pre { margin: 0; padding: 0; }
.ok { color: var(--ok); } .wrong { color: var(--wrong); } .weak { color: var(--weak); } .other { color: var(--other); }
.inherited { color: var(--inherited); }
.count { margin: .1rem 0 1rem; font-size: 2.1rem; font-weight: 600; line-height: 1.2; letter-spacing: -.02em; }
header dl, .body dl { display: flex; flex-wrap: wrap; gap: .3rem 2.5rem; }
nav { margin-top: 2rem; padding: 1.1rem 1.4rem; background: var(--surface); border: 1px solid var(--line);
  border-radius: .6rem; }
nav ol { margin: .5rem 0 1rem; padding-left: 1.2rem; }
nav li { padding: .15rem 0; } nav li::marker { color: var(--quiet); }
nav li span { color: var(--quiet); }
nav label { font-size: .9rem; cursor: pointer; } nav input { accent-color: var(--other); margin: 0 .3rem 0 0; }
a { color: inherit; text-decoration-color: var(--quiet); text-underline-offset: .2em; }
pre, code, cite, .row .name, .body dd { font-family: var(--mono); font-style: normal; font-size: .87em; }
cite { color: var(--quiet); white-space: nowrap; }
.name, li, .note, dd { overflow-wrap: anywhere; }
.columns { margin-top: 2rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line); }
.columns, summary, div.row { display: grid; grid-template-columns: minmax(0, 1fr) 12rem 6rem 6rem; gap: 0 1rem;
  align-items: baseline; padding-left: 1.4rem; }
.columns :nth-child(n+3), .number { text-align: right; }
summary { cursor: pointer; list-style: none; position: relative; }
summary::-webkit-details-marker { display: none; }
summary::before { content: ""; position: absolute; left: .2rem; top: .95em; width: .4em; height: .4em;
  border: solid var(--quiet); border-width: 0 1.5px 1.5px 0; transform: translateY(-50%) rotate(-45deg); }
details[open] > summary::before { transform: translateY(-70%) rotate(45deg); }
.derivation { border-bottom: 1px solid var(--line); scroll-margin-top: 1rem; }
.derivation > summary { padding-top: .45rem; padding-bottom: .45rem; }
.derivation > summary::before { top: 1.2em; }
.derivation.bad > summary .name { font-weight: 600; }
.derivation section { margin: 0 0 1.1rem 1.4rem; }
.derivation > section:last-child { margin-bottom: 2rem; }
.row { font-size: .93rem; }
summary, div.row { padding-top: .12rem; padding-bottom: .12rem; border-radius: .3rem; }
summary:hover { background: color-mix(in srgb, var(--ink) 4%, transparent); }
:focus-visible { outline: 2px solid var(--other); outline-offset: 2px; }
.body { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; justify-content: space-between; margin: .3rem 0 .8rem 1.4rem;
  padding: .9rem 1.1rem; background: var(--surface); border: 1px solid var(--line); border-radius: .5rem; }
.body > div { flex: 1 1 20rem; min-width: 0; }
.body > div > * + * { margin-top: .7rem; }
.diagnosis { list-style: none; } .diagnosis li + li { margin-top: .3rem; color: var(--quiet); }
.diagnosis li + li::before { content: "or: "; }
.note, .idle { font-size: .9rem; color: var(--quiet); }
.idle dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem 1.2rem; }
.idle dt { font-size: inherit; color: var(--ink); }
pre { padding: .6rem .8rem; margin-top: .3rem; background: var(--surface); border: 1px solid var(--line);
  border-radius: .4rem; white-space: pre-wrap; overflow-wrap: anywhere; }
figure { flex: 0 0 19rem; margin: 0; } svg { display: block; max-width: 100%; height: auto; }
figcaption { display: flex; flex-wrap: wrap; gap: .1rem .4rem; align-items: center; margin-top: .5rem;
  font-size: .75rem; color: var(--quiet); }
figcaption i { display: inline-block; width: .75rem; height: .75rem; }
svg, figcaption i { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.hx { fill: var(--infinite); background: var(--infinite); }
body:has(#only:checked) .fine { display: none; }
@media (max-width: 44rem) {
  .columns { display: none; }
  main { margin-top: 2rem; }
  summary, div.row { grid-template-columns: minmax(0, 1fr) auto 4rem; }
  summary > :nth-child(3), div.row > :nth-child(3) { display: none; }
}
@media print {
  body { max-width: none; padding: 0; background: none; font-size: 10pt; }
  nav label, summary::before { display: none; }
  .row, figure { break-inside: avoid; }
}
""" + "".join(f".h{level} {{ fill: var(--h{level}); background: var(--h{level}); }}\n" for level in range(LEVELS + 1))
