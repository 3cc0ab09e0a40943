"""Sections of a report: numbers as they were given, nothing where there is nothing, names as text."""

import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advcam.report.chain_page import ChainHead, write_chain_page
from advcam.report.charts import curve_chart
from advcam.report.sections import (
    MOST_CELLS,
    MOST_CLASSES,
    Choice,
    ClassRow,
    ClassSection,
    ConfusionSection,
    CurveSection,
    DataSection,
    Difference,
    Repeat,
    ScoreRow,
    ScoreTable,
    Sections,
    StageRow,
    ends,
)
from advcam.report.template import duration

THRESHOLDS = [place / 100 for place in range(101)]
CURVE = CurveSection(
    "train",
    "mIoU",
    {
        "baseline (CAM)": (THRESHOLDS, [0.2 + 0.5 * t * (1 - t) for t in THRESHOLDS]),
        "localize": (THRESHOLDS, [math.nan if t < 0.1 else 0.4 - 0.3 * t for t in THRESHOLDS]),
    },
    [
        Choice("baseline (CAM)", "oracle", "best of 101", 0.5, 0.325),
        Choice("localize", "fixed", "given before", 0.3, 0.31),
    ],
)
CONFUSION = ConfusionSection("masks", ["background", "cat", "dog"], [[90, 10, 0], [20, 70, 10], [0, 0, 0]])
ALL = Sections(
    notes=["the run is not finished"],
    data=DataSection([("Pictures", "12")], [("cat", 3), ("dog", 9)], [("a.jpg", "truncated")], 7),
    scores=[ScoreTable("mIoU of train", [ScoreRow("localize", {"oracle": 0.4567}, {"oracle": (0.4, 0.5)})])],
    curves=[CURVE],
    classes=[ClassSection("masks", [ClassRow("cat", 0.25, 0.5, math.nan, 0.125), ClassRow("dog", 0.75, 1, 1)], "CAM")],
    confusions=[CONFUSION],
    stages=[StageRow("localize", 75.0, [("pictures", "12")], ["a warning"], 1, unfinished=True)],
    cost=[("Memory at most", "1.2 GiB")],
    settings=[Difference("train.epochs", "3", "5")],
    repeat=Repeat("advcam run a/recipe.yaml --out a-again", "the note", [("recipe.yaml", "data: {root: x}")]),
)
#: Headings that stand in the page only with their section.
HEADINGS = {
    "notes": "What to know before reading on",
    "data": "The pictures",
    "scores": "Compare scores of one column alone",
    "curves": "How the score depends on the threshold",
    "classes": "Class by class",
    "confusions": "What is taken for what",
    "stages": "What was done, and what it took",
    "settings": "Settings that differ from the defaults",
    "repeat": "Make it again",
}


class Tables(HTMLParser):
    """Cells of all rows of all tables, and the text of the page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.text, self.cell, self.hidden = "", False, False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        self.cell = tag in ("td", "th") or (self.cell and tag not in ("tr", "table"))
        self.hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")
        self.hidden = self.hidden and tag != "style"

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        self.text += data
        if self.cell:
            self.rows[-1][-1] = " ".join((self.rows[-1][-1] + " " + data).split())


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Sections], str]:
    def write(sections: Sections) -> str:
        write_chain_page(tmp_path / "report.html", ChainHead("Title"), sections, [])
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_every_number_stands_in_a_table(write: Callable[[Sections], str]) -> None:
    page = Tables(write(ALL))
    for row in (
        ["localize", "45.7 40.0 – 50.0", ""],
        ["dog", "9", ""],
        ["a.jpg", "truncated"],
        ["and 6 more", ""],
        ["baseline (CAM)", "oracle", "0.50", "32.5", "best of 101"],
        ["localize", "fixed", "0.30", "31.0", "given before"],
        ["cat", "25.0", "", "50.0", "–", "12.5"],
        ["mean of 2", "50.0", "", "", "", ""],
        ["cat", "20", "70", "10"],
        ["dog", "", "", ""],
        ["cat", "background", "20.0 %", "20", ""],
        ["Memory at most", "1.2 GiB"],
        ["train.epochs", "3", "5"],
    ):
        assert row in page.rows, row
    stage = next(row for row in page.rows if row[:2] == ["localize", "1 min 15 s"])
    assert stage[-1] == "begun, not finished ; pictures: 12 1 skipped (stages/localize.json) a warning"
    assert ["0.05", "22.4", "–", ""] in page.rows, "the curves are a table, too, with a gap where nothing is defined"
    assert "advcam run a/recipe.yaml --out a-again" in page.text
    assert "data: {root: x}" in page.text


@pytest.mark.parametrize("name", HEADINGS)
def test_what_is_empty_is_absent(write: Callable[[Sections], str], name: str) -> None:
    without: dict[str, Any] = {one: getattr(ALL, one) for one in HEADINGS if one != name}
    page = Tables(write(Sections(**without)))
    assert HEADINGS[name] not in page.text
    assert all(heading in page.text for one, heading in HEADINGS.items() if one != name)


def test_links_lead_to_sections_that_are_there(write: Callable[[Sections], str]) -> None:
    for sections in (ALL, Sections(), Sections(data=ALL.data, curves=[CURVE, CURVE])):
        source = write(sections)
        targets = set(re.findall(r'href="#(\w+)"', source))
        assert targets <= set(re.findall(r'id="(\w+)"', source))
        assert len(re.findall(r'id="(\w+)"', source)) == len(set(re.findall(r'id="(\w+)"', source))), "each once"


def test_only_supervision_that_occurs_is_explained(write: Callable[[Sections], str]) -> None:
    text = Tables(write(ALL)).text
    assert "oracle: the threshold is the best one on the scored pictures" in " ".join(text.split())
    assert "validated" not in text
    assert "floor" not in text


def test_hostile_names_are_text(write: Callable[[Sections], str]) -> None:
    bad = "<img src=x onerror=alert(1)>\"'&amp;"
    source = write(
        Sections(
            notes=[bad],
            data=DataSection([(bad, bad)], [(bad, 1)], [(bad, bad)]),
            scores=[ScoreTable(bad, [ScoreRow(bad, {bad: 0.5})])],
            curves=[CurveSection(bad, bad, {bad: ([0.0, 1.0], [0.1, 0.2])}, [Choice(bad, bad, bad, 0.5, 0.1)])],
            classes=[ClassSection(bad, [ClassRow(bad, 0.5, 0.5, 0.5, 0.5)], bad)],
            confusions=[ConfusionSection(bad, [bad, "b"], [[1, 1], [1, 1]])],
            stages=[StageRow(bad, 1, [(bad, bad)], [bad], 0)],
            settings=[Difference(bad, bad, bad)],
            repeat=Repeat(bad, bad, [(bad, bad)]),
        )
    )
    assert "<img src=x" not in source
    assert source.count("&lt;img src=x onerror=alert(1)&gt;") > 20


def test_many_classes_are_a_list_and_not_a_matrix(write: Callable[[Sections], str]) -> None:
    names = [f"class {place}" for place in range(MOST_CELLS + 1)]
    pixels = [[place + 1] * len(names) for place in range(len(names))]
    source = write(Sections(confusions=[ConfusionSection("masks", names, pixels)]))
    assert 'class="matrix"' not in source
    assert "The worst confusions" in source


def test_shares_and_the_worst_confusions() -> None:
    shares = CONFUSION.shares
    assert shares[0] == [0.9, 0.1, 0]
    assert shares[1] == [0.2, 0.7, 0.1]
    assert all(math.isnan(share) for share in shares[2]), "the truth does not hold a dog"
    assert [(one.true, one.claimed, one.share, one.pixels) for one in CONFUSION.worst] == [
        ("cat", "background", 0.2, 20),
        ("background", "cat", 0.1, 10),
        ("cat", "dog", 0.1, 10),
    ]


@given(st.integers(0, 3 * MOST_CLASSES))
def test_of_many_rows_the_ends_are_kept(count: int) -> None:
    rows = list(range(count))
    kept = ends(rows)
    assert len(kept) == min(count, MOST_CLASSES)
    assert list(kept) == sorted(kept)
    assert count <= MOST_CLASSES or (kept[0], kept[-1]) == (0, count - 1)


def test_points_of_a_curve_lie_where_the_axes_say() -> None:
    chart = curve_chart(CURVE)
    labels = {label: place for place, label in chart.y_ticks}
    first = [tuple(map(float, point.split(","))) for point in chart.lines[0].paths[0].split()]
    assert len(first) == 101
    per_point = (labels["0"] - labels["20"]) / 0.2
    for (x, y), threshold, score in zip(first, *CURVE.lines["baseline (CAM)"], strict=True):
        assert x == pytest.approx(chart.left + (chart.right - chart.left) * threshold, abs=0.06)
        assert y == pytest.approx(labels["0"] - per_point * score, abs=0.06)
    assert len(chart.lines[1].paths[0].split()) == 91, "the gap is not drawn"
    mark = chart.marks[0]
    assert (mark.x, mark.y) == pytest.approx(first[50], abs=0.1)
    assert [kind for _, kind in chart.legend] == ["oracle", "fixed"]
    assert mark.words == "baseline (CAM), oracle: 32.5 % at 0.50"


def test_a_curve_with_a_gap_is_two_lines() -> None:
    scores = [0.1, 0.2, math.nan, 0.3, math.nan]
    chart = curve_chart(CurveSection("t", "s", {"a": ([0, 0.2, 0.4, 0.6, 0.8], scores)}, []))
    assert [len(path.split()) for path in chart.lines[0].paths] == [2, 1]
    nothing = curve_chart(CurveSection("t", "s", {"a": ([0.0], [math.nan])}, []))
    assert nothing.lines[0].paths == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (31, "31 s"), (60, "1 min 0 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")],
)
def test_times_are_in_units_of_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words
