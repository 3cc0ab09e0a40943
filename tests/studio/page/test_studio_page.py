"""What people do with the page, in a real browser over a real server."""

import io
import json
import time
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import skimage.data
from page_driver import Page, close_window
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from shown_runs import served, studio_of, wait_until

from advcam.export.catalogue import FORMATS
from advcam.pseudo.labels import PseudoSettings, pseudo_label
from advcam.store.corrections import Corrections
from advcam.studio.access import Access
from advcam.studio.jobs import Job
from advcam.studio.measuring import class_ious
from advcam.studio.studio import Studio
from advcam.types import Mask

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("studio")]


def ids(page: Page) -> list[str]:
    """The pictures of the grid, in order."""
    shown = "document.querySelector('.cards')?.getAttribute('aria-busy') === null"
    page.wait(f"return {shown} && document.querySelector('.count').textContent !== ''")
    return list(page.run("return [...document.querySelectorAll('.cards a')].map(link => link.title)"))


def labelled(studio: Studio, name: str) -> list[str]:
    return sorted(sample.id for sample in studio.album.samples if name in (sample.labels or ()))


def own_mask(studio: Studio, place: int) -> Mask:
    mask = studio.album.own_mask(studio.id_of(place))
    assert mask is not None
    return mask


def place_with_classes(studio: Studio, count: int) -> int:
    return next(n for n, sample in enumerate(studio.album.samples) if len(sample.labels or ()) == count)


def set_slider(page: Page, name: str, value: float) -> None:
    """Move a slider as the mouse does."""
    script = "const [slider] = document.getElementsByName(arguments[0]); slider.value = arguments[1];"
    page.run(f"{script} slider.dispatchEvent(new Event('input'))", name, value)


# The grid


def test_the_grid_begins_with_the_most_doubtful_and_says_how_many(page: Page, server: httpx.Client):
    listed = server.get("/api/pictures?sort=doubt").json()
    assert ids(page) == [picture["id"] for picture in listed["pictures"]]
    assert page.text(".count") == f"{listed['total']} pictures"
    assert page.text(".cards > li .doubt span:nth-child(2)") == f"doubt {listed['pictures'][0]['doubt']:.2f}"
    page.wait("return [...document.images].every(image => image.complete && image.naturalWidth > 1)")


def test_the_grid_is_filtered_and_sorted(page: Page, drawn_studio: Studio):
    name = (drawn_studio.album.samples[0].labels or ())[0]
    page.find(f".classes [title='{name}']").click()
    page.says(".count", " of ")
    assert sorted(ids(page)) == labelled(drawn_studio, name)
    page.choose("Accepted")
    page.says(".foot", "No picture fits these filters.")
    page.choose("Show all pictures")
    page.wait("return document.querySelectorAll('.cards > li').length > 4")
    page.press("/", "0007")
    page.says(".count", "1 of ")
    assert ids(page) == ["2007_000007"]
    assert "text=0007" in page.browser.current_url
    page.press(Keys.ESCAPE)
    page.open("#/pictures?sort=name", anew=True)
    assert ids(page) == sorted(ids(page))


def test_pictures_are_judged_from_the_grid_by_keyboard(page: Page, drawn_studio: Studio, corrections: Corrections):
    first, second = ids(page)[:2]
    page.press(Keys.ARROW_RIGHT, "a", Keys.ARROW_RIGHT, "r")
    page.wait("return document.querySelectorAll('.cards .badge').length === 2")
    assert (corrections.review(first).status, corrections.review(second).status) == ("accepted", "rejected")
    page.press(Keys.ARROW_LEFT, "u")
    page.wait("return document.querySelectorAll('.cards .badge').length === 1")
    assert corrections.review(first).status == "open"
    page.press(Keys.ENTER)
    page.wait("return location.hash.startsWith('#/picture/')")
    page.ready()
    assert page.text(".panel h1") == first


def test_more_pictures_come_while_the_page_is_scrolled(page: Page):
    """The list is fetched in pages; here of two."""
    ids(page)
    page.ask(
        "const {api} = await import('./static/api.js'); const all = api.pictures;"
        "window.asked = [];"
        "api.pictures = query => { query.set('limit', 2); asked.push(query.get('offset')); return all(query); };"
    )
    page.open("#/pictures?sort=name")
    page.wait("return document.querySelectorAll('.cards > li').length === 5")
    assert page.run("return asked") == ["0", "2", "4"]
    assert ids(page) == sorted(ids(page))


# One picture


def test_one_walks_judges_and_goes_back_by_keyboard(page: Page, corrections: Corrections):
    order = ids(page)
    page.press(Keys.ARROW_RIGHT, Keys.ENTER)
    page.says(".panel h1", order[0])
    page.ready()
    page.press(Keys.ARROW_LEFT)
    page.says("#notices", "This is the first picture.")
    page.press(Keys.ARROW_RIGHT)
    page.says(".panel h1", order[1])
    page.ready()
    page.press("a")
    page.says(".meta", "Accepted")
    page.press("r")
    page.says(".meta", "Rejected")
    assert corrections.review(order[1]).status == "rejected"
    page.press("u")
    page.says(".meta", "Open")
    assert corrections.review(order[1]).status == "open"
    page.press(Keys.ESCAPE)
    page.wait("return location.hash.startsWith('#/pictures')")
    assert ids(page) == order


def test_all_layers_are_shown_alone_and_side_by_side(page: Page):
    page.open("#/picture/0")
    keys = page.run("return [...document.querySelectorAll('.tab')].map(tab => tab.dataset.layer)")
    assert keys == ["picture", "cam", "map:localize", "slider", "final", "truth"]
    seen = set()
    for key in keys:
        page.find(f".tab[data-layer='{key}']").click()
        page.wait("return document.querySelector('.pane').dataset.layer === arguments[0]", key)
        page.ask("await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);")
        seen.add(page.run("return document.querySelector('.pane canvas').toDataURL()"))
    assert len(seen) == len(keys) - 1  # the mask of the sliders is the final mask, so far
    page.press("v")
    assert page.run("return [...document.querySelectorAll('.pane')].map(pane => pane.dataset.layer)") == keys
    page.press("v", "h")


def test_one_class_alone(page: Page, drawn_studio: Studio):
    place = place_with_classes(drawn_studio, 2)
    page.open(f"#/picture/{place}")
    page.press("2")
    assert page.run("return document.querySelectorAll('.class-table .solo').length") == 1
    assert page.run("return document.querySelector('.pane').dataset.layer") == "map:localize"
    alone = canvas(page)
    page.press("1")
    assert canvas(page) != alone
    page.press("1")
    assert page.run("return document.querySelectorAll('.class-table .solo').length") == 0


def canvas(page: Page) -> str:
    page.ask("await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);")
    return str(page.run("return document.querySelector('.pane canvas').toDataURL()"))


def test_the_mask_and_its_iou_follow_the_sliders(page: Page, drawn_studio: Studio):
    place = place_with_classes(drawn_studio, 2)
    page.open(f"#/picture/{place}")
    set_slider(page, "threshold", 0.55)
    assert page.run("return document.querySelector('.pane').dataset.layer") == "slider"
    expected = slider_mask(drawn_studio, place, 0.55)
    row = page.text(".class-table tbody tr")
    number = int(page.run("return document.querySelector('.class-table button').dataset.number"))
    truth = drawn_studio.album.truth(drawn_studio.id_of(place))
    assert truth is not None
    iou = class_ious(expected, truth)[number]
    assert f"→ {iou:.2f}" in row
    assert f"→ {(expected == number).mean():.0%}".replace("%", " %") in row
    before = canvas(page)
    page.find("[aria-label='Mask from maps'] .check input").click()
    assert "0.28" in page.text("[name=threshold] + output")  # what power 4 amounts to
    assert canvas(page) != before


def test_maps_of_a_stage_come_with_its_threshold(page: Page, drawn_studio: Studio):
    """Whatever the slider showed for those before."""
    page.open("#/picture/0")
    set_slider(page, "threshold", 0.55)
    assert page.text("[name=threshold] + output") == "0.55"
    page.run(
        "document.querySelector('[aria-label=\"Maps that the mask is made from\"]').dispatchEvent(new Event('change'))"
    )
    expected = drawn_studio.album.threshold_of("localize")
    assert page.text("[name=threshold] + output") == f"{expected:.2f}"
    assert page.ask("return (await fetch('/api/run')).json()")["thresholds"] == {"localize": expected}


def slider_mask(studio: Studio, place: int, threshold: float, step: int = -1, **settings: float) -> Mask:
    row = studio.album.maps("localize", studio.id_of(place))
    assert row is not None
    assert row.attribution.steps is not None
    found = row.attribution
    maps = found.steps[:, step]  # type: ignore[index]
    shown = type(found)(found.class_ids, found.class_names, maps, found.image_size, found.scores)
    return pseudo_label(shown, PseudoSettings(threshold, **settings)).mask  # type: ignore[arg-type]


def test_the_climb_is_a_film(page: Page):
    page.open("#/picture/0")
    assert page.text(".transport output") == "3 / 3"
    page.press(" ")
    page.says(".transport output", "1 / 3")
    assert page.run("return document.querySelector('.pane').dataset.layer") == "map:localize"
    assert page.text(".play") == "Pause"
    page.says(".transport output", "3 / 3")
    page.wait("return document.querySelector('.play').textContent === 'Play'")
    last = canvas(page)
    set_slider(page, "step", 0)
    assert page.text(".transport output") == "0 / 3"
    assert canvas(page) != last
    assert "Score: " in page.text(".film")
    page.find(".curve").click()  # in its middle
    assert page.text(".transport output") in ("1 / 3", "2 / 3")


def test_a_picture_that_is_not_there_is_said_to_be(page: Page):
    page.open("#/pictures")
    page.run("location.hash = '#/picture/77'")
    page.says("main", "There is no picture 77")


def test_it_is_said_when_a_map_covers_everything_and_a_score_falls(modules: Page, page: Page, drawn_studio: Studio):
    page.open("#/picture/0")
    assert not page.find(".warning").is_displayed()
    set_slider(page, "threshold", 0.01)  # noise alone is more
    page.says(".warning", "% of the picture".replace("%", " %"))
    page.says(".warning", "stop earlier")
    set_slider(page, "threshold", 0.5)
    page.wait("return document.querySelector('.warning').hidden")
    name = page.ask(
        "const {Subject} = await import('./static/subject.js');"
        "const maps = Subject.prototype.maps;"
        "Subject.prototype.maps = async function (stage) {"
        "  const found = await maps.call(this, stage); found.scores[0] = [1, 5, 3, 2]; return found; };"
        "return null"
    )
    assert name is None
    page.run("location.hash = '#/picture/1'")
    page.says(".warning", "falls again after step 1.")
    set_slider(page, "step", 1)
    page.wait("return document.querySelector('.warning').hidden")
    page.open("#/pictures", anew=True)


def test_a_picture_that_cannot_be_read_says_why_and_is_not_asked_for(page: Page, tmp_path: Path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        Image.new("RGB", (60, 40), "teal").save(folder / name)
    (folder / "b.png").write_bytes(b"nothing of the kind")
    with served(studio_of(folder)) as client:
        broken = Page(page.browser, str(client.base_url).rstrip("/"))
        page.browser.get_log("browser")
        broken.open("#/pictures?sort=name", anew=True)
        broken.says(".cards .unreadable", "b.png is damaged or in no format that can be read")
        broken.says("[aria-label=Status]", "Unreadable1")
        broken.says("[aria-label=Status]", "Open2")
        broken.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)  # past it
        broken.says(".panel h1", "c.png")
        broken.ready()
        broken.press(Keys.ARROW_LEFT)
        broken.says(".panel h1", "a.png")
        broken.ready()
        assert [entry["message"] for entry in page.browser.get_log("browser")] == []
    page.open("#/pictures", anew=True)


# The brush


def test_what_is_painted_arrives_in_the_run(page: Page, drawn_studio: Studio, corrections: Corrections):
    page.open("#/picture/0")
    page.press("b")
    page.stroke((-0.3, 0.0), (0.2, 0.1))
    page.press("s")
    page.says(".meta", "Corrected")
    id_ = drawn_studio.id_of(0)
    shown = page.ask(
        "const {api} = await import('./static/api.js'); return [...(await api.mask(0, 'corrected')).numbers];"
    )
    saved, own = corrections.mask(id_), own_mask(drawn_studio, 0)
    assert saved is not None
    np.testing.assert_array_equal(saved.ravel(), shown)
    number = int(page.run("return document.querySelector('.class-table button').dataset.number"))
    changed = saved != own
    assert changed.any()
    assert set(np.unique(saved[changed])) == {number}
    height, width = own.shape
    for share in (-0.3, -0.05, 0.2):  # on the line, every pixel
        at = (int(height * (0.5 + (share + 0.3) * 0.2)), int(width * (0.5 + share)))
        assert saved[at] == number


def test_the_mask_of_the_sliders_is_taken_and_saved_to_the_pixel(
    page: Page, drawn_studio: Studio, corrections: Corrections
):
    place = place_with_classes(drawn_studio, 2)
    page.open(f"#/picture/{place}")
    set_slider(page, "step", 1)
    set_slider(page, "threshold", 0.4)
    set_slider(page, "band", 0.2)
    page.choose("Use this mask")
    page.press("s")
    page.says(".meta", "Corrected")
    saved = corrections.mask(drawn_studio.id_of(place))
    assert saved is not None
    np.testing.assert_array_equal(saved, slider_mask(drawn_studio, place, 0.4, 1, band=0.2))
    assert 255 in saved


def test_undo_redo_eraser_undecided_fill_and_sizes(page: Page, drawn_studio: Studio, corrections: Corrections):
    page.open("#/picture/0")
    own = own_mask(drawn_studio, 0)
    page.press("b", "]", "]")
    page.stroke((0.1, 0.1), (0.2, 0.1))
    page.press("e")
    page.stroke((0.1, 0.1), (0.2, 0.1))
    page.press("d")
    page.stroke((-0.4, -0.4), (-0.3, -0.4))
    page.press("z", "z", "z")
    assert page.find(".tools .primary").get_property("disabled")
    page.press("Z", "Z", "Z", "s")
    page.says(".meta", "Corrected")
    saved = corrections.mask(drawn_studio.id_of(0))
    assert saved is not None
    assert (saved == 255).any()
    assert set(np.unique(saved[(saved != own)])) <= {0, 255}
    Select(page.find(".paint-class select")).select_by_visible_text("sheep")
    page.press("g")
    page.stroke((0.49, 0.49), (0.49, 0.49))
    page.press("s")
    wait_until(lambda: 17 in corrections.mask(drawn_studio.id_of(0)))  # type: ignore[operator]
    page.choose("Discard…")
    page.find("dialog button[value=yes]").click()
    page.says(".meta", "Open")
    assert corrections.mask(drawn_studio.id_of(0)) is None


def test_accepting_saves_what_was_painted(page: Page, drawn_studio: Studio, corrections: Corrections):
    page.open("#/picture/0")
    page.press("e")
    page.stroke((-0.4, 0.0), (0.4, 0.0))
    page.press("a")
    page.says(".meta", "Accepted")
    assert corrections.review(drawn_studio.id_of(0)).status == "accepted"
    assert corrections.mask(drawn_studio.id_of(0)) is not None


def test_unsaved_work_is_not_left_behind_silently(page: Page, drawn_studio: Studio, corrections: Corrections):
    page.open("#/picture/0")
    page.press("e")
    page.stroke((-0.4, 0.0), (0.4, 0.0))
    assert page.run("return !dispatchEvent(new Event('beforeunload', {cancelable: true}))")
    page.press(Keys.ARROW_RIGHT)
    page.says("dialog", "Save what you painted?")
    page.press(Keys.ESCAPE)
    page.wait("return document.querySelector('dialog[open]') === null && location.hash === '#/picture/0'")
    page.press(Keys.ESCAPE, Keys.ARROW_RIGHT)
    page.find("dialog button[value=save]").click()
    page.wait("return document.querySelector('dialog') === null && !document.querySelector('.unsaved')")
    assert corrections.review(drawn_studio.id_of(0)).status == "corrected"
    page.ready()
    assert page.run("return dispatchEvent(new Event('beforeunload', {cancelable: true}))")


@pytest.mark.parametrize("answer", ["theirs", "mine"])
def test_two_tabs_on_one_mask_lose_nothing(page: Page, drawn_studio: Studio, corrections: Corrections, answer: str):
    id_ = drawn_studio.id_of(0)
    before = corrections.review(id_).revision
    page.open("#/picture/0")
    page.press("e")
    page.stroke((-0.4, 0.0), (0.4, 0.0))
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("tab")
    other = Page(page.browser, page.url)
    other.set_screen(1366, 768)
    other.open("#/picture/0", anew=True)
    other.press("d")
    other.stroke((0.0, -0.3), (0.0, 0.3))
    other.press("s")
    other.says(".meta", "Corrected")
    theirs = corrections.mask(id_)
    second = page.browser.current_window_handle
    page.browser.switch_to.window(first)
    close_window(page.browser, second)
    page.press("s")
    page.says("dialog", "Another tab changed this picture meanwhile")
    page.find(f"dialog button[value={answer}]").click()
    if answer == "theirs":
        page.says("#notices", "z brings yours back")
        np.testing.assert_array_equal(corrections.mask(id_), theirs)
        page.press("z", "s")
    wait_until(lambda: corrections.review(id_).revision == before + 2)
    saved, own = corrections.mask(id_), own_mask(drawn_studio, 0)
    assert saved is not None
    assert 255 not in saved
    assert (saved[own.shape[0] // 2, own.shape[1] // 5 : -own.shape[1] // 5] == 0).all()


def test_a_verdict_of_another_tab_is_told(page: Page, drawn_studio: Studio, corrections: Corrections):
    page.open("#/picture/0")
    id_ = drawn_studio.id_of(0)
    corrections.set_status(id_, "rejected", corrections.review(id_).revision)
    page.press("a")
    page.wait("return document.querySelector('.notice.error') !== null")
    page.says(".meta", "Rejected")
    page.press("a")
    page.says(".meta", "Accepted")


# New pictures


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    picture = Image.fromarray(skimage.data.coffee())
    picture.thumbnail((120, 120))
    path = tmp_path / "my cup, ünïcode & 'quotes'.png"
    picture.save(path)
    return path


def test_a_new_picture_is_climbed_and_watched(page: Page, photograph: Path):
    page.open("#/new")
    page.find(".drop input[type=file]").send_keys(str(photograph))
    page.says(".panel h1", photograph.name)
    assert len(page.browser.find_elements(By.CSS_SELECTOR, ".choices-list li")) == 3
    page.find(".climb input[type=search]").send_keys("cup")
    page.find(".found button").click()
    assert page.run("return document.querySelectorAll('.choices-list :checked').length") in (1, 2)
    page.says(".climb .slider", "Steps (the run took 4)")
    assert page.run("return document.getElementsByName('iterations')[0].value") == "4"
    page.says(".climb", "Settings: the defaults of AdvCAM (as the run has them).")
    set_slider(page, "iterations", 4)
    page.choose("Climb")
    page.wait("return document.querySelector('.tab[data-layer=\"map:live\"]') !== null")
    assert page.text(".transport output") == "4 / 4"
    page.press(" ")
    page.says(".transport output", "2 / 4")
    set_slider(page, "threshold", 0.8)
    assert page.run("return document.querySelector('.pane').dataset.layer") == "slider"
    assert " %" in page.text(".class-table tbody")


def drop(page: Page, name: str, content: bytes) -> None:
    """Let go of a file over the page."""
    page.run(
        "const dataTransfer = new DataTransfer();"
        "dataTransfer.items.add(new File([Uint8Array.from(arguments[1])], arguments[0]));"
        "const facts = {dataTransfer, bubbles: true, cancelable: true};"
        "document.querySelector('.drop').dispatchEvent(new DragEvent('drop', facts));",
        name, list(content),
    )  # fmt: skip


def test_a_picture_can_be_dropped_with_the_mouse(page: Page, photograph: Path):
    page.open("#/new")
    drop(page, "dropped.png", photograph.read_bytes())
    page.says(".panel h1", "dropped.png")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "is an SVG drawing"),
        ("a.zip", b"PK\x03\x04" + bytes(100), "is a zip archive"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(40), "a.png"),
        ("large.png", bytes(33 * 2**20), "32 MB"),
    ],
    ids=["drawing", "archive", "damaged", "too large"],
)
def test_what_is_no_picture_is_refused_in_words(page: Page, tmp_path: Path, name: str, content: bytes, words: str):
    (tmp_path / name).write_bytes(content)
    page.open("#/new")
    page.find(".drop input[type=file]").send_keys(str(tmp_path / name))
    page.says(".notice.error", words)
    assert page.find(".drop").is_displayed()


def slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Climbs whose steps take long enough to be ended by somebody."""
    step = Job.step
    monkeypatch.setattr(Job, "step", lambda self, count=1: (time.sleep(0.2), step(self, count))[1])


def test_a_climb_of_the_runs_own_picture_is_cancelled(
    page: Page, drawn_studio: Studio, monkeypatch: pytest.MonkeyPatch
):
    slow_down(monkeypatch)
    begin_climb(page)
    page.says(".climb [role=status]", " of ")
    page.choose("Cancel")
    page.says(".climb [role=status]", "Cancelled")
    assert last_job(drawn_studio).state == "cancelled"


@pytest.mark.parametrize("leave", ["another view", "another site", "closed"])
def test_a_climb_ends_with_its_page(page: Page, drawn_studio: Studio, monkeypatch: pytest.MonkeyPatch, leave: str):
    slow_down(monkeypatch)
    monkeypatch.setattr("advcam.studio.jobs.FORGOTTEN", 2.0 if leave == "closed" else 1e9)
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("tab")
    begin_climb(Page(page.browser, page.url))
    page.says(".climb [role=status]", " of ")  # both sides know of it
    if leave == "another view":
        page.run("location.hash = '#/pictures'")
    elif leave == "another site":
        page.browser.get("about:blank")
    else:
        here = page.browser.current_window_handle
        page.browser.switch_to.window(first)
        close_window(page.browser, here)  # as a crash: the page itself can say nothing any more
    wait_until(lambda: last_job(drawn_studio).state == "cancelled")
    page.browser.switch_to.window(first)


def begin_climb(page: Page) -> None:
    page.open("#/new", anew=True)
    page.find(".drop")
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(picture, "PNG")
    drop(page, "teal.png", picture.getvalue())
    page.says(".panel h1", "teal.png")
    set_slider(page, "iterations", 50)
    page.choose("Climb")


def last_job(studio: Studio) -> Job:
    return list(studio.jobs._jobs.values())[-1]


# Handing over, and when things go wrong


def test_masks_are_exported_from_the_page(page: Page, downloads: Path, corrections: Corrections, drawn_studio: Studio):
    id_ = drawn_studio.id_of(0)
    corrections.set_status(id_, "accepted", corrections.review(id_).revision)
    page.choose("Export…")
    page.says("dialog", "Only what was accepted or corrected (1)")
    shown = page.run("return [...document.querySelectorAll('.format input')].map(input => input.value)")
    assert shown == [*FORMATS, "score-maps"]
    assert all(one.accessible_name for one in page.find("dialog").find_elements(By.CSS_SELECTOR, "button, input"))
    page.find(".format input[value=coco]").click()
    page.find(".export .check input").click()
    page.find("dialog .choices .primary").click()
    page.says("dialog .export", "Download the file again")
    wait_until(lambda: list(downloads.glob("*.zip")))
    (found,) = downloads.glob("*.zip")
    with zipfile.ZipFile(found) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("annotations/instances_default.json")]
        assert len(json.loads(archive.read(name))["images"]) == 1
    page.press(Keys.ESCAPE)


def test_a_server_that_is_away_is_said_to_be_and_comes_back(page: Page):
    page.open("#/picture/0")
    page.press("e")
    page.stroke((-0.4, 0.0), (0.4, 0.0))
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    page.press("s")
    page.says("#banner", "The studio does not answer")
    assert page.find("#banner").is_displayed()
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    page.choose("Try now")
    page.wait("return document.getElementById('banner').hidden")
    page.press("s")
    page.says(".meta", "Corrected")


def test_the_help_lists_the_keys_that_count(page: Page):
    page.open("#/picture/0")
    page.press("?")
    page.says("dialog", "save the corrected mask")
    page.press("a", Keys.ESCAPE)
    page.wait("return document.querySelector('dialog') === null")
    assert "Open" in page.text(".meta")  # no key goes through an open dialog


def test_the_help_is_the_same_in_every_view_and_all_its_keys_do_something(page: Page):
    seen = set()
    for place in ("#/pictures", "#/picture/0", "#/new"):
        page.open(place)
        page.find("#help").click()
        seen.add(page.text("dialog .help"))
        page.press(Keys.ESCAPE)
        page.wait("return document.querySelector('dialog') === null")
    (words,) = seen
    for group in ("Everywhere", "All pictures", "One picture", "Layers and zoom", "Painting", "New picture"):
        assert group in words


# How it looks


#: Boxes whose content is wider than they are, or that reach beyond the window.
OVERFLOWING = """
    const boxes = '.top, .tabs, .tools, .panel, .filters, .pictures, .verdict, .help, dialog';
    const bars = [...document.querySelectorAll(boxes)];
    const wide = bars.filter(box => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1);
    const cut = [...document.querySelectorAll('button, select, input')]
        .filter(one => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1);
    return [...wide, ...cut].map(box => box.outerHTML.slice(0, 80));
"""


def test_everything_has_a_name_and_nothing_overflows(page: Page):
    for place, key in (
        ("#/pictures", ""),
        ("#/pictures", "?"),
        ("#/picture/0", ""),
        ("#/picture/0", "b"),
        ("#/new", ""),
    ):
        for width, height in ((1366, 768), (1920, 1080), (1280, 720), (1024, 700)):
            page.set_screen(width, height)
            page.open(place)
            if key and not page.run("return document.querySelector('dialog, .painting') !== null"):
                page.press(key)
            assert page.run("return document.documentElement.scrollWidth") <= width
            assert page.run("return document.documentElement.scrollHeight") <= height
            assert page.run(OVERFLOWING) == []
        within = "dialog" if key == "?" else "body"  # what lies behind a dialog is nobody's
        controls = page.find(within).find_elements(By.CSS_SELECTOR, "button, input:not([type=file]), select, a, canvas")
        assert all(one.accessible_name for one in controls if one.is_displayed())
        if key:
            page.press(Keys.ESCAPE)


CONTRAST = """
    const probe = document.body.appendChild(document.createElement('i'));
    const channels = name => {
        probe.style.color = `var(--${name})`;
        const canvas = document.createElement('canvas').getContext('2d');
        canvas.fillStyle = getComputedStyle(probe).color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const found = arguments[0].map(pair => pair.map(channels));
    probe.remove();
    return found;
"""
PAIRS = [(text, ground) for ground in ("page", "card", "hover", "tint") for text in ("text", "quiet", "accent")] + [
    ("on-accent", "accent"),
    ("good", "good-tint"),
    ("bad", "bad-tint"),
    ("own", "own-tint"),
    ("bad", "card"),
    ("text", "tint"),
]


def luminance(colour: list[int]) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_can_be_read_in_both_themes(page: Page, theme: str):
    """Contrast of at least 4.5 : 1 (WCAG 2.2, 1.4.3, level AA)."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for pair, (text, ground) in zip(PAIRS, page.run(CONTRAST, PAIRS), strict=True):
        low, high = sorted([luminance(text), luminance(ground)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, pair
    before = page.run("return getComputedStyle(document.body).backgroundColor")
    page.find("#theme").click()
    assert page.run("return getComputedStyle(document.body).backgroundColor") != before
    page.run("localStorage.clear(); delete document.documentElement.dataset.theme")


# Other doors


def test_the_token_of_the_address_opens_the_page_and_leaves_the_address(page: Page, drawn_studio: Studio):
    with served(studio_of(drawn_studio.album.folder), Access("a-token-of-letters", "advcam-test")) as client:
        url = str(client.base_url).rstrip("/")
        guarded = Page(page.browser, url)
        page.browser.get(f"{url}/?token=a-token-of-letters")
        guarded.says(".count", "pictures")
        assert "token" not in page.browser.current_url
        guarded.open("#/picture/0")
        assert guarded.errors() == []
    page.open("#/pictures", anew=True)


def test_a_folder_of_pictures_is_painted_too(page: Page, photograph: Path):
    studio = studio_of(photograph.parent)
    with served(studio) as client:
        folder = Page(page.browser, str(client.base_url).rstrip("/"))
        folder.open("#/pictures", anew=True)
        folder.says(".count", "1 picture")
        folder.open("#/picture/0")
        tabs = folder.run("return [...document.querySelectorAll('.tab')].map(tab => tab.textContent)")
        assert tabs == ["Picture", "Final mask"]
        folder.press("d")
        folder.stroke((-0.2, 0.0), (0.2, 0.0))
        folder.press("s")
        folder.says(".meta", "Corrected")
        saved = studio.album.corrections.mask(studio.id_of(0))
        assert saved is not None
        assert set(np.unique(saved)) == {0, 255}
        assert folder.errors() == []
    page.open("#/pictures", anew=True)
