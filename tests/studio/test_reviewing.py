"""Verdicts and masks: two tabs, masks of other pictures, a run that cannot be written."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from shown_runs import SIZE

from advcam.errors import RunError
from advcam.pipeline.album import open_album
from advcam.store.masks import read_mask
from advcam.studio.binaries import encode_mask


def _painted(number: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.int32)
    mask[5:20, 5:25] = number
    return mask


def test_a_mask_is_saved_shown_and_taken_back(client: TestClient, run: Path) -> None:
    before = client.get("/api/pictures/0/masks/final").content
    thumbnail = client.get("/api/pictures/0/thumbnail")
    answer = client.put("/api/pictures/0/mask?revision=0", content=encode_mask(_painted(2)))
    assert answer.json() == {"status": "corrected", "revision": 1}
    assert client.get("/api/pictures/0/masks/final").content == encode_mask(_painted(2))
    assert client.get("/api/pictures/0/masks/corrected").content == encode_mask(_painted(2))
    assert client.get("/api/pictures/0/masks/masks").content == before
    assert client.get("/api/pictures/0/thumbnail").headers["etag"] != thumbnail.headers["etag"]
    assert np.array_equal(read_mask(run / "corrected" / "masks" / "picture 000.png"), _painted(2))
    assert open_album(run).annotated("picture 000.png").mask.tolist() == _painted(2).tolist()  # what exports take
    facts = client.get("/api/pictures/0").json()
    assert (facts["status"], facts["vanished"]) == ("corrected", [1])  # the label says cat, the mask now says dog
    assert client.delete("/api/pictures/0/mask?revision=1").json() == {"status": "open", "revision": 2}
    assert client.get("/api/pictures/0/masks/final").content == before
    assert client.get("/api/pictures/0/masks/corrected").status_code == 404
    assert client.get("/api/pictures/0").json()["vanished"] == []


def test_of_two_tabs_the_second_hears_of_the_first(client: TestClient) -> None:
    first, second = _painted(1), _painted(3)
    assert client.put("/api/pictures/2/mask?revision=0", content=encode_mask(first)).status_code == 200
    late = client.put("/api/pictures/2/mask?revision=0", content=encode_mask(second))
    assert late.status_code == 409
    assert (late.json()["status"], late.json()["revision"]) == ("corrected", 1)
    assert "changed elsewhere" in late.json()["detail"]
    assert client.get("/api/pictures/2/masks/final").content == encode_mask(first)
    for answer in (
        client.put("/api/pictures/2/status", json={"status": "rejected", "revision": 0}),
        client.delete("/api/pictures/2/mask?revision=0"),
    ):
        assert (answer.status_code, answer.json()["revision"]) == (409, 1)
    assert client.put("/api/pictures/2/mask?revision=1", content=encode_mask(second)).json()["revision"] == 2
    assert client.get("/api/pictures/2/masks/final").content == encode_mask(second)


def test_verdicts_are_counted_and_found(client: TestClient) -> None:
    assert client.put("/api/pictures/0/status", json={"status": "accepted", "revision": 0}).json()["revision"] == 1
    assert client.put("/api/pictures/3/status", json={"status": "rejected", "revision": 0}).status_code == 200
    counts = client.get("/api/run").json()["counts"]
    assert counts == {"pictures": 4, "open": 2, "unreadable": 0, "accepted": 1, "rejected": 1, "corrected": 0}
    found = client.get("/api/pictures?status=rejected").json()
    assert [picture["n"] for picture in found["pictures"]] == [3]
    assert client.put("/api/pictures/0/status", json={"status": "open", "revision": 1}).json()["revision"] == 2


def test_a_packed_mask(client: TestClient) -> None:
    packed = gzip.compress(encode_mask(_painted(2)))
    answer = client.put("/api/pictures/0/mask?revision=0", content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 200
    assert client.get("/api/pictures/0/masks/final").content == encode_mask(_painted(2))


@pytest.mark.parametrize(
    ("mask", "status", "words"),
    [
        (encode_mask(np.zeros((60, 40), np.int32)), 422, "the picture has 60 x 40 pixels"),
        (encode_mask(_painted(9)), 422, "no class of this run has the number 9"),
        (b"", 422, "that is no mask"),
        (b"\x89PNG" + bytes(100), 422, "that is no mask"),
        (bytes(200_000), 413, "bytes at most; load the picture again"),
    ],
)
def test_masks_that_cannot_be(client: TestClient, run: Path, mask: bytes, status: int, words: str) -> None:
    answer = client.put("/api/pictures/0/mask?revision=0", content=mask)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert not (run / "corrected").exists()


@pytest.mark.parametrize(
    "body",
    [
        {"status": "fine", "revision": 0},
        {"status": "open"},
        {"status": "open", "revision": -1},
        {"status": "open", "revision": 0, "more": 1},
        [1],
        "x",
    ],
)
def test_verdicts_that_cannot_be(client: TestClient, body: object) -> None:
    answer = client.put("/api/pictures/0/status", json=body)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_pictures_that_are_not_there(client: TestClient) -> None:
    for n in (4, 99, 10**30):
        answer = client.put(f"/api/pictures/{n}/status", json={"status": "open", "revision": 0})
        assert answer.status_code == 404
        assert client.put(f"/api/pictures/{n}/mask?revision=0", content=b"x").status_code == 404
    assert client.put("/api/pictures/-1/status", json={"status": "open", "revision": 0}).status_code == 422


def test_a_run_that_cannot_be_written_is_shown(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a read-only disk refuses it; permissions mean nothing to root, who runs tests in containers."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "mkdir", refused)
    answer = client.put("/api/pictures/0/status", json={"status": "accepted", "revision": 0})
    assert answer.status_code == 403
    assert "Read-only file system" in answer.json()["detail"]
    assert "permissions" in answer.json()["detail"]
    assert client.get("/api/pictures/0/masks/final").status_code == 200


def test_a_damaged_list_of_reviews_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RunError("the list cannot be read; mend the disk")

    monkeypatch.setattr("advcam.store.corrections.Corrections.reviews", broken)
    answer = client.get("/api/pictures")
    assert (answer.status_code, answer.json()["detail"]) == (404, "the list cannot be read; mend the disk")
