"""Reading files from elsewhere: every limit is met by one byte and broken by the next."""

import io
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advcam import untrusted
from advcam.untrusted import LineTooLongError, limited_lines, parse_json, read_bytes, read_json, read_text


def test_as_many_bytes_as_are_allowed_are_read(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes, which is the most that is read"):
        read_bytes(tmp_path / "a", 4)


def test_a_sparse_file_is_refused_before_it_fills_the_memory(tmp_path: Path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        read_bytes(tmp_path / "a", 1000)


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(tmp_path / "a")


def test_a_device_without_end_is_not_read():
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(Path("/dev/zero"))


def test_text_with_and_without_byte_order_mark(tmp_path: Path):
    for content in ("é\n".encode(), "\ufeffé\n".encode()):
        (tmp_path / "a").write_bytes(content)
        assert read_text(tmp_path / "a") == "é\n"
    (tmp_path / "a").write_bytes(b"\xed\xa0\x80")  # a half of a character, which is no UTF-8
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "a")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_in_the_encodings_of_unicode(tmp_path: Path, encoding: str):
    (tmp_path / "a").write_bytes('{"é": "\U0001f600"}'.encode(encoding))
    assert read_json(tmp_path / "a") == {"é": "\U0001f600"}


@pytest.mark.parametrize(
    "content",
    [
        *(b"[" * 100_000, b'{"a":' * 100_000, b'["\\ud800"]', b'{"\\uDFFF": 1}', b'"\xed\xa0\x80"'),
        *(b"9" * 5000, b"\xff", b"", b"[1, 2", b"{'a': 1}", b'"a\0b"'),
    ],
)
def test_json_that_is_none(content: bytes):
    with pytest.raises(ValueError):
        parse_json(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON, st.booleans())
def test_any_json_is_read_as_the_standard_library_does(value, ascii_only: bool):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(text.encode()) == json.loads(text) == value


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"{}")
    tracemalloc.start()
    assert read_json(tmp_path / "a", 2**40) == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_lines_up_to_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(untrusted, "MOST_LINE", 6)
    assert list(limited_lines(io.StringIO("12345\n\n123456"))) == ["12345\n", "\n", "123456"]
    lines = limited_lines(io.StringIO("1\n1234567\n"))
    assert next(lines) == "1\n"
    with pytest.raises(LineTooLongError, match="a line of more than 6 characters, which is the most that is read"):
        next(lines)
