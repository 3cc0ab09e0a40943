"""Weakly supervised object localization in the metadata format of Choe et al. (clovaai/wsolevaluation).

    metadata/DATASET/SPLIT/image_ids.txt      path
                           image_ids_proxy.txt   path, a smaller training list (split "SPLIT-proxy")
                           class_labels.txt   path,class number
                           image_sizes.txt    path,width,height (OpenImages30k has none)
                           localization.txt   path,x0,y0,x1,y1 for each box, or path,mask path,ignore path for each mask
    dataset/DATASET/, images/DATASET/, images/ or the root itself: what the paths are relative to

CUB, ImageNet and OpenImages30k are published so. The roles of the splits (protocols of the evaluator): train =
train-weaksup, val = train-fullsup, test. The folders metadata/SPLIT, and the lists directly in metadata (then the split
is "test"), are understood as well. An id is the path of the lists.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import MAX_PIXELS
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError
from advcam.store.reading import inside, read_index_png, read_lines
from advcam.types import IGNORE, Box, Mask, Sample

_IDS = "image_ids.txt"
_PROXY = "image_ids_proxy.txt"
_LABELS = "class_labels.txt"
_SIZES = "image_sizes.txt"
_TRUTH = "localization.txt"
_ROLES = (("train", "train-weaksup"), ("val", "train-fullsup"))
_TWINS = dict(_ROLES) | {role: name for name, role in _ROLES}
#: Class numbers from here on are taken for damage.
_MAX_CLASSES = 100_000


class WSOL(Dataset):
    """CUB, ImageNet or OpenImages30k as the WSOL benchmark splits them, and own data in its format.

    Args:
        root: The folder that holds the metadata and the pictures.
        metadata: The folder with the splits (or the lists), where it is not `root/metadata` or where that holds
            several data sets.
        class_names: Names of the classes in the order of their numbers; the numbers themselves by default, since the
            metadata has no names.

    Raises:
        DatasetError: The metadata is missing, or is that of several data sets.
    """

    layout: ClassVar[str] = "wsol"
    title: ClassVar[str] = "the WSOL benchmark (CUB, ImageNet, OpenImages30k)"
    landmarks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: Path, metadata: Path | None = None, class_names: Sequence[str] | None = None) -> None:
        super().__init__(root)
        self._lists = _find_lists(metadata or root / "metadata")
        self._names = class_names
        self._tables: dict[Path, dict[str, str]] = {}
        name = next(iter(self._lists.values())).parent.parent.name
        folders = (root / "dataset" / name, root / "images" / name, root / "images", root)
        self._folders = tuple(folder for folder in folders if folder.is_dir())

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether the folder `metadata` holds lists of this layout."""
        return any(any((root / "metadata").glob(f"{depth}{_IDS}")) for depth in ("", "*/", "*/*/"))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names given, or "0", "1", .. up to the highest class number of all splits."""
        if self._names is not None:
            return tuple(self._names)
        paths = {path.with_name(_LABELS) for path in self._lists.values()}
        lines = (line for path in paths if path.is_file() for line in read_lines(path))
        numbers = (_class_number(line.rpartition(",")[2]) for line in lines)
        highest = max((number for number in numbers if number is not None), default=-1)
        return tuple(str(number) for number in range(highest + 1))

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the folders, and "train-proxy" where that list is there."""
        return tuple(self._lists)

    def ids(self, split: str) -> Iterator[str]:
        """Ids in the order of the list, read as they are asked for.

        Args:
            split: One of `splits`; "train-weaksup" and "train-fullsup" stand for "train" and "val", and the reverse.

        Raises:
            SettingError: There is no such split.
            DatasetError: Its list is not text.
        """
        return read_lines(self._list(split))

    def sample(self, id_: str) -> Sample:
        """One picture with its one class."""
        return Sample(id_, self._path(id_), (self.class_names[self._class_of(id_)],))

    def size(self, id_: str) -> tuple[int, int]:
        """(width, height) of a picture, from image_sizes.txt, or from its own header where the split has no such list.

        Raises:
            DatasetError: The list misses the picture or has no size for it, or the picture cannot be read.
        """
        path = self._folder_of(id_) / _SIZES
        if not path.is_file():
            return stored_size(self._path(id_))
        found = re.fullmatch(r"(\d{1,7}),(\d{1,7})", self._table(path).get(id_, ""))
        width, height = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 0 < width * height <= MAX_PIXELS:
            raise DatasetError(f"{path} needs one line {id_},width,height; correct it")
        return width, height

    def boxes(self, id_: str) -> tuple[Box, ...] | None:
        """Boxes of a picture; None where there are none, or masks instead.

        The lists count both corners as inside the object. They are not clipped: some genuine ones end at the width or
        height itself, one pixel outside, and the published evaluator scales them as they are.

        Raises:
            DatasetError: A line has neither four whole numbers nor mask paths, or the box is not inside the picture.
        """
        rows = self._truth(id_)
        if rows is None or len(rows[0]) != 4:
            return None
        class_id, size = self._class_of(id_), self.size(id_)
        return tuple(_to_box(class_id, row, size, id_) for row in rows)

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W) of a picture: the union of its instance masks, 255 in the rest of its ignore region.

        A pixel belongs to a mask where that is above 0.5, as in the published evaluator. That one resizes every mask to
        224 x 224; here they have the size of the picture, to which masks of another size (Open Images has them) are
        resized by the nearest neighbour.

        Returns:
            None where the picture has no masks, or boxes instead.

        Raises:
            DatasetError: A line or a mask is broken, or the class number does not fit into a mask.
        """
        rows = self._truth(id_)
        if rows is None or len(rows[0]) == 4:
            return None
        class_id, size = self._class_of(id_), self.size(id_)
        if class_id + 1 >= IGNORE:
            raise DatasetError(f"{id_} is of class {class_id}, but masks number classes up to {IGNORE - 2}; drop it")
        if any(ignored for _, *ignored in rows[1:] if ignored != [""]):
            raise DatasetError(f"{id_} has an ignore region in a line that is not its first one; mend {_TRUTH}")
        foreground = np.any([self._region(row[0], size) for row in rows], axis=0)
        mask = np.where(foreground, class_id + 1, 0).astype(np.int32)
        if rows[0][1:] not in ([], [""]):
            mask[self._region(rows[0][1], size) & ~foreground] = IGNORE
        return mask

    def problems(self, split: str) -> Iterator[str]:
        """Pictures that one of the lists of a split has and another has not.

        Raises:
            SettingError: There is no such split.
            DatasetError: A list is not text.
        """
        return self._find_problems(self._list(split))

    def _find_problems(self, path: Path) -> Iterator[str]:
        listed = set(read_lines(path))
        for table in (path.with_name(name) for name in (_LABELS, _SIZES, _TRUTH)):
            known = self._table(table).keys()
            if known or table.is_file():
                yield from (f"{table} has no line of {id_}" for id_ in sorted(listed - known))
            if path.name == _IDS:
                yield from (f"{table} has a line of {id_}, but {path} has not" for id_ in sorted(known - listed))

    def _list(self, split: str) -> Path:
        """The list of ids of a split, by either of its names."""
        twin = _TWINS.get(split, "")
        if split in self._lists or twin not in self._lists:
            self.check_split(split)
            return self._lists[split]
        return self._lists[twin]

    def _table(self, path: Path) -> dict[str, str]:
        """What follows each path in a list, lines of the same path joined by a line break; empty without the list."""
        if path not in self._tables:
            table: dict[str, list[str]] = {}
            for line in read_lines(path) if path.is_file() else ():
                id_, _, rest = line.partition(",")
                table.setdefault(id_, []).append(rest)
            self._tables[path] = {id_: "\n".join(rows) for id_, rows in table.items()}
        return self._tables[path]

    @cached_property
    def _smallest_first(self) -> list[Path]:
        """The folders of the splits; the million pictures of ImageNet's train are looked into last."""
        paths = [path for path in self._lists.values() if path.name == _IDS]
        return [path.parent for path in sorted(paths, key=lambda path: (path.stat().st_size, path))]

    def _folder_of(self, id_: str) -> Path:
        """The smallest split that has a class for a picture."""
        for folder in self._smallest_first:
            if id_ in self._table(folder / _LABELS):
                return folder
        raise DatasetError(f"no {_LABELS} of {self.root} has a line of {id_!r}; add it, or check the id")

    def _class_of(self, id_: str) -> int:
        path = self._folder_of(id_) / _LABELS
        text = self._table(path)[id_]
        number = _class_number(text)
        if number is None or number >= len(self.class_names):
            raise DatasetError(
                f"{path}: the class of {id_} is {text!r}; one whole number below {len(self.class_names)} is needed"
            )
        return number

    def _truth(self, id_: str) -> list[list[str]] | None:
        """The fields of each line of localization.txt: four corners, or a mask path and perhaps an ignore path."""
        path = self._folder_of(id_) / _TRUTH
        text = self._table(path).get(id_)
        if text is None:
            return None
        rows = [row.split(",") for row in text.split("\n")]
        kinds = {"box" if len(row) == 4 else "mask" if len(row) in (1, 2) and row[0] else "neither" for row in rows}
        if len(kinds) > 1 or "neither" in kinds:
            raise DatasetError(
                f"{path}: the lines of {id_} are not all path,x0,y0,x1,y1 or all path,mask path,ignore path; mend them"
            )
        return rows

    def _path(self, name: str) -> Path:
        """A path of the lists, in the first of the known folders that holds it."""
        paths = [inside(folder, name) for folder in self._folders]
        return next((path for path in paths if path.exists()), paths[0])

    def _region(self, name: str, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Where a mask file is above 0.5, (H, W)."""
        pixels = (read_index_png(self._path(name)) > 0).astype(np.uint8)
        if pixels.shape != size[::-1]:
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        return pixels.astype(np.bool_)


def _find_lists(metadata: Path) -> dict[str, Path]:
    """The list of ids of each split."""
    if (metadata / _IDS).is_file():
        return {"test": metadata / _IDS}
    lists = {path.parent.name: path for path in sorted(metadata.glob(f"*/{_IDS}"))}
    if lists:
        proxies = {f"{path.parent.name}-proxy": path for path in sorted(metadata.glob(f"*/{_PROXY}"))}
        return lists | proxies
    data_sets = sorted({path.parent.parent for path in metadata.glob(f"*/*/{_IDS}")})
    if len(data_sets) == 1:
        return _find_lists(data_sets[0])
    if data_sets:
        names = ", ".join(path.name for path in data_sets)
        raise DatasetError(f"{metadata} describes {names}; name the folder of one of them as metadata")
    raise DatasetError(f"{metadata} holds no WSOL metadata: looked for {_IDS}, */{_IDS} and */*/{_IDS}")


def _whole(text: str) -> int | None:
    """A whole number below 10^7; None where the text is something else."""
    return int(text) if text.isdecimal() and len(text) < 8 else None


def _class_number(text: str) -> int | None:
    number = _whole(text)
    return number if number is not None and number < _MAX_CLASSES else None


def _to_box(class_id: int, row: Sequence[str], size: tuple[int, int], id_: str) -> Box:
    x0, y0, x1, y1 = map(_whole, row)
    if x0 is None or y0 is None or x1 is None or y1 is None:
        raise DatasetError(f"{id_}: the box {','.join(row)} is not four whole numbers x0,y0,x1,y1; mend {_TRUTH}")
    width, height = size
    if not (x0 <= x1 <= width and y0 <= y1 <= height and x0 < width and y0 < height):
        raise DatasetError(
            f"{id_}: the box {','.join(row)} is not inside a picture of {width} x {height}, or has swapped corners; "
            f"mend {_TRUTH}"
        )
    return Box(class_id, x0, y0, x1 + 1, y1 + 1, 1.0)
