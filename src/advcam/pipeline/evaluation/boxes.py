"""Localization: MaxBoxAcc, MaxBoxAccV2, GT-known, Top-1 and Top-5 Loc; and PxAP where the truth are masks."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError, SettingError
from advcam.evaluate.baselines import centre_box, centre_map, random_map
from advcam.evaluate.bootstrap import bootstrap_mean
from advcam.evaluate.localization import DELTAS, MaxBoxAcc
from advcam.evaluate.pxap import PxAP
from advcam.evaluate.score_maps import SIZE, score_map
from advcam.evaluate.selection import LabelFree, ThresholdChoice, choose_fixed, choose_validated
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
from advcam.types import Box, FloatArray, Sample

#: From a sample to the predicted classes of the data set, the most probable first; () where nobody knows.
Ranking = Callable[[Sample], Sequence[int]]
_FLOORS = ("centre", "whole picture", "random")


class BoxEvaluation:
    """Boxes of the true class (GT-known): every threshold of the map at once, or finished boxes."""

    def __init__(
        self,
        dataset: Dataset,
        predictions: Predictions,
        settings: EvaluateSettings,
        ranking: Ranking,
        validated: Sequence[ThresholdChoice] = (),
    ) -> None:
        self.dataset, self.predictions, self.settings, self.ranking = dataset, predictions, settings, ranking
        self.validated = validated
        self.accuracies = {name: MaxBoxAcc() for name in ("predictions", *_FLOORS)}
        self.rule = LabelFree(SEED_THRESHOLDS)
        self.ids: list[str] = []
        self.ranked: list[tuple[int, tuple[int, ...]]] = []

    def run(self, pairs: Sequence[Pair], result: Evaluation, watcher: Watcher) -> None:
        """Score the pictures that have boxes of one class, and write rows and curves into the result.

        Raises:
            DatasetError: No picture has boxes of exactly one class.
        """
        watcher.start("boxes", len(pairs))
        unboxed, mixed = [], []
        for pair in pairs:
            boxes = self.dataset.boxes(pair.sample.id)
            if not boxes:
                unboxed.append(pair.sample.id)
            elif len({box.class_id for box in boxes}) > 1:
                mixed.append(pair.sample.id)
            else:
                with naming(pair.sample.id):
                    self._add(pair, boxes)
            watcher.step()
        if not self.ids:
            raise DatasetError(f"no picture of the split {self.settings.split!r} has boxes of exactly one class")
        result.notes += note_without("pictures have no boxes and are left out", unboxed)
        result.notes += note_without("pictures have boxes of several classes and are left out", mixed)
        self._report(result)

    def _add(self, pair: Pair, boxes: tuple[Box, ...]) -> None:
        width, height = stored_size(pair.sample.path)
        size, ranked, class_id = (height, width), tuple(self.ranking(pair.sample)), boxes[0].class_id
        if self.predictions.kind == "boxes":
            found = self.predictions.boxes(pair.name, pair.sample)
            self.accuracies["predictions"].add_boxes(found, boxes, size, ranked)
        else:
            own = class_map(self.predictions, pair, class_id)
            self.accuracies["predictions"].add(score_map(own), boxes, size, ranked)
            if self.predictions.kind == "maps":
                self.rule.add(own[None], read_picture(pair.sample.path))
        self.accuracies["centre"].add(score_map(centre_map((SIZE, SIZE))), boxes, size, ranked)
        self.accuracies["whole picture"].add_boxes([centre_box(size, 1.0, class_id)], boxes, size, ranked)
        chance = random_map((SIZE, SIZE), self.settings.seed + len(self.ids))
        self.accuracies["random"].add(score_map(chance), boxes, size, ranked)
        self.ids.append(pair.sample.id)
        self.ranked.append((class_id, ranked))

    def _report(self, result: Evaluation) -> None:
        labelled, scored = labelled_part(len(self.ids), self.settings)
        ours = self.accuracies["predictions"].subset(scored)
        result.pictures, result.headline = len(scored), "max_box_acc_v2"
        result.rows.append(self._oracle_row("predictions", ours))
        if self.predictions.kind == "maps":
            result.rows += [self._row(ours, choice) for choice in self._choices(labelled, result)]
            curves = {f"BoxAcc at IoU {delta:g}": ours.curves_v2[i] for i, delta in enumerate(DELTAS)}
            result.thresholds = ours.thresholds.tolist()
            result.curves = {name: [float(v) for v in curve] for name, curve in curves.items()}
        result.rows += [self._oracle_row(name, self.accuracies[name].subset(scored)) for name in _FLOORS]
        hits = ours.successes(self._fixed(ours))
        result.picture_scores = {self.ids[i]: float(hit) for i, hit in zip(scored, hits, strict=True)}
        result.notes += self._accuracy_notes(scored)
        result.notes.append(
            "boxes are those of the true class's map, for Top-k Loc too (for Top-1 it is the predicted class's); "
            "GT-known is IoU 0.5 with the largest contour"
        )

    def _choices(self, labelled: NDArray[np.int64], result: Evaluation) -> list[ThresholdChoice]:
        choices = [*self.validated, choose_fixed(self.settings.threshold), *label_free(self.rule, result)]
        if len(labelled):
            seen = self.accuracies["predictions"].subset(labelled)
            curve = seen.curves_v2.mean(axis=0)
            choices.insert(0, choose_validated(curve, seen.thresholds.tolist(), len(labelled)))
        return choices

    def _row(self, accuracy: MaxBoxAcc, choice: ThresholdChoice) -> Row:
        """Scores at one threshold; the mean over the IoUs stands where MaxBoxAccV2 stands, which takes three."""
        threshold = _nearest(accuracy, choice.threshold)
        at = int(np.abs(accuracy.thresholds - threshold).argmin())
        scores = {"max_box_acc_v2": float(accuracy.curves_v2[:, at].mean()), "gt_known": accuracy.gt_known(threshold)}
        scores |= self._top(accuracy, threshold)
        hits = accuracy.successes(threshold)
        detail = f"{choice.detail}; GT-known between {_ends(hits, self.settings)}"
        return row("predictions", choice.supervision, detail, threshold, scores)

    def _oracle_row(self, name: str, accuracy: MaxBoxAcc) -> Row:
        scores = {"max_box_acc_v2": accuracy.max_box_acc_v2, "gt_known": accuracy.max_box_acc} | self._top(
            accuracy, None
        )
        interval = accuracy.bootstrap(resamples=self.settings.resamples, seed=self.settings.seed)
        if name == "whole picture" or (name == "predictions" and self.predictions.kind == "boxes"):
            return row(name, "none", "finished boxes", None, scores, interval)
        detail = (
            "each IoU its own best of 1000 thresholds on the evaluated pictures themselves (MaxBoxAccV2, MaxBoxAcc)"
        )
        return row(name, "oracle", detail, accuracy.best_threshold, scores, interval)

    def _top(self, accuracy: MaxBoxAcc, threshold: float | None) -> dict[str, float]:
        return {f"top{k}_loc": accuracy.top_loc(k, threshold) for k in self._ranks()}

    def _ranks(self) -> list[int]:
        """The k of Top-k Loc for which every picture has enough predicted classes."""
        known = min(len(ranked) for _, ranked in self.ranked)
        return [k for k in (1, 5) if k <= known]

    def _accuracy_notes(self, scored: NDArray[np.int64]) -> list[str]:
        """The classifier's own accuracy, the ceiling of Top-k Loc."""
        if not self._ranks():
            return ["Top-1 and Top-5 Loc need the predicted classes: give --top-classes or --model"]
        shares = {k: np.mean([self.ranked[i][0] in self.ranked[i][1][:k] for i in scored]) for k in self._ranks()}
        words = ", ".join(f"top-{k} {share:.1%}" for k, share in shares.items())
        few = "" if 5 in shares else "; Top-5 Loc needs five predicted classes for every picture"
        return [f"the classifier's own accuracy on these pictures: {words}{few}"]

    def _fixed(self, accuracy: MaxBoxAcc) -> float:
        return _nearest(accuracy, self.settings.threshold)


def evaluate_pxap(
    dataset: Dataset,
    predictions: Predictions,
    settings: EvaluateSettings,
    pairs: Sequence[Pair],
    result: Evaluation,
    watcher: Watcher,
) -> None:
    """PxAP, pooled over all pixels of all pictures with a mask of one class; it chooses no threshold.

    Raises:
        DatasetError: No picture has a mask of exactly one class.
    """
    watcher.start("pixels", len(pairs))
    pooled = {name: PxAP() for name in ("predictions", "centre", "random")}
    left_out = []
    for number, pair in enumerate(pairs):
        truth = dataset.mask(pair.sample.id)
        classes = [] if truth is None else [int(c) for c in np.unique(truth) if 0 < c < 255]
        watcher.step()
        if truth is None or len(classes) != 1:
            left_out.append(pair.sample.id)
            continue
        with naming(pair.sample.id):
            own = class_map(predictions, pair, classes[0] - 1)
            maps = (own, centre_map((SIZE, SIZE)), random_map((SIZE, SIZE), settings.seed + number))
            for accumulator, one in zip(pooled.values(), maps, strict=True):
                accumulator.add(score_map(one), truth == classes[0], truth == 255)
    result.pictures, result.headline = len(pairs) - len(left_out), "pxap"
    if not result.pictures:
        raise DatasetError(
            f"no picture of the split {settings.split!r} has a mask of exactly one class; PxAP needs them"
        )
    result.notes += note_without("pictures have no mask of exactly one class and are left out", left_out)
    detail = "all thresholds together"
    result.rows += [row(name, "none", detail, None, {"pxap": one.value}) for name, one in pooled.items()]
    precision, recall = pooled["predictions"].curve()
    result.thresholds = [float(value) for value in recall]
    result.curves = {"precision over recall": [float(value) for value in np.nan_to_num(precision)]}


def class_map(predictions: Predictions, pair: Pair, class_id: int) -> FloatArray:
    """The map of one class of a picture, (h, w); a finished mask is a map of 0 and 1.

    Raises:
        DatasetError: The class is not predicted.
        SettingError: The predictions are boxes.
    """
    if predictions.kind == "masks":
        mask = predictions.mask(pair.name, pair.sample)
        return np.asarray(mask == class_id + 1, dtype=np.float32)
    if predictions.kind == "boxes":
        raise SettingError(f"{predictions.where} holds boxes; this protocol takes maps or masks")
    class_ids, maps = predictions.maps(pair.name, pair.sample)
    if class_id not in class_ids:
        raise DatasetError(
            f"no map of the true class; there are maps of {len(class_ids)} other classes: make maps of the image labels"
        )
    return np.asarray(maps[class_ids.index(class_id)], dtype=np.float32)


def _nearest(accuracy: MaxBoxAcc, threshold: float) -> float:
    return float(accuracy.thresholds[np.abs(accuracy.thresholds - threshold).argmin()])


def _ends(hits: NDArray[np.bool_], settings: EvaluateSettings) -> str:
    interval = bootstrap_mean(hits, resamples=settings.resamples, seed=settings.seed)
    return f"{interval.low:.1%} and {interval.high:.1%} (95 %)"
