"""What the JSON files of COCO's formats share: long lists, pictures, categories, and where tools put the files.

Specification: cocodataset.org/#format-data.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from advcam.errors import DatasetError
from advcam.export.annotated import AnnotatedPicture, Classes
from advcam.export.regions import Region

Entry = Mapping[str, object]
#: Says what made an export; no annotations.
_MARKER = "advcam-export.json"


class ListFile:
    """A JSON file that is mostly one list, written entry by entry: it need not fit into memory.

    Args:
        path: Of a new file; its folder is made.
        key: Of the list, where the file is an object that holds more lists; None where the list is all.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        self._path, self._key, self._between = path, key, "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write("[" if key is None else f"{{{_dumps(key)}: [")

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add entries to the list."""
        text = ",\n".join(map(_dumps, entries))
        if text:
            self._write(self._between + text)
            self._between = ",\n"

    def end(self, **lists: Iterable[Entry]) -> None:
        """Write the other lists, by their keys, and end the file."""
        more = (f",\n{_dumps(key)}: [\n" + ",\n".join(map(_dumps, entries)) + "\n]" for key, entries in lists.items())
        self._write("\n]" + "".join(more) + ("\n" if self._key is None else "}\n"))

    def _write(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:  # for each piece, so no file is open between two pictures
            file.write(text)


def image_entry(picture: AnnotatedPicture, id_: int) -> Entry:
    """A picture as COCO lists it."""
    height, width = picture.size
    return {"id": id_, "file_name": picture.file_name, "width": width, "height": height}


def category_entries(classes: Classes) -> list[Entry]:
    """The classes as COCO lists them."""
    return [{"id": number, "name": name, "supercategory": ""} for number, name in classes.items()]


def bounds(region: Region) -> list[int]:
    """x, y, width and height of a region, in pixels."""
    height, width = region.pixels.shape
    return [region.x, region.y, width, height]


def area(region: Region) -> int:
    """Pixels of a region."""
    return int(np.count_nonzero(region.pixels))


def annotation_files(folder: Path, kind: str) -> list[Path]:
    """The JSON files of an export or of what a tool made of it, in the order of their names.

    Args:
        folder: Or the one file.
        kind: Beginning of the names of the files in `annotations`, as in instances_default.json; tools that have no
            such folder put JSON of any name at the top.

    Raises:
        DatasetError: There is none.
    """
    if folder.is_file():
        return [folder]
    patterns = (f"annotations/{kind}*.json", "**/_annotations.coco.json", "*.json")
    found = next((paths for pattern in patterns if (paths := sorted(folder.glob(pattern)))), [])
    found = [path for path in found if path.name != _MARKER]
    if not found:
        raise DatasetError(
            f"{folder} holds no {patterns[0]} and no other JSON; name the folder or file of the annotations"
        )
    return found


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
