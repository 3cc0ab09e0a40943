"""Own data with a table of labels: ROOT/labels.csv or ROOT/labels.parquet names pictures, classes, masks and boxes.

    image,labels,split,mask,boxes
    a/cat.jpg,cat;sofa,train,truth/cat.png,"[[""cat"", 10, 20, 60, 80]]"
    street.jpg,,val,,

The columns image and labels are needed, the others may be left out.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from advcam.datasets.dataset import Dataset
from advcam.datasets.lists import read_class_names
from advcam.datasets.table_rows import Row, read_rows
from advcam.datasets.truth import mirrored_mask, read_class_mask
from advcam.errors import DatasetError
from advcam.store.reading import inside
from advcam.types import Box, Mask, Sample

_TABLES = ("labels.csv", "labels.parquet")


class LabelTable(Dataset):
    """Pictures that a table names (see `read_rows` for its columns).

    An id is the path of a picture below the root, as the column image has it. Without the column split the only split
    is `all`. A mask is the file of the column mask or, where that is empty, ROOT/masks/ with the path of the picture
    and the ending .png: a palette or greyscale PNG of 0 for background, class number + 1, and 255 to be ignored. The
    column boxes holds a JSON list of [class name, x0, y0, x1, y1], in whole pixels, 0-based and half open; `[]` says
    that there is none, an empty cell that nothing is known.

    Classes are the labels sorted by name, unless ROOT/classes.txt fixes their order, one name a line.

    Args:
        root: The folder that holds the table and the pictures.

    Raises:
        DatasetError: The root holds neither of the tables, or both.
    """

    layout = "table"
    title = "a table of labels"
    landmarks = ()

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        tables = [root / name for name in _TABLES if (root / name).is_file()]
        if len(tables) != 1:
            found = "both" if tables else "neither"
            raise DatasetError(f"{root} holds {found} of {' and '.join(_TABLES)}; one of them is needed")
        self._path = tables[0]

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether a folder holds one of the tables."""
        return any((root / name).is_file() for name in _TABLES)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels of the table, sorted, or the names of classes.txt."""
        return self._class_names

    @property
    def splits(self) -> tuple[str, ...]:
        """The names in the column split, in the order in which they first occur, or `all`."""
        return self._splits

    def ids(self, split: str) -> Iterator[str]:
        """Paths of the pictures of a split, in the order of the table.

        Raises:
            SettingError: There is no such split.
            DatasetError: The table is malformed, or a name leads out of the root.
        """
        self.check_split(split)
        return (row.image for row in self._rows() if row.split == split)

    def sample(self, id_: str) -> Sample:
        """One picture with its labels, in the order of `class_names`.

        Raises:
            DatasetError: The table has no such picture, contradicts itself, or uses a class that classes.txt has not.
        """
        row = self._row(id_)
        numbers = sorted(self._number(name, row) for name in row.labels)
        return Sample(id_, inside(self.root, id_), tuple(self.class_names[number] for number in numbers))

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W): 0 background, class number + 1, 255 ignore; None where the picture has none.

        Raises:
            DatasetError: It is named and missing, cannot be read, or holds a number of no class.
        """
        row = self._row(id_)
        if row.mask is None:
            return mirrored_mask(self.root, id_, len(self.class_names))
        return read_class_mask(inside(self.root, row.mask), len(self.class_names))

    def boxes(self, id_: str) -> tuple[Box, ...] | None:
        """True boxes, in the order of the cell; None where the cell is empty.

        Raises:
            DatasetError: The cell is no such list.
        """
        row = self._row(id_)
        if row.boxes is None:
            return None
        try:
            entries = json.loads(row.boxes)
        except (ValueError, RecursionError):
            entries = None
        if not isinstance(entries, list):
            raise DatasetError(f"{row.where}: boxes is no JSON list of [class, x0, y0, x1, y1]; correct the cell")
        return tuple(self._box(entry, row) for entry in entries)

    def _box(self, entry: Any, row: Row) -> Box:  # noqa: ANN401, whatever the JSON holds
        if not isinstance(entry, list) or len(entry) != 5 or not isinstance(entry[0], str):
            raise DatasetError(f"{row.where}: the box {json.dumps(entry)} is not [class, x0, y0, x1, y1]; correct it")
        x0, y0, x1, y1 = entry[1:]
        whole = all(type(side) is int for side in entry[1:])
        if not whole or not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise DatasetError(
                f"{row.where}: the box {json.dumps(entry)} is not 0 <= x0 < x1 and 0 <= y0 < y1 in whole pixels; "
                "correct it"
            )
        return Box(self._number(entry[0], row), x0, y0, x1, y1, 1.0)

    def _number(self, name: str, row: Row) -> int:
        try:
            return self.class_id(name)
        except DatasetError as error:
            raise DatasetError(f"{row.where}: {error}") from error

    def _rows(self) -> Iterator[Row]:
        for row in read_rows(self._path):
            try:
                inside(self.root, row.image)
                inside(self.root, row.mask or row.image)
            except DatasetError as error:
                raise DatasetError(f"{row.where}: {error}") from error
            yield row

    def _row(self, id_: str) -> Row:
        if id_ not in self._by_image:
            raise DatasetError(f"{self._path} has no row for {id_!r}; add one")
        return self._by_image[id_]

    @cached_property
    def _by_image(self) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        for row in self._rows():
            first = rows.setdefault(row.image, row)
            if (set(row.labels), row.mask, row.boxes) != (set(first.labels), first.mask, first.boxes):
                raise DatasetError(
                    f"{row.where}: {row.image!r} is listed before with other values; keep one of the rows"
                )
        return rows

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        listed = self.root / "classes.txt"
        if listed.exists():
            return read_class_names(listed)
        return tuple(sorted(set(chain.from_iterable(row.labels for row in self._rows()))))

    @cached_property
    def _splits(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.split for row in self._rows()))
