"""What is to be evaluated, ours or anybody's: maps of a run, .npy score maps, PNG masks, COCO results.

A source answers for one picture at a time; no map is kept. A prediction belongs to a picture if its whole name, as a
path, ends the path of the picture (`1`, `cat/1.jpg`, `val/cat/1` for val/cat/1.jpg), or if it ends with the whole id of
the picture (`run/val/cat/1`); extensions of pictures may be left out. So a prediction for train/cat/1.jpg is never
taken for one of val/cat/1.jpg.
"""

import re
from abc import ABC
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from advcam.datasets.coco import COCO
from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import EXTENSIONS
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError, PictureError, SettingError, one_line
from advcam.pipeline.class_match import Groups
from advcam.pipeline.evaluation.coco_results import coco_numbers, read_results
from advcam.store.class_file import read_class_file
from advcam.store.maps import MapStore
from advcam.store.reading import read_index_png
from advcam.types import Box, FloatArray, Mask, Sample

Kind = Literal["maps", "masks", "boxes"]


class Predictions(ABC):
    """Predictions for the pictures of a data set.

    Args:
        names: Names of the predictions, with `/`.
        where: Where they lie.
    """

    kind: ClassVar[Kind]

    def __init__(self, names: Iterable[str], where: Path) -> None:
        self.where = where
        self.names = tuple(names)
        self._whole: dict[str, list[str]] = {}
        self._ending: dict[str, list[str]] = {}
        for name in self.names:
            _enter(self._whole, name, _spellings(name))
            _enter(self._ending, name, _endings(name))

    def name_of(self, sample: Sample) -> str | None:
        """The name under which a picture is predicted, None where it is not.

        Raises:
            DatasetError: Two predictions fit equally well.
        """
        paths = [*_endings(sample.id), *_endings(sample.path.as_posix())]
        return self._find(sample, _spellings(sample.id), self._ending) or self._find(sample, paths, self._whole)

    def maps(self, name: str, sample: Sample) -> tuple[tuple[int, ...], FloatArray]:
        """Class numbers of the data set, and their maps (K, h, w) with values in [0, 1], at any size."""
        raise self._wrong_kind("maps")

    def mask(self, name: str, sample: Sample) -> Mask:
        """Label mask (H, W)."""
        raise self._wrong_kind("masks")

    def boxes(self, name: str, sample: Sample) -> tuple[Box, ...]:
        """Boxes with scores, the best first."""
        raise self._wrong_kind("boxes")

    def _find(self, sample: Sample, keys: Sequence[str], names: dict[str, list[str]]) -> str | None:
        """The name behind the first key that has one; a name that is the key itself goes before others."""
        for key in keys:
            fitting = names.get(key, [])
            if key not in fitting and len(fitting) > 1:
                raise DatasetError(
                    f"{self.where} has two predictions of {sample.id}: {fitting[0]} and {fitting[1]}; keep one of them"
                )
            if fitting:
                return key if key in fitting else fitting[0]
        return None

    def _wrong_kind(self, wanted: Kind) -> SettingError:
        return SettingError(f"{self.where} holds {self.kind}, but this protocol takes {wanted}")


class RunMaps(Predictions):
    """The maps of a run of `advcam localize`.

    Without groups, a class of the run is the class of the data set with the same name, or else with the number of the
    output as its name (the classes of WSOL metadata are numbers).
    """

    kind = "maps"

    def __init__(self, folder: Path, dataset: Dataset, groups: Groups | None = None) -> None:
        self.store = MapStore(folder / "maps")
        self.dataset = dataset
        self.grouped = groups is not None
        own = {name: [name] for name in dataset.class_names}
        self._classes: dict[str, list[int]] = {}
        for name, members in (own if groups is None else groups).items():
            for member in members:
                self._classes.setdefault(_folded(member), []).append(dataset.class_id(name))
        super().__init__(self.store.ids(), folder)

    def maps(self, name: str, sample: Sample) -> tuple[tuple[int, ...], FloatArray]:
        """Maps of the run; outputs of the classifier that stand for one class are joined by their maximum."""
        attribution = self.store.get(name).attribution
        joined: dict[int, FloatArray] = {}
        for number, class_name, one in zip(
            attribution.class_ids, attribution.class_names, attribution.maps, strict=True
        ):
            class_id = self._class_id(number, class_name, sample)
            joined[class_id] = np.maximum(joined[class_id], one) if class_id in joined else one
        return tuple(joined), np.stack(list(joined.values())) if joined else attribution.maps

    def _class_id(self, number: int, name: str, sample: Sample) -> int:
        fitting = self._classes.get(_folded(name)) or self._classes.get(str(number))
        if not fitting:
            advice = f"add it to the groups as {name!r} or {number}" if self.grouped else "name its groups by --groups"
            raise DatasetError(f"no class of {self.dataset.title} is {name!r}, output {number} of the run; {advice}")
        # An ImageNet id can stand for two classes (dining table, chair): the labels of the picture decide.
        labelled = [class_id for class_id in fitting if self.dataset.class_names[class_id] in (sample.labels or ())]
        return (labelled or fitting)[0]


class MapFiles(Predictions):
    """Score maps as .npy: (h, w) for a picture of one class, (K, h, w) for its labels in order, or for all classes."""

    kind = "maps"

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.dataset = dataset
        self._paths = _files_below(folder, ".npy")
        super().__init__(self._paths, folder)

    def maps(self, name: str, sample: Sample) -> tuple[tuple[int, ...], FloatArray]:
        """The maps of one file."""
        path = self._paths[name]
        stack = _read_maps(path)
        labels = tuple(self.dataset.class_id(label) for label in sample.labels or ())
        if len(stack) == len(labels):
            return labels, stack
        if len(stack) == len(self.dataset.class_names):
            return labels, stack[list(labels)]
        raise PictureError(
            f"{path} holds {len(stack)} maps; {sample.id} has {len(labels)} labels and the data set "
            f"{len(self.dataset.class_names)} classes: give one for each label, or for each class"
        )


class MaskFiles(Predictions):
    """Label masks as PNG: 0 background, class number + 1.

    Masks of advcam have their numbers in classes.json beside their folder: those of a classifier of more than 254
    classes are numbered as they were met.
    """

    kind = "masks"

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self._paths = _files_below(folder, ".png")
        self._numbers = _numbers_of_run(folder.parent / "classes.json", dataset)
        super().__init__(self._paths, folder)

    def mask(self, name: str, sample: Sample) -> Mask:
        """The mask of one file, in the numbers of the data set."""
        mask = read_index_png(self._paths[name])
        found = np.unique(mask)
        if all(self._numbers.get(number, number) == number for number in found.tolist()):
            return mask
        numbers = [self._numbers.get(number, number) for number in found.tolist()]
        return np.asarray(numbers, dtype=np.int32)[np.searchsorted(found, mask)]


class CocoResults(Predictions):
    """COCO results: a JSON list of {image_id, category_id, bbox, score}.

    `image_id` is the number of the picture in the instances file of COCO, elsewhere the number that its file name is
    (2007000032 for 2007_000032.jpg), or the text of its id. `category_id` counts as the data set does: COCO's own ids
    for COCO, from 1 elsewhere.
    """

    kind = "boxes"

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.dataset = dataset
        self._boxes = read_results(path, coco_numbers(dataset).classes)
        self._image_ids: dict[str, dict[str, str]] = {}
        super().__init__(self._boxes, path)

    def name_of(self, sample: Sample) -> str | None:
        """By its number, else as for files."""
        number = self._number(sample)
        return number if number in self._boxes else super().name_of(sample)

    def boxes(self, name: str, sample: Sample) -> tuple[Box, ...]:
        """The boxes of a picture, the best score first, cut off where they leave the picture.

        Raises:
            DatasetError: One lies outside of the picture, or the picture cannot be read.
        """
        width, height = stored_size(sample.path)
        return tuple(_clipped(box, width, height) for box in self._boxes[name])

    def _number(self, sample: Sample) -> str | None:
        if not isinstance(self.dataset, COCO):
            digits = re.sub(r"[_-]", "", sample.path.stem)
            return str(int(digits)) if re.fullmatch("[0-9]{1,18}", digits) else None
        split, _, name = sample.id.partition("/")
        if split not in self._image_ids:
            pictures = coco_numbers(self.dataset, split).pictures
            self._image_ids[split] = {name: number for number, name in pictures.items()}
        return self._image_ids[split].get(name)


def open_predictions(path: Path, dataset: Dataset, groups: Groups | None = None) -> Predictions:
    """Find out what a path holds and open it.

    Args:
        path: A run of `advcam localize`, a folder of .npy maps or of .png masks, or a COCO results JSON.
        dataset: Whose pictures are predicted.
        groups: Classes of the classifier behind a run, where they are not those of the data set.

    Raises:
        SettingError: The path holds nothing of these, a part of a run, or both maps and masks.
        DatasetError: The results file is broken.
        RunError: The run is damaged.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        return CocoResults(path, dataset)
    if is_run(path):
        return RunMaps(path, dataset, groups)
    if is_run(path.parent):
        raise SettingError(f"{path} is part of a run of advcam; name the run itself, {path.parent}")
    if not path.is_dir():
        found = "is no results JSON" if path.exists() else "does not exist"
        raise SettingError(f"{path} {found}; name a run, a folder of .npy maps or .png masks, or a results JSON")
    kinds = [kind for kind in (".npy", ".png") if _files_below(path, kind)]
    if kinds == [".npy"]:
        return MapFiles(path, dataset)
    if kinds == [".png"]:
        return MaskFiles(path, dataset)
    found = "both .npy maps and .png masks" if kinds else "neither .npy maps nor .png masks, and is no run of advcam"
    raise SettingError(f"{path} holds {found}; name a folder with one kind of predictions")


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of `advcam localize`, or holds the refined maps of one."""
    maps = folder / "maps"
    return maps.is_dir() and ((folder / "config.json").is_file() or any(maps.glob("part-*.parquet")))


def _files_below(folder: Path, extension: str) -> dict[str, Path]:
    """Visible files by their path relative to a folder, without the extension, sorted."""
    names = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")))
    return {
        name.as_posix()[: -len(extension)]: path
        for name, path in names
        if path.suffix.lower() == extension and not any(part.startswith(".") for part in name.parts)
    }


def _numbers_of_run(path: Path, dataset: Dataset) -> dict[int, int]:
    """Class number + 1 of the data set for the numbers of a run's masks.

    As for maps, a class of the run is the class of the same name, or else of the number of its output. Where the data
    set lacks one of them, or the file is another's or not there, the numbers stay as they are.
    """
    try:
        entries = read_class_file(path)
    except (OSError, ValueError):
        return {}
    known = {_folded(name): number + 1 for number, name in enumerate(dataset.class_names)}
    found = {one.number: known.get(_folded(one.name)) or known.get(str(one.class_id)) for one in entries}
    complete = {number: there for number, there in found.items() if there is not None}
    return complete if len(complete) == len(found) else {}


def _enter(found: dict[str, list[str]], name: str, keys: Iterable[str]) -> None:
    """Note a name under its keys; two names of a key are enough to know that it tells them not apart."""
    for key in keys:
        names = found.setdefault(key, [])
        if len(names) < 2 or key == name:
            names.append(name)


def _endings(path: str) -> list[str]:
    """The ends of a path at its slashes, the longest first, each with and without the extension of a picture."""
    parts = path.split("/")
    return [spelling for start in range(len(parts)) for spelling in _spellings("/".join(parts[start:]))]


def _spellings(name: str) -> list[str]:
    """The name, and the name without the extension of a picture; other dots belong to the name."""
    stem, _, extension = name.rpartition(".")
    return [name, stem] if stem and f".{extension.lower()}" in EXTENSIONS else [name]


def _folded(name: str | int) -> str:
    """How classifiers compare names of classes: without regard to case."""
    return str(name).strip().casefold()


def _read_maps(path: Path) -> FloatArray:
    """The maps of a file, (K, h, w), values in [0, 1].

    Raises:
        PictureError: The file is damaged, no array of numbers of that shape, or holds other values.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # the parser raises nearly every type on damaged headers
        raise PictureError(
            f"{path} cannot be read as an array of numbers ({one_line(error)}); write it again"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim not in (2, 3):
        found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise PictureError(f"{path} holds {found}; a map is (h, w) or (K, h, w) numbers")
    if 0 in array.shape[-2:]:
        raise PictureError(f"{path} holds maps without a pixel, of shape {array.shape}; give each at least one")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise PictureError(
            f"{path} holds values from {array.min():g} to {array.max():g}; score maps lie in [0, 1] without NaN "
            "(divide each map by its maximum)"
        )
    return np.asarray(array[None] if array.ndim == 2 else array, dtype=np.float32)


def _clipped(box: Box, width: int, height: int) -> Box:
    inside = replace(box, x0=max(box.x0, 0), y0=max(box.y0, 0), x1=min(box.x1, width), y1=min(box.y1, height))
    if inside.x0 >= inside.x1 or inside.y0 >= inside.y1:
        raise DatasetError(
            f"the box {box.x0}, {box.y0}, {box.x1}, {box.y1} lies outside of a picture of {width} x {height} pixels; "
            "give x, y, width, height in pixels of the stored picture"
        )
    return inside
