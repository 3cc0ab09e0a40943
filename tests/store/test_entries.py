"""JSON of many pictures, written one by one: valid at any number of them, whole or absent."""

import json
from pathlib import Path

import pytest

from advcam.store.entries import PictureEntries


@pytest.mark.parametrize("ids", [[], ["a.png"], ["a.png", 'b "quoted".png', "ü/c.png"]])
def test_any_number_of_entries_is_json(ids: list[str], tmp_path: Path) -> None:
    with PictureEntries(tmp_path / "new" / "boxes.json") as entries:
        for number, id_ in enumerate(ids):
            entries.add(id_, {"number": number})
    content = json.loads((tmp_path / "new" / "boxes.json").read_text())
    assert content == {"pictures": {id_: {"number": number} for number, id_ in enumerate(ids)}}
    assert list(content["pictures"]) == ids


def test_an_error_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text("before")
    with pytest.raises(TypeError), PictureEntries(path) as entries:
        entries.add("a.png", object())  # no JSON
    assert [entry.name for entry in tmp_path.iterdir()] == ["boxes.json"]
    assert path.read_text() == "before"
