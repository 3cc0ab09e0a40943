"""Segmentation: maps swept over every background threshold, or finished masks, against label masks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.errors import DatasetError
from advcam.evaluate.baselines import centre_map, full_map, random_map
from advcam.evaluate.boundary import BoundaryIoU
from advcam.evaluate.segmentation import ConfusionMatrix, SeedSweep, SegmentationScores
from advcam.evaluate.selection import LabelFree, ThresholdChoice, choose_fixed, choose_oracle, choose_validated
from advcam.evaluate.thresholds import SEED_THRESHOLDS, threshold_index
from advcam.pipeline.evaluation.result import (
    EvaluateSettings,
    Evaluation,
    Pair,
    Row,
    label_free,
    labelled_part,
    naming,
    note_without,
    row,
)
from advcam.pipeline.evaluation.scoring import Inputs, Scoring
from advcam.types import FloatArray, Mask

FLOORS = ("centre", "all foreground", "random")
#: The threshold of the floor that is foreground everywhere: any would do.
_HALF = 0.5


@dataclass
class Seeds:
    """Maps as seeds, of some pictures.

    Args:
        sweeps: Every threshold of the predictions and of the floors.
        rule: The label-free one.
        ids: Of the pictures, in the order of the sweeps.
        without: Ids of those that have no mask.
    """

    sweeps: dict[str, SeedSweep]
    rule: LabelFree
    ids: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    def __add__(self, other: "Seeds") -> "Seeds":
        """See `Part`."""
        sweeps = {name: sweep + other.sweeps[name] for name, sweep in self.sweeps.items()}
        return Seeds(sweeps, self.rule + other.rule, self.ids + other.ids, self.without + other.without)


class SeedScorer:
    """Maps as seeds (protocol of IRN and AdvCAM): one pass over the pictures, every threshold at once."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.seed = inputs, inputs.settings.seed
        self.grid = sorted({*SEED_THRESHOLDS, inputs.settings.threshold})

    def part(self) -> Seeds:
        """See `Scorer`."""
        classes = len(self.inputs.dataset.class_names) + 1
        grids = {name: [_HALF] if name == "all foreground" else self.grid for name in ("predictions", *FLOORS)}
        return Seeds({name: SeedSweep(classes, grid) for name, grid in grids.items()}, LabelFree(self.grid))

    def add(self, part: Seeds, pair: Pair, place: int) -> None:
        """See `Scorer`."""
        truth = self.inputs.dataset.mask(pair.sample.id)
        if truth is None:
            part.without.append(pair.sample.id)
            return
        with naming(pair.sample.id):
            class_ids, maps = self.inputs.predictions.maps(pair.name, pair.sample)
            part.sweeps["predictions"].add(truth, at_size(maps, truth.shape), class_ids)
            part.rule.add(maps.astype(np.float32), read_picture(pair.sample.path))
            size = (truth.shape[0], truth.shape[1])
            floors = (centre_map(size), full_map(size), random_map(size, self.seed + place))
            # The floors know the image labels, as the method does; where classes tie, the first one takes the pixel.
            for name, one in zip(FLOORS, floors, strict=True):
                part.sweeps[name].add(truth, np.repeat(one[None], len(class_ids), axis=0), class_ids)
        part.ids.append(pair.sample.id)


class SeedEvaluation:
    """The table of maps as seeds.

    Args:
        scoring: What is scored.
        validated: Thresholds that another split chose.
    """

    def __init__(self, scoring: Scoring, validated: Sequence[ThresholdChoice] = ()) -> None:
        self.scoring, self.validated = scoring, validated
        self.dataset, self.settings = scoring.inputs.dataset, scoring.inputs.settings

    def run(self, result: Evaluation) -> None:
        """Score the pairs that have a mask, and write rows, curves and classes into the result.

        Raises:
            DatasetError: No picture has a mask.
        """
        seeds = self.scoring.run("seeds", SeedScorer)
        if not seeds.ids:
            raise _no_mask(self.settings)
        result.notes += note_without("pictures have no mask and are left out", seeds.without)
        self._report(seeds, result)

    def _report(self, seeds: Seeds, result: Evaluation) -> None:
        labelled, scored = labelled_part(len(seeds.ids), self.settings)
        ours = seeds.sweeps["predictions"].subset(scored)
        result.pictures, result.headline = len(scored), "miou"
        choices = [choose_oracle(ours.miou, ours.thresholds.tolist()), *self.validated]
        if len(labelled):
            curve = seeds.sweeps["predictions"].subset(labelled).miou
            choices.append(choose_validated(curve, ours.thresholds.tolist(), len(labelled)))
        choices += [choose_fixed(self.settings.threshold), *label_free(seeds.rule, result)]
        result.rows += [self._row("predictions", ours, choice) for choice in choices]
        for name in FLOORS:
            sweep = seeds.sweeps[name].subset(scored)
            choice = (
                choose_fixed(_HALF)
                if name == "all foreground"
                else choose_oracle(sweep.miou, sweep.thresholds.tolist())
            )
            result.rows.append(self._row(name, sweep, choice))
        result.thresholds = ours.thresholds.tolist()
        result.curves = {name: _listed(getattr(ours, name)) for name in ("miou", "precision", "recall")}
        add_classes(result, self.dataset, ours.confusion(threshold_index(ours.thresholds, self.settings.threshold)))
        scores = ours.picture_scores(self.settings.threshold)
        result.picture_scores = {seeds.ids[i]: float(s) for i, s in zip(scored, scores, strict=True) if np.isfinite(s)}
        result.notes.append(f"classes and pictures are scored at the fixed threshold {self.settings.threshold:g}")

    def _row(self, name: str, sweep: SeedSweep, choice: ThresholdChoice) -> Row:
        interval = sweep.bootstrap(choice.threshold, resamples=self.settings.resamples, seed=self.settings.seed)
        scores = summary(sweep.scores(choice.threshold))
        return row(name, choice.supervision, choice.detail, choice.threshold, scores, interval)


@dataclass
class FinishedMasks:
    """Finished masks of some pictures.

    Args:
        confusion: Their pixels.
        boundary: Their contours.
        sweep: At one threshold, for the bootstrap.
        scores: mIoU of each picture by itself, by id, where it is defined.
        without: Ids of pictures that have no true mask.
    """

    confusion: ConfusionMatrix
    boundary: BoundaryIoU
    sweep: SeedSweep
    scores: dict[str, float] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)

    def __add__(self, other: "FinishedMasks") -> "FinishedMasks":
        """See `Part`."""
        return FinishedMasks(
            self.confusion + other.confusion,
            self.boundary + other.boundary,
            self.sweep + other.sweep,
            self.scores | other.scores,
            self.without + other.without,
        )


class MaskScorer:
    """Finished masks: confusion matrix and boundary IoU."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.classes = inputs, len(inputs.dataset.class_names) + 1

    def part(self) -> FinishedMasks:
        """See `Scorer`."""
        sweep = SeedSweep(self.classes, [_HALF])
        return FinishedMasks(ConfusionMatrix(self.classes), BoundaryIoU(self.classes), sweep)

    def add(self, part: FinishedMasks, pair: Pair, place: int) -> None:
        """See `Scorer`."""
        truth = self.inputs.dataset.mask(pair.sample.id)
        if truth is None:
            part.without.append(pair.sample.id)
            return
        with naming(pair.sample.id):
            mask = self.inputs.predictions.mask(pair.name, pair.sample)
            one = ConfusionMatrix(self.classes)
            one.add(truth, mask)
            part.boundary.add(truth, mask)
            part.sweep.add(truth, *_as_maps(mask))
        part.confusion = part.confusion + one
        if np.isfinite(score := one.scores().miou):
            part.scores[pair.sample.id] = score


def evaluate_masks(scoring: Scoring, result: Evaluation) -> None:
    """Finished masks: confusion matrix and boundary IoU; there is no threshold left to choose.

    Raises:
        DatasetError: No picture has a mask.
        SettingError: A predicted mask has another size than its truth, or numbers of no class.
    """
    settings, dataset = scoring.inputs.settings, scoring.inputs.dataset
    found = scoring.run("masks", MaskScorer)
    result.pictures, result.headline = len(found.sweep), "miou"
    if not result.pictures:
        raise _no_mask(settings)
    result.picture_scores = found.scores
    result.notes += note_without("pictures have no mask and are left out", found.without)
    scores = summary(found.confusion.scores()) | {"boundary_iou": found.boundary.miou}
    interval = found.sweep.bootstrap(_HALF, resamples=settings.resamples, seed=settings.seed)
    detail = "finished masks; whoever made them knows what chose their threshold"
    result.rows.append(row("predictions", "none", detail, None, scores, interval))
    add_classes(result, dataset, found.confusion)


def summary(scores: SegmentationScores) -> dict[str, float]:
    """The scores of a row."""
    return {
        "miou": scores.miou,
        "precision": scores.foreground_precision,
        "recall": scores.foreground_recall,
        "pixel_accuracy": scores.pixel_accuracy,
    }


def add_classes(result: Evaluation, dataset: Dataset, confusion: ConfusionMatrix) -> None:
    """Write IoU, precision and recall of each class that truth or prediction holds, and which was taken for which."""
    names, scores = ("background", *dataset.class_names), confusion.scores()
    present = np.flatnonzero(np.isfinite(scores.iou))
    result.classes = [
        {
            "name": names[c],
            "iou": float(scores.iou[c]),
            "precision": float(scores.precision[c]),
            "recall": float(scores.recall[c]),
        }
        for c in present
    ]
    pixels = confusion.counts[np.ix_(present, present)]
    result.confusion = [(int(t), int(p), int(pixels[t, p])) for t, p in np.argwhere(pixels)]


def at_size(maps: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """Maps (K, h, w) at the size (H, W) of a picture, bilinear as `Attribution.upsample`, (K, H, W)."""
    resized = [cv2.resize(one, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for one in maps]
    return np.stack(resized).astype(np.float32) if resized else np.zeros((0, *size), dtype=np.float32)


def _no_mask(settings: EvaluateSettings) -> DatasetError:
    return DatasetError(f"no picture of the split {settings.split!r} has a mask; choose another split or protocol")


def _as_maps(mask: Mask) -> tuple[NDArray[np.float32], list[int]]:
    """A mask as maps of 0 and 1, so that the bootstrap of seeds serves for it; 255 is background."""
    present = [int(number) for number in np.unique(mask) if 0 < number < 255]
    maps = [(mask == number).astype(np.float32) for number in present]
    return (np.stack(maps) if maps else np.zeros((0, *mask.shape), dtype=np.float32)), [n - 1 for n in present]


def _listed(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in values]
