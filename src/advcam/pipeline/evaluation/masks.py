"""Segmentation: maps swept over every background threshold, or finished masks, against label masks."""

from collections.abc import Sequence

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
from advcam.evaluate.thresholds import SEED_THRESHOLDS
from advcam.pipeline.evaluation.predictions import Predictions
from advcam.pipeline.evaluation.result import (
    EvaluateSettings,
    Evaluation,
    Pair,
    Row,
    Watcher,
    label_free,
    labelled_part,
    naming,
    note_without,
    row,
)
from advcam.types import FloatArray, Mask

FLOORS = ("centre", "all foreground", "random")


class SeedEvaluation:
    """Maps as seeds (protocol of IRN and AdvCAM): one pass over the pictures, every threshold at once."""

    def __init__(
        self,
        dataset: Dataset,
        predictions: Predictions,
        settings: EvaluateSettings,
        validated: Sequence[ThresholdChoice] = (),
    ) -> None:
        self.dataset, self.predictions, self.settings, self.validated = dataset, predictions, settings, validated
        grid = sorted({*SEED_THRESHOLDS, settings.threshold})
        names = ("predictions", *FLOORS)
        self.sweeps = {name: SeedSweep(len(dataset.class_names) + 1, grid) for name in names}
        self.rule = LabelFree(grid)
        self.ids: list[str] = []

    def run(self, pairs: Sequence[Pair], result: Evaluation, watcher: Watcher) -> None:
        """Score the pairs that have a mask, and write rows, curves and classes into the result.

        Raises:
            DatasetError: No picture has a mask.
        """
        watcher.start("seeds", len(pairs))
        without = []
        for pair in pairs:
            truth = self.dataset.mask(pair.sample.id)
            if truth is None:
                without.append(pair.sample.id)
            else:
                with naming(pair.sample.id):
                    self._add(pair, truth)
            watcher.step()
        if not self.ids:
            raise DatasetError(
                f"no picture of the split {self.settings.split!r} has a mask; choose another split or protocol"
            )
        result.notes += note_without("pictures have no mask and are left out", without)
        self._report(result)

    def _add(self, pair: Pair, truth: Mask) -> None:
        class_ids, maps = self.predictions.maps(pair.name, pair.sample)
        upsampled = at_size(maps, truth.shape)
        self.sweeps["predictions"].add(truth, upsampled, class_ids)
        self.rule.add(maps.astype(np.float32), read_picture(pair.sample.path))
        size = (truth.shape[0], truth.shape[1])
        floors = (centre_map(size), full_map(size), random_map(size, self.settings.seed + len(self.ids)))
        # The floors know the image labels, as the method does; where classes tie, the first one takes the pixel.
        for name, one in zip(FLOORS, floors, strict=True):
            self.sweeps[name].add(truth, np.repeat(one[None], len(class_ids), axis=0), class_ids)
        self.ids.append(pair.sample.id)

    def _report(self, result: Evaluation) -> None:
        labelled, scored = labelled_part(len(self.ids), self.settings)
        ours = self.sweeps["predictions"].subset(scored)
        result.pictures, result.headline = len(scored), "miou"
        choices = [choose_oracle(ours.miou, ours.thresholds.tolist()), *self.validated]
        if len(labelled):
            curve = self.sweeps["predictions"].subset(labelled).miou
            choices.append(choose_validated(curve, ours.thresholds.tolist(), len(labelled)))
        choices += [choose_fixed(self.settings.threshold), *label_free(self.rule, result)]
        result.rows += [self._row("predictions", ours, choice) for choice in choices]
        for name in FLOORS:
            sweep = self.sweeps[name].subset(scored)
            choice = (
                choose_fixed(0.5) if name == "all foreground" else choose_oracle(sweep.miou, sweep.thresholds.tolist())
            )
            result.rows.append(self._row(name, sweep, choice))
        result.thresholds = ours.thresholds.tolist()
        result.curves = {name: _listed(getattr(ours, name)) for name in ("miou", "precision", "recall")}
        result.classes = class_rows(self.dataset, ours.scores(self.settings.threshold))
        scores = ours.picture_scores(self.settings.threshold)
        result.picture_scores = {self.ids[i]: float(s) for i, s in zip(scored, scores, strict=True) if np.isfinite(s)}
        result.notes.append(f"classes and pictures are scored at the fixed threshold {self.settings.threshold:g}")

    def _row(self, name: str, sweep: SeedSweep, choice: ThresholdChoice) -> Row:
        interval = sweep.bootstrap(choice.threshold, resamples=self.settings.resamples, seed=self.settings.seed)
        scores = summary(sweep.scores(choice.threshold))
        return row(name, choice.supervision, choice.detail, choice.threshold, scores, interval)


def evaluate_masks(
    dataset: Dataset,
    predictions: Predictions,
    settings: EvaluateSettings,
    pairs: Sequence[Pair],
    result: Evaluation,
    watcher: Watcher,
) -> None:
    """Finished masks: confusion matrix and boundary IoU; there is no threshold left to choose.

    Raises:
        DatasetError: No picture has a mask.
        SettingError: A predicted mask has another size than its truth, or numbers of no class.
    """
    watcher.start("masks", len(pairs))
    confusion, boundary = ConfusionMatrix(len(dataset.class_names) + 1), BoundaryIoU(len(dataset.class_names) + 1)
    sweep, without = SeedSweep(len(dataset.class_names) + 1, [0.5]), []
    for pair in pairs:
        truth = dataset.mask(pair.sample.id)
        if truth is None:
            without.append(pair.sample.id)
        else:
            with naming(pair.sample.id):
                mask = predictions.mask(pair.name, pair.sample)
                one = ConfusionMatrix(len(dataset.class_names) + 1)
                one.add(truth, mask)
                boundary.add(truth, mask)
                sweep.add(truth, *_as_maps(mask))
            confusion = confusion + one
            if np.isfinite(score := one.scores().miou):
                result.picture_scores[pair.sample.id] = score
        watcher.step()
    result.pictures, result.headline = len(pairs) - len(without), "miou"
    if not result.pictures:
        raise DatasetError(f"no picture of the split {settings.split!r} has a mask; choose another split or protocol")
    result.notes += note_without("pictures have no mask and are left out", without)
    scores = summary(confusion.scores()) | {"boundary_iou": boundary.miou}
    interval = sweep.bootstrap(0.5, resamples=settings.resamples, seed=settings.seed)
    detail = "finished masks; whoever made them knows what chose their threshold"
    result.rows.append(row("predictions", "none", detail, None, scores, interval))
    result.classes = class_rows(dataset, confusion.scores())


def summary(scores: SegmentationScores) -> dict[str, float]:
    """The scores of a row."""
    return {
        "miou": scores.miou,
        "precision": scores.foreground_precision,
        "recall": scores.foreground_recall,
        "pixel_accuracy": scores.pixel_accuracy,
    }


def class_rows(dataset: Dataset, scores: SegmentationScores) -> list[dict[str, float | str]]:
    """IoU, precision and recall of each class that truth or prediction holds."""
    names = ("background", *dataset.class_names)
    return [
        {
            "name": names[c],
            "iou": float(scores.iou[c]),
            "precision": float(scores.precision[c]),
            "recall": float(scores.recall[c]),
        }
        for c in range(len(names))
        if np.isfinite(scores.iou[c])
    ]


def at_size(maps: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """Maps (K, h, w) at the size (H, W) of a picture, bilinear as `Attribution.upsample`, (K, H, W)."""
    resized = [cv2.resize(one, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for one in maps]
    return np.stack(resized).astype(np.float32) if resized else np.zeros((0, *size), dtype=np.float32)


def _as_maps(mask: Mask) -> tuple[NDArray[np.float32], list[int]]:
    """A mask as maps of 0 and 1, so that the bootstrap of seeds serves for it; 255 is background."""
    present = [int(number) for number in np.unique(mask) if 0 < number < 255]
    maps = [(mask == number).astype(np.float32) for number in present]
    return (np.stack(maps) if maps else np.zeros((0, *mask.shape), dtype=np.float32)), [n - 1 for n in present]


def _listed(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in values]
