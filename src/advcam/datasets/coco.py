"""MS COCO, and every data set whose instances are in its JSON format.

Layouts below the root:
- annotations/instances_SPLIT.json (train2014, val2014, train2017, val2017, or any other name), with the pictures in
  SPLIT/, images/SPLIT/ or images/.
- annotations.json or _annotations.coco.json, as annotation tools export it: one split "all", with the pictures in
  images/ or beside the file. It is looked for only where there are no instances files.

An id is the split and the file name of the JSON: "val2017/000000000139.jpg". So one file name may occur in two splits,
and the id alone says which JSON to read.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from advcam.datasets.dataset import Dataset
from advcam.datasets.naming import unique_names
from advcam.errors import DatasetError
from advcam.store.coco_index import CocoAnnotation, CocoIndex, CocoPicture, read_index, short
from advcam.store.reading import inside
from advcam.store.segmentation import paint, segment_pixels
from advcam.types import IGNORE, Box, Mask, Sample

_OWN_FILES = ("annotations.json", "_annotations.coco.json")
_OWN_SPLIT = "all"
#: A bbox with larger numbers is refused; no picture is that wide.
_FAR = 1e9


class COCO(Dataset):
    """MS COCO 2014 and 2017 instances, and own data in the same format.

    Classes are numbered by ascending category id, which is the usual order of the 80: ids 1 to 90 with gaps. A split
    is read when it is first asked for and stays in memory until another one is (some GiB for train2014).

    Args:
        root: The folder that holds `annotations` (or `annotations.json`).
        crowd_labels: Whether a crowd region alone makes its class a label of the picture. By default it does not, as
            it is ignored in the masks.

    Raises:
        DatasetError: There is no such file below the root.
    """

    layout: ClassVar[str] = "coco"
    title: ClassVar[str] = "MS COCO"
    landmarks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: Path, crowd_labels: bool = False) -> None:
        super().__init__(root)
        self.crowd_labels = crowd_labels
        self._files = _find_files(root)
        self._held: CocoIndex | None = None
        if not self._files:
            raise DatasetError(
                f"{root} holds no {self.title}: annotations/instances_*.json, {' and '.join(_OWN_FILES)} are missing "
                "below it"
            )

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether the folder holds a JSON by one of the names of this layout."""
        return bool(_find_files(root))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names by ascending category id; a name that categories share gets its id, as in "person (1)".

        Raises:
            DatasetError: The smallest JSON is broken.
        """
        return unique_names([name for _, name in self._categories], [str(id_) for id_, _ in self._categories])

    @property
    def splits(self) -> tuple[str, ...]:
        """What follows `instances_` in the names of the files."""
        return tuple(self._files)

    def ids(self, split: str) -> Iterator[str]:
        """Ids in the order of the JSON, pictures without annotation included.

        Raises:
            SettingError: There is no such split.
            DatasetError: Its JSON ends early, lacks a list, or has a picture without id or file name.
        """
        self.check_split(split)
        return (f"{split}/{name}" for name in self._index(split).pictures)

    def sample(self, id_: str) -> Sample:
        """A picture with the classes of its instances; () where it has none."""
        index, name, picture = self._find(id_)
        kept = [a for a in picture.annotations if self.crowd_labels or not _is_crowd(index, a)]
        found = {self._class_of(index, annotation) for annotation in kept}
        labels = tuple(self.class_names[class_id] for class_id in sorted(found))
        return Sample(id_, self._path(id_.partition("/")[0], name), labels)

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W) painted from the instances; None if no annotation of the split has a segmentation.

        Crowd regions are 255 where no instance covers them. Instances are painted from the largest to the smallest (by
        their pixels; equal ones in the order of the JSON), so that small objects stay visible. The masks that papers
        on COCO use may order overlaps differently.

        Raises:
            DatasetError: An annotation is broken, or there are more classes than a mask has numbers.
        """
        index, name, picture = self._find(id_)
        if not index.segmented:
            return None
        if len(self.class_names) >= IGNORE:
            raise DatasetError(
                f"{index.path} has {len(self.class_names)} categories, but a mask numbers at most {IGNORE - 1} classes "
                f"({IGNORE} is ignore); drop categories, or use labels and boxes only"
            )
        width, height = index.size(name)
        return paint(self._parts(index, picture, height, width), (height, width))

    def _parts(
        self, index: CocoIndex, picture: CocoPicture, height: int, width: int
    ) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Number in the mask and pixels of each annotation."""
        for annotation in picture.annotations:
            number = IGNORE if _is_crowd(index, annotation) else self._class_of(index, annotation) + 1
            yield number, segment_pixels(annotation.segmentation, height, width, _where(index, annotation))

    def boxes(self, id_: str) -> tuple[Box, ...]:
        """Boxes of the instances, in the order of the JSON; crowd regions have none.

        x, y, width and height are widened to whole pixels and clipped to the picture.
        """
        index, name, picture = self._find(id_)
        size = index.size(name)
        return tuple(
            _to_box(self._class_of(index, annotation), annotation.bbox, size, _where(index, annotation))
            for annotation in picture.annotations
            if not _is_crowd(index, annotation)
        )

    def problems(self, split: str) -> Iterator[str]:
        """Annotations that belong to no picture of the split, one line each.

        Raises:
            SettingError: There is no such split.
            DatasetError: Its JSON cannot be read.
        """
        self.check_split(split)
        return iter(self._index(split).orphans)

    @cached_property
    def _categories(self) -> tuple[tuple[int, str], ...]:
        """Those of the smallest file: the splits share them, and train2014 takes long to read."""
        smallest = min(self._files, key=lambda split: self._files[split].stat().st_size)
        return self._hold(smallest).categories

    @cached_property
    def _class_of_category(self) -> dict[int, int]:
        return {id_: number for number, (id_, _) in enumerate(self._categories)}

    def _index(self, split: str) -> CocoIndex:
        categories = self._categories
        index = self._hold(split)
        if index.categories != categories:
            raise DatasetError(
                f"{index.path} has other categories than the smallest file beside it; give it a root folder of its own"
            )
        return index

    def _hold(self, split: str) -> CocoIndex:
        """The index of a split; the one held before is given up first, to save memory."""
        index = self._held
        if index is None or index.path != self._files[split]:
            self._held = index = None
            self._held = index = read_index(self._files[split])
        return index

    def _find(self, id_: str) -> tuple[CocoIndex, str, CocoPicture]:
        split, _, name = id_.partition("/")
        index = self._index(split) if split in self._files else None
        if index is None or name not in index.pictures:
            raise DatasetError(f"{self.root} has no picture {id_!r}; an id is a split and a file name of its JSON")
        return index, name, index.picture(name)

    def _path(self, split: str, name: str) -> Path:
        """Where the picture lies: in the first of the known folders that holds it."""
        folders = (self.root / split, self.root / "images" / split, self.root / "images", self.root)
        paths = [inside(folder, name) for folder in folders if folder.is_dir()]
        return next((path for path in paths if path.exists()), paths[0])

    def _class_of(self, index: CocoIndex, annotation: CocoAnnotation) -> int:
        category = annotation.category
        if type(category) is not int or category not in self._class_of_category:
            raise DatasetError(
                f"{_where(index, annotation)}: there is no category {short(category)}; add it to the categories"
            )
        return self._class_of_category[category]


def _find_files(root: Path) -> dict[str, Path]:
    """The JSON of each split, by the name of the split."""
    found = sorted((root / "annotations").glob("instances_*.json"))
    if found:
        return {path.stem.removeprefix("instances_"): path for path in found}
    return next(({_OWN_SPLIT: root / name} for name in _OWN_FILES if (root / name).is_file()), {})


def _is_crowd(index: CocoIndex, annotation: CocoAnnotation) -> bool:
    if annotation.crowd not in (0, 1):
        raise DatasetError(f"{_where(index, annotation)}: iscrowd is {short(annotation.crowd)}; make it 0 or 1")
    return bool(annotation.crowd)


def _to_box(class_id: int, bbox: object, size: tuple[int, int], where: str) -> Box:
    numbers = bbox if isinstance(bbox, list) else []
    if len(numbers) != 4 or not all(type(value) in (int, float) and -_FAR < value < _FAR for value in numbers):
        raise DatasetError(f"{where}: the bbox {short(bbox)} is not x, y, width, height; mend or remove the annotation")
    x, y, width, height = numbers
    x0, y0 = max(math.floor(x), 0), max(math.floor(y), 0)
    x1, y1 = min(math.ceil(x + width), size[0]), min(math.ceil(y + height), size[1])
    if width < 0 or height < 0 or x0 >= x1 or y0 >= y1:
        raise DatasetError(
            f"{where}: the bbox {short(bbox)} covers no pixel of a picture of {size[0]} x {size[1]}; mend or remove it"
        )
    return Box(class_id, x0, y0, x1, y1, 1.0)


def _where(index: CocoIndex, annotation: CocoAnnotation) -> str:
    return f"{index.path}, annotation {short(annotation.id)}"
