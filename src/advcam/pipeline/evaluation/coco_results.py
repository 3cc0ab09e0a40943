"""COCO results: the entries of a JSON list of boxes, and the numbers by which they name pictures and classes."""

import math
from dataclasses import dataclass
from pathlib import Path

from advcam.datasets.coco import COCO
from advcam.datasets.dataset import Dataset
from advcam.errors import DatasetError
from advcam.store.reading import read_json
from advcam.types import Box

#: Sides larger than this are no pixels of a picture.
_FAR = 1e9
#: Corners so close to a whole pixel lie on it: x + width is rounded, as x1 - x0 was.
_DIGITS = 6


@dataclass(frozen=True)
class CocoNumbers:
    """How results name what a data set holds.

    Args:
        classes: Class number of each category id.
        pictures: File name of each image id; empty where the data set has no such ids.
    """

    classes: dict[int, int]
    pictures: dict[str, str]


def read_results(path: Path, classes: dict[int, int]) -> dict[str, tuple[Box, ...]]:
    """The boxes of each picture, the best score first, by the text of its image id.

    Corners are widened to whole pixels; they may lie outside of the picture, whose size the results do not tell.

    Args:
        path: A JSON list of {image_id, category_id, bbox [x, y, width, height], score}; other keys are not read.
        classes: Class number of each category id.

    Raises:
        DatasetError: The file is no such list, or an entry is broken or of an unknown category.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError(
            f"{path} is no list of results; COCO results are [{{image_id, category_id, bbox, score}}, ..]"
        )
    boxes: dict[str, list[Box]] = {}
    for number, entry in enumerate(content):
        name, box = _parse(entry, classes, f"{path}, entry {number}")
        boxes.setdefault(name, []).append(box)
    return {name: tuple(sorted(found, key=lambda box: -box.score)) for name, found in boxes.items()}


def coco_numbers(dataset: Dataset, split: str | None = None) -> CocoNumbers:
    """The numbers of a data set: COCO's own, elsewhere categories count from 1 and pictures have no number.

    Args:
        dataset: Whose numbers.
        split: Of COCO, whose image ids are wanted; None takes the smallest file, as categories are the same in all.

    Raises:
        DatasetError: The JSON of the split is broken.
    """
    if not isinstance(dataset, COCO):
        return CocoNumbers({number + 1: number for number in range(len(dataset.class_names))}, {})
    instances = [dataset.root / f"annotations/instances_{name}.json" for name in ([split] if split else dataset.splits)]
    own = [dataset.root / name for name in ("annotations.json", "_annotations.coco.json")]
    files = [path for path in instances if path.is_file()] or [path for path in own if path.is_file()][:1]
    content = read_json(min(files, key=lambda path: path.stat().st_size))
    try:
        categories = sorted(category["id"] for category in content["categories"])
        pictures = {str(image["id"]): image["file_name"] for image in content["images"]}
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{dataset.root}: the annotations lack categories or images with ids; mend them") from error
    return CocoNumbers({id_: number for number, id_ in enumerate(categories)}, pictures)


def _parse(entry: object, classes: dict[int, int], where: str) -> tuple[str, Box]:
    try:
        image, category, score = entry["image_id"], entry["category_id"], entry["score"]  # type: ignore[index]
        x, y, width, height = entry["bbox"]  # type: ignore[index]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{where} is no result with image_id, category_id, bbox [x, y, w, h] and score") from error
    if not isinstance(image, str) and type(image) is not int:
        raise DatasetError(f"{where}: image_id is {image!r}; it is a whole number or the text of a picture's id")
    if type(category) is not int or category not in classes:
        known = sorted(classes)
        raise DatasetError(
            f"{where}: category_id {category!r} is none of the data set's {len(known)}, {known[0]} to {known[-1]}"
        )
    numbers = (x, y, width, height, score)
    if not all(type(value) in (int, float) and -_FAR < value < _FAR for value in numbers) or min(width, height) <= 0:
        raise DatasetError(
            f"{where}: bbox {entry['bbox']} and score {score!r} are not x, y, width and height above 0, and a number"  # type: ignore[index]
        )
    left, top = (math.floor(round(value, _DIGITS)) for value in (x, y))
    right, bottom = (math.ceil(round(value, _DIGITS)) for value in (x + width, y + height))
    return str(image), Box(classes[category], left, top, right, bottom, float(score))
