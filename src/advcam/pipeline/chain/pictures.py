"""The pictures of a chain: which are trained with, which choose, and which get masks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.errors import SettingError, counted
from advcam.pipeline.chain.settings import DataSettings
from advcam.pipeline.targets import evenly, samples_of
from advcam.types import Sample

#: Pictures that are looked at to find out what truth there is.
_LOOKED_AT = 200
_SEED = 0  # of the held out pictures; not a setting, so that every recipe of a data set holds out the same ones


@dataclass(frozen=True)
class Pictures:
    """The pictures of a chain.

    Args:
        data: The settings with their splits named.
        dataset: That they are from.
        train: The classifier learns these.
        val: These choose its best epoch; none where nothing is held out.
        masks: These get maps and masks.
        labelled: The truth of these chooses the threshold; none where no truth decides it.
        notes: What a reader should know.
        test: The segmentation network is shown these in the end; those with masks themselves where it has no others.
    """

    data: DataSettings
    dataset: Dataset
    train: Sequence[Sample]
    val: Sequence[Sample]
    masks: Sequence[Sample]
    labelled: Sequence[Sample] = ()
    notes: Sequence[str] = ()
    test: Sequence[Sample] = ()


def read_pictures(data: DataSettings, learn: bool = True) -> Pictures:
    """Read the lists of a data set.

    Args:
        data: Its splits.
        learn: A classifier is trained; else nothing is learnt, and only the pictures with maps are read.

    Raises:
        DatasetError: The data set cannot be read.
        SettingError: A split that is not there or is empty.
    """
    dataset = open_dataset(data.root, data.layout)
    data = with_splits(data, dataset.splits)
    masks = samples_of(dataset, data.masks_split, data.root)
    masks = masks if data.limit is None else evenly(masks, data.limit)
    labelled = _labelled(dataset, data, masks) if data.thresholds is not None else ()
    if not learn:
        return Pictures(data, dataset, (), (), masks, labelled)
    train = samples_of(dataset, data.train or "", data.root)
    told = _unread_table(dataset)
    if data.val is not None:
        return Pictures(data, dataset, train, samples_of(dataset, data.val, data.root), masks, labelled, told)
    kept, held = hold_out(train, data.holdout)
    note = "no picture is held out: the last epoch is kept"
    if held:
        note = f"{counted(len(held), 'picture')} of {data.train} held out to choose the epoch"
    return Pictures(data, dataset, kept, held, masks, labelled, (*told, note))


def _unread_table(dataset: Dataset) -> tuple[str, ...]:
    """A note where the folders give the classes, and a table of labels lies beside their root, which nobody reads."""
    table = dataset.root.resolve().parent / "labels.csv"
    if dataset.layout != "folders" or not table.is_file():
        return ()
    return (f"the names of the folders are the classes; {table} is not read: put it into {dataset.root} if it counts",)


def with_test(pictures: Pictures) -> Pictures:
    """With those that the segmentation network is shown in the end: of `data.test`, of val, or those with masks.

    Raises:
        SettingError: There is no such split.
    """
    data = pictures.data
    split = test_split(pictures.dataset, data)
    test = pictures.masks if split == data.masks_split else samples_of(pictures.dataset, split, data.root)
    return replace(pictures, test=test)


def test_split(dataset: Dataset, data: DataSettings) -> str:
    """Name of the split of the test pictures."""
    return data.test or ("val" if "val" in dataset.splits else data.masks_split)


def has_masks(dataset: Dataset, samples: Sequence[Sample]) -> bool:
    """Whether some of the pictures have true masks; some of the first are looked at."""
    return any(dataset.mask(sample.id) is not None for sample in samples[:_LOOKED_AT])


def has_truth(dataset: Dataset, samples: Sequence[Sample]) -> bool:
    """Whether some of the pictures have true masks or boxes; some of the first are looked at."""
    return has_masks(dataset, samples) or any(dataset.boxes(sample.id) for sample in samples[:_LOOKED_AT])


def _labelled(dataset: Dataset, data: DataSettings, masks: Sequence[Sample]) -> Sequence[Sample]:
    """The pictures whose truth chooses the threshold."""
    split, without = data.thresholds or "", "or leave it away (data.thresholds=null): then no truth decides"
    if split not in dataset.splits:
        raise SettingError(
            f"data.thresholds names {split!r}, but the splits of {data.root} are: {', '.join(dataset.splits)}; name "
            f"one whose pictures are not scored, {without}"
        )
    samples = samples_of(dataset, split, data.root)
    if {sample.id for sample in samples} & {sample.id for sample in masks}:
        raise SettingError(f"pictures of data.thresholds={split} are also scored; name a split without them, {without}")
    if not has_truth(dataset, samples):
        raise SettingError(f"data.thresholds={split} has neither masks nor boxes; name a split with some, {without}")
    return samples if data.limit is None else evenly(samples, data.limit)


def with_splits(data: DataSettings, splits: Sequence[str]) -> DataSettings:
    """The settings with the splits that they leave to the data set.

    Raises:
        SettingError: There is no split train, and more than one other.
    """
    train = data.train or ("train" if "train" in splits else splits[0] if len(splits) == 1 else None)
    if train is None:
        raise SettingError(
            f"which split? {data.root} has {', '.join(splits)}; name one with --split or data.train=NAME"
        )
    val = data.val or ("val" if "val" in splits and train != "val" else None)
    return data.model_copy(update={"train": train, "val": val})


def hold_out(samples: Sequence[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Two parts of labelled pictures: to learn, and to choose by.

    A picture is held out by chance, unless it is the last but one to learn of one of its classes: a class of one or two
    pictures keeps them all.

    Args:
        samples: Labelled or not; those without labels are in neither part.
        share: That is held out, in [0, 1).
    """
    labelled = [sample for sample in samples if sample.labels is not None]
    left: dict[str, int] = {}
    for sample in labelled:
        for label in sample.labels or ():
            left[label] = left.get(label, 0) + 1
    wanted, held = round(share * len(labelled)), set[int]()
    for place in np.random.default_rng(_SEED).permutation(len(labelled)).tolist():
        labels = labelled[place].labels or ()
        if len(held) < wanted and all(left[label] > 2 for label in labels):
            held.add(place)
            for label in labels:
                left[label] -= 1
    kept = [sample for place, sample in enumerate(labelled) if place not in held]
    return kept, [labelled[place] for place in sorted(held)]
