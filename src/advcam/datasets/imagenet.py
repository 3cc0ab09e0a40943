"""ImageNet: ILSVRC 2012 classification and localization, in the layout of its download.

    ILSVRC/Data/CLS-LOC/train/nXXXXXXXX/*.JPEG, ILSVRC/Data/CLS-LOC/val/*.JPEG
    ILSVRC/ImageSets/CLS-LOC/train_cls.txt, val.txt         the lists of the splits
    ILSVRC/Annotations/CLS-LOC/train/nXXXXXXXX/*.xml, val/*.xml
    LOC_synset_mapping.txt                                  the classes, in order
    LOC_train_solution.csv, LOC_val_solution.csv            read only where the folder of XMLs is missing

An id is the path below ILSVRC/Data/CLS-LOC: "train/n01440764/n01440764_10026.JPEG".
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from advcam.datasets.dataset import Dataset
from advcam.datasets.naming import unique_names
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError
from advcam.store.reading import inside, read_lines, read_xml
from advcam.types import Box, Sample

_LISTS = {"train": "train_cls.txt", "val": "val.txt"}
_SUFFIX = ".JPEG"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _Object(NamedTuple):
    """One annotated object: its synset, and x0, y0, x1, y1 as written (both corners inside the object)."""

    synset: str
    corners: tuple[str, ...]


class ImageNet(Dataset):
    """ILSVRC 2012 with 1000 classes, or a subset of it in the same layout.

    A picture of train has the class of its folder, one of val the classes of its annotation. All of val and about 42 %
    of train have boxes. Each split has one source of boxes: its folder of XMLs, or its CSV where there is none.

    Args:
        root: The folder that holds `ILSVRC` and `LOC_synset_mapping.txt`; naming `ILSVRC` itself means the same.

    Raises:
        DatasetError: The root does not hold this layout.
    """

    layout: ClassVar[str] = "imagenet"
    title: ClassVar[str] = "ImageNet (ILSVRC 2012)"
    landmarks: ClassVar[tuple[str, ...]] = ("ILSVRC/Data/CLS-LOC", "LOC_synset_mapping.txt")

    def __init__(self, root: Path) -> None:
        super().__init__(_above(root))
        self._data = self.root / "ILSVRC/Data/CLS-LOC"
        self._rows: dict[str, dict[str, str]] = {}

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether the folder, or the one above a folder named ILSVRC, looks like this layout."""
        return super().fits(_above(root))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """First name of each synset, with the synset where names repeat: "crane (n03126707)".

        Raises:
            DatasetError: LOC_synset_mapping.txt is broken.
        """
        return unique_names([names.partition(",")[0].strip() for names in self._synsets.values()], [*self._synsets])

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of train and val whose list and pictures are there."""
        return tuple(split for split in _LISTS if self._list(split).is_file() and (self._data / split).is_dir())

    def ids(self, split: str) -> Iterator[str]:
        """Ids in the order of the list, read as they are asked for.

        Raises:
            SettingError: There is no such split.
            DatasetError: Its list is not text.
        """
        self.check_split(split)
        return (f"{split}/{name}{_SUFFIX}" for name in self._listed(split))

    def sample(self, id_: str) -> Sample:
        """One picture with its class; val pictures whose objects are of several classes have them all."""
        path = inside(self._data, id_)
        split, name = self._parse(id_)
        if split == "train":
            classes = {self._class_of(name.partition("/")[0], id_)}
        else:
            objects = self._objects(split, name)
            if not objects:
                raise DatasetError(f"{id_} has no annotation that tells its class; restore its XML or CSV line")
            classes = {self._class_of(item.synset, id_) for item in objects}
        return Sample(id_, path, tuple(self.class_names[class_id] for class_id in sorted(classes)))

    def boxes(self, id_: str) -> tuple[Box, ...] | None:
        """Boxes of the annotated objects; None where the picture was not annotated.

        ILSVRC counts both corners as inside the object (the published evaluators take x1 - x0 + 1 as width), from 0 on.
        Some genuine boxes end at the width or height itself, one pixel outside: boxes are clipped to the picture.

        Raises:
            DatasetError: The annotation is broken.
        """
        path = inside(self._data, id_)
        split, name = self._parse(id_)
        objects = self._objects(split, name)
        if objects is None:
            return None
        size = self._size(split, name, path)
        return tuple(_to_box(self._class_of(item.synset, id_), item.corners, size, id_) for item in objects)

    def problems(self, split: str) -> Iterator[str]:
        """Annotations of unlisted pictures, and pictures of val without annotation.

        Raises:
            SettingError: There is no such split.
            DatasetError: A list or a CSV cannot be read.
        """
        self.check_split(split)
        return self._find_problems(split)

    def _find_problems(self, split: str) -> Iterator[str]:
        listed, annotated = set(self._listed(split)), self._annotated(split)
        yield from (
            f"{name} is annotated, but not listed in {self._list(split)}" for name in sorted(annotated - listed)
        )
        if split == "val":
            yield from (f"{name} has no annotation" for name in sorted(listed - annotated))

    def _annotated(self, split: str) -> set[str]:
        folder = self._xml_folder(split)
        if folder.is_dir():
            return {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.xml")}
        return {_name(split, stem) for stem in self._csv(split)}

    def _list(self, split: str) -> Path:
        return self.root / "ILSVRC/ImageSets/CLS-LOC" / _LISTS[split]

    def _listed(self, split: str) -> Iterator[str]:
        """Names of a list, such as "n01440764/n01440764_10026"; a line ends with the number of the picture."""
        return (line.split()[0] for line in read_lines(self._list(split)))

    def _xml_folder(self, split: str) -> Path:
        return self.root / "ILSVRC/Annotations/CLS-LOC" / split

    @cached_property
    def _synsets(self) -> dict[str, str]:
        """Names of each synset, in the order of the classes."""
        path = self.root / "LOC_synset_mapping.txt"
        found: dict[str, str] = {}
        for line in read_lines(path):
            synset, _, names = line.partition(" ")
            if not names.strip() or synset in found:
                raise DatasetError(f"{path}: {line!r} is no synset of its own with names; restore the file")
            found[synset] = names
        return found

    @cached_property
    def _class_of_synset(self) -> dict[str, int]:
        return {synset: number for number, synset in enumerate(self._synsets)}

    def _class_of(self, synset: str, id_: str) -> int:
        if synset not in self._class_of_synset:
            raise DatasetError(f"{id_} is of {synset!r}, which LOC_synset_mapping.txt does not list; add or remove it")
        return self._class_of_synset[synset]

    def _parse(self, id_: str) -> tuple[str, str]:
        """Split and name of an id."""
        split, *rest = id_.split("/")
        name = "/".join(rest)
        if not name.endswith(_SUFFIX) or not all(rest) or (split, len(rest)) not in (("train", 2), ("val", 1)):
            raise DatasetError(
                f'{self.root} has no picture {id_!r}; ids look like "train/n01440764/n01440764_10026{_SUFFIX}" and '
                f'"val/ILSVRC2012_val_00000001{_SUFFIX}"'
            )
        return split, name.removesuffix(_SUFFIX)

    def _objects(self, split: str, name: str) -> list[_Object] | None:
        """The annotated objects of a picture; None where it has no annotation."""
        folder = self._xml_folder(split)
        if not folder.is_dir():
            row = self._csv(split).get(name.rpartition("/")[2])
            return None if row is None else _parse_row(row, self._csv_path(split))
        path = inside(folder, f"{name}.xml")
        if not path.exists():
            return None
        return [
            _Object(entry.findtext("name", "").strip(), tuple(entry.findtext(f"bndbox/{key}", "") for key in _CORNERS))
            for entry in read_xml(path).findall("object")
        ]

    def _size(self, split: str, name: str, path: Path) -> tuple[int, int]:
        """(width, height) as the XML says, or of the picture itself where the boxes come from a CSV."""
        if not self._xml_folder(split).is_dir():
            return stored_size(path)
        xml = self._xml_folder(split) / f"{name}.xml"
        root = read_xml(xml)
        try:
            return int(root.findtext("size/width", "")), int(root.findtext("size/height", ""))
        except ValueError as error:
            raise DatasetError(f"{xml} has no <size> with width and height; restore the file") from error

    def _csv_path(self, split: str) -> Path:
        return self.root / f"LOC_{split}_solution.csv"

    def _csv(self, split: str) -> dict[str, str]:
        """Rows of a solution CSV by picture; empty where there is none."""
        if split not in self._rows:
            path = self._csv_path(split)
            self._rows[split] = _read_solution(path) if path.is_file() else {}
        return self._rows[split]


def _above(root: Path) -> Path:
    """The folder that holds ILSVRC."""
    return root.parent if root.name == "ILSVRC" and (root / "Data").is_dir() else root


def _name(split: str, stem: str) -> str:
    """Name of a picture in the lists, from its name in a CSV."""
    return f"{stem.partition('_')[0]}/{stem}" if split == "train" else stem


def _read_solution(path: Path) -> dict[str, str]:
    lines = read_lines(path)
    if (header := next(lines, "")) != "ImageId,PredictionString":
        raise DatasetError(f"{path} begins with {header!r} and not with ImageId,PredictionString; restore the file")
    rows: dict[str, str] = {}
    for line in lines:
        stem, _, row = line.partition(",")
        if stem in rows:
            raise DatasetError(f"{path} lists {stem!r} twice; remove one of the lines")
        rows[stem] = row
    return rows


def _parse_row(row: str, path: Path) -> list[_Object]:
    """Synset and four corners an object, such as "n01440764 13 9 120 88", to objects."""
    words = row.split()
    if len(words) % 5:
        raise DatasetError(f"{path}: the line of {row!r} is not a synset and four numbers an object; restore the file")
    return [_Object(words[first], tuple(words[first + 1 : first + 5])) for first in range(0, len(words), 5)]


def _to_box(class_id: int, corners: tuple[str, ...], size: tuple[int, int], id_: str) -> Box:
    try:
        x0, y0, x1, y1 = (int(corner) for corner in corners)
    except ValueError as error:
        raise DatasetError(
            f"{id_}: the corners of a box are {', '.join(corners)!r}; whole numbers are needed"
        ) from error
    box = Box(class_id, max(x0, 0), max(y0, 0), min(x1 + 1, size[0]), min(y1 + 1, size[1]), 1.0)
    if x0 > x1 or y0 > y1 or box.x0 >= box.x1 or box.y0 >= box.y1:
        raise DatasetError(
            f"{id_}: the box {x0}, {y0}, {x1}, {y1} covers no pixel of a picture of {size[0]} x {size[1]}; mend it"
        )
    return box
