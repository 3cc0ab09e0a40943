"""The labelled handful: drawing pictures whose masks are known and whose classes the classifier has outputs for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.errors import DatasetError, PictureError, SettingError, counted, one_line
from advcam.pipeline.class_match import ClassMatch
from advcam.store.reading import numbered_lines
from advcam.types import IGNORE, Mask

#: Reasons to leave a picture out.
NO_MASK, NO_LABELS, EMPTY = "without a mask", "without image labels", "whose mask is ignored everywhere"
NOT_COVERED, UNREADABLE = "with a class the classifier has no output for", "that cannot be read"


@dataclass(frozen=True)
class LabelledPicture:
    """A picture whose mask is known.

    Args:
        id: In the data set.
        path: Of the picture.
        class_ids: Its image labels, by their numbers in the data set, counted from 0.
        targets: The output of the classifier that stands for each of them; two labels may share one.
    """

    id: str
    path: Path
    class_ids: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def outputs(self) -> tuple[int, ...]:
        """The outputs to climb, each once."""
        return tuple(dict.fromkeys(self.targets))

    def read(self, dataset: Dataset) -> tuple[Image.Image, Mask]:
        """The picture (RGB) and its mask (H, W), read anew so that nothing piles up in memory.

        Raises:
            PictureError: The picture cannot be read.
            DatasetError: The mask is gone, broken, or of another size.
        """
        picture, mask = read_picture(self.path), dataset.mask(self.id)
        if mask is None or mask.shape != (picture.height, picture.width):
            found = "no mask" if mask is None else f"a mask of {mask.shape[1]} x {mask.shape[0]}"
            raise DatasetError(
                f"{self.id} is {picture.width} x {picture.height} and has {found}; restore the mask or leave it out"
            )
        return picture, mask


@dataclass
class Handful:
    """The pictures that were drawn, in random order, and how many were left out on the way, by reason."""

    pictures: list[LabelledPicture]
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def notes(self) -> list[str]:
        """What was left out, in words."""
        return [f"left out {counted(count, 'picture')} {reason}" for reason, count in sorted(self.left_out.items())]


class _UnfitError(Exception):
    """A picture does not fit, for one of the reasons above; the second argument says more."""


def read_ids(path: Path) -> list[str]:
    """Ids from a text file, one a line.

    Raises:
        DatasetError: The file is missing, not text, names nothing, or names a picture twice.
    """
    ids = [line for _, line in numbered_lines(path)]
    repeated = [id_ for id_, count in Counter(ids).items() if count > 1]
    if not ids or repeated:
        problem = f"names {repeated[0]!r} twice" if repeated else "names no picture"
        raise DatasetError(f"{path} {problem}; write the id of each labelled picture on a line of its own")
    return ids


def draw_handful(dataset: Dataset, split: str, match: ClassMatch, count: int, seed: int) -> Handful:
    """Draw labelled pictures from a split; those that do not fit are left out and counted.

    Args:
        dataset: Where the masks are.
        split: Of the data set.
        match: From labels to outputs of the classifier.
        count: How many; fewer where the split has no more.
        seed: Of the order in which they are drawn.

    Raises:
        SettingError: There is no such split.
        DatasetError: No picture of it fits, or its list is broken.
    """
    ids = list(dataset.ids(split))
    handful = Handful([])
    for id_ in _shuffled(ids, seed):
        if len(handful.pictures) == count:
            break
        try:
            handful.pictures.append(_labelled(dataset, id_, match))
        except _UnfitError as reason:
            handful.left_out[reason.args[0]] += 1
    if not handful.pictures:
        reasons = ", ".join(f"{n} {reason}" for reason, n in handful.left_out.most_common()) or "the list is empty"
        raise DatasetError(
            f"no picture of {split!r} can be learned from ({reasons}); take a split with masks, and --groups where the "
            "classifier was trained on other classes"
        )
    return handful


def named_handful(dataset: Dataset, ids: Sequence[str], match: ClassMatch, seed: int) -> Handful:
    """The pictures of a list, shuffled by the seed; each must fit.

    Raises:
        DatasetError: A picture does not fit; the message says why.
    """
    pictures = []
    for id_ in _shuffled(ids, seed):
        try:
            pictures.append(_labelled(dataset, id_, match))
        except _UnfitError as reason:
            kind, detail = reason.args
            raise DatasetError(
                f"the list names {id_!r}, a picture {kind}{detail}; take it off the list or mend it"
            ) from reason
    return Handful(pictures)


def folds_of(pictures: Sequence[LabelledPicture], count: int) -> list[list[int]]:
    """Indices of the pictures of each fold; pictures with the same labels are spread over the folds.

    Raises:
        SettingError: There are fewer pictures than folds.
    """
    if len(pictures) < count:
        raise SettingError(
            f"{count} folds take at least {count} labelled pictures, one to hold out each time; there are "
            f"{len(pictures)}: label more, or choose fewer --folds (2 at least)"
        )
    order = sorted(range(len(pictures)), key=lambda index: pictures[index].class_ids)
    return [sorted(order[start::count]) for start in range(count)]


def _labelled(dataset: Dataset, id_: str, match: ClassMatch) -> LabelledPicture:
    try:
        sample = dataset.sample(id_)
        mask = dataset.mask(id_)
        if mask is None:
            raise _UnfitError(NO_MASK, "")
        if not sample.labels:
            raise _UnfitError(NO_LABELS, "")
        missing = [label for label in sample.labels if not match.covers(label)]
        if missing:
            raise _UnfitError(NOT_COVERED, f" ({missing[0]})")
        if (mask == IGNORE).all():
            raise _UnfitError(EMPTY, "")
        targets = tuple(match.targets(read_picture(sample.path), sample.labels))
        class_ids = tuple(dataset.class_id(label) for label in sample.labels)
        labelled = LabelledPicture(id_, sample.path, class_ids, targets)
        labelled.read(dataset)
    except (DatasetError, PictureError) as error:
        raise _UnfitError(UNREADABLE, f" ({one_line(error)})") from error
    return labelled


def _shuffled(ids: Sequence[str], seed: int) -> list[str]:
    return [ids[index] for index in np.random.default_rng(seed).permutation(len(ids))]
