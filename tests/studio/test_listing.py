"""The index: the order by doubt against a literal reference, filters, what is remembered, runs that change."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from shown_runs import CLASSES, SIZE, studio_of, wait_until

from advcam.store.masks import write_mask
from advcam.studio.access import Access
from advcam.studio.app import create_app
from advcam.studio.listing import ORDERS, Listing, Wanted
from advcam.studio.measuring import Measured, class_ious, measure, numbers_in
from advcam.studio.remembered import Remembered
from advcam.types import IGNORE, Sample

SHARES = st.one_of(st.none(), st.floats(0, 1, width=32))
ROWS = st.builds(
    Measured,
    fingerprint=st.just(1),
    labels=st.sets(st.integers(1, 3), max_size=3).map(lambda found: tuple(sorted(found))),
    shown=st.sets(st.integers(1, 3), max_size=3).map(lambda found: tuple(sorted(found))),
    confidence=SHARES, disagreement=SHARES, iou=SHARES, masked=st.booleans(),
)  # fmt: skip


class _Reviews:
    def reviews(self) -> dict:
        return {}


class _Album:
    """Pictures whose numbers are known beforehand."""

    def __init__(self, rows: list[Measured]) -> None:
        self.rows = rows
        self.samples = [Sample(f"{'Kk'[k % 2]}atze {k}.jpg", Path("x")) for k in range(len(rows))]
        self.corrections = _Reviews()


class _Shelf:
    def __init__(self, rows: list[Measured]) -> None:
        self.album = _Album(rows)


def _listing(rows: list[Measured], tmp_path: Path) -> Listing:
    listing = Listing(_Shelf(rows), Remembered(tmp_path / "index.parquet"))
    for place, row in enumerate(rows):
        listing._take(place, row)
    return listing


def _literal_doubt(row: Measured) -> float:
    vanished = 1 if row.masked and [label for label in row.labels if label not in row.shown] else 0
    known = []
    if row.confidence is not None:
        known.append(1 - row.confidence)
    if row.disagreement is not None:
        known.append(row.disagreement)
    return vanished / 2 + (sum(known) / len(known) / 2 if known else 0)


@given(rows=st.lists(ROWS, max_size=12), order=st.sampled_from(ORDERS), number=st.one_of(st.none(), st.integers(1, 4)),
       vanished=st.booleans(), text=st.sampled_from(["", "KATZE", "1", "zz"]))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_lists_are_those_of_a_literal_reference(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Measured],
    order: str,
    number: int | None,
    vanished: bool,
    text: str,
) -> None:
    listing = _listing(rows, tmp_path_factory.getbasetemp())
    wanted = []
    for k, row in enumerate(rows):
        gone = [label for label in row.labels if label not in row.shown and row.masked]
        if number is not None and number not in row.labels and number not in row.shown:
            continue
        if (vanished and not gone) or text.lower() not in f"katze {k}.jpg":
            continue
        value = {
            "name": k,
            "doubt": _literal_doubt(row),
            "confidence": row.confidence,
            "disagreement": row.disagreement,
            "iou": row.iou,
        }[order]
        value = None if value is None else float(np.float32(value))
        sign = -1 if order in ("doubt", "disagreement") else 1
        wanted.append((value is None, 0 if value is None else sign * value, k))
    found = listing.places(Wanted(order, number, None, vanished, text))
    assert found.tolist() == [k for _, _, k in sorted(wanted)]


def test_what_lost_a_class_comes_first(client: TestClient) -> None:
    found = client.get("/api/pictures").json()
    assert found["total"] == 4
    assert found["pictures"][0]["n"] == 1
    assert found["pictures"][0]["vanished"] == [2]
    doubts = [picture["doubt"] for picture in found["pictures"]]
    assert doubts == sorted(doubts, reverse=True)
    assert doubts[0] >= 0.5 > doubts[1]


def test_pages_filters_and_names(client: TestClient) -> None:
    def found(query: str) -> list[int]:
        return [picture["n"] for picture in client.get(f"/api/pictures?{query}").json()["pictures"]]

    assert found("sort=name") == [0, 1, 2, 3]
    assert found("sort=name&offset=1&limit=2") == [1, 2]
    assert found("sort=name&offset=9") == []
    assert found("sort=name&class=1") == [0, 3]
    assert found("sort=name&class=2") == [1]  # by its label alone
    assert found("vanished=1") == [1]
    assert found("text=E%20003") == [3]
    assert found("text=../") == []
    assert client.get("/api/pictures?sort=name&class=1&limit=1").json()["total"] == 2
    for query in ("sort=size", "limit=0", "limit=501", "offset=-1", "class=cat", "status=fine", "text=" + "x" * 201):
        assert client.get(f"/api/pictures?{query}").status_code == 422


def test_a_picture_in_numbers() -> None:
    mask, truth = np.zeros((4, 5), np.int32), np.zeros((4, 5), np.int32)
    mask[:2], truth[1:3], truth[3] = 1, 1, IGNORE
    mask[3, 0], truth[0, 0] = 300, 2
    assert numbers_in(mask) == (1, 300)
    assert class_ious(mask, truth) == {1: 5 / 15, 2: 0.0}  # the 300 lies where nobody judges
    assert class_ious(mask, truth[:2]) == {}


def test_the_next_server_begins_with_what_this_one_found(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = studio_of(run)
    first.listing.start()
    wait_until(lambda: first.listing.done == 4)
    first.close()
    assert (run / "studio" / "index.parquet").is_file()
    mask = np.zeros(SIZE, np.int32)
    mask[:5, :5] = 2
    write_mask(run / "masks" / "picture 001.png", mask)
    measured = []

    def noted(album: object, id_: str, fingerprint: int) -> Measured:
        measured.append(id_)
        return measure(album, id_, fingerprint)

    monkeypatch.setattr("advcam.studio.listing.measure", noted)
    second = studio_of(run)
    second.listing.start()
    wait_until(lambda: second.listing.done == 4)
    second.close()
    assert measured == ["picture 001.png"]
    assert second.listing.row(1).vanished == ()
    for place in (0, 2, 3):
        before, after = first.listing.row(place), second.listing.row(place)
        assert replace(after, confidence=None) == replace(before, confidence=None)
        assert after.confidence == np.float32(before.confidence)


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing", b"{}"])
def test_a_damaged_memory_is_none(run: Path, content: bytes) -> None:
    (run / "studio").mkdir()
    (run / "studio" / "index.parquet").write_bytes(content)
    studio = studio_of(run)
    studio.listing.start()
    wait_until(lambda: studio.listing.done == 4)
    studio.close()
    assert studio.listing.row(0).labels == (1,)


def test_a_mask_that_appears_is_noticed_while_the_run_is_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcam.studio.listing._LOOK_AGAIN", 0.02)
    (run / "masks" / "picture 002.png").rename(run / "later.png")
    studio = studio_of(run)
    studio.listing.start()
    wait_until(lambda: studio.listing.done == 4)
    assert not studio.listing.row(2).masked
    assert studio.shelf.is_being_written
    (run / "later.png").rename(run / "masks" / "picture 002.png")
    wait_until(lambda: studio.listing.row(2).masked)
    (run / "masks" / "picture 000.png").unlink()
    wait_until(lambda: not studio.listing.row(0).masked)
    studio.close()


def test_only_the_run_itself_tells_that_it_is_written(run: Path) -> None:
    shelf = studio_of(run).shelf
    assert shelf.is_being_written
    for path in (run, *run.rglob("*")):
        os.utime(path, (1, 1))
    assert not shelf.is_being_written
    shelf.album.corrections.save_mask("picture 000.png", "picture 000", np.ones(SIZE, np.int32), 0)
    assert not shelf.is_being_written
    (run / "log.jsonl").write_text("{}\n")
    assert shelf.is_being_written


def test_a_verdict_of_another_process_is_seen(client: TestClient, run: Path) -> None:
    elsewhere = studio_of(run)
    elsewhere.album.corrections.set_status("picture 003.png", "accepted", 0)
    found = client.get("/api/pictures?status=accepted").json()["pictures"]
    assert [(picture["n"], picture["revision"]) for picture in found] == [(3, 1)]


def test_classes_of_a_picture(client: TestClient) -> None:
    facts = client.get("/api/pictures/1").json()
    assert facts["per_class"] == [
        {"number": 2, "name": "dog", "confidence": None, "pixels": 0, "share": 0.0, "iou": None}
    ]
    facts = client.get("/api/pictures/0").json()
    assert facts["boxes"] == [{"number": 1, "x0": 10, "y0": 10, "x1": 20, "y1": 30}]
    assert facts["per_class"][0]["pixels"] == 200
    assert facts["per_class"][0]["share"] == pytest.approx(200 / 2400)
    assert (facts["width"], facts["height"], facts["previous"], facts["next"]) == (60, 40, None, 1)
    assert facts["stages"]["localize"] == {
        "classes": [{"number": 1, "class_id": 0, "name": CLASSES[0], "score": 1.0}],
        "steps": 3,
    }


def test_a_picture_that_cannot_be_read_is_not_open(run: Path) -> None:
    """Whether it is cut off or in no format; it says why, and is looked at again by the next server."""
    photographs = run.parent / "photographs"
    whole = (photographs / "picture 000.png").read_bytes()
    (photographs / "picture 000.png").write_bytes(whole[: len(whole) // 2])
    (run / "masks" / "picture 000.png").unlink()  # the run could make nothing of it
    (photographs / "picture 002.png").write_bytes(b"nothing")
    with TestClient(create_app(studio := studio_of(run), Access()), base_url="http://localhost") as client:
        wait_until(lambda: studio.listing.done == studio.listing.total)
        counts = client.get("/api/run").json()["counts"]
        assert (counts["pictures"], counts["open"], counts["unreadable"]) == (4, 2, 2)
        found = client.get("/api/pictures?status=unreadable&sort=name").json()["pictures"]
        assert [picture["n"] for picture in found] == [0, 2]
        words = ("picture 000.png cannot be decoded", "picture 002.png is damaged or in no format")
        for picture, word in zip(found, words, strict=True):
            assert word in picture["problem"]
            assert str(photographs) not in picture["problem"]
        assert [picture["n"] for picture in client.get("/api/pictures?status=open&sort=name").json()["pictures"]] == [
            1,
            3,
        ]
    (photographs / "picture 000.png").write_bytes(whole)
    with TestClient(create_app(studio := studio_of(run), Access()), base_url="http://localhost") as client:
        wait_until(lambda: studio.listing.done == studio.listing.total)
        assert client.get("/api/run").json()["counts"]["unreadable"] == 1
