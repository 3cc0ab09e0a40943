"""Annotation files, whole and broken: every error is a DatasetError of one line that names the file."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from advcam.errors import DatasetError
from advcam.store import reading
from advcam.store.reading import inside, read_index_png, read_json, read_lines, read_xml

READERS = {"lines": lambda path: list(read_lines(path)), "json": read_json, "xml": read_xml, "png": read_index_png}


def png(numbers: np.ndarray, palette: bool) -> bytes:
    image = Image.fromarray(numbers)
    if palette:
        image.putpalette(bytes(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SMALL_PNG = png(np.arange(6, dtype=np.uint8).reshape(2, 3), palette=True)


@pytest.mark.parametrize("kind", READERS)
def test_a_missing_file_and_a_folder_in_its_place(tmp_path: Path, kind: str):
    with pytest.raises(DatasetError, match="absent is missing; restore it or name another root folder"):
        READERS[kind](tmp_path / "absent")
    with pytest.raises(DatasetError, match="cannot be read"):
        READERS[kind](tmp_path)


def test_lines_are_stripped_and_empty_ones_left_out(tmp_path: Path):
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfa.jpg\r\n\r\n  b c.jpg \n\n")
    assert list(read_lines(tmp_path / "list")) == ["a.jpg", "b c.jpg"]


def test_lines_come_one_by_one_up_to_the_place_that_is_not_text(tmp_path: Path):
    (tmp_path / "list").write_bytes(b"first\n" * 50_000 + b"\xff\n")
    lines = read_lines(tmp_path / "list")
    assert next(lines) == "first"
    with pytest.raises(DatasetError, match="is not UTF-8 text"):
        list(lines)


@pytest.mark.parametrize("content", ['{"a": [1, 2', "", "[" * 100_000, "{'a': 1}"])
def test_json_that_ends_early_or_is_none(tmp_path: Path, content: str):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DatasetError, match=r"a\.json is no complete JSON \(.+\); download or write it again"):
        read_json(tmp_path / "a.json")


def test_json_of_any_kind_is_read(tmp_path: Path):
    for content in ({"ä": [1, None]}, [], 3):
        (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False).encode())
        assert read_json(tmp_path / "a.json") == content


def test_json_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.json").write_text("[1, 2]")
    monkeypatch.setattr(reading, "MAX_BYTES", 5)
    with pytest.raises(DatasetError, match="has more than 0 GiB; split the annotations"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "content",
    [
        b"<annotation><object>",
        b"",
        b"\0",
        b"<a>&unknown;</a>",
        b'<?xml version="1.0" encoding="foo"?><a/>',
        b'<?xml version="1.0" encoding="utf-32"?><a/>',
    ],
)
def test_xml_that_is_not_well_formed(tmp_path: Path, content: bytes):
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.xml is no complete XML \(.+\); restore the file"):
        read_xml(tmp_path / "a.xml")


def test_xml_that_would_grow_without_end_is_refused(tmp_path: Path):
    doubled = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 40))
    text = f'<!DOCTYPE a [<!ENTITY e0 "lol">{doubled}]><a>&e39;</a>'
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DatasetError, match=r"a\.xml declares the document type 'a'; annotations have none; remove it"):
        read_xml(tmp_path / "a.xml")


def test_xml_is_read(tmp_path: Path):
    (tmp_path / "a.xml").write_text("<annotation><name>cat</name></annotation>")
    assert read_xml(tmp_path / "a.xml").findtext("name") == "cat"


@pytest.mark.parametrize("palette", [True, False])
@pytest.mark.parametrize("largest", [1, 3, 15, 255])
def test_the_numbers_of_a_mask_are_read_at_any_depth(tmp_path: Path, palette: bool, largest: int):
    numbers = np.random.default_rng(0).integers(0, largest + 1, (7, 9)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(numbers, palette))
    mask = read_index_png(tmp_path / "a.png")
    assert mask.dtype == np.int32
    np.testing.assert_array_equal(mask, numbers)


def test_masks_of_one_and_of_sixteen_bits(tmp_path: Path):
    bits = np.array([[True, False, True]])
    Image.fromarray(bits).save(tmp_path / "one.png")
    np.testing.assert_array_equal(read_index_png(tmp_path / "one.png"), [[1, 0, 1]])
    deep = np.array([[0, 255, 256, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_index_png(tmp_path / "deep.png"), deep)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_picture_of_colours_is_no_mask(tmp_path: Path, mode: str):
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=f"is a picture of mode {mode}; a mask holds numbers"):
        read_index_png(tmp_path / "a.png")


def test_a_jpeg_is_no_mask(tmp_path: Path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png", "JPEG")
    with pytest.raises(DatasetError, match="cannot be read as a mask"):
        read_index_png(tmp_path / "a.png")


@given(
    places=st.lists(st.tuples(st.integers(0, len(SMALL_PNG) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    length=st.integers(0, len(SMALL_PNG)),
)
@settings(max_examples=150, deadline=None)
def test_a_damaged_mask_is_read_or_is_a_dataset_error(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]], length: int
):
    content = bytearray(SMALL_PNG)
    for place, value in places:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(bytes(content[:length]))
    try:
        assert read_index_png(path).ndim == 2
    except DatasetError as error:
        assert "damaged.png" in str(error)  # noqa: PT017, most of the files are broken, some are not


@pytest.mark.parametrize("name", ["a.jpg", "a/b c.jpg", "ä/..b.jpg", "a..jpg", "c/D:x.jpg"])
def test_names_inside_a_root(name: str):
    assert inside(Path("root"), name) == Path("root") / name


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a.jpg", "a/../../b.jpg", "a\\..\\b.jpg", "a\0b", "C:a.jpg", "d:/a"]
)
def test_names_that_lead_out_of_a_root(name: str):
    with pytest.raises(DatasetError, match="names are paths inside the data set"):
        inside(Path("root"), name)
