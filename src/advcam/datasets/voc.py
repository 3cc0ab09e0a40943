"""PASCAL VOC 2012: pictures with objects in XML and masks of classes, and the lists of the segmentation field.

Source: VOCdevkit 2012; the list train_aug (10,582 pictures) and SegmentationClassAug come from SBD (Hariharan et al.,
ICCV 2011) as the field passes them on.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree as ET

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import MAX_PIXELS
from advcam.datasets.truth import read_class_mask
from advcam.errors import DatasetError
from advcam.store.reading import inside, numbered_lines, read_xml
from advcam.types import Box, Mask, Sample

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_LISTS = {
    "train": ("Segmentation/train.txt",),
    "val": ("Segmentation/val.txt",),
    "trainval": ("Segmentation/trainval.txt",),
    "test": ("Segmentation/test.txt",),
    "trainaug": ("Segmentation/trainaug.txt", "Segmentation/train_aug.txt"),
    "main/train": ("Main/train.txt",),
    "main/val": ("Main/val.txt",),
    "main/trainval": ("Main/trainval.txt",),
}
#: SBD's masks come first: where both folders have a file, SegmentationClassAug is the one that trainaug is scored on.
_MASK_FOLDERS = ("SegmentationClassAug", "SegmentationClass")
_NAME = re.compile(r"(?:\S*/)?(\d{4})_?(\d{6})(?:\.jpg|\.png)?", re.ASCII)


@dataclass(frozen=True)
class _Object:
    """An <object> of an annotation: `where` is its place for errors."""

    class_id: int
    element: ET.Element
    where: str


class VOC2012(Dataset):
    """PASCAL VOC 2012 with its segmentation and its main lists.

    An id is the bare name of a picture, such as 2007_000032. The pictures of the list `test` have no public
    annotation: where their XML is absent they have neither labels nor boxes. A picture without a mask (in
    `trainaug` without SegmentationClassAug, and in the main lists) is no error: its mask is None.

    Args:
        root: VOCdevkit/VOC2012, the VOCdevkit above it, or the folder above that.
        difficult: True counts every object, as the masks do (the convention of psa and irn); False leaves out the
            objects marked as difficult, so classes that have no other object (the VOC classification challenge).

    Raises:
        DatasetError: There is no VOC 2012 at the root.
    """

    layout = "voc2012"
    title = "PASCAL VOC 2012"
    landmarks = ("JPEGImages", "Annotations", "ImageSets")

    def __init__(self, root: Path, *, difficult: bool = True) -> None:
        super().__init__(_home(root))
        self.difficult = difficult

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether VOC 2012 lies at a folder or at VOC2012 or VOCdevkit/VOC2012 below it."""
        return super().fits(_home(root))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 20 classes in alphabetical order."""
        return VOC_CLASSES

    @property
    def splits(self) -> tuple[str, ...]:
        """The segmentation lists by name, then the lists of ImageSets/Main as main/NAME."""
        return tuple(self._lists)

    def ids(self, split: str) -> Iterator[str]:
        """Ids of the pictures of a split, in the order of its list.

        A line is a bare id, an id without the underscore (2007000032), or a pair of paths
        (/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png).

        Raises:
            SettingError: There is no such split.
            DatasetError: A line is none of these.
        """
        self.check_split(split)
        return (_read_id(where, line) for where, line in numbered_lines(self._lists[split]))

    def sample(self, id_: str) -> Sample:
        """One picture with its image labels, in the order of `class_names`.

        Raises:
            DatasetError: Its XML is broken or missing, or names a class that VOC has not.
        """
        path = inside(self.root, f"JPEGImages/{id_}.jpg")
        annotation = self._annotation(id_)
        if annotation is None:
            return Sample(id_, path)
        shown = {found.class_id for found in self._objects(id_, annotation)}
        return Sample(id_, path, tuple(VOC_CLASSES[class_id] for class_id in sorted(shown)))

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W): 0 background, class number + 1, 255 void (the border of objects).

        Taken from SegmentationClassAug, else from SegmentationClass; None where neither has a file.

        Raises:
            DatasetError: It cannot be read, or holds other numbers than 0 to 20 and 255.
        """
        paths = (inside(self.root, f"{folder}/{id_}.png") for folder in _MASK_FOLDERS)
        path = next((path for path in paths if path.is_file()), None)
        return None if path is None else read_class_mask(path, len(VOC_CLASSES))

    def boxes(self, id_: str) -> tuple[Box, ...] | None:
        """Boxes of the objects, in the order of the XML; those of their parts (head, hand, foot) are not among them.

        VOC counts pixels from 1 and both corners as inside; fractions of a pixel, which some files have, are rounded
        to the nearest whole one.

        Raises:
            DatasetError: The XML is broken or missing, or a box is no box inside the <size> of the picture.
        """
        annotation = self._annotation(id_)
        if annotation is None:
            return None
        where = f"{inside(self.root, f'Annotations/{id_}.xml')}, <size>"
        size = (_pixel(annotation, "size/width", where), _pixel(annotation, "size/height", where))
        if not 0 < size[0] * size[1] <= MAX_PIXELS:
            raise DatasetError(f"{where}: {size[0]} x {size[1]} is the size of no picture; correct the file")
        return tuple(_read_box(found, size) for found in self._objects(id_, annotation))

    def _annotation(self, id_: str) -> ET.Element | None:
        """Root of the XML of a picture; None for a test picture without one."""
        path = inside(self.root, f"Annotations/{id_}.xml")
        if not path.exists() and id_ in self._test_ids:
            return None
        annotation = read_xml(path)
        if annotation.tag != "annotation":
            raise DatasetError(f"{path} holds <{annotation.tag}> instead of <annotation>; restore the file")
        return annotation

    def _objects(self, id_: str, annotation: ET.Element) -> Iterator[_Object]:
        """The objects that count, among the direct children: a <part> inside an <object> is none."""
        path = inside(self.root, f"Annotations/{id_}.xml")
        for number, element in enumerate(annotation.findall("object"), 1):
            name = " ".join((element.findtext("name") or "").split())
            where = f"{path}, object {number} ({name or 'without a name'})"
            try:
                class_id = self.class_id(name)
            except DatasetError as error:
                raise DatasetError(f"{where}: {error}") from error
            mark = (element.findtext("difficult") or "0").strip()  # some files of 2011 leave the mark out
            if mark not in ("0", "1"):
                raise DatasetError(f"{where}: <difficult> is {mark!r}; it is 0 or 1; correct the file")
            if self.difficult or mark == "0":
                yield _Object(class_id, element, where)

    @property
    def _lists(self) -> dict[str, Path]:
        """The lists that are on disk, by the name of their split."""
        paths = {split: [self.root / "ImageSets" / name for name in names] for split, names in _LISTS.items()}
        found = {split: [path for path in candidates if path.is_file()] for split, candidates in paths.items()}
        return {split: existing[0] for split, existing in found.items() if existing}

    @cached_property
    def _test_ids(self) -> frozenset[str]:
        return frozenset(self.ids("test")) if "test" in self.splits else frozenset()


def _home(root: Path) -> Path:
    """The folder VOC2012 itself, for a root at or above it."""
    candidates = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    return next((home for home in candidates if all((home / name).exists() for name in VOC2012.landmarks)), root)


def _read_id(where: str, line: str) -> str:
    """The id that a line of a list names, once or, as picture and mask, twice."""
    names = [_NAME.fullmatch(field) for field in line.split()]
    ids = {f"{name[1]}_{name[2]}" for name in names if name}
    if len(names) > 2 or not all(names) or len(ids) != 1:
        raise DatasetError(
            f"{where}: {line!r} names no picture; a line is an id such as 2007_000032, or the paths of a picture and "
            "of its own mask; mend the line"
        )
    return ids.pop()


def _read_box(found: _Object, size: tuple[int, int]) -> Box:
    """From 1-based corners, both inside, to 0-based and half open."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    x0, y0, x1, y1 = (_pixel(found.element, f"bndbox/{side}", found.where) for side in sides)
    width, height = size
    if not (1 <= x0 <= x1 <= width and 1 <= y0 <= y1 <= height):
        raise DatasetError(
            f"{found.where}: the box xmin {x0}, ymin {y0}, xmax {x1}, ymax {y1} does not lie inside the picture of "
            f"{width} x {height} pixels, counted from 1; correct the file"
        )
    return Box(found.class_id, x0 - 1, y0 - 1, x1, y1, 1.0)


def _pixel(element: ET.Element, name: str, where: str) -> int:
    """A coordinate, which some files write with a fraction."""
    text = (element.findtext(name) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f"{where}: {name} is {text!r} instead of a number of pixels; correct the file")
    return round(value)
