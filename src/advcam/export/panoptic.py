"""COCO panoptic: one segment a pixel, in a PNG of colours, and a JSON that says what the segments are.

    annotations/panoptic_default.json           category, box and area of each segment
    annotations/panoptic_default/NAME.png       id of the segment of each pixel, R + 256 G + 65536 B

Segments count from 1 in each picture. The background is one segment, of a category "background" that is stuff (isthing
0); the classes are things and keep their numbers. Undecided pixels are void, id 0. So masks are kept to the pixel.
Specification: cocodataset.org/#format-data, section 4, and github.com/cocodataset/panopticapi.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import DatasetError, SettingError
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.coco_files import Entry, ListFile, annotation_files, area, bounds, category_entries, image_entry
from advcam.export.format import Format, Writer
from advcam.export.labels import check_labels
from advcam.export.numbering import BACKGROUND, names_by_number, number_names, renumber
from advcam.export.regions import Region, regions
from advcam.store.coco_index import short
from advcam.store.reading import inside, open_png, read_json
from advcam.types import IGNORE, Mask

SEGMENTS = "annotations/panoptic_default.json"


class PanopticWriter(Writer):
    """Writes a PNG a picture, and its segments."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        super().__init__(folder, classes)
        self._file = ListFile(folder / SEGMENTS, "annotations")
        self._pngs = (folder / SEGMENTS).with_suffix("")
        self._background = max(classes, default=0) + 1  # 0 is no category to some readers
        self._images: list[Entry] = []

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the segments of a picture."""
        self._images.append(image_entry(picture, len(self._images) + 1))
        ids = np.zeros(picture.size, dtype=np.uint32)
        entries: list[Entry] = []
        for region in _segments(picture):
            height, width = region.pixels.shape
            ids[region.y : region.y + height, region.x : region.x + width][region.pixels] = len(entries) + 1
            entries.append(self._entry(len(entries) + 1, region))
        name = f"{picture.name}.png"
        png = inside(self._pngs, name)
        png.parent.mkdir(parents=True, exist_ok=True)
        png.write_bytes(_encode(ids))
        self._file.extend([{"image_id": len(self._images), "file_name": name, "segments_info": entries}])

    def finish(self) -> None:
        """Write the pictures and the categories."""
        things = [{**entry, "isthing": 1} for entry in category_entries(self.classes)]
        stuff = [{**entry, "isthing": 0} for entry in category_entries({self._background: BACKGROUND[0]})]
        self._file.end(images=self._images, categories=[*things, *stuff])

    def _entry(self, id_: int, region: Region) -> Entry:
        category = region.number or self._background
        return {"id": id_, "category_id": category, "area": area(region), "bbox": bounds(region), "iscrowd": 0}


class Panoptic(Format):
    """Panoptic segments."""

    name = "coco-panoptic"
    title = "COCO panoptic"
    summary = "panopticapi, Detectron2, MMDetection; background and undecided pixels included"

    def check(self, classes: Classes) -> None:
        """Names that do not tell the classes, and the background, apart."""
        check_labels(classes, self.title)
        if BACKGROUND[0] in classes.values():
            raise SettingError(f"{self.title} has a background already; rename the class {BACKGROUND[0]!r}")

    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes the segments."""
        return PanopticWriter(folder, classes)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """Masks of every panoptic JSON of a folder, or of one JSON, in the order of its annotations.

        The PNGs lie in a folder by the name of the JSON, or beside the JSON. Categories of stuff are classes like
        others, but for one of the name "background".
        """
        for path in annotation_files(folder, "panoptic"):
            content = _Content(path, classes)
            names = names_by_number(content.numbers)
            for place, entry in enumerate(content.entries("annotations"), 1):
                where = f"{path}, annotation {place}"
                png = _text(entry, "file_name", where)
                table = content.segments(entry, where)
                yield ImportedMask(content.picture_name(entry) or png, _read_segments(_locate(path, png), table), names)


class _Content:
    """A panoptic JSON, with a number for each of its categories."""

    def __init__(self, path: Path, classes: Classes) -> None:
        self._path, self._content = path, read_json(path)
        named = {short(one.get("id")): _text(one, "name", f"{path}, a category") for one in self.entries("categories")}
        self.numbers = number_names(named.values(), classes)
        self._categories = {id_: self.numbers[name] for id_, name in named.items()}
        self._pictures = {short(one.get("id")): one.get("file_name") for one in self.entries("images")}

    def entries(self, key: str) -> list[dict[str, Any]]:
        """A list of the file."""
        found = self._content.get(key) if isinstance(self._content, dict) else None
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise DatasetError(
                f"{self._path} has no list {key!r} of objects; give a file in the COCO panoptic format (images, "
                "annotations, categories)"
            )
        return found

    def picture_name(self, entry: dict[str, Any]) -> str | None:
        """File name of the picture of an annotation; None where the file does not tell."""
        name = self._pictures.get(short(entry.get("image_id")))
        return name if isinstance(name, str) and name else None

    def segments(self, entry: dict[str, Any], where: str) -> dict[int, int]:
        """Number in the mask of each segment of an annotation."""
        found = entry.get("segments_info")
        table = {0: IGNORE}
        for segment in found if isinstance(found, list) else [None]:
            id_, category = (segment.get(key) if isinstance(segment, dict) else None for key in ("id", "category_id"))
            if type(id_) is not int or not 0 < id_ < 2**24 or short(category) not in self._categories:
                raise DatasetError(
                    f"{where}: a segment has an id from 1 to {2**24 - 1} and the category_id of a category; one is "
                    f"{short(segment)}; mend the file"
                )
            table[id_] = self._categories[short(category)]
        return table


def _segments(picture: AnnotatedPicture) -> Iterator[Region]:
    """The background, and all regions but undecided pixels."""
    background = picture.mask == 0
    if background.any():
        yield Region(0, 0, 0, background)
    yield from (region for region in regions(picture) if region.number != IGNORE)


def _encode(ids: NDArray[np.uint32]) -> bytes:
    """A PNG of the ids (H, W) of segments."""
    octets = ids.astype("<u4").view(np.uint8).reshape(*ids.shape, 4)
    colours = np.ascontiguousarray(octets[..., 2::-1])  # OpenCV takes blue first
    return cv2.imencode(".png", colours)[1].tobytes()


def _read_segments(path: Path, table: Mapping[int, int]) -> Mask:
    """The mask (H, W) of a PNG, from the number of each of its segments."""
    with open_png(path) as image:
        if image.mode not in ("RGB", "RGBA"):
            raise DatasetError(
                f"{path} is a picture of mode {image.mode}; panoptic PNGs hold ids as RGB; write it again"
            )
        red, green, blue = (np.asarray(image.getchannel(band), dtype=np.int32) for band in "RGB")
    return renumber(red + 256 * green + 65536 * blue, table, path, "segment {}", "its JSON")


def _locate(path: Path, name: str) -> Path:
    """The PNG of a JSON."""
    beside = inside(path.with_suffix(""), name)
    return beside if beside.exists() else inside(path.parent, name)


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise DatasetError(f"{where}: {key} is {short(value)}; it is a text; mend the file")
    return value
