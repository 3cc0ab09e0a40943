"""The page says what it should, lets no name become markup, and is complete or not there at all."""

import gc
import re
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from advcam.errors import RunError, SettingError
from advcam.report import ReportPicture, ReportSummary, write_report
from advcam.types import Box

MakePicture = Callable[..., ReportPicture]


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text without style and script."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("style", "script"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(summary: ReportSummary, *pictures: ReportPicture) -> str:
        write_report(tmp_path / "report.html", summary, pictures)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_the_head_tells_what_is_seen(write: Callable[..., str], summary: ReportSummary):
    summary = replace(summary, notes=["Labels were read from labels.csv."])
    page = Page(write(summary))
    assert "A classifier that learned only from image labels" in page.text
    assert "the picture is nudged, step by step, so that the class score rises" in page.text
    assert "0, blue: ignored" in page.text
    assert "1, red: looked at" in page.text
    assert "Classifier tf_efficientnet_lite0 Command advcam localize photos --out run" in page.text
    assert "A map covers the pixels where it lies above the threshold, 0.3." in page.text
    assert "Labels were read from labels.csv." in page.text


def test_a_card_shows_picture_maps_mask_and_climb(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    picture = make_picture()
    page = Page(write(summary, picture))
    alts = [image["alt"] for image in page.all("img")]
    assert alts[:4] == [
        "The picture cat.jpg",
        "CAM of tabby cat over cat.jpg",
        "AdvCAM of tabby cat over cat.jpg",
        "Mask of cat.jpg: tabby cat",
    ]
    assert alts[4:] == [f"Map of tabby cat at t = {t}" for t in range(11)]
    assert "cat.jpg 450 × 300 pixels" in page.text
    assert "tabby cat class score 5.25 → 15.25" in page.text
    share = (picture.mask == 1).mean() * 100
    assert f"AdvCAM covers {share:.0f} % of the picture" in page.text
    assert f"tabby cat {share:.0f} %" in page.text
    assert "showing 1 of 300 pictures" in page.text


def test_cam_is_the_first_frame_and_advcam_the_last(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    images = [image["src"] for image in Page(write(summary, make_picture())).all("img")]
    frames = images[4:]
    assert images[1] == frames[0]
    assert images[2] == frames[-1]
    assert len(set(frames)) == 11


def test_the_strip_shows_every_second_step_and_hides_the_others(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    source = write(summary, make_picture())
    items = re.findall(r"<li( hidden)?><img [^>]*><span>t = (\d+)</span></li>", source)
    assert [int(t) for hidden, t in items if not hidden] == [0, 2, 4, 6, 8, 10]
    assert len(items) == 11


def test_boxes_have_the_colour_of_their_class_in_the_mask(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    unseen = Box(class_id=9, x0=1, y0=2, x1=30, y1=40, score=0.5)
    picture = make_picture(names=("cat", "dog"))
    picture = replace(picture, mask=picture.mask + 1, mask_names={2: "cat"}, boxes=[*picture.boxes[:1], unseen])
    page = Page(write(summary, picture))
    edges = [rect for rect in page.all("rect") if rect["class"] == "edge"]
    assert [rect["style"] for rect in edges] == ["stroke: rgb(0, 128, 0)", "stroke: rgb(0, 0, 0)"]
    assert (edges[1]["x"], edges[1]["y"], edges[1]["width"], edges[1]["height"]) == ("1", "2", "29", "38")
    assert "2 boxes cat, class 9" in page.text
    assert any(svg.get("viewbox") == "0 0 450 300" for svg in page.all("svg"))


HOSTILE = [
    "<script>alert(1)</script>.jpg",
    '" onerror="alert(1)" x=".jpg',
    "{{ summary.title }}{% raw %}.jpg",
    "--><img src=x onerror=alert(1)>.jpg",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_markup(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture, name: str
):
    def page_named(text: str) -> Page:
        row = [(text, text)]
        named = replace(summary, title=text, method=text, facts=row, skipped=row, notes=[text])
        return Page(write(named, make_picture(text, names=(text,))))

    plain, page = page_named("x"), page_named(name)
    assert [(tag, list(attributes)) for tag, attributes in page.tags] == [
        (tag, list(attributes)) for tag, attributes in plain.tags
    ]
    assert page.all("img")[0]["alt"] == f"The picture {name}"
    assert page.text.count(" ".join(name.split())) > 5


def test_a_file_name_that_is_no_unicode_is_shown_with_escapes(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    assert "caf\\udce9.jpg" in write(summary, make_picture("caf\udce9.jpg"))


def test_the_page_needs_nothing_from_outside(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    source = write(summary, make_picture())
    page = Page(source)
    linked = [attributes[key] for _, attributes in page.tags for key in ("src", "href") if key in attributes]
    assert all(str(link).startswith("data:") for link in linked)
    assert "//" not in re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", source)
    assert "url(" not in source
    assert "@import" not in source
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_a_picture_with_one_class_and_eleven_steps_is_below_400_kilobytes(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    assert len(write(summary, make_picture())) < 400_000


def test_a_method_without_steps_has_one_map_named_by_the_method_and_no_climb(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    page = Page(write(replace(summary, method="Grad-CAM"), make_picture(steps=None)))
    assert [image["alt"] for image in page.all("img")] == [
        "The picture cat.jpg",
        "Grad-CAM of tabby cat over cat.jpg",
        "Mask of cat.jpg: tabby cat",
    ]
    assert "Its map, made here by Grad-CAM," in page.text
    assert "AdvCAM" not in page.text
    assert "tabby cat class score 5.25" in page.text
    assert not page.all("ol")


def test_zero_classes(write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture):
    page = Page(write(summary, make_picture(names=())))
    assert "No class was asked for in this picture, so there is no map." in page.text
    assert [image["alt"] for image in page.all("img")] == ["The picture cat.jpg"]
    assert "no box" in page.text


def test_a_map_of_zeros(write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture):
    page = Page(write(summary, make_picture(zero=True)))
    assert "The classifier found nothing for this class: its map is zero everywhere." in page.text
    assert "Mask empty: no pixel belongs to a class" in page.text
    assert [image["alt"] for image in page.all("img")] == ["The picture cat.jpg", "Mask of cat.jpg"]


def test_a_climb_without_known_scores_has_no_plot(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    page = Page(write(summary, replace(make_picture(), step_scores=None)))
    assert "The climb, step by step" in page.text
    assert not page.all("polyline")


def test_scores_that_are_not_finite_are_told_instead_of_plotted(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    picture = replace(make_picture(), step_scores=np.full((1, 11), np.nan, np.float32))
    page = Page(write(summary, picture))
    assert "The class score was not a finite number during this climb, so there is no plot of it." in page.text
    assert not page.all("polyline")


def test_a_climb_of_no_step_is_only_its_start(
    write: Callable[..., str], summary: ReportSummary, make_picture: MakePicture
):
    page = Page(write(summary, make_picture(steps=1)))
    assert [image["alt"] for image in page.all("img")][4:] == ["Map of tabby cat at t = 0"]
    assert not page.all("polyline")


def test_skipped_pictures_have_a_table_only_if_there_are_any(write: Callable[..., str], summary: ReportSummary):
    heading = "Pictures that could not be used"
    assert heading not in Page(write(summary)).text
    page = Page(write(replace(summary, skipped=[("broken.jpg", "the file is truncated")])))
    assert f"{heading} broken.jpg the file is truncated" in page.text


@pytest.mark.parametrize(("total", "sentence"), [(0, "showing 0 of 0 pictures"), (1, "showing 0 of 1 picture")])
def test_the_count_of_pictures(write: Callable[..., str], summary: ReportSummary, total: int, sentence: str):
    assert Page(write(replace(summary, pictures_total=total))).text.endswith(f"{sentence} Play")


def test_pictures_are_let_go_one_by_one(tmp_path: Path, summary: ReportSummary, make_picture: MakePicture):
    alive: list[weakref.ref[ReportPicture]] = []
    most = 0

    def pictures() -> Iterator[ReportPicture]:
        nonlocal most
        for index in range(4):
            gc.collect()
            most = max(most, sum(reference() is not None for reference in alive))
            picture = make_picture(f"{index}.jpg", steps=2)
            alive.append(weakref.ref(picture))
            yield picture
            del picture

    write_report(tmp_path / "report.html", summary, pictures())
    assert len(alive) == 4
    assert most <= 1


def test_a_failure_half_way_leaves_the_old_report_and_nothing_else(
    tmp_path: Path, summary: ReportSummary, make_picture: MakePicture
):
    def pictures() -> Iterator[ReportPicture]:
        yield make_picture()
        raise SettingError("broken on purpose")

    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(SettingError, match=r"^broken on purpose$"):
        write_report(path, summary, pictures())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_a_run_error(tmp_path: Path, summary: ReportSummary):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "report.html"
    with pytest.raises(RunError) as caught:
        write_report(path, summary, [])
    assert str(caught.value) == (
        f"cannot write {path} (File exists); make room, change the permissions or choose another --out"
    )


def test_a_folder_in_the_way_is_a_run_error_and_leaves_nothing(tmp_path: Path, summary: ReportSummary):
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(RunError, match=r"^cannot write .*Is a directory"):
        write_report(path, summary, [])
    assert list(tmp_path.iterdir()) == [path]


def test_scores_must_fit_the_steps(tmp_path: Path, summary: ReportSummary, make_picture: MakePicture):
    picture = replace(make_picture(), step_scores=np.zeros((1, 5), np.float32))
    with pytest.raises(SettingError) as caught:
        write_report(tmp_path / "report.html", summary, [picture])
    assert str(caught.value) == (
        "the report takes one score for each class and step of 'cat.jpg', shape (1, 11); got (1, 5)"
    )


def test_the_threshold_is_checked(summary: ReportSummary):
    with pytest.raises(SettingError, match=r"^a threshold on maps lies between 0 and 1; got 1\.5$"):
        replace(summary, threshold=1.5)
