"""Maps and masks as bytes: read literally, as the format says, they are what the store holds."""

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from advcam.errors import SettingError
from advcam.store.maps import MapStore
from advcam.store.masks import read_mask
from advcam.studio.binaries import decode_mask, encode_maps, encode_mask, most_bytes_of_a_mask, unzipped
from advcam.types import Attribution

MASKS = arrays(
    np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 7, 255, 256, 65535])
)
KNOWN = frozenset((0, 1, 7, 255, 256, 65535))


def literal(content: bytes) -> tuple[dict, bytes]:
    """The header and the numbers, byte by byte."""
    length = content[0] + 256 * content[1] + 65536 * content[2] + 16777216 * content[3]
    return json.loads(content[4 : 4 + length].decode("utf-8")), content[4 + length :]


def test_maps_are_those_of_the_store(client: TestClient, run: Path) -> None:
    answer = client.get("/api/pictures/2/maps/localize")
    assert answer.headers["content-type"] == "application/octet-stream"
    header, rest = literal(answer.content)
    stored = MapStore(run / "maps").get("picture 002.png")
    assert header["shape"] == [1, 3, 10, 15]
    assert header["numbers"] == [3]
    assert header["names"] == ["cup"]
    assert header["class_ids"] == [2]
    assert header["scores"] == [[0.0, 1.0, 2.0]]
    assert (header["height"], header["width"]) == (40, 60)
    numbers = [struct.unpack("<e", rest[i : i + 2])[0] for i in range(0, len(rest), 2)]
    assert stored.attribution.steps is not None
    assert numbers == stored.attribution.steps.ravel().tolist()
    assert (len(answer.content) - len(rest)) % 8 == 0


def test_maps_without_steps_have_one() -> None:
    maps = np.linspace(0, 1, 24, dtype=np.float16).astype(np.float32).reshape(2, 3, 4)
    scores = np.array([1.5, np.nan], np.float32)
    header, rest = literal(encode_maps([1, None], Attribution((4, 9), ("é", "b"), maps, (6, 8), scores), None))
    assert header["shape"] == [2, 1, 3, 4]
    assert header["scores"] == [[1.5], [None]]
    assert header["numbers"] == [1, None]
    assert header["names"] == ["é", "b"]
    assert np.array_equal(np.frombuffer(rest, "<f2").reshape(2, 3, 4), maps)


def test_masks_are_those_of_the_run(client: TestClient, run: Path) -> None:
    answer = client.get("/api/pictures/3/masks/masks", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    header, rest = literal(answer.content)
    assert header == {"height": 40, "width": 60, "dtype": "u1"}
    assert np.array_equal(np.frombuffer(rest, np.uint8).reshape(40, 60), read_mask(run / "masks" / "picture 003.png"))
    plain = client.get("/api/pictures/3/masks/masks", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content


@given(mask=MASKS)
@settings(max_examples=60, deadline=None)
def test_a_mask_comes_back_as_it_went(mask: np.ndarray) -> None:
    content = encode_mask(mask)
    header, rest = literal(content)
    kind = {"u1": 1, "<u2": 2}[header["dtype"]]
    assert kind == (2 if mask.max() > 255 else 1)
    assert [int.from_bytes(rest[i : i + kind], "little") for i in range(0, len(rest), kind)] == mask.ravel().tolist()
    assert np.array_equal(decode_mask(content, mask.shape, KNOWN), mask)
    assert len(content) <= most_bytes_of_a_mask(mask.shape)


@given(content=st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_mask_are_refused(content: bytes) -> None:
    with pytest.raises(SettingError):
        decode_mask(content, (1000, 1000), KNOWN)


def _message(header: object, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + numbers


@pytest.mark.parametrize(
    ("header", "numbers", "words"),
    [
        ({"height": 2, "width": 3, "dtype": "u1"}, bytes(5), "brings 5"),
        ({"height": 3, "width": 2, "dtype": "u1"}, bytes(6), "said to have 2 x 3"),
        ({"height": 2, "width": 3, "dtype": "f4"}, bytes(24), "that is no mask"),
        ({"height": 2, "width": 3}, bytes(6), "that is no mask"),
        ([1, 2], bytes(6), "that is no mask"),
        ({"height": 2, "width": 3, "dtype": "<u2"}, bytes(7), "that is no mask"),
        ({"height": 2, "width": 3, "dtype": "u1"}, bytes([9, 0, 0, 0, 0, 0]), "no class of this run has the number 9"),
        ({"height": [], "width": 3, "dtype": []}, bytes(6), "that is no mask"),
    ],
)
def test_what_is_wrong_with_a_mask_is_said(header: object, numbers: bytes, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        decode_mask(_message(header, numbers), (2, 3), KNOWN)


def test_a_header_that_claims_gigabytes() -> None:
    with pytest.raises(SettingError, match="that is no mask"):
        decode_mask(struct.pack("<I", 2**32 - 1) + b"{}", (2, 3), KNOWN)


def test_gzip_is_unpacked_within_limits() -> None:
    assert unzipped(gzip.compress(b"abc"), 3) == b"abc"
    with pytest.raises(SettingError, match="unpacks to more bytes"):
        unzipped(gzip.compress(bytes(10_000_000)), 1000)
    with pytest.raises(SettingError, match="cut off"):
        unzipped(gzip.compress(b"abcdefgh")[:-6], 100)
    with pytest.raises(SettingError, match="says that it is gzip"):
        unzipped(zlib.compress(b"abc"), 100)
