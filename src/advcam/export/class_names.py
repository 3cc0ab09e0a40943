"""`classes.json` of an export: which name each number of its masks has, `{"1": "cat", "2": "dog"}`."""

import json
from pathlib import Path

import numpy as np

from advcam.errors import DatasetError, one_line
from advcam.export.annotated import Classes
from advcam.types import IGNORE, Mask
from advcam.untrusted import read_json

CLASSES = "classes.json"
_MOST_NUMBER = 65535


def write_class_names(folder: Path, classes: Classes) -> None:
    """Write the file into the folder of an export."""
    names = {str(number): name for number, name in classes.items()}
    (folder / CLASSES).write_text(json.dumps(names, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_class_names(folder: Path) -> dict[int, str]:
    """Name of each class by its number, from the file in the folder of an export.

    Raises:
        DatasetError: It is missing or broken.
    """
    try:
        content = read_json(folder / CLASSES)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        return {_number(key): _name(name) for key, name in content.items()}
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{folder / CLASSES} cannot be read ({one_line(error)}); it names the classes by their numbers in the "
            'masks: {"1": "cat", "2": "dog"}'
        ) from error


def check_named(mask: Mask, names: Classes, where: str) -> None:
    """Raise `DatasetError` where a mask (H, W) holds a number without a name, 0 and 255 left out."""
    for number in np.unique(mask).tolist():
        if number not in (0, IGNORE) and number not in names:
            raise DatasetError(f"{where} holds the number {number}, which {CLASSES} does not name; add it there")


def _number(key: str) -> int:
    if not key.isdecimal() or len(key) > 5 or not 0 < int(key) <= _MOST_NUMBER or int(key) == IGNORE:
        raise ValueError(f"{key!r} is no number of a class, 1 to {_MOST_NUMBER} but not {IGNORE}")
    return int(key)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name of a class")
    return name
