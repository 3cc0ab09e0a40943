"""One COCO JSON, ordered by picture: what readers of instances look into.

Only what must be right for the whole file is checked here. Everything else is kept as it is and checked when its
picture is asked for, so that one broken annotation costs one picture.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from advcam.errors import DatasetError
from advcam.store.reading import read_json
from advcam.untrusted import MOST_PIXELS

#: Pixels of a side; the rasteriser of polygons counts fifths of pixels in 32 bits.
_MAX_SIDE = 100_000

_Entry = dict[str, Any]
_Id = int | str


class CocoAnnotation(NamedTuple):
    """What is kept of an annotation, as the JSON has it."""

    id: Any
    category: Any
    crowd: Any
    bbox: Any
    segmentation: Any


@dataclass(slots=True)
class CocoPicture:
    """A picture with its annotations; `fault` says why they cannot be trusted."""

    width: Any
    height: Any
    annotations: list[CocoAnnotation] = field(default_factory=list)
    fault: str | None = None


@dataclass(frozen=True)
class CocoIndex:
    """One JSON.

    Args:
        path: Of the JSON.
        categories: (id, name), by ascending id.
        pictures: By file name, in the order of the file.
        orphans: A line for each annotation that belongs to no picture.
        segmented: Whether its instances have masks: some annotation has a segmentation, or there is no annotation.
    """

    path: Path
    categories: tuple[tuple[int, str], ...]
    pictures: dict[str, CocoPicture]
    orphans: tuple[str, ...]
    segmented: bool

    def picture(self, name: str) -> CocoPicture:
        """The picture of that file name.

        Raises:
            DatasetError: Its entry contradicts another one.
        """
        picture = self.pictures[name]
        if picture.fault:
            raise DatasetError(f"{self.path}: picture {name!r} {picture.fault}; mend the file")
        return picture

    def size(self, name: str) -> tuple[int, int]:
        """(width, height) of a picture as the JSON says.

        Raises:
            DatasetError: They are missing or no size.
        """
        width, height = self.pictures[name].width, self.pictures[name].height
        sides_fit = all(type(side) is int and 1 <= side <= _MAX_SIDE for side in (width, height))
        if not sides_fit or width * height > MOST_PIXELS:
            raise DatasetError(
                f"{self.path}: picture {name!r} has width {short(width)} and height {short(height)}; mend the file"
            )
        return width, height


def read_index(path: Path) -> CocoIndex:
    """Read a JSON in the COCO instances format.

    Raises:
        DatasetError: It ends early, lacks one of its three lists, or has a category without id or name, or a picture
            without id or file name.
    """
    content = read_json(path)
    categories = _read_categories(path, _entries(path, content, "categories"))
    by_id, pictures = _read_pictures(path, _entries(path, content, "images"))
    annotations = _entries(path, content, "annotations")
    orphans = tuple(_attach(path, annotations, by_id))
    segmented = not annotations or any(entry.get("segmentation") for entry in annotations)
    return CocoIndex(path, categories, pictures, orphans, segmented)


def short(value: object) -> str:
    """A value of a JSON, cut to what fits into an error."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "nested lists or objects"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _entries(path: Path, content: object, key: str) -> list[_Entry]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DatasetError(
            f"{path} has no list {key!r} of objects; give a file in the COCO instances format (images, annotations, "
            "categories)"
        )
    return entries


def _read_categories(path: Path, entries: list[_Entry]) -> tuple[tuple[int, str], ...]:
    names: dict[int, str] = {}
    for entry in entries:
        id_, name = entry.get("id"), entry.get("name")
        if type(id_) is not int or not isinstance(name, str) or id_ in names:
            raise DatasetError(
                f"{path}: a category needs a name and an integer id of its own; one is {short(entry)}; mend the file"
            )
        names[id_] = name
    return tuple(sorted(names.items()))


def _read_pictures(path: Path, entries: list[_Entry]) -> tuple[dict[_Id, CocoPicture], dict[str, CocoPicture]]:
    """The pictures by id and by file name."""
    by_id: dict[_Id, CocoPicture] = {}
    by_name: dict[str, CocoPicture] = {}
    for entry in entries:
        id_, name = entry.get("id"), entry.get("file_name")
        if not isinstance(id_, int | str) or not isinstance(name, str) or not name:
            raise DatasetError(f"{path}: a picture needs an id and a file_name; one is {short(entry)}; mend the file")
        picture = CocoPicture(entry.get("width"), entry.get("height"))
        if name in by_name:
            picture = by_name[name]
            picture.fault = "is listed twice"
        if id_ in by_id:
            by_id[id_].fault = picture.fault = f"has the id {short(id_)}, which the file gives to two pictures"
        by_id[id_] = by_name[name] = picture
    return by_id, by_name


def _attach(path: Path, entries: list[_Entry], by_id: dict[_Id, CocoPicture]) -> Iterator[str]:
    """Give the annotations to their pictures; yields a line for each that belongs to none."""
    owners: dict[_Id, CocoPicture] = {}
    for entry in entries:
        id_, owner = entry.get("id"), entry.get("image_id")
        picture = by_id.get(owner) if isinstance(owner, int | str) else None
        if picture is None:
            yield f"{path}: annotation {short(id_)} is of picture {short(owner)}, which the file does not list"
            continue
        picture.annotations.append(
            CocoAnnotation(
                id_, entry.get("category_id"), entry.get("iscrowd", 0), entry.get("bbox"), entry.get("segmentation")
            )
        )
        if not isinstance(id_, int | str):
            picture.fault = "has an annotation without id"
        elif id_ in owners:
            owners[id_].fault = picture.fault = f"has the annotation {short(id_)}, an id that the file uses twice"
        else:
            owners[id_] = picture
