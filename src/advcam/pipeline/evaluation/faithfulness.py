"""Faithfulness: does the classifier depend on what a map shows? For maps where nothing is annotated."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.errors import DatasetError, SettingError
from advcam.evaluate.baselines import centre_map, random_map
from advcam.evaluate.bootstrap import Interval, bootstrap_mean
from advcam.evaluate.faithfulness import Confidence, average_drop, average_increase, confidence, deletion, insertion
from advcam.pipeline.class_match import ClassMatch, input_size, read_groups
from advcam.pipeline.evaluation.masks import at_size
from advcam.pipeline.evaluation.predictions import Predictions
from advcam.pipeline.evaluation.result import EvaluateSettings, Evaluation, Pair, Watcher, naming, note_without, row
from advcam.types import FloatArray

#: Longer side at which the network is asked, and steps of the curves; the curves change little beyond.
_SIDE, _STEPS = 224, 56


class Faithfulness:
    """Insertion and deletion areas and confidences of the maps of one kind."""

    def __init__(self) -> None:
        self.insertion: list[float] = []
        self.deletion: list[float] = []
        self.confidences: list[Confidence] = []

    def scores(self) -> dict[str, float]:
        """Means over (picture, class): insertion (higher is better), deletion (lower), drop and increase as shares."""
        return {
            "insertion": float(np.mean(self.insertion)),
            "deletion": float(np.mean(self.deletion)),
            "average_drop": average_drop(self.confidences) / 100,
            "average_increase": average_increase(self.confidences) / 100,
        }

    def interval(self, settings: EvaluateSettings) -> Interval:
        """Of the insertion area."""
        return bootstrap_mean(self.insertion, resamples=settings.resamples, seed=settings.seed)


def evaluate_faithfulness(
    dataset: Dataset,
    predictions: Predictions,
    settings: EvaluateSettings,
    pairs: Sequence[Pair],
    result: Evaluation,
    watcher: Watcher,
) -> None:
    """Insertion, deletion, average drop and increase of each (picture, class), with centre and chance beside.

    Raises:
        SettingError: No classifier was named.
        DatasetError: No picture has a map.
    """
    if settings.model is None:
        raise SettingError("faithfulness asks the classifier: name it with --model (and --weights)")
    classifier = load_classifier(settings.model.model, **settings.model.model_dump(exclude={"model"}))
    groups = read_groups(settings.groups) if settings.groups else None
    match = ClassMatch(classifier, dataset.class_names, groups)
    found = {name: Faithfulness() for name in ("predictions", "centre", "random")}
    watcher.start("faithfulness", len(pairs))
    without = []
    for number, pair in enumerate(pairs):
        with naming(pair.sample.id):
            if not _add(pair, predictions, match, found, settings.seed + number):
                without.append(pair.sample.id)
        watcher.step()
    result.pictures, result.headline = len(pairs) - len(without), "insertion"
    if not result.pictures:
        raise DatasetError(f"no picture of the split {settings.split!r} has a map, so there is nothing to ask for")
    result.notes += note_without("pictures have no map and are left out", without)
    result.rows += [
        row(name, "none", "no threshold", None, f.scores(), f.interval(settings)) for name, f in found.items()
    ]
    result.notes.append(
        f"pictures at {_SIDE} pixels on the longer side, {_STEPS} steps; deletion and drop: lower is better"
    )


def _add(pair: Pair, predictions: Predictions, match: ClassMatch, found: dict[str, Faithfulness], seed: int) -> bool:
    """Measure each map of a picture; False where it has none."""
    picture = read_picture(pair.sample.path)
    class_ids, maps = predictions.maps(pair.name, pair.sample)
    targets = match.targets(picture, [match.class_names[class_id] for class_id in class_ids])
    small = picture.resize(input_size(match.classifier, picture.size, _SIDE))
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    size = (small.height, small.width)
    for target, own in zip(targets, at_size(maps, size), strict=True):
        for kind, one in zip(found.values(), (own, centre_map(size), random_map(size, seed)), strict=True):
            _measure(kind, match.classifier, pixels, one, target)
    return bool(class_ids)


def _measure(kind: Faithfulness, classifier: Classifier, pixels: Tensor, one: FloatArray, target: int) -> None:
    def probabilities(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            scores = classifier.prepared("float32").respond(classifier.normalise(pictures)).scores
        return scores.sigmoid() if classifier.multi_label else scores.softmax(dim=1)

    class_map = torch.from_numpy(one)
    kind.insertion.append(insertion(probabilities, pixels, class_map, target, steps=_STEPS).area)
    kind.deletion.append(deletion(probabilities, pixels, class_map, target, steps=_STEPS).area)
    kind.confidences.append(confidence(probabilities, pixels, class_map, target))
