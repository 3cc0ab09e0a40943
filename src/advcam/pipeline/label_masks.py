"""Where label masks to learn from come from: the truth of a data set, or PNG files of a run or of anybody.

A source is called with a sample and gives its mask in the class numbers of the data set: 0 background, class number +
1, 255 undecided. Sources are plain objects that worker processes can be handed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcam.datasets.dataset import Dataset
from advcam.errors import DatasetError, RunError, SettingError, counted, one_line
from advcam.pipeline.evaluation.predictions import MaskFiles
from advcam.segment.masks import first_of
from advcam.store.class_file import read_class_file
from advcam.store.corrections import Corrections, Review
from advcam.store.masks import read_mask
from advcam.types import IGNORE, Mask, Sample

#: Folders of a run that hold masks; what was said of these lies in the run.
_PARTS = ("pseudo", "predictions")


@dataclass(frozen=True)
class TrueMasks:
    """The true masks of a data set.

    Args:
        dataset: With masks.
    """

    dataset: Dataset

    def __call__(self, sample: Sample) -> Mask:
        """The true mask of a picture.

        Raises:
            DatasetError: It has none, or a broken one.
        """
        mask = self.dataset.mask(sample.id)
        if mask is None:
            raise DatasetError(f"{sample.id} has no true mask; leave it out of the list")
        return mask


@dataclass(frozen=True)
class WrittenMasks:
    """Masks in PNG files.

    Args:
        files: Path of the mask of each picture, by its id.
        numbers: (V,), class number of each value of the files, -1 where a value is no class.
        by_hand: Ids of the pictures whose mask a person drew.
    """

    files: dict[str, Path]
    numbers: NDArray[np.int32]
    by_hand: frozenset[str] = frozenset()

    def __call__(self, sample: Sample) -> Mask:
        """The mask of a picture.

        Raises:
            DatasetError: It holds a number that is no class.
            PictureError: It cannot be read.
        """
        path = self.files[sample.id]
        mask = read_mask(path)
        known = np.minimum(mask, len(self.numbers) - 1)
        numbered: Mask = self.numbers[known]
        wrong = (numbered < 0) | (mask != known)
        if wrong.any():
            raise DatasetError(
                f"{path} holds the value {int(mask[wrong][0])}, which is no class; masks hold 0 for the background, "
                "1 .. for the classes in their order, and 255 for what is undecided"
            )
        return numbered

    def of(self, samples: Sequence[Sample]) -> list[Sample]:
        """Those of the samples that have a file."""
        return [sample for sample in samples if sample.id in self.files]


@dataclass(frozen=True)
class ByHandFirst:
    """Masks that a person drew, before those of a network.

    Args:
        written: Where some are by hand.
        others: Of the other pictures.
    """

    written: WrittenMasks
    others: Callable[[Sample], Mask]

    def __call__(self, sample: Sample) -> Mask:
        """The mask of a picture."""
        return self.written(sample) if sample.id in self.written.by_hand else self.others(sample)


def with_truth(dataset: Dataset, samples: Sequence[Sample]) -> list[Sample]:
    """Those of the samples that have a true mask."""
    return [sample for sample in samples if dataset.mask(sample.id) is not None]


def written_masks(
    folder: Path, dataset: Dataset, samples: Sequence[Sample], class_names: Sequence[str]
) -> WrittenMasks:
    """Masks in a folder, named as their pictures.

    A run's folder (`pseudo/`, `predictions/`: `masks/` beside `classes.json`) says itself which number is which class.
    Of other folders the numbers are those of the data set. What people said of the masks of a run counts: a corrected
    mask is taken instead of the run's, and a rejected picture is left out.

    Args:
        folder: Of a run, or of PNG files.
        dataset: Of the pictures.
        samples: The pictures.
        class_names: K classes that are learnt.

    Raises:
        SettingError: No picture has a mask there, or all are rejected.
        RunError: `classes.json` is damaged, or names a class that the data set has not.
        DatasetError: Two files fit a picture equally well.
    """
    inner = folder / "masks" if (folder / "masks").is_dir() else folder
    found = MaskFiles(inner, dataset)
    names = {sample.id: found.name_of(sample) for sample in samples}
    files = {id_: inner / f"{name}.png" for id_, name in names.items() if name is not None}
    if not files:
        raise SettingError(
            f"{folder} holds no mask of these {counted(len(samples), 'picture')}; a mask is a PNG named as its picture"
        )
    written = WrittenMasks(files, _numbers(inner.parent / "classes.json", class_names))
    return _reviewed(written, corrections_of(folder), samples)


def corrections_of(folder: Path) -> Corrections:
    """What people said of the masks in a folder: a run, or the part of one that holds masks."""
    folder = folder.parent if folder.name == "masks" else folder
    return Corrections(folder.parent if folder.name in _PARTS else folder)


def _reviewed(written: WrittenMasks, corrections: Corrections, samples: Sequence[Sample]) -> WrittenMasks:
    """The masks with those that were corrected, without those that were rejected."""
    reviews, ids = corrections.reviews(), {sample.id for sample in samples}
    corrected = {id_: path for id_, path in corrections.masks().items() if id_ in ids}
    files = {id_: path for id_, path in (written.files | corrected).items() if not _rejected(id_, reviews)}
    if not files:
        raise SettingError(f"every picture is rejected ({corrections.folder}); accept or correct some of them")
    return replace(written, files=files, by_hand=frozenset(corrected) & files.keys())


def _rejected(id_: str, reviews: Mapping[str, Review]) -> bool:
    return id_ in reviews and reviews[id_].status == "rejected"


def classes_in(folder: Path) -> tuple[str, ...]:
    """Names of the classes that a run's masks know, in the order of their numbers.

    Raises:
        RunError: `classes.json` is missing or damaged.
    """
    return tuple(name for _, name in sorted(class_numbers(folder).items()))


def _numbers(path: Path, class_names: Sequence[str]) -> NDArray[np.int32]:
    """Class number + 1 of each value of the masks."""
    numbers = np.full(max(IGNORE, len(class_names)) + 2, -1, dtype=np.int32)
    numbers[0], numbers[IGNORE] = 0, IGNORE
    if not path.is_file():
        numbers[1 : len(class_names) + 1] = np.arange(1, len(class_names) + 1)
        return numbers
    place = {name: number + 1 for number, name in enumerate(class_names)}
    given = class_numbers(path.parent)
    unknown = [name for name in given.values() if name not in place]
    if unknown:
        raise RunError(f"{path} names the class {unknown[0]!r}; the data set has {first_of(class_names)}")
    numbers = np.pad(numbers, (0, max([0, *given])), constant_values=-1)
    for number, name in given.items():
        numbers[number] = place[name]
    return numbers


def class_numbers(folder: Path) -> dict[int, str]:
    """Name of each class number of a run's masks.

    Raises:
        RunError: `classes.json` is missing or damaged.
    """
    path = folder / "classes.json"
    try:
        return {entry.number: entry.name for entry in read_class_file(path)}
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); make the masks again in another folder") from error
