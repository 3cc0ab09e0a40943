"""The JSON of LabelMe: the pixels of its shapes."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.errors import DatasetError, one_line
from advcam.export.annotated import Classes, ImportedMask
from advcam.export.contours import Ring
from advcam.export.outlines import ellipse, rectangle
from advcam.export.regions import Shape, paint
from advcam.export.tool_files import picture_size
from advcam.store.reading import read_json
from advcam.store.segmentation import segment_pixels

#: Label of undecided pixels, which LabelMe's own converters make 255.
UNDECIDED = "__ignore__"
#: Shapes with pixels; LabelMe has lines and points as well.
_AREAS = ("mask", "polygon", "rectangle", "circle", "oriented_rectangle")
#: Pixels; no shape lies so far outside.
_FAR = 1e7


def read_picture_file(path: Path, name: str, classes: Classes) -> ImportedMask:
    """The mask of a picture, painted shape by shape.

    Args:
        path: Of the JSON.
        name: Of the picture.
        classes: Of the run.

    Raises:
        DatasetError: The file is broken, or not of LabelMe.
    """
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(one, dict) for one in shapes):
        raise DatasetError(f'{path} has no list "shapes", so LabelMe did not write it; take it out of the folder')
    size = picture_size(content.get("imageHeight"), content.get("imageWidth"), str(path))
    placed = [(f"{path}, shape {number}", one) for number, one in enumerate(shapes, 1)]
    areas = [(where, one) for where, one in placed if one.get("shape_type", "polygon") in _AREAS]
    return paint(name, size, (_shape(one, size, where) for where, one in areas), classes, UNDECIDED)


def _shape(content: dict[str, Any], size: tuple[int, int], where: str) -> Shape:
    label, kind = content.get("label"), content.get("shape_type", "polygon")
    if not isinstance(label, str) or not label:
        raise DatasetError(f"{where} has no label; give it one in LabelMe")
    where = f"{where} ({label}, {kind})"
    points = _points(content.get("points"), where)
    if kind == "mask":
        return _mask(content.get("mask"), label, points, size, where)
    if kind in ("rectangle", "circle") and len(points) != 2:
        raise DatasetError(f"{where} has {len(points)} points instead of 2; draw it again")
    if kind == "rectangle":
        points = rectangle(*points.min(axis=0), *points.max(axis=0))
    if kind == "circle":
        (x, y), radius = points[0], float(np.hypot(*(points[1] - points[0])))
        points = ellipse(x, y, radius, radius)
    return Shape(label, segment_pixels([points.ravel().tolist()], *size, where))


def _mask(text: object, label: str, points: Ring, size: tuple[int, int], where: str) -> Shape:
    """A rectangle of pixels from a PNG."""
    pixels = _decoded(text, size, where)
    height, width = pixels.shape
    x, y = (int(number) for number in points[0])
    if min(x, y) < 0 or x + width > size[1] or y + height > size[0]:
        raise DatasetError(
            f"{where}: a mask of {width} x {height} pixels at ({x}, {y}) does not lie inside the picture of "
            f"{size[1]} x {size[0]} pixels; draw it again"
        )
    return Shape(label, pixels, x, y)


def _decoded(text: object, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """The pixels of a PNG in base64, judged by its header before it is decoded."""
    if not isinstance(text, str):
        raise DatasetError(f'{where} has no text in its entry "mask"; draw it again')
    try:
        with Image.open(BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            if image.width > size[1] or image.height > size[0]:
                raise ValueError(f"{image.width} x {image.height} pixels are more than the picture has")
            if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
                raise ValueError(f"a picture of mode {image.mode} instead of greyscale")
            return np.asarray(image).astype(np.bool_)
    except Exception as error:  # decoders raise nearly every type on damaged data
        raise DatasetError(f"{where}: its mask is no PNG of its pixels ({one_line(error)}); draw it again") from error


def _points(points: object, where: str) -> Ring:
    pairs = points if isinstance(points, list) else []
    if not pairs or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise DatasetError(f"{where}: its points are no list of pairs; draw it again")
    for number in (number for pair in pairs for number in pair):
        if not isinstance(number, int | float) or isinstance(number, bool) or not abs(number) < _FAR:
            raise DatasetError(f"{where}: {number!r} is no place in a picture; draw it again")
    return np.array(pairs, dtype=np.float64)
