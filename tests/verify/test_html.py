"""The page: well formed, on its own, with a row for each row, and open only where something is not ok."""

import dataclasses
import html.parser
import math
import re

import pytest

from jaxnets.verify import Explanation, Report, Row, Verdict
from jaxnets.verify.html import to_html

VOID = {"meta", "br", "input", "path"}
OK = Row("w", Verdict.OK, 1e-16, (0, 0), 1.0, 1.0, check="local")
WRONG = Row(
    "<lambda>.b",
    Verdict.WRONG,
    2.0,
    (1, 2),
    -1.25,
    1.5,
    check="local",
    diagnosis=(Explanation("`tanh(a < b)` without its square", "net.py:6:9"), Explanation("off by the factor 2")),
    heat=((0.0, 1.0, 2.0), (0.5, 0.0, 2.75)),
)
POWERLESS = Row("x", Verdict.NO_POWER, 1e-3, (4,), 1e-17, 2e-17, check="regimes")
EXTRA = dataclasses.replace(POWERLESS, name="floats 0", decisive=False, note="relu & co.")
INHERITED = dataclasses.replace(WRONG, name="w", verdict=Verdict.INHERITED, check="against_autodiff", diagnosis=())
KINK = Row("z", Verdict.SUBGRADIENT, 1.0, check="regimes", note="relu at 0")
REPORTS = (
    Report("affine", (OK, OK, EXTRA, KINK), 3),
    Report(
        "a/<lambda>",
        (OK, WRONG, KINK, INHERITED),
        4,
        "verify.vjp(<lambda>, *args)",
        (("shapes", "no `sampler` & no sizes"),),
    ),
    Report("weak", (OK, POWERLESS), 3),
)


class Element:
    def __init__(self, tag, attributes):
        self.tag = tag
        self.attributes = attributes
        self.children = []

    def classes(self):
        return (self.attributes.get("class") or "").split()

    def text(self):
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def walk(self):
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def find(self, tag=None, of_class=None):
        return [
            element
            for element in self.walk()
            if (tag is None or element.tag == tag) and (of_class is None or of_class in element.classes())
        ]


class Tree(html.parser.HTMLParser):
    """A parser that takes no page whose elements do not nest."""

    def __init__(self):
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(page):
    tree = Tree()
    tree.feed(page)
    tree.close()
    assert tree.open == [tree.root]
    return tree.root


def page(*reports, **options):
    return parse(to_html(reports, **options))


def rows_of(root):
    return root.find(of_class="row")


def test_the_page_names_nothing_outside_itself():
    text = to_html(REPORTS)
    root = parse(text)
    assert "//" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert not {"script", "link", "img", "iframe", "object", "base"} & {element.tag for element in root.walk()}
    identifiers = [element.attributes["id"] for element in root.walk() if "id" in element.attributes]
    assert len(set(identifiers)) == len(identifiers)
    for element in root.walk():
        assert "src" not in element.attributes
        assert not any(name.startswith("on") for name in element.attributes)
        if "href" in element.attributes:
            assert element.attributes["href"].removeprefix("#") in identifiers
    (policy,) = [element for element in root.find("meta") if "http-equiv" in element.attributes]
    assert policy.attributes["content"].startswith("default-src 'none'")


def test_the_summary_counts():
    root = page(*REPORTS, heading="mine & yours")
    (header,) = root.find("header")
    assert header.find("h1")[0].text() == "mine & yours"
    assert header.find(of_class="count")[0].text() == "1 of 3 derivations ok"
    facts = {pair.find("dt")[0].text(): pair.find("dd")[0].text() for pair in header.find("div")}
    assert facts == {"rows ok": "7 of 10", "worst error": "2.0e+00", "seed": "3, 4"}
    assert root.find("title")[0].text() == "mine & yours: 1 of 3 derivations ok"


def test_each_derivation_and_each_row_has_a_row():
    root = page(*REPORTS)
    derivations = root.find(of_class="derivation")
    assert len(derivations) == len(REPORTS)
    for element, report, verdict in zip(derivations, REPORTS, ("ok", "WRONG", "no power here"), strict=True):
        summary = element.find("summary")[0]
        assert summary.find(of_class="name")[0].text() == report.title
        assert summary.find(of_class="verdict")[0].text().endswith(verdict)
        rows = rows_of(element)
        assert [row.find(of_class="name")[0].text() for row in rows] == [row.name for row in report.rows]
        for shown, row in zip(rows, report.rows, strict=True):
            assert shown.find(of_class="verdict")[0].text().endswith(row.verdict.value)
            assert shown.find(of_class="number")[0].text() == f"{row.error:.1e}"
    checks = [title.text() for title in derivations[1].find("h3")]
    assert checks == ["local", "regimes", "against_autodiff", "not applicable", "reproduce"]


def test_verdicts_have_a_colour_of_their_own():
    text = to_html([Report("f", tuple(dataclasses.replace(WRONG, verdict=verdict) for verdict in Verdict))])
    kinds = [tuple(row.find(of_class="verdict")[0].classes()) for row in rows_of(parse(text))]
    assert len(set(kinds)) == len(Verdict)
    colours = [re.search(rf"\.{kind} {{ color: var\((--\w+)\)", text) for _, kind in kinds]
    assert len({colour.group(1) for colour in colours if colour}) == len(Verdict)


def test_only_what_is_wrong_or_without_power_is_open():
    root = page(*REPORTS)
    assert ["open" in element.attributes for element in root.find(of_class="derivation")] == [False, True, True]
    for element, report in zip(root.find(of_class="derivation"), REPORTS, strict=True):
        for shown, row in zip(rows_of(element), report.rows, strict=True):
            assert ("open" in shown.attributes) == (row in (WRONG, POWERLESS))
            assert ("fine" in shown.classes()) == row.ok
            assert shown.tag == ("div" if row is OK else "details")
    assert not page(REPORTS[0]).find("nav")


def test_a_wrong_row_tells_what_is_known():
    wrong = rows_of(page(REPORTS[1]))[1]
    facts = {pair.find("dt")[0].text(): pair.find("dd")[0].text() for pair in wrong.find("dl")[0].find("div")}
    assert facts == {"worst entry": "[1, 2]", "by hand": "-1.25", "wanted": "1.5"}
    assert [name.text() for name in rows_of(page(REPORTS[1]))[3].find("dt")][2] == "autodiff"
    first, second = (sentence.text() for sentence in wrong.find("li"))
    assert first == "tanh(a < b) without its square forward pass: net.py:6:9"
    assert second == "off by the factor 2"
    assert wrong.find("code")[0].text() == "tanh(a < b)"
    assert rows_of(page(REPORTS[0]))[2].find(of_class="note")[0].text() == "relu & co."


def test_the_first_wrong_row_of_each_derivation_is_linked_at_the_top():
    unexplained = Report("plain", (INHERITED, dataclasses.replace(WRONG, diagnosis=()), OK))
    root = page(*REPORTS, unexplained, Report("only", (OK, INHERITED)))
    lines = root.find("nav")[0].find("li")
    assert [line.find("a")[0].attributes["href"] for line in lines] == ["#d2", "#d3", "#d4", "#d5"]
    assert lines[0].text() == "a/<lambda> <lambda>.btanh(a < b) without its square forward pass: net.py:6:9"
    assert lines[1].text() == "weak xno power here"
    assert lines[2].text().endswith("located, not explained")
    assert lines[3].text() == "only winherited"
    assert root.find(of_class="derivation")[4].find(of_class="verdict")[0].text().endswith("inherited")


def test_what_does_not_apply_and_the_way_to_repeat_it_are_there():
    root = page(REPORTS[1])
    (idle,) = root.find(of_class="idle")
    assert (idle.find("dt")[0].text(), idle.find("dd")[0].text()) == ("shapes", "no sampler & no sizes")
    assert root.find("pre")[0].text() == REPORTS[1].reproduce
    bare = page(Report("f", (OK,)))
    assert not bare.find(of_class="idle")
    assert not bare.find("pre")


def test_names_are_escaped():
    evil = '<script>alert("x")</script>&amp;\'"'
    row = dataclasses.replace(
        WRONG, name=evil, note=evil, check=evil, diagnosis=(Explanation(evil, evil), Explanation(f"`{evil}`"))
    )
    report = Report(evil, (row, dataclasses.replace(OK, name=evil)), 0, evil, ((evil, evil),))
    text = to_html([report], heading=evil)
    assert not parse(text).find("script")
    # Title, h1; title, name, sentence, source above; title; check; name, two sentences, source, note; name; idle; pre.
    assert parse(text).text().count(evil) == 17


def cells(figure):
    counts = {}
    for path in figure.find("path"):
        (kind,) = path.classes()
        counts[kind] = path.attributes["d"].count("M")
    return counts


def figures(heat):
    return page(Report("f", (dataclasses.replace(WRONG, heat=heat),))).find("figure")


@pytest.mark.parametrize(
    ("heat", "expected"),
    [
        (WRONG.heat, {"h0": 2, "h2": 1, "h3": 1, "h6": 1, "h8": 1}),
        (((0.0, 1.0, 2.0, 4.0),), {"h0": 1, "h3": 1, "h5": 1, "h8": 1}),
        (((1.0,), (1e-17,)), {"h1": 1, "h8": 1}),
        (((1.0, 1e-4, 1e-4, 1e-8),), {"h1": 1, "h5": 2, "h8": 1}),
        (((1.0, 2e-3, 1e-4), (0.0, 1e-30, math.nan)), {"h0": 1, "h1": 2, "h3": 1, "h8": 1, "hx": 1}),
        (((math.inf, math.nan),), {"hx": 2}),
        (((0.0, math.nan),), {"h0": 1, "hx": 1}),
        (((5e-324, 5e-324), (1e308, 1e308)), {"h1": 2, "h8": 2}),
        (((1.0,) * 64,) * 64, {"h8": 4096}),
    ],
)
def test_the_heat_map_has_a_cell_for_each_number(heat, expected):
    (figure,) = figures(heat)
    assert cells(figure) == expected
    (picture,) = figure.find("svg")
    assert picture.attributes["role"] == "img"
    assert picture.find("title")[0].text().startswith(f"Heat map of the error, {len(heat)} × {len(heat[0])}, ")
    _, _, width, height = (int(number) for number in picture.attributes["viewbox"].split())
    for path in picture.find("path"):
        for across, down, wide, high in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\3z", path.attributes["d"]):
            assert int(across) + int(wide) <= width
            assert int(down) + int(high) <= height


@pytest.mark.parametrize(
    ("heat", "legend"),
    [
        (((0.0, 1.0, 2.0),), "02.0e+00, linear right"),
        (((1.0, 1e-4, 1e-4, 1e-8),), "≤ 1.0e-081.0e+00, log"),
        (((1.0, math.nan),), "01.0e+00, linear not finite"),
        (((math.inf, math.nan),), " not finite"),
    ],
)
def test_the_legend_says_which_scale(heat, legend):
    (figure,) = figures(heat)
    assert figure.find("figcaption")[0].text() == legend


def test_there_is_no_picture_of_nothing():
    assert not any(figures(heat) for heat in ((), ((),), ((3.0,),)))


@pytest.mark.parametrize(("error", "text"), [(math.nan, "nan"), (math.inf, "inf"), (0.0, "0")])
def test_an_error_that_is_not_finite_is_shown(error, text):
    odd = Row("w", Verdict.WRONG, error, (), math.nan, complex(1, math.inf))
    root = page(Report("f", (OK,)), Report("g", (odd,)), Report("h", (dataclasses.replace(OK, error=0.0),)))
    assert root.find(of_class="derivation")[1].find(of_class="number")[1].text() == text
    assert [value.text() for value in rows_of(root)[1].find("dd")] == ["nan", "1+infj"]
    if error != 0:
        assert root.find("header")[0].find("dd")[1].text() == text


def test_no_report_at_all_is_a_page_too():
    root = page()
    assert root.find(of_class="count")[0].text() == "0 of 0 derivations ok"
    assert page(REPORTS[0]).find(of_class="count")[0].text() == "1 of 1 derivation ok"
