"""Analyses of a data set: its labelled pictures with masks, read one at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from advcam.classifiers.catalogue import load_classifier
from advcam.datasets.catalogue import open_dataset
from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.errors import AdvcamError, DatasetError, PictureError, SettingError
from advcam.pipeline.analyses.analyze import AnalysisProgress, analyze, analyze_settings
from advcam.pipeline.analyses.measure import TruthSample
from advcam.pipeline.class_match import ClassMatch, read_groups


def analyze_dataset(
    root: Path,
    split: str,
    progress: AnalysisProgress,
    *,
    layout: str | None,
    groups: Path | None,
    count: int,
    settings: Mapping[str, object],
) -> int:
    """Analyse pictures of a split, evenly spread, each with its label mask.

    Args:
        root: Of the data set.
        split: Its split.
        progress: Hears of each finished piece of work.
        layout: Of the data set; None finds it.
        groups: Outputs of the classifier for each class, where they are not the data set's.
        count: At most so many pictures.
        settings: As `AnalyzeSettings` takes them.

    Returns:
        How many pictures could not be used.

    Raises:
        AdvcamError: The data set, the groups or the settings do not fit, or no picture has a mask.
    """
    if count < 1:
        raise SettingError(f"an analysis takes at least one picture; got {count}")
    checked = analyze_settings(**settings)
    dataset = open_dataset(root, layout)
    dataset.check_split(split)
    classifier = load_classifier(checked.model.model, **checked.model.model_dump(exclude={"model"}))
    match = ClassMatch(classifier, dataset.class_names, read_groups(groups) if groups else None)
    ids = _evenly(_usable(dataset, split, match), count)
    if not ids:
        raise DatasetError(f"no picture of the split {split!r} has a mask and classes that the classifier knows")
    skipped = _Skips(progress)
    analyze(_Truth(dataset, ids, match), classifier, checked, len(dataset.class_names) + 1, skipped)
    return skipped.count


@dataclass(frozen=True, eq=False)
class _Unreadable(TruthSample):
    """Stands for a picture that cannot be read: its check says why, so it is skipped by name like any other."""

    error: AdvcamError = field(kw_only=True)

    def check(self) -> None:
        """Raise what reading raised."""
        raise self.error


class _Truth:
    """The pictures in order; each is read when its turn comes."""

    def __init__(self, dataset: Dataset, ids: Sequence[str], match: ClassMatch) -> None:
        self.dataset, self.ids, self.match = dataset, ids, match

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[TruthSample]:
        for id_ in self.ids:
            try:
                one = self._read(id_)
            except (PictureError, DatasetError) as error:
                blank, nothing = Image.new("RGB", (1, 1)), np.zeros((1, 1), dtype=np.int32)
                one = _Unreadable(id_, blank, (), nothing, error=error)
            yield one

    def _read(self, id_: str) -> TruthSample:
        sample, truth = self.dataset.sample(id_), self.dataset.mask(id_)
        if truth is None:
            raise DatasetError(f"{id_} has no mask; it had one when the pictures were chosen")
        picture, labels = read_picture(sample.path), sample.labels or ()
        # Two classes can share an output; the first one keeps it.
        by_output: dict[int, int] = {}
        for label, output in zip(labels, self.match.targets(picture, labels), strict=True):
            by_output.setdefault(output, self.dataset.class_id(label))
        return TruthSample(id_, picture, tuple(by_output), truth, tuple(by_output.values()))


class _Skips:
    """Passes everything on and counts the pictures that were skipped."""

    def __init__(self, progress: AnalysisProgress) -> None:
        self.count = 0
        self.announce = progress.announce
        self.unit_done = progress.unit_done
        self._skipped = progress.picture_skipped

    def picture_skipped(self, picture: str, reason: str) -> None:
        """One more."""
        self.count += 1
        self._skipped(picture, reason)


def _usable(dataset: Dataset, split: str, match: ClassMatch) -> list[str]:
    """Pictures with a mask and labels, all of which the classifier knows, each once."""
    found: dict[str, None] = {}
    for sample in dataset.samples(split):
        if sample.labels and all(match.covers(label) for label in sample.labels) and sample.path.is_file():
            found[sample.id] = None
    return [id_ for id_ in found if dataset.mask(id_) is not None]


def _evenly(ids: Sequence[str], count: int) -> list[str]:
    return list(ids) if len(ids) <= count else [ids[k * len(ids) // count] for k in range(count)]
