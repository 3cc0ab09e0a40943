"""The class numbers of a run's masks, kept in `classes.json`.

A classifier of up to 254 classes keeps its order: number = class + 1, as in PASCAL VOC. One of more classes (ImageNet)
would not fit a palette PNG, so the classes that the run meets are numbered, and a number once given stays.
0 is background and 255 "ignore", which no class gets.
"""

import json
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from advcam.errors import RunError
from advcam.store.class_file import parse_classes
from advcam.store.files import write_text
from advcam.store.places import Place
from advcam.types import IGNORE

#: The most classes that fit a palette PNG beside background and ignore.
MOST_FIXED = 254


class ClassNumbers:
    """Class numbers of a run, continued from its file.

    Args:
        path: `classes.json` of the run.
        class_names: Names of all classes of the classifier.

    Raises:
        RunError: The file is damaged.
    """

    def __init__(self, path: Place, class_names: Sequence[str]) -> None:
        self.path = path
        self.class_names = tuple(class_names)
        self.numbers = {c: c + 1 for c in range(len(class_names))} if len(class_names) <= MOST_FIXED else {}
        if not self.numbers and path.exists():
            self.numbers = self._read()

    def extend(self, class_ids: Iterable[int]) -> None:
        """Give a number to each class that has none, in the order given, and write the file if it changed."""
        new = [c for c in dict.fromkeys(class_ids) if c not in self.numbers]
        for class_id in new:
            number = max(self.numbers.values(), default=0) + 1
            self.numbers[class_id] = number + 1 if number == IGNORE else number
        if new or not self.path.exists():
            self._write()

    def given(self, class_ids: Iterable[int]) -> bool:
        """Whether each of the classes has a number."""
        return all(class_id in self.numbers for class_id in class_ids)

    def mask(self, label_mask: NDArray[np.integer]) -> NDArray[np.int32]:
        """A mask of class_id + 1 (0 background), (H, W), in the numbers of the run."""
        table = np.zeros(len(self.class_names) + 1, dtype=np.int32)
        for class_id, number in self.numbers.items():
            table[class_id + 1] = number
        numbered: NDArray[np.int32] = table[label_mask]
        return numbered

    def names_in(self, mask: NDArray[np.integer]) -> dict[int, str]:
        """Names of the class numbers that occur in a mask, background left out."""
        name_of = {number: self.class_names[class_id] for class_id, number in self.numbers.items()}
        return {int(number): name_of[int(number)] for number in np.unique(mask) if number in name_of}

    def _write(self) -> None:
        entries = [
            {"number": number, "class_id": class_id, "name": self.class_names[class_id]}
            for class_id, number in sorted(self.numbers.items(), key=lambda item: item[1])
        ]
        special = [{"number": 0, "name": "background"}, {"number": IGNORE, "name": "ignore"}]
        write_text(self.path, json.dumps([*special, *entries], indent=1, ensure_ascii=False) + "\n")

    def _read(self) -> dict[int, int]:
        try:
            numbers = {entry.class_id: entry.number for entry in parse_classes(self.path.read_bytes())}
            if max(numbers, default=0) >= len(self.class_names):
                raise ValueError("it has a class that the classifier has not")
            return numbers
        except (ValueError, OSError) as error:
            raise RunError(f"{self.path} is damaged; delete the run's folder and run the same command again") from error
