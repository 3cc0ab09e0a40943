"""The XML of CVAT for images 1.1: the pixels of its shapes."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from advcam.errors import DatasetError
from advcam.export.annotated import Classes, ImportedMask
from advcam.export.contours import Ring
from advcam.export.cvat_xml import read_images
from advcam.export.labels import UNDECIDED
from advcam.export.outlines import ellipse, rectangle, turn
from advcam.export.regions import Shape, paint
from advcam.export.tool_files import picture_size
from advcam.store.segmentation import segment_pixels
from advcam.untrusted import MOST_PIXELS

#: Pixels; no shape lies so far outside.
_FAR = 1e7


def read_annotations(path: Path, classes: Classes) -> Iterator[ImportedMask]:
    """The masks of the pictures of a file, or of annotations.xml in an archive.

    Raises:
        DatasetError: It cannot be read, or a picture or shape in it is broken.
    """
    for number, image in enumerate(read_images(path), 1):
        name = image.get("name")
        where = f"{path}, image {number} ({name or 'without a name'})"
        if not name:
            raise DatasetError(f'{where}: its attribute "name" is missing; export it again')
        yield _read_image(image, name, classes, where)


def _read_image(image: ET.Element, name: str, classes: Classes, where: str) -> ImportedMask:
    """The mask of a picture, painted shape by shape."""
    size = picture_size(_whole(image, "height", where), _whole(image, "width", where), where)
    placed = []
    for number, element in enumerate(image, 1):
        if element.tag in _PIXELS:
            at = f"{where}, shape {number} ({element.tag} {element.get('label')})"
            placed.append((_whole(element, "z_order", at, "0"), at, element))
    placed.sort(key=lambda item: item[0])
    return paint(name, size, (_shape(element, size, at) for _, at, element in placed), classes, UNDECIDED)


def _shape(element: ET.Element, size: tuple[int, int], where: str) -> Shape:
    label = element.get("label")
    if not label:
        raise DatasetError(f"{where} has no label; give it one in CVAT and export it again")
    read_outline = _PIXELS[element.tag]
    if read_outline is None:
        return _mask(element, label, size, where)
    height, width = size
    outline = read_outline(element, where)
    return Shape(label, segment_pixels([outline.ravel().tolist()], height, width, where))


def _mask(element: ET.Element, label: str, size: tuple[int, int], where: str) -> Shape:
    """A rectangle of pixels from the lengths of its runs."""
    left, top, width, height = (_whole(element, key, where) for key in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
        raise DatasetError(
            f"{where}: a mask of {width} x {height} pixels at ({left}, {top}) does not lie inside the picture of "
            f"{size[1]} x {size[0]} pixels; export it again"
        )
    try:
        runs = [int(number) for number in element.get("rle", "").split(",")]
        if not all(0 <= run <= MOST_PIXELS for run in runs):
            raise ValueError
    except ValueError as error:
        raise DatasetError(
            f'{where}: its "rle" is no list of whole numbers from 0 to {MOST_PIXELS:,}; export it again'
        ) from error
    if sum(runs) != width * height:
        raise DatasetError(f"{where}: its runs cover {sum(runs)} of {width * height} pixels; export it again")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return Shape(label, pixels, left, top)


def _polygon(element: ET.Element, where: str) -> Ring:
    pairs = [pair.split(",") for pair in element.get("points", "").split(";")]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise DatasetError(f'{where}: its "points" are no x,y;x,y;x,y; export it again')
    return np.array([[_decimal(number, where) for number in pair] for pair in pairs])


def _box(element: ET.Element, where: str) -> Ring:
    x0, y0, x1, y1 = (_decimal(element.get(key), where) for key in ("xtl", "ytl", "xbr", "ybr"))
    return turn(rectangle(x0, y0, x1, y1), _decimal(element.get("rotation", "0"), where), (x0 + x1) / 2, (y0 + y1) / 2)


def _ellipse(element: ET.Element, where: str) -> Ring:
    x, y, across, down = (_decimal(element.get(key), where) for key in ("cx", "cy", "rx", "ry"))
    return turn(ellipse(x, y, across, down), _decimal(element.get("rotation", "0"), where), x, y)


#: How the outline of each kind of shape is read; None for masks, which have none.
_PIXELS: dict[str, Callable[[ET.Element, str], Ring] | None] = {
    "mask": None,
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
}


def _decimal(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) < _FAR:
        raise DatasetError(f"{where}: {text!r} is no place in a picture; export it again")
    return value


def _whole(element: ET.Element, key: str, where: str, default: str = "") -> int:
    text = element.get(key, default)
    if not re.fullmatch("-?[0-9]{1,9}", text):
        raise DatasetError(f"{where}: {key} is {text!r} instead of a whole number; export it again")
    return int(text)
