"""Pictures for the page: their size, colours and ETags; what is kept in memory; the description of the interface."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from shown_runs import SIZE

from advcam.colours import voc_palette
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError
from advcam.pipeline.album import open_album
from advcam.store.masks import write_mask
from advcam.studio.access import Access
from advcam.studio.app import create_app
from advcam.studio.describing import colour_of
from advcam.studio.pictures import THUMBNAIL, ByteCache, class_colours, seen_size, tinted
from advcam.studio.studio import Studio


def _opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "JPEG"
    return picture


def test_pictures_are_as_large_as_they_are_asked_for(client: TestClient) -> None:
    assert _opened(client.get("/api/pictures/0/image").content).size == (60, 40)  # never enlarged
    assert _opened(client.get("/api/pictures/0/image?side=30").content).size == (30, 20)
    assert max(_opened(client.get("/api/pictures/0/thumbnail").content).size) <= THUMBNAIL
    for side in ("15", "4097", "x"):
        assert client.get(f"/api/pictures/0/image?side={side}").status_code == 422


def test_a_picture_that_is_known_is_not_sent_again(client: TestClient, run: Path, studio: Studio) -> None:
    for path in ("/api/pictures/0/image", "/api/pictures/0/thumbnail?mask=masks"):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200
    before = client.get("/api/pictures/0/thumbnail")
    write_mask(run / "masks" / "picture 000.png", np.full(SIZE, 2, np.int32))
    after = client.get("/api/pictures/0/thumbnail", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.content != before.content
    Image.new("RGB", SIZE[::-1], "red").save(studio.album.samples[0].path)
    assert _opened(client.get("/api/pictures/0/image").content).getpixel((5, 5))[0] > 200


def test_masks_of_thumbnails(client: TestClient) -> None:
    plain, final = (client.get(f"/api/pictures/0/thumbnail?mask={mask}").content for mask in ("none", "final"))
    assert plain != final
    assert client.get("/api/pictures/0/thumbnail?mask=truth").content == plain  # there is no truth
    answer = client.get("/api/pictures/0/thumbnail?mask=../../x")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there are no masks '../../x'; there are final, corrected, truth, masks",
    )


def test_colours_over_a_picture() -> None:
    """A class ends in a light line beside a dark one, on its own side; nothing else is touched."""
    picture = Image.new("RGB", (28, 4), (100, 50, 0))
    mask = np.repeat(np.array([[0, 1, 255, 300]], np.int32), 7, axis=1).repeat(4, axis=0)
    pixels = np.asarray(tinted(picture, mask), np.float64)
    palette = voc_palette().astype(np.float64)
    inside = {1: (9, 10, 11), 2: range(14, 21), 3: range(23, 28)}
    for place, colour in ((1, palette[1]), (2, np.full(3, 255.0)), (3, palette[(300 - 1) % 254 + 1])):
        for column in inside[place]:
            assert np.abs(pixels[:, column] - (0.45 * np.array([100, 50, 0]) + 0.55 * colour)).max() <= 1
    assert (pixels[:, [7, 13, 21]] == 255).all()
    assert (pixels[:, [8, 12, 22]] < 40).all()
    assert (pixels[:, :7] == (100, 50, 0)).all()
    assert class_colours(np.array([0, 1, 254, 256])).tolist() == voc_palette()[[0, 1, 254, 2]].tolist()
    assert (colour_of(1), colour_of(2)) == ("#800000", "#008000")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_that_people_see(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (50, 30)).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        expected = ImageOps.exif_transpose(picture).size
    assert seen_size(tmp_path / "a.jpg") == expected == read_picture(tmp_path / "a.jpg").size


def test_a_size_that_cannot_be_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(PictureError, match="put the picture back"):
        seen_size(tmp_path / "a.jpg")


@given(asked=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_what_was_used_last_is_kept(asked: list[tuple[int, int]]) -> None:
    cache, kept = ByteCache(20), dict[str, bytes]()
    sizes = dict(asked)
    for number, _ in asked:
        key, made = str(number), []

        def make(number: int = number, made: list[bytes] = made) -> bytes:
            made.append(bytes(sizes[number]))
            return made[-1]

        assert cache.get(key, make) == bytes(sizes[number])
        assert bool(made) == (key not in kept)
        kept[key] = kept.pop(key, bytes(sizes[number]))
        while sum(map(len, kept.values())) > 20:
            kept.pop(next(iter(kept)))
        assert cache.size == sum(map(len, kept.values()))


def test_names_of_all_kinds(tmp_path: Path) -> None:
    """Quotes, blanks, other scripts, right-to-left marks, and bytes that are no text at all."""
    folder = tmp_path / os.fsdecode(b"photos \xff")
    folder.mkdir()
    names = [
        "a b.png",
        "it's “quoted”.png",
        "猫.png",
        "\u202egnp.png",
        "<script>.png",
        os.fsdecode(b"\xfe.png"),
        "%2e%2e.png",
    ]
    for name in names:
        Image.new("RGB", (40, 30)).save(folder / name)
    studio = Studio(lambda: open_album(folder, tmp_path / "work"))
    with TestClient(create_app(studio, Access()), base_url="http://localhost", headers={"X-Advcam": "1"}) as client:
        facts = client.get("/api/run").json()
        assert facts["counts"]["pictures"] == len(names)
        assert facts["title"] == "photos \\udcff"
        for n in range(len(names)):
            assert client.get(f"/api/pictures/{n}").json()["n"] == n
            assert client.get(f"/api/pictures/{n}/thumbnail").status_code == 200
            answer = client.put(f"/api/pictures/{n}/status", json={"status": "accepted", "revision": 0})
            assert answer.status_code == 200
        assert client.get("/api/run").json()["counts"]["accepted"] == len(names)


def test_the_interface_is_described(client: TestClient) -> None:
    schema = client.get("/api/openapi.json").json()
    operations = [(path, one) for path, methods in schema["paths"].items() for one in methods.values()]
    assert len(operations) == 19
    for path, one in operations:
        assert one["summary"], path
        assert one["tags"][0] in {tag["name"] for tag in schema["tags"]}, path
    page = client.get("/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert all(path in page.text for path, _ in operations)
    assert not re.findall(r"https?://|<script|<style|style=", page.text)
