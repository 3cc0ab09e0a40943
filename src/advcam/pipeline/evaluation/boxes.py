"""Localization: MaxBoxAcc, MaxBoxAccV2, GT-known, Top-1 and Top-5 Loc."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from advcam.datasets.pictures import read_picture
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError, SettingError
from advcam.evaluate.baselines import centre_box, centre_map, random_map
from advcam.evaluate.bootstrap import bootstrap_mean
from advcam.evaluate.localization import DELTAS, MaxBoxAcc
from advcam.evaluate.score_maps import SIZE, score_map
from advcam.evaluate.selection import LabelFree, ThresholdChoice, choose_fixed, choose_validated
from advcam.evaluate.thresholds import SEED_THRESHOLDS
from advcam.pipeline.evaluation.predictions import Predictions
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
from advcam.pipeline.evaluation.scoring import Inputs, Scoring, class_match
from advcam.types import Box, FloatArray

#: Predicted classes that Top-k Loc looks at.
_RANKS = 5
_FLOORS = ("centre", "whole picture", "random")


@dataclass
class JudgedBoxes:
    """Boxes of some pictures.

    Args:
        accuracies: Of the predictions and of the floors.
        rule: The label-free one.
        ids: Of the pictures, in the order of the accuracies.
        ranked: Of each its class and the predicted classes, the most probable first.
        unboxed: Ids of pictures that have no boxes.
        mixed: Ids of those that have boxes of several classes.
    """

    accuracies: dict[str, MaxBoxAcc]
    rule: LabelFree
    ids: list[str] = field(default_factory=list)
    ranked: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    unboxed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)

    def __add__(self, other: "JudgedBoxes") -> "JudgedBoxes":
        """See `Part`."""
        return JudgedBoxes(
            {name: accuracy + other.accuracies[name] for name, accuracy in self.accuracies.items()},
            self.rule + other.rule,
            self.ids + other.ids,
            self.ranked + other.ranked,
            self.unboxed + other.unboxed,
            self.mixed + other.mixed,
        )


class BoxScorer:
    """Boxes of the true class (GT-known): every threshold of the map at once, or finished boxes.

    The predicted classes are those of a table, or else the classifier's, or else nobody knows them.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.predictions, settings = inputs, inputs.predictions, inputs.settings
        self.match = class_match(inputs) if settings.model is not None and settings.top_classes is None else None

    def part(self) -> JudgedBoxes:
        """See `Scorer`."""
        return JudgedBoxes({name: MaxBoxAcc() for name in ("predictions", *_FLOORS)}, LabelFree(SEED_THRESHOLDS))

    def add(self, part: JudgedBoxes, pair: Pair, place: int) -> None:
        """See `Scorer`."""
        boxes = self.inputs.dataset.boxes(pair.sample.id)
        if not boxes:
            part.unboxed.append(pair.sample.id)
        elif len({box.class_id for box in boxes}) > 1:
            part.mixed.append(pair.sample.id)
        else:
            with naming(pair.sample.id):
                self._judge(part, pair, boxes, place)

    def _judge(self, part: JudgedBoxes, pair: Pair, boxes: tuple[Box, ...], place: int) -> None:
        width, height = stored_size(pair.sample.path)
        size, ranked, class_id = (height, width), self._ranked(pair), boxes[0].class_id
        if self.predictions.kind == "boxes":
            found = self.predictions.boxes(pair.name, pair.sample)
            part.accuracies["predictions"].add_boxes(found, boxes, size, ranked)
        else:
            own = class_map(self.predictions, pair, class_id)
            part.accuracies["predictions"].add(score_map(own), boxes, size, ranked)
            if self.predictions.kind == "maps":
                part.rule.add(own[None], read_picture(pair.sample.path))
        part.accuracies["centre"].add(score_map(centre_map((SIZE, SIZE))), boxes, size, ranked)
        part.accuracies["whole picture"].add_boxes([centre_box(size, 1.0, class_id)], boxes, size, ranked)
        chance = random_map((SIZE, SIZE), self.inputs.settings.seed + place)
        part.accuracies["random"].add(score_map(chance), boxes, size, ranked)
        part.ids.append(pair.sample.id)
        part.ranked.append((class_id, ranked))

    def _ranked(self, pair: Pair) -> tuple[int, ...]:
        if self.match is None:
            return pair.ranked
        return tuple(self.match.ranked(read_picture(pair.sample.path), _RANKS))


class BoxEvaluation:
    """The table of boxes.

    Args:
        scoring: What is scored.
        validated: Thresholds that another split chose.
    """

    def __init__(self, scoring: Scoring, validated: Sequence[ThresholdChoice] = ()) -> None:
        self.scoring, self.validated = scoring, validated
        self.settings, self.kind = scoring.inputs.settings, scoring.inputs.predictions.kind

    def run(self, result: Evaluation) -> None:
        """Score the pictures that have boxes of one class, and write rows and curves into the result.

        Raises:
            DatasetError: No picture has boxes of exactly one class.
        """
        judged = self.scoring.run("boxes", BoxScorer)
        if not judged.ids:
            raise DatasetError(f"no picture of the split {self.settings.split!r} has boxes of exactly one class")
        result.notes += note_without("pictures have no boxes and are left out", judged.unboxed)
        result.notes += note_without("pictures have boxes of several classes and are left out", judged.mixed)
        self._report(judged, result)

    def _report(self, judged: JudgedBoxes, result: Evaluation) -> None:
        labelled, scored = labelled_part(len(judged.ids), self.settings)
        ours = judged.accuracies["predictions"].subset(scored)
        result.pictures, result.headline = len(scored), "max_box_acc_v2"
        ranks = _ranks(judged)
        result.rows.append(self._oracle_row("predictions", ours, ranks))
        if self.kind == "maps":
            result.rows += [self._row(ours, choice, ranks) for choice in self._choices(judged, labelled, result)]
            curves = {f"BoxAcc at IoU {delta:g}": ours.curves_v2[i] for i, delta in enumerate(DELTAS)}
            result.thresholds = ours.thresholds.tolist()
            result.curves = {name: [float(v) for v in curve] for name, curve in curves.items()}
        result.rows += [self._oracle_row(name, judged.accuracies[name].subset(scored), ranks) for name in _FLOORS]
        hits = ours.successes(_nearest(ours, self.settings.threshold))
        result.picture_scores = {judged.ids[i]: float(hit) for i, hit in zip(scored, hits, strict=True)}
        result.notes += _accuracy_notes(judged, scored)
        result.notes.append(
            "boxes are those of the true class's map, for Top-k Loc too (for Top-1 it is the predicted class's); "
            "GT-known is IoU 0.5 with the largest contour"
        )

    def _choices(self, judged: JudgedBoxes, labelled: NDArray[np.int64], result: Evaluation) -> list[ThresholdChoice]:
        choices = [*self.validated, choose_fixed(self.settings.threshold), *label_free(judged.rule, result)]
        if len(labelled):
            seen = judged.accuracies["predictions"].subset(labelled)
            curve = seen.curves_v2.mean(axis=0)
            choices.insert(0, choose_validated(curve, seen.thresholds.tolist(), len(labelled)))
        return choices

    def _row(self, accuracy: MaxBoxAcc, choice: ThresholdChoice, ranks: Sequence[int]) -> Row:
        """Scores at one threshold; the mean over the IoUs stands where MaxBoxAccV2 stands, which takes three."""
        threshold = _nearest(accuracy, choice.threshold)
        at = int(np.abs(accuracy.thresholds - threshold).argmin())
        scores = {"max_box_acc_v2": float(accuracy.curves_v2[:, at].mean()), "gt_known": accuracy.gt_known(threshold)}
        scores |= _top(accuracy, ranks, threshold)
        hits = accuracy.successes(threshold)
        detail = f"{choice.detail}; GT-known between {_ends(hits, self.settings)}"
        return row("predictions", choice.supervision, detail, threshold, scores)

    def _oracle_row(self, name: str, accuracy: MaxBoxAcc, ranks: Sequence[int]) -> Row:
        scores = {"max_box_acc_v2": accuracy.max_box_acc_v2, "gt_known": accuracy.max_box_acc} | _top(
            accuracy, ranks, None
        )
        interval = accuracy.bootstrap(resamples=self.settings.resamples, seed=self.settings.seed)
        if name == "whole picture" or (name == "predictions" and self.kind == "boxes"):
            return row(name, "none", "finished boxes", None, scores, interval)
        detail = (
            "each IoU its own best of 1000 thresholds on the evaluated pictures themselves (MaxBoxAccV2, MaxBoxAcc)"
        )
        return row(name, "oracle", detail, accuracy.best_threshold, scores, interval)


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


def _top(accuracy: MaxBoxAcc, ranks: Sequence[int], threshold: float | None) -> dict[str, float]:
    return {f"top{k}_loc": accuracy.top_loc(k, threshold) for k in ranks}


def _ranks(judged: JudgedBoxes) -> list[int]:
    """The k of Top-k Loc for which every picture has enough predicted classes."""
    known = min(len(ranked) for _, ranked in judged.ranked)
    return [k for k in (1, 5) if k <= known]


def _accuracy_notes(judged: JudgedBoxes, scored: NDArray[np.int64]) -> list[str]:
    """The classifier's own accuracy, the ceiling of Top-k Loc."""
    ranks = _ranks(judged)
    if not ranks:
        return ["Top-1 and Top-5 Loc need the predicted classes: give --top-classes or --model"]
    shares = {k: np.mean([judged.ranked[i][0] in judged.ranked[i][1][:k] for i in scored]) for k in ranks}
    words = ", ".join(f"top-{k} {share:.1%}" for k, share in shares.items())
    few = "" if 5 in shares else "; Top-5 Loc needs five predicted classes for every picture"
    return [f"the classifier's own accuracy on these pictures: {words}{few}"]


def _nearest(accuracy: MaxBoxAcc, threshold: float) -> float:
    return float(accuracy.thresholds[np.abs(accuracy.thresholds - threshold).argmin()])


def _ends(hits: NDArray[np.bool_], settings: EvaluateSettings) -> str:
    interval = bootstrap_mean(hits, resamples=settings.resamples, seed=settings.seed)
    return f"{interval.low:.1%} and {interval.high:.1%} (95 %)"
