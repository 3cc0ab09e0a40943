"""What an evaluation is asked and what it answers: settings, pairs of pictures and predictions, and the result.

Every row of a result names the supervision that chose its threshold (oracle, validated, fixed, label-free), and the
floors (centre, everything, chance) stand in the same table.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from advcam.datasets.dataset import Dataset
from advcam.errors import AdvcamError, DatasetError, SettingError
from advcam.evaluate.bootstrap import Interval
from advcam.evaluate.selection import LabelFree, ThresholdChoice
from advcam.pipeline.config import ModelSettings, Settings, validated
from advcam.pipeline.evaluation.predictions import Predictions
from advcam.types import DEFAULT_THRESHOLD, Sample

Task = Literal["segmentation", "localization", "pxap", "faithfulness"]
#: Names in a note or error; the others are counted.
NAMED = 5


class EvaluateSettings(Settings):
    """An evaluation.

    Args:
        predictions: A run, a folder of .npy maps or .png masks, or COCO results.
        data: Root of the data set.
        layout: Of the data set; None finds it.
        split: Which pictures.
        protocol: None chooses by what truth and predictions hold.
        groups: JSON of the classifier's classes for each class of the data set.
        threshold: The fixed one.
        labelled: Pictures of the split that choose the validated threshold and are left out of the scores.
        labelled_split: In place of them, another split, whose pictures choose it (train-fullsup in WSOL).
        labelled_predictions: The maps of that split; None: they are among the `predictions`.
        missing: What to do where pictures have no prediction: refuse, or score the others.
        top_classes: CSV `image,labels` with the predicted classes, the most probable first, for Top-1 and Top-5 Loc.
        model: The classifier, for faithfulness, and for Top-1 and Top-5 where no table is given.
        resamples: Of the bootstrap intervals.
        seed: Of the labelled pictures, of chance maps and of the bootstrap.
    """

    predictions: Path
    data: Path
    layout: str | None = None
    split: str
    protocol: Task | None = None
    groups: Path | None = None
    threshold: float = Field(default=DEFAULT_THRESHOLD, ge=0, le=1)
    labelled: int = Field(default=0, ge=0)
    labelled_split: str | None = None
    labelled_predictions: Path | None = None
    missing: Literal["error", "intersection"] = "error"
    top_classes: Path | None = None
    model: ModelSettings | None = None
    resamples: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)


def evaluate_settings(**values: object) -> EvaluateSettings:
    """Validated settings.

    Raises:
        SettingError: A value of the wrong type or out of range; one line for the first of them.
    """
    return validated(EvaluateSettings, values)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: Whose maps, masks or boxes: "predictions", or the name of a floor.
        supervision: Of the threshold: oracle, validated, fixed, label-free, or none where nothing is chosen.
        detail: How it was chosen, in words.
        threshold: None where there is none, or one for each IoU.
        scores: By name, shares between 0 and 1 (faithfulness: as its names say).
        low, high: Ends of the 95 % bootstrap interval of the first score; NaN where none was computed.
    """

    name: str
    supervision: str
    detail: str
    threshold: float | None
    scores: dict[str, float]
    low: float = float("nan")
    high: float = float("nan")


@dataclass
class Evaluation:
    """The result, as it is written to evaluation.json.

    Args:
        task: The protocol.
        headline: Name of the score that rows are compared by.
        dataset, layout, split: What was evaluated on.
        predictions: Path and kind.
        pictures: How many were scored.
        rows: The table.
        thresholds: T thresholds of the curves.
        curves: Scores at each threshold, by name, for figures.
        classes: For each class that truth or prediction holds: its name, and scores by name.
        confusion: Pixels of each true and predicted class that meet, of masks: place of the true class in `classes`,
            place of the predicted one, and how many.
        picture_scores: Score of each picture at the threshold that needs no truth, by id.
        notes: What a reader must know: missing and surplus predictions, pictures without truth, absent classes.
    """

    task: Task
    headline: str
    dataset: str
    layout: str
    split: str
    predictions: str
    pictures: int = 0
    rows: list[Row] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    classes: list[dict[str, float | str]] = field(default_factory=list)
    confusion: list[tuple[int, int, int]] = field(default_factory=list)
    picture_scores: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Watcher(Protocol):
    """Who watches an evaluation."""

    def start(self, words: str, total: int) -> None:
        """So many pictures are about to be scored."""

    def step(self) -> None:
        """One more is done."""


@dataclass(frozen=True)
class Pair:
    """A picture and the name of its prediction.

    Args:
        sample: The picture.
        name: Of the prediction.
        ranked: Predicted classes of the data set, the most probable first, where a table has them.
    """

    sample: Sample
    name: str
    ranked: tuple[int, ...] = ()


def pair_up(dataset: Dataset, predictions: Predictions, settings: EvaluateSettings) -> tuple[list[Pair], list[str]]:
    """The pictures of the split that are predicted, each once, sorted by id, and notes about all others.

    In this order the result does not depend on the order of the lists.

    Raises:
        DatasetError: A picture is not predicted and `missing` is "error", none is, or one prediction fits two pictures.
    """
    pairs: dict[str, Pair] = {}
    missing: dict[str, None] = {}
    owner: dict[str, str] = {}
    repeated = 0
    for sample in dataset.samples(settings.split):
        if sample.id in pairs or sample.id in missing:
            repeated += 1
            continue
        name = predictions.name_of(sample)
        if name is None:
            missing[sample.id] = None
            continue
        if owner.setdefault(name, sample.id) != sample.id:
            raise DatasetError(
                f"the prediction {name} of {settings.predictions} fits two pictures, {owner[name]} and {sample.id}; "
                "name predictions by the whole ids"
            )
        pairs[sample.id] = Pair(sample, name)
    _refuse_missing(list(missing), len(pairs), settings)
    notes = [
        _named(f"of {len(pairs) + len(missing)} pictures of the split are not predicted and left out", list(missing)),
        _named("predictions belong to no picture of the split", [n for n in predictions.names if n not in owner]),
        f"{repeated} ids stand in the list more than once; each picture counts once" if repeated else "",
    ]
    return [pairs[id_] for id_ in sorted(pairs)], [note for note in notes if note]


def labelled_part(count: int, settings: EvaluateSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the pictures that choose a threshold, and of those that are scored.

    Raises:
        DatasetError: No picture would be left to score.
    """
    if settings.labelled >= count:
        raise DatasetError(
            f"{settings.labelled} labelled pictures were asked for, but only {count} have truth and predictions; "
            "some must be left to be scored"
        )
    order = np.random.default_rng(settings.seed).permutation(count)
    return np.sort(order[: settings.labelled]), np.sort(order[settings.labelled :])


def label_free(rule: LabelFree, result: Evaluation) -> list[ThresholdChoice]:
    """The choice of the label-free rule; none, and a note in the result, where nothing can be told from the maps."""
    try:
        return [rule.choose()]
    except SettingError as error:
        result.notes.append(f"there is no label-free threshold: {error}")
        return []


def row(
    name: str,
    supervision: str,
    detail: str,
    threshold: float | None,
    scores: dict[str, float],
    interval: Interval | None = None,
) -> Row:
    """A row with the ends of its interval, if there is one."""
    low, high = (interval.low, interval.high) if interval else (float("nan"), float("nan"))
    return Row(name, supervision, detail, threshold, scores, low, high)


@contextmanager
def naming(id_: str) -> Iterator[None]:
    """Errors inside begin with the name of the picture."""
    try:
        yield
    except AdvcamError as error:
        raise type(error)(f"{id_}: {error}") from error


def note_without(what: str, ids: Sequence[str]) -> list[str]:
    """A note on pictures that cannot be scored, if there are any."""
    return [note] if (note := _named(what, ids)) else []


def _refuse_missing(missing: Sequence[str], found: int, settings: EvaluateSettings) -> None:
    total = found + len(missing)
    if not total:
        raise DatasetError(f"the split {settings.split!r} of {settings.data} is empty")
    if not found:
        raise DatasetError(
            f"{settings.predictions} predicts none of the {total} pictures of the split (first: {missing[0]}); names "
            "are compared as paths, with and without extension"
        )
    if missing and settings.missing == "error":
        raise DatasetError(
            f"{len(missing)} of {total} pictures are not predicted (first: {missing[0]}); predict them, or score the "
            "others with --missing intersection"
        )


def _named(what: str, ids: Sequence[str]) -> str:
    if not ids:
        return ""
    return f"{len(ids)} {what}: {', '.join(ids[:NAMED])}" + (", .." if len(ids) > NAMED else "")
