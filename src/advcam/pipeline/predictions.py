"""What is to be evaluated, ours or anybody's: maps of a run, .npy score maps, PNG masks, COCO results.

A source answers for one picture at a time; nothing is kept. Its names are matched to the pictures of the data set by
the whole id, the id without extension, the file name, and the file name without extension; the first of these that fits
counts, and a name that fits two pictures fits none.
"""

import math
import re
from abc import ABC
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import EXTENSIONS
from advcam.datasets.reading import read_index_png, read_json
from advcam.errors import DatasetError, PictureError, SettingError, one_line
from advcam.pipeline.class_match import Groups
from advcam.store.maps import MapStore
from advcam.types import Box, FloatArray, Mask, Sample

Kind = Literal["maps", "masks", "boxes"]


class Predictions(ABC):
    """Predictions for the pictures of a data set."""

    kind: ClassVar[Kind]

    def __init__(self, names: Iterable[str], where: Path) -> None:
        self.where = where
        self.names = tuple(names)
        self._found = _unique_keys(self.names)

    def name_of(self, sample: Sample) -> str | None:
        """The name under which a picture is predicted, None where it is not."""
        keys = [key for id_ in (sample.id, sample.path.as_posix()) for key in _keys(id_)]
        return next((self._found[key] for key in keys if self._found.get(key)), None)

    def maps(self, name: str, sample: Sample) -> tuple[tuple[int, ...], FloatArray]:
        """Class numbers of the data set, and their maps (K, h, w) with values in [0, 1], at any size."""
        raise self._wrong_kind("maps")

    def mask(self, name: str, sample: Sample) -> Mask:
        """Label mask (H, W)."""
        raise self._wrong_kind("masks")

    def boxes(self, name: str, sample: Sample) -> tuple[Box, ...]:
        """Boxes with scores, the best first."""
        raise self._wrong_kind("boxes")

    def _wrong_kind(self, wanted: Kind) -> SettingError:
        return SettingError(f"{self.where} holds {self.kind}, but this protocol takes {wanted}")


class RunMaps(Predictions):
    """The maps of a run of `advcam localize`."""

    kind = "maps"

    def __init__(self, folder: Path, dataset: Dataset, groups: Groups | None = None) -> None:
        self.store = MapStore(folder / "maps")
        self.dataset = dataset
        self._class_of = _inverse(groups, dataset)
        super().__init__(self.store.index(), folder)

    def maps(self, name: str, sample: Sample) -> tuple[tuple[int, ...], FloatArray]:
        """Maps of the run; classes of the classifier that stand for one class are joined by their maximum."""
        attribution = self.store.get(name).attribution
        joined: dict[int, FloatArray] = {}
        for number, class_name, one in zip(
            attribution.class_ids, attribution.class_names, attribution.maps, strict=True
        ):
            class_id = self._class_id(number, class_name, sample)
            joined[class_id] = np.maximum(joined[class_id], one) if class_id in joined else one
        return tuple(joined), np.stack(list(joined.values())) if joined else attribution.maps

    def _class_id(self, number: int, name: str, sample: Sample) -> int:
        if self._class_of is None:
            return self.dataset.class_id(name)
        fitting = self._class_of.get(name) or self._class_of.get(number) or ()
        # An ImageNet id can stand for two classes (dining table, chair): the labels of the picture decide.
        labelled = [class_id for class_id in fitting if self.dataset.class_names[class_id] in (sample.labels or ())]
        if not fitting:
            raise DatasetError(f"{sample.id}: the groups name no class of {self.dataset.title} for {name!r} ({number})")
        return (labelled or list(fitting))[0]


class MapFiles(Predictions):
    """Score maps as .npy: (h, w) for a picture of one class, (K, h, w) for its labels in order, or for all classes."""

    kind = "maps"

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self.dataset = dataset
        super().__init__(_files_below(folder, ".npy"), folder)

    def maps(self, name: str, sample: Sample) -> tuple[tuple[int, ...], FloatArray]:
        """The maps of one file."""
        path = self.where / f"{name}.npy"
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise PictureError(f"{path} cannot be read as an array of numbers ({one_line(error)})") from error
        labels = tuple(self.dataset.class_id(label) for label in sample.labels or ())
        if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or not array.size:
            raise PictureError(
                f"{path} holds {array.dtype} of shape {array.shape}; a map is (h, w) or (K, h, w) numbers"
            )
        stack = np.asarray(array[None] if array.ndim == 2 else array, dtype=np.float32)
        if len(stack) == len(labels):
            return labels, _checked(stack, path)
        if len(stack) == len(self.dataset.class_names):
            return labels, _checked(stack, path)[list(labels)]
        raise PictureError(
            f"{path} holds {len(stack)} maps; {sample.id} has {len(labels)} labels and the data set "
            f"{len(self.dataset.class_names)} classes: give one for each label, or for each class"
        )


class MaskFiles(Predictions):
    """Label masks as PNG: 0 background, class number + 1."""

    kind = "masks"

    def __init__(self, folder: Path) -> None:
        super().__init__(_files_below(folder, ".png"), folder)

    def mask(self, name: str, sample: Sample) -> Mask:
        """The mask of one file."""
        return read_index_png(self.where / f"{name}.png")


class CocoResults(Predictions):
    """COCO results: a JSON list of {image_id, category_id, bbox, score}.

    `image_id` is a number, as in the instances file or at the end of the file name (COCO writes it there), or the
    text of a picture's id. `category_id` counts as the data set does: COCO's own ids for COCO, from 1 elsewhere.
    """

    kind = "boxes"

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.dataset = dataset
        self._class_of = _category_numbers(dataset)
        self._entries: dict[str, list[Box]] = {}
        for number, entry in enumerate(_entries(path)):
            name, box = self._parsed(entry, f"{path}, entry {number}")
            self._entries.setdefault(name, []).append(box)
        super().__init__(self._entries, path)

    def name_of(self, sample: Sample) -> str | None:
        """As for files, and by the number at the end of the file name."""
        digits = re.search(r"(\d+)$", sample.path.stem)
        number = str(int(digits.group(1))) if digits else None
        return super().name_of(sample) or (number if number in self._entries else None)

    def boxes(self, name: str, sample: Sample) -> tuple[Box, ...]:
        """The boxes of a picture, the best score first."""
        return tuple(sorted(self._entries[name], key=lambda box: -box.score))

    def _parsed(self, entry: object, where: str) -> tuple[str, Box]:
        try:
            image, category = entry["image_id"], entry["category_id"]  # type: ignore[index]
            x, y, width, height = (float(value) for value in entry["bbox"])  # type: ignore[index]
            score = float(entry["score"])  # type: ignore[index]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{where} is no result with image_id, category_id, bbox [x, y, w, h] and score"
            ) from error
        if category not in self._class_of or not all(map(math.isfinite, (x, y, width, height, score))):
            raise DatasetError(
                f"{where}: category {category} is no class of {self.dataset.title}, or a number is not finite"
            )
        corners = (math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height))
        return str(image), Box(self._class_of[category], *corners, score)


def open_predictions(path: Path, dataset: Dataset, groups: Groups | None = None) -> Predictions:
    """Find out what a path holds and open it.

    Args:
        path: A run of `advcam localize`, a folder of .npy maps or of .png masks, or a COCO results JSON.
        dataset: Whose pictures are predicted.
        groups: Classes of the classifier behind a run, where they are not those of the data set.

    Raises:
        SettingError: The path holds nothing of these, or both maps and masks.
        DatasetError: The results file is broken.
    """
    if path.is_file() and path.suffix == ".json":
        return CocoResults(path, dataset)
    if (path / "maps").is_dir() and (path / "config.json").is_file():
        return RunMaps(path, dataset, groups)
    if not path.is_dir():
        raise SettingError(f"{path} does not exist; name a run, a folder of .npy maps or .png masks, or a results JSON")
    kinds = [kind for kind in (".npy", ".png") if next(path.rglob(f"*{kind}"), None)]
    if kinds == [".npy"]:
        return MapFiles(path, dataset)
    if kinds == [".png"]:
        return MaskFiles(path)
    found = "both .npy maps and .png masks" if kinds else "neither .npy maps nor .png masks, and is no run of advcam"
    raise SettingError(f"{path} holds {found}; name a folder with one kind of predictions")


def _files_below(folder: Path, extension: str) -> Iterator[str]:
    """Paths relative to a folder without the extension, sorted."""
    files = sorted(folder.rglob(f"*{extension}"))
    return (path.relative_to(folder).as_posix().removesuffix(extension) for path in files)


def _keys(name: str) -> list[str]:
    """What a name can be found by, the most exact first."""
    path = PurePosixPath(name)
    return list(dict.fromkeys([name, _bare(name), path.name, _bare(path.name)]))


def _bare(name: str) -> str:
    """The name without the extension of a picture; other dots belong to the name."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in EXTENSIONS else name


def _unique_keys(names: Iterable[str]) -> dict[str, str]:
    """The name behind each key; "" where several names share a key that is not the whole name of one of them."""
    found: dict[str, str] = {}
    whole = set()
    for name in names:
        whole.add(name)
        for key in _keys(name):
            found[key] = "" if key in found and found[key] != name else name
    return found | {name: name for name in whole}


def _inverse(groups: Groups | None, dataset: Dataset) -> dict[int | str, list[int]] | None:
    """Classes of the data set by the output of the classifier that stands for them."""
    if groups is None:
        return None
    classes: dict[int | str, list[int]] = {}
    for name, members in groups.items():
        for member in members:
            classes.setdefault(member, []).append(dataset.class_id(name))
    return classes


def _checked(stack: FloatArray, path: Path) -> FloatArray:
    if not np.isfinite(stack).all() or stack.min() < 0 or stack.max() > 1:
        raise PictureError(
            f"{path} holds values from {stack.min():g} to {stack.max():g}; score maps lie in [0, 1] without NaN "
            "(divide each map by its maximum)"
        )
    return stack


def _category_numbers(dataset: Dataset) -> dict[int, int]:
    own = getattr(dataset, "category_ids", None)
    return {category: number for number, category in enumerate(own or range(1, len(dataset.class_names) + 1))}


def _entries(path: Path) -> list[object]:
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError(
            f"{path} is no list of results; COCO results are [{{image_id, category_id, bbox, score}}, ..]"
        )
    return content
