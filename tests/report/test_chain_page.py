"""The page of a chain: a row for each stage and score, pictures on their way, everything inside the file."""

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from advcam.errors import RunError
from advcam.report.chain_page import ChainHead, ChainPicture, write_chain_page
from advcam.report.sections import ScoreRow, ScoreTable, Sections, StageRow
from advcam.types import Attribution, Box

STAGES = [
    StageRow("train", 12.34, [("network", "lite0, 2 classes"), ("loss", "0.1")], ["one picture only shows cat"], 0),
    StageRow("localize", 0.0, [("method", "advcam")], [], 3),
]
SCORES = [
    ScoreRow("localize", {"oracle": 0.5, "fixed": 0.25}),
    ScoreRow("refine-crf", {"oracle": 0.625}),
    ScoreRow("pseudo", {"masks": 0.6}),
]


class Page(HTMLParser):
    """Rows of the tables by their id, pictures, and all text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.captions: list[str] = []
        self.style = self.cell = self.caption = False
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "table":
            self.rows = self.tables[attributes.get("id") or attributes.get("class") or ""] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True
        elif tag == "img":
            self.images.append(attributes)
        elif tag == "figcaption":
            self.captions.append("")
            self.caption = True
        elif tag == "style":
            self.style = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.cell = False
        elif tag == "figcaption":
            self.caption = False
        elif tag == "style":
            self.style = False

    def handle_data(self, data: str) -> None:
        if self.style:
            return
        self.text += data
        if self.cell:
            self.rows[-1][-1] = " ".join((self.rows[-1][-1] + " " + data).split())
        if self.caption:
            self.captions[-1] += data


def attribution(*names: str, size: tuple[int, int] = (60, 90)) -> Attribution:
    maps = np.random.default_rng(0).random((len(names), 15, 22), dtype=np.float32)
    return Attribution(tuple(range(len(names))), names, maps, size, np.ones(len(names), np.float32))


def picture(sample_id: str = "a/cat.jpg", **changes: Any) -> ChainPicture:
    """A picture with the maps of two stages, a mask with cat, background and what is undecided, and the truth."""
    mask = np.zeros((60, 90), np.int32)
    mask[10:30, 10:40], mask[30:50, 40:80] = 1, 255
    truth = np.zeros((60, 90), np.int32)
    truth[5:25, 5:40] = 2
    given: dict[str, Any] = {
        "sample_id": sample_id,
        "picture": Image.fromarray(np.full((60, 90, 3), 90, np.uint8)),
        "labels": ("cat",),
        "maps": {"localize": attribution("cat"), "refine-crf": attribution("cat")},
        "mask": mask,
        "truth": truth,
        "names": {1: "cat", 2: "dog"},
        "confidence": 0.625,
    }
    return ChainPicture(**(given | changes))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(*pictures: ChainPicture, **changes: Any) -> str:
        facts = [("Data", "folders in photos, split train"), ("Classes", "2")]
        given = {"title": "From labels", "facts": facts, "stages": STAGES, "scores": [ScoreTable("mIoU", SCORES)]}
        given |= changes
        head = ChainHead(given.pop("title"), given.pop("facts"))
        write_chain_page(tmp_path / "report.html", head, Sections(**given), pictures)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_every_stage_has_its_row(write: Callable[..., str]) -> None:
    page = Page(write(picture()))
    head, train, localize = page.tables["stages"]
    assert head == ["stage", "time", "", "what came out"]
    assert train == ["train", "12 s", "", "network: lite0, 2 classes; loss: 0.1 one picture only shows cat"]
    assert localize == ["localize", "0.0 s", "", "method: advcam 3 skipped (stages/localize.json)"]
    assert page.tables["facts"] == [["Data", "folders in photos, split train"], ["Classes", "2"]]


def test_scores_of_each_stage_in_per_cent(write: Callable[..., str]) -> None:
    source = write(picture())
    page = Page(source)
    assert page.tables["scores1"] == [
        ["stage", "oracle", "fixed", "masks", ""],
        ["localize", "50.0", "25.0", "", ""],
        ["refine-crf", "62.5", "", "", ""],
        ["pseudo", "", "", "60.0", ""],
    ]
    assert "In per cent of what is possible" in page.text
    assert re.findall(r"width: ([\d.]+)%\"", source)[:3] == ["50.0", "62.5", "60.0"], "a full bar is 100 %"


def test_scores_of_zero_and_none_at_all(write: Callable[..., str]) -> None:
    zero = Page(write(scores=[ScoreTable("mIoU", [ScoreRow("localize", {"oracle": 0.0})])]))
    assert zero.tables["scores1"][1] == ["localize", "0.0", ""]
    none = Page(write(scores=[]))
    assert "scores1" not in none.tables
    assert "oracle" not in none.text


def test_a_table_for_each_score(write: Callable[..., str]) -> None:
    other = ScoreTable("GT-known Loc", [ScoreRow("localize", {"validated": 0.25}), ScoreRow("pseudo", {"masks": 0.5})])
    source = write(scores=[ScoreTable("MaxBoxAccV2", SCORES), other])
    page = Page(source)
    assert page.tables["scores1"][1] == ["localize", "50.0", "25.0", "", ""]
    assert page.tables["scores2"] == [
        ["stage", "validated", "masks", ""],
        ["localize", "25.0", "", ""],
        ["pseudo", "", "50.0", ""],
    ]
    assert page.text.index("MaxBoxAccV2") < page.text.index("GT-known Loc")
    assert re.findall(r"width: ([\d.]+)%\"", source)[3:5] == ["25.0", "50.0"]


def test_boxes_are_drawn_where_boxes_are_the_truth(write: Callable[..., str]) -> None:
    """The found one in the colour of its class, the true one in white, each at its place."""
    found, true = Box(0, 10, 10, 40, 30, 1.0), Box(0, 50, 20, 80, 50, 1.0)
    page = Page(write(picture(truth=None, boxes=(found,), true_boxes=(true,))))
    place = page.captions.index("boxes, the truth in white")
    uri = str(page.images[place]["src"])
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), dtype=int)
    assert shown[35, 50:52].mean() > 180, "left side of the true box"
    assert np.ptp(shown[20, 10:12].mean(axis=0)) > 60, "left side of the found box"
    assert np.ptp(shown[20, 25]) < 12, "nothing inside"
    assert "boxes, the truth in white" not in Page(write(picture(boxes=(found,)))).captions


def test_pictures_on_their_way(write: Callable[..., str]) -> None:
    page = Page(write(picture()))
    assert page.captions == ["picture", "mask", "truth", "localize", "refine-crf"]
    alts = [str(image["alt"]) for image in page.images]
    assert alts[:3] == [f"{caption} of a/cat.jpg" for caption in page.captions[:3]]
    assert alts[3:] == ["localize of cat of a/cat.jpg", "refine-crf of cat of a/cat.jpg"]
    assert "confidence 0.62" in page.text
    chips = [" ".join(part.split()) for part in page.text.split("\n") if "undecided" in part]
    assert chips == ["catdogwhite: undecided"]


def test_pictures_without_labels_masks_truth_or_maps(write: Callable[..., str]) -> None:
    bare = picture("bare", labels=(), maps={}, mask=None, truth=None, confidence=None)
    page = Page(write(bare))
    assert page.captions == ["picture"]
    assert "confidence" not in page.text
    assert "undecided" not in page.text
    empty = picture("none", labels=(), maps={"localize": attribution()}, mask=np.zeros((60, 90), np.int32), truth=None)
    assert Page(write(empty)).captions == ["picture", "mask"]
    unknown = picture(mask=np.full((60, 90), 7, np.int32), truth=None)
    assert "class 7" in Page(write(unknown)).text
    assert "No picture has maps yet." in Page(write()).text


def test_a_mask_covers_its_class_and_white_is_undecided(write: Callable[..., str]) -> None:
    page = Page(write(picture()))
    uri = str(page.images[1]["src"])
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), dtype=int)
    assert shown.shape[:2] == (60, 90)
    assert shown[40, 60].min() > 240
    assert np.ptp(shown[55, 85]) < 12, "the background is the picture, which is grey, and paler"
    assert np.ptp(shown[20, 20]) > 60, "the class has its colour"


def test_the_page_needs_nothing_else(write: Callable[..., str]) -> None:
    page = Page(write(picture(), picture("b.jpg")))
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert str(attributes.get(name, "#")).startswith(("data:image/", "#"))
    assert page.images
    assert "url(" not in write(picture())


def test_names_are_text_and_not_markup(write: Callable[..., str]) -> None:
    bad = '<script>alert("1")</script>&amp;\' onerror=x'
    shown = picture(bad, labels=(bad,), maps={"localize": attribution(bad)}, names={1: bad, 2: bad})
    stages = [StageRow(bad, 1.0, [(bad, bad)], [bad], 0)]
    source = write(
        shown, title=bad, facts=[(bad, bad)], stages=stages, scores=[ScoreTable(bad, [ScoreRow(bad, {bad: 0.5})])]
    )
    assert "<script" not in source
    page = Page(source)
    assert page.tables["stages"][1] == [bad, "1.0 s", "", f"{bad}: {bad} {bad}"]
    assert page.images[0]["alt"] == f"picture of {bad}"


def test_the_page_is_whole_or_not_there(tmp_path: Path, write: Callable[..., str]) -> None:
    write(picture())
    before = (tmp_path / "report.html").read_bytes()

    def broken() -> Any:
        yield picture()
        raise RunError("the maps are damaged")

    with pytest.raises(RunError, match="the maps are damaged"):
        write_chain_page(tmp_path / "report.html", ChainHead("t"), Sections(), broken())
    assert (tmp_path / "report.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
