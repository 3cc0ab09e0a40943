"""Tasks of Label Studio: the pixels of their regions.

Specification: labelstud.io/guide/export (JSON) and labelstud.io/tags (BrushLabels, PolygonLabels, RectangleLabels,
EllipseLabels); places are percent of the picture.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from advcam.errors import DatasetError
from advcam.export.annotated import Classes, ImportedMask
from advcam.export.brush_rle import decode_brush
from advcam.export.contours import Ring
from advcam.export.labels import UNDECIDED
from advcam.export.outlines import ellipse, rectangle, turn
from advcam.export.regions import Shape, paint
from advcam.export.tool_files import picture_size
from advcam.store.reading import read_json
from advcam.store.segmentation import segment_pixels

#: Results that are regions with a label; others (choices, texts, key points, outlines without label) are not needed.
_REGIONS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")
_UNREAD = ("bitmasklabels", "vectorlabels")
#: Percent; no region lies so far outside.
_FAR = 1e6
#: What Label Studio puts before the name of a file that was uploaded.
_UPLOAD = re.compile("[0-9a-f]{8}-")


def read_tasks(path: Path, classes: Classes) -> Iterator[ImportedMask]:
    """The masks of the tasks of a file.

    Raises:
        DatasetError: It is no list of tasks, or a task is broken.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise DatasetError(f'{path} is no list of tasks; export from Label Studio as "JSON"')
    for number, task in enumerate(tasks, 1):
        where = f"{path}, task {number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise DatasetError(f'{where} has no "data"; export from Label Studio as "JSON", not as JSON-MIN or CSV')
        name = picture_name(task["data"], where)
        results = _results(task, f"{where} ({name})")
        if results:
            yield _read_task(results, name, classes, f"{where} ({name})")


def picture_name(data: dict[str, Any], where: str) -> str:
    """Which picture a task shows: its `picture`, else the path in the address of its image.

    Addresses are /data/local-files/?d=PATH, /data/upload/1/a1b2c3d4-NAME, s3://bucket/PATH, https://host/PATH, or PATH.

    Raises:
        DatasetError: There is neither.
    """
    if isinstance(data.get("picture"), str):
        return str(data["picture"])
    address = data.get("image", next((value for value in data.values() if isinstance(value, str)), None))
    if not isinstance(address, str) or not address:
        raise DatasetError(f'{where}: its data has neither "picture" nor "image", so nobody knows which picture it is')
    if "://" not in address and not address.startswith("/data/"):
        return address
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise DatasetError(f"{where}: {address!r} is no address of a picture") from error
    if parts.path.rstrip("/").endswith("/data/local-files"):
        return parse_qs(parts.query).get("d", [""])[-1]
    path = unquote(parts.path).lstrip("/")
    folder, _, name = path.rpartition("/")
    return _UPLOAD.sub("", name, count=1) if folder.startswith("data/upload") else path


def _results(task: dict[str, Any], where: str) -> list[tuple[str, dict[str, Any]]]:
    """The regions, with their places, of the last annotation that was not skipped.

    A task that was never exported, as we write it, has no annotations but predictions.
    """
    answers = task.get("annotations", task.get("predictions", []))
    if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
        raise DatasetError(f'{where}: "annotations" is a list of objects; export from Label Studio as "JSON"')
    kept = [one for one in answers if not one.get("was_cancelled")]
    if not kept:
        return []
    last = max(enumerate(kept), key=lambda item: (str(item[1].get("updated_at", "")), item[0]))[1]
    results = last.get("result")
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise DatasetError(f'{where}: an annotation has no list "result"; export from Label Studio as "JSON"')
    placed = [(f"{where}, region {number}", one) for number, one in enumerate(results, 1)]
    for at, one in placed:
        if one.get("type") in _UNREAD:
            raise DatasetError(
                f"{at} is of type {one['type']}, which is not read; draw it with BrushLabels or PolygonLabels"
            )
    return [(at, one) for at, one in placed if one.get("type") in _REGIONS]


def _read_task(results: list[tuple[str, dict[str, Any]]], name: str, classes: Classes, where: str) -> ImportedMask:
    """The mask of a task, painted region by region."""
    sizes = {picture_size(one.get("original_height"), one.get("original_width"), at) for at, one in results}
    if len(sizes) > 1:
        raise DatasetError(
            f"{where}: its regions belong to pictures of different sizes, {sorted(sizes)}; label it again"
        )
    size = sizes.pop()
    return paint(name, size, (_shape(one, size, at) for at, one in results), classes, UNDECIDED)


def _shape(result: dict[str, Any], size: tuple[int, int], where: str) -> Shape:
    value = result.get("value")
    if not isinstance(value, dict) or result.get("image_rotation", 0) != 0:
        raise DatasetError(f"{where} has no value, or belongs to a picture that was turned; label the picture upright")
    labels = value.get(result["type"])
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise DatasetError(f"{where} has {labels!r} as its labels; give each region one label")
    return Shape(labels[0], _pixels(value, size, where))


def _pixels(value: dict[str, Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """(H, W), the pixels of a region, whatever it was drawn with."""
    height, width = size
    if "rle" in value:
        try:
            return decode_brush(value["rle"], size)
        except ValueError as error:
            raise DatasetError(f"{where}: {error}; draw the region again") from error
    return segment_pixels([_outline(value, size, where).ravel().tolist()], height, width, where)


def _outline(value: dict[str, Any], size: tuple[int, int], where: str) -> Ring:
    """The outline of a region, in pixels."""
    height, width = size
    percent = np.array([width, height]) / 100
    if "points" in value:
        points = value["points"]
        if not isinstance(points, list) or not all(isinstance(one, list) and len(one) == 2 for one in points):
            raise DatasetError(f"{where}: its points are no list of pairs; draw the region again")
        corners = [_number(number, where) for one in points for number in one]
        return np.array(corners, dtype=np.float64).reshape(-1, 2) * percent
    keys = ("x", "y", "radiusX", "radiusY") if "radiusX" in value else ("x", "y", "width", "height")
    x, y, across, down = (np.array([_number(value.get(key), where) for key in keys]).reshape(2, 2) * percent).ravel()
    outline = ellipse(x, y, across, down) if "radiusX" in value else rectangle(x, y, x + across, y + down)
    return turn(outline, _number(value.get("rotation", 0), where), x, y)


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _FAR:
        raise DatasetError(f"{where}: {value!r} is no place in a picture, in percent; draw the region again")
    return float(value)
