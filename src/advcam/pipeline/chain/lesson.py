"""What the segmentation network of a chain learns: pseudo-labels, true masks, or few of these and many of those."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from advcam.datasets.dataset import Dataset
from advcam.errors import RunError, SettingError, counted, one_line
from advcam.pipeline.chain.settings import SegmentSettings
from advcam.pipeline.label_masks import TrueMasks, WrittenMasks, with_truth, written_masks
from advcam.segment.segmenter import Masked
from advcam.segment.semi.splits import strong_samples
from advcam.types import Sample

#: In place of a folder of masks: those of the data set.
TRUE = "true"
#: Beside masks: how sure the pseudo-label of each class of a picture is.
CONFIDENCE = "confidence.csv"


@dataclass(frozen=True)
class Lesson:
    """What a segmentation network is to learn.

    Args:
        masked: Pictures with masks; in semi-supervised training the strong ones.
        weak: The others, in semi-supervised training.
        supervision: In words.
        true_masks: How many of the masks are true ones, those that people corrected included.
    """

    masked: Masked
    weak: Masked | None
    supervision: str
    true_masks: int


def lesson(
    settings: SegmentSettings, dataset: Dataset, samples: Sequence[Sample], masks: Path | str, names: Sequence[str]
) -> Lesson:
    """Pictures and masks to learn from.

    Args:
        settings: Which masks may be true ones.
        dataset: Of the pictures.
        samples: The pictures.
        masks: Folder of masks, or "true".
        names: K classes.

    Raises:
        AdvcamError: Masks are missing, or lists do not fit.
    """
    if masks == TRUE:
        there = with_truth(dataset, samples)
        return Lesson(Masked(there, TrueMasks(dataset)), None, f"{counted(len(there), 'true mask')}", len(there))
    folder = Path(masks)
    if settings.strong is None:
        written = written_masks(folder, dataset, samples, names)
        there = written.of(samples)
        weights = _confidences(folder / CONFIDENCE, there, written.by_hand) if settings.confidence_weights else {}
        return Lesson(Masked(there, written, weights), None, _in_words(folder, there, written), len(written.by_hand))
    strong, rest = strong_samples(dataset, samples, settings.strong, settings.strong_seed)
    if not rest:
        raise SettingError(f"segment.strong={settings.strong} leaves no weak picture; name fewer, or leave semi out")
    written = written_masks(folder, dataset, rest, names)
    there = written.of(rest)
    words = f"{counted(len(strong), 'true mask')}, and {_in_words(folder, there, written)}"
    by_people = len(strong) + len(written.by_hand)
    return Lesson(Masked(strong, TrueMasks(dataset)), Masked(there, written), words, by_people)


def _in_words(folder: Path, there: Sequence[Sample], written: WrittenMasks) -> str:
    by_hand = f", {len(written.by_hand):,} of them corrected by hand" if written.by_hand else ""
    return f"masks of {folder.name} ({len(there):,}{by_hand})"


def _confidences(path: Path, samples: Sequence[Sample], by_hand: frozenset[str]) -> Mapping[str, float]:
    """Weight of each picture: its lowest confidence, 1 where the mask is by hand, as a multiple of the mean."""
    if not path.is_file():
        raise SettingError(f"confidence_weights needs {path}, which advcam run and advcam refine write beside masks")
    lowest = lowest_confidence(path)
    sure = {sample.id: 1.0 if sample.id in by_hand else lowest.get(sample.id, 1.0) for sample in samples}
    mean = sum(sure.values()) / len(sure)
    return {id_: value / mean for id_, value in sure.items()} if mean else {}


def lowest_confidence(path: Path) -> dict[str, float]:
    """The lowest confidence over the classes of each picture, from `confidence.csv`.

    Raises:
        RunError: It is damaged.
    """
    lowest: dict[str, float] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                lowest[row["image"]] = min(float(row["confidence"]), lowest.get(row["image"], 1.0))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); make the masks again in another folder") from error
    return lowest
