"""Records of a run: found again, the newest one counts, and a line that a kill cut short is dropped."""

from pathlib import Path

import pytest

from advcam.errors import RunError
from advcam.store.records import RecordFile


def test_what_was_added_is_found_now_and_later(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordFile(path) as records:
        assert records.find("unit", "ü.png", "1") is None
        assert records.add("unit", "ü.png", "1", {"pixels": (1, 2)}) == {"pixels": [1, 2]}
        records.add("unit", "b.png", "1", {"pixels": [3]})
        assert records.find("unit", "ü.png", "1") == {"pixels": [1, 2]}
    with RecordFile(path) as records:
        assert records.find("unit", "b.png", "1") == {"pixels": [3]}
        assert records.find("other", "b.png", "1") is None
        assert records.find("unit", "b.png", "2") is None
        records.add("unit", "b.png", "1", {"pixels": [4]})
        assert records.find("unit", "b.png", "1") == {"pixels": [4]}
    with RecordFile(path) as records:
        assert records.find("unit", "b.png", "1") == {"pixels": [4]}
        assert records.find("unit", "ü.png", "1") == {"pixels": [1, 2]}


def test_a_line_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordFile(path) as records:
        records.add("unit", "a.png", "", {"n": 1})
        records.add("unit", "b.png", "", {"n": 2})
    path.write_bytes(path.read_bytes()[:-5])
    with RecordFile(path) as records:
        assert records.find("unit", "a.png", "") == {"n": 1}
        assert records.find("unit", "b.png", "") is None
        records.add("unit", "c.png", "", {"n": 3})
    with RecordFile(path) as records:
        assert [records.find("unit", f"{name}.png", "") for name in "abc"] == [{"n": 1}, None, {"n": 3}]


@pytest.mark.parametrize("content", [b"no json\n", b'{"unit": "u"}\n', b"[1]\n"])
def test_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(content)
    with pytest.raises(RunError, match=r"records.jsonl is damaged; delete it, and what it held is computed again"):
        RecordFile(tmp_path / "records.jsonl")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot open .*; choose another --out"):
        RecordFile(tmp_path / "none" / "records.jsonl")
