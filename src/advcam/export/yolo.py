"""YOLO: polygons or boxes of objects, one text file a picture.

    images/NAME.jpg     the pictures, copied: trainers find labels by the paths of pictures
    labels/NAME.txt     `yolo`: "class x y x y .." for each connected part; `yolo-boxes`: "class x y width height",
                        centre and size of each object; in shares of the width and height of the picture
    images.txt          the pictures
    data.yaml           names of the classes, from 0 on, and images.txt as list of training and validation

Polygons run through the outermost pixels, as trainers rasterise them (OpenCV's `fillPoly`), a quarter of a pixel aside:
whether a reader cuts or rounds, it finds the same pixel. A hole is joined to the outline by a slit. Undecided pixels
are left out. A picture without an object has an empty file.
Specification: docs.ultralytics.com/datasets/segment and /datasets/detect.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image

from advcam.errors import DatasetError, one_line
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.contours import Polygon, Ring, fill, trace_slit
from advcam.export.format import Format, Writer
from advcam.export.labels import check_labels
from advcam.export.numbering import names_by_number, number_names
from advcam.export.regions import Region, regions
from advcam.export.tool_files import copy_picture
from advcam.store.reading import inside, numbered_lines
from advcam.store.segmentation import paint
from advcam.types import IGNORE
from advcam.untrusted import MOST_PIXELS, read_text

DATA = "data.yaml"
_ASIDE = 0.25
#: Corners within one pixel, for parts of fewer than 3 points.
_WITHIN = ((0.1, 0.1), (0.4, 0.1), (0.25, 0.4))
_ORIENTATION = 0x0112  # in EXIF; from 5 on the picture lies on its side
_MOST_YAML = 16 * 2**20


class YoloWriter(Writer):
    """Writes a copy and the labels of a picture."""

    def __init__(self, folder: Path, classes: Classes, boxes: bool) -> None:
        super().__init__(folder, classes)
        self._lines = _box_lines if boxes else _polygon_lines
        self._numbers = {number: place for place, number in enumerate(classes)}
        self._pictures: list[str] = []

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the files of a picture."""
        name = copy_picture(picture, self.folder / "images")
        lines = (
            f"{self._numbers[region.number]} {line}\n"
            for region in regions(picture)
            if region.number != IGNORE
            for line in self._lines(region, picture.size)
        )
        path = inside(self.folder / "labels", f"{picture.name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
        self._pictures.append(f"./images/{name}\n")

    def finish(self) -> None:
        """Write the list of pictures and the names of the classes."""
        (self.folder / "images.txt").write_text("".join(self._pictures), encoding="utf-8")
        content = {"train": "images.txt", "val": "images.txt", "names": dict(enumerate(self.classes.values()))}
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=10**6)
        (self.folder / DATA).write_text(text, encoding="utf-8")


class Yolo(Format):
    """Polygons."""

    name = "yolo"
    title = "YOLO, polygons"
    summary = "Ultralytics and other trainers of YOLO segmentation; the pictures are copied"
    undecided = False

    def check(self, classes: Classes) -> None:
        """Names that do not tell the classes apart."""
        check_labels(classes, self.title)

    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes pictures and labels."""
        return YoloWriter(folder, classes, boxes=False)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """Masks of all files in folders `labels`, in the order of their names; pictures without a file are left out.

        Names are those of data.yaml, or of classes.txt. The size of a picture is that of its file in the folder
        `images` beside. Of polygons that overlap the smaller lies above.
        """
        in_file = _read_names(folder)
        numbers = number_names(in_file, classes)
        names = names_by_number(numbers)
        table = [numbers[name] for name in in_file]
        for labels in _label_folders(folder):
            pictures = {path.with_suffix(""): path for path in sorted(labels.with_name("images").rglob("*"))}
            for path in _label_files(labels):
                bare = path.relative_to(labels).with_suffix("")
                size = _picture_size(labels.with_name("images") / bare, pictures)
                yield ImportedMask(bare.as_posix(), paint(_read_polygons(path, table, size), size), names)


class YoloBoxes(Format):
    """Boxes."""

    name = "yolo-boxes"
    title = "YOLO, boxes"
    summary = "Ultralytics and other trainers of YOLO detection; the pictures are copied"
    readable = False

    def check(self, classes: Classes) -> None:
        """Names that do not tell the classes apart."""
        check_labels(classes, self.title)

    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes pictures and labels."""
        return YoloWriter(folder, classes, boxes=True)


def _polygon_lines(region: Region, size: tuple[int, int]) -> Iterator[str]:
    """Corners of each part of a region of a picture of (H, W) pixels."""
    height, width = size
    for ring in trace_slit(region.pixels, "centres"):
        corners = ring + _ASIDE
        if len(ring) < 3:  # a point, or a line of two: readers want three points
            corners = np.concatenate([ring + _WITHIN[0], ring[::-1] + _WITHIN[1], ring[:1] + _WITHIN[2]])
        yield _shares(np.add(corners, (region.x, region.y)) / (width, height))


def _box_lines(region: Region, size: tuple[int, int]) -> Iterator[str]:
    """Centre and size of the box of a region."""
    height, width = size
    rows, columns = region.pixels.shape
    yield _shares(
        np.array([region.x + columns / 2, region.y + rows / 2, columns, rows]) / (width, height, width, height)
    )


def _shares(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.6f}" for value in values.ravel().tolist())


def _read_names(folder: Path) -> list[str]:
    """Names of the classes, from 0 on.

    Raises:
        DatasetError: There is no file of them, or it is broken.
    """
    plain = folder / "classes.txt"
    if plain.is_file() and not (folder / DATA).is_file():
        return [name for _, name in numbered_lines(plain)]
    try:
        content = yaml.safe_load(read_text(folder / DATA, _MOST_YAML))
        names = content["names"]
        rows = sorted(names.items()) if isinstance(names, dict) else list(enumerate(names))
        if [number for number, _ in rows] != list(range(len(rows))) or any(type(n) not in (str, int) for _, n in rows):
            raise ValueError("`names` gives no text to each number from 0 on")
    except (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise DatasetError(
            f"{folder / DATA} does not name the classes ({one_line(error)}); it holds `names`, a list, or a "
            "name for each number from 0 on"
        ) from error
    return [str(name) for _, name in rows]


def _label_folders(folder: Path) -> list[Path]:
    """The folders `labels` that hold a file: one, or one for each split."""
    found = [labels for labels in sorted(folder.rglob("labels")) if any(_label_files(labels))]
    if not found:
        raise DatasetError(f"{folder} holds no folder `labels` with .txt files; name the folder that has {DATA}")
    return found


def _label_files(labels: Path) -> Iterator[Path]:
    return (path for path in sorted(labels.rglob("*.txt")) if path.name != "classes.txt")


def _picture_size(bare: Path, pictures: Mapping[Path, Path]) -> tuple[int, int]:
    """(H, W) of a picture as it is seen, from its header.

    Args:
        bare: Its path without extension.
        pictures: All pictures, by such paths.
    """
    if bare not in pictures:
        raise DatasetError(f"there is no picture {bare}.jpg or the like; polygons are shares of its size; put it there")
    path = pictures[bare]
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if picture.getexif().get(_ORIENTATION, 1) >= 5:
                width, height = height, width
    except Exception as error:  # decoders raise nearly every type on damaged data
        raise DatasetError(f"{path} cannot be read as a picture ({one_line(error)}); replace it") from error
    if width * height > MOST_PIXELS:
        raise DatasetError(f"{path} has more than {MOST_PIXELS:,} pixels; scale it down")
    return height, width


def _read_polygons(path: Path, table: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Number in the mask and pixels of each line."""
    for where, line in numbered_lines(path):
        class_, *texts = line.split()
        if not class_.isdecimal() or len(class_) > 6 or int(class_) >= len(table):
            raise DatasetError(
                f"{where}: the class {class_[:20]!r} is none of the {len(table)} in {DATA}; mend the line"
            )
        if len(texts) < 6:
            raise DatasetError(
                f"{where}: a line of masks is a class and at least 3 points x y; draw polygons, not boxes"
            )
        yield table[int(class_)], fill([Polygon(_ring(texts, size, where))], size, "centres")


def _ring(texts: Sequence[str], size: tuple[int, int], where: str) -> Ring:
    """Corners in pixels; an odd number at the end is a score."""
    try:
        shares = np.array([float(text) for text in texts[: len(texts) // 2 * 2]]).reshape(-1, 2)
    except ValueError as error:
        raise DatasetError(f"{where}: {one_line(error)}; a line is a class and numbers x y") from error
    if not (np.abs(shares - 0.5) <= 1.5).all():  # so for NaN as well
        raise DatasetError(f"{where}: a point lies far outside of the picture; x and y are shares of its size, 0 to 1")
    ring: Ring = shares * (size[1], size[0])
    return ring
