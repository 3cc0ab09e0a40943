"""CUB-200-2011: one bird a picture, with a box and the annotators' outlines.

Source: Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011.
"""

import math
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from advcam.datasets.dataset import Dataset
from advcam.datasets.lists import read_fields
from advcam.errors import DatasetError
from advcam.store.reading import inside, open_png
from advcam.types import Box, Mask, Sample

_FLAGS = {"train": "1", "test": "0"}
_CLASS = re.compile(r"0*(\d+)\.(\S+)", re.ASCII)
#: A pixel is bird where more than half of the annotators say so.
_HALF = 127


class CUB200(Dataset):
    """CUB-200-2011.

    An id is the name of a picture in images.txt, such as 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg.

    Args:
        root: The folder CUB_200_2011. The folder of the outlines, segmentations, may lie in it or, as its archive
            unpacks, beside it.

    Raises:
        DatasetError: The root holds no CUB-200-2011.
    """

    layout = "cub200"
    title = "CUB-200-2011"
    landmarks = (
        *("images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt", "bounding_boxes.txt"),
        "images",
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of classes.txt without their number.

        Raises:
            DatasetError: The lines of classes.txt are not numbered 1, 2, 3 ...
        """
        return self._class_names

    @property
    def splits(self) -> tuple[str, ...]:
        """`train` and `test` of train_test_split.txt."""
        return tuple(_FLAGS)

    def ids(self, split: str) -> Iterator[str]:
        """Names of the pictures of a split, in the order of train_test_split.txt.

        Raises:
            SettingError: There is no such split.
            DatasetError: A line is malformed, or lists a picture that images.txt has not.
        """
        self.check_split(split)
        return self._ids(_FLAGS[split])

    def sample(self, id_: str) -> Sample:
        """One picture with the one class that it shows.

        Raises:
            DatasetError: images.txt has no such picture, or its class is missing, unknown or not that of its folder.
        """
        return Sample(id_, inside(self.root / "images", id_), (self.class_names[self._class_of(id_)],))

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W): 0 background, class number + 1 the bird; None where there is no outline.

        The PNGs hold, in grey levels, the share of five annotators who count a pixel as bird: 0, 51, 102, 153, 204
        or 255. Pixels above 127, so with at least three of the five, are bird here, and none is left to be ignored;
        other levels are judged by the same rule. A file with more channels is converted to grey, as chainercv and
        tensorflow_datasets do.

        Raises:
            DatasetError: The PNG cannot be read, or the class of the picture is in doubt.
        """
        number = self._class_of(id_) + 1
        name = PurePosixPath(id_).with_suffix(".png").as_posix()
        paths = (inside(folder / "segmentations", name) for folder in (self.root, self.root.parent))
        path = next((path for path in paths if path.is_file()), None)
        return None if path is None else np.where(_read_shares(path) > _HALF, number, 0).astype(np.int32)

    def boxes(self, id_: str) -> tuple[Box, ...] | None:
        """The box of the bird.

        bounding_boxes.txt has x, y, width and height in pixels. They are read as 0-based and half open, x <= column <
        x + width, as chainercv and tensorflow_datasets do; each side is rounded to the nearest whole pixel. A box is
        not cut off at the border of the picture, whose size no list names.

        Raises:
            DatasetError: The box is missing or no box, or the class of the picture is in doubt.
        """
        class_id = self._class_of(id_)
        number = self._numbers[id_]
        if number not in self._boxes:
            raise DatasetError(f"{self.root / 'bounding_boxes.txt'} has no line for image {number}; restore the file")
        return (_read_box(class_id, self._boxes[number], f"{self.root / 'bounding_boxes.txt'}, image {number}"),)

    def _ids(self, flag: str) -> Iterator[str]:
        for where, (number, value) in read_fields(self.root / "train_test_split.txt", "image-id", "is-training"):
            if value not in _FLAGS.values():
                raise DatasetError(f"{where}: is-training is {value!r}; it is 1 or 0; correct the line")
            if number not in self._names:
                raise DatasetError(f"{where}: images.txt has no image {number}; restore both files")
            if value == flag:
                yield self._names[number]

    def _class_of(self, id_: str) -> int:
        """Class of a picture, counted from 0, on which label and folder agree."""
        number = self._numbers.get(id_)
        if number is None:
            raise DatasetError(f"{self.root / 'images.txt'} lists no picture {id_!r}; name one of its pictures")
        where = f"{self.root / 'image_class_labels.txt'}, image {number}"
        label = self._labels.get(number, "missing")
        class_id = int(label) - 1 if label.isdecimal() and len(label) < 8 else -1
        if not 0 <= class_id < len(self._class_folders):
            raise DatasetError(
                f"{where}: the class is {label}; classes.txt has 1 to {len(self._class_folders)}; correct the lists"
            )
        if PurePosixPath(id_).parts[0] != self._class_folders[class_id]:
            raise DatasetError(
                f"{where}: the class is {self._class_folders[class_id]}, but the picture is {id_}; correct the lists"
            )
        return class_id

    @cached_property
    def _class_folders(self) -> tuple[str, ...]:
        """Names with their numbers, as the folders of the pictures have them."""
        folders = []
        lines = read_fields(self.root / "classes.txt", "class-id", "class-name")
        for expected, (where, (number, name)) in enumerate(lines, 1):
            match = _CLASS.fullmatch(name)
            if not match or {match[1], number} != {str(expected)}:
                raise DatasetError(
                    f"{where}: {number} {name} is not class {expected}; a line is NUMBER NUMBER.NAME, counted from 1; "
                    "restore the file"
                )
            folders.append(name)
        return tuple(folders)

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        return tuple(folder.split(".", 1)[1] for folder in self._class_folders)

    @cached_property
    def _names(self) -> dict[str, str]:
        return {number: name for number, (name,) in self._table("images.txt", "image-name").items()}

    @cached_property
    def _numbers(self) -> dict[str, str]:
        return {name: number for number, name in self._names.items()}

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {number: label for number, (label,) in self._table("image_class_labels.txt", "class-id").items()}

    @cached_property
    def _boxes(self) -> dict[str, list[str]]:
        return self._table("bounding_boxes.txt", "x", "y", "width", "height")

    def _table(self, name: str, *fields: str) -> dict[str, list[str]]:
        """What a list says of each image number."""
        table: dict[str, list[str]] = {}
        for where, (number, *values) in read_fields(self.root / name, "image-id", *fields):
            if table.setdefault(number, values) != values:
                raise DatasetError(f"{where}: image {number} is listed before with other values; keep one of the lines")
        return table


def _read_shares(path: Path) -> NDArray[np.uint8]:
    """Share of the annotators who saw a bird, (H, W), 0 to 255."""
    with open_png(path) as image:
        return np.asarray(image.convert("L"))


def _read_box(class_id: int, fields: list[str], where: str) -> Box:
    try:
        x, y, width, height = (float(field) for field in fields)
    except ValueError:
        x = y = width = height = math.nan
    if not all(math.isfinite(value) for value in (x, y, width, height)) or round(x) < 0 or round(y) < 0:
        raise DatasetError(f"{where}: {' '.join(fields)} is no x y width height in pixels; correct the line")
    box = Box(class_id, round(x), round(y), round(x + width), round(y + height), 1.0)
    if box.x0 >= box.x1 or box.y0 >= box.y1:
        raise DatasetError(f"{where}: the box {' '.join(fields)} holds no pixel; correct the line")
    return box
