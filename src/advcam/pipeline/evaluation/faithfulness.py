"""Faithfulness: does the classifier depend on what a map shows? For maps where nothing is annotated."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from advcam.classifiers.classifier import Classifier
from advcam.datasets.pictures import read_picture
from advcam.errors import DatasetError
from advcam.evaluate.baselines import centre_map, random_map
from advcam.evaluate.bootstrap import Interval, bootstrap_mean
from advcam.evaluate.faithfulness import Confidence, average_drop, average_increase, confidence, deletion, insertion
from advcam.pipeline.class_match import input_size
from advcam.pipeline.evaluation.masks import at_size
from advcam.pipeline.evaluation.result import EvaluateSettings, Evaluation, Pair, naming, note_without, row
from advcam.pipeline.evaluation.scoring import Inputs, Scoring, class_match
from advcam.types import FloatArray

#: Longer side at which the network is asked, and steps of the curves; the curves change little beyond.
_SIDE, _STEPS = 224, 56


@dataclass
class Faithfulness:
    """Insertion and deletion areas and confidences of the maps of one kind.

    Args:
        insertion: Area of each (picture, class).
        deletion: The same.
        confidences: The same.
    """

    insertion: list[float] = field(default_factory=list)
    deletion: list[float] = field(default_factory=list)
    confidences: list[Confidence] = field(default_factory=list)

    def __add__(self, other: "Faithfulness") -> "Faithfulness":
        """Those of the pictures of both, in their order."""
        return Faithfulness(
            self.insertion + other.insertion, self.deletion + other.deletion, self.confidences + other.confidences
        )

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


@dataclass
class FaithfulMaps:
    """Faithfulness of some pictures.

    Args:
        found: Of the predictions and of the floors.
        pictures: How many have a map.
        without: Ids of the others.
    """

    found: dict[str, Faithfulness]
    pictures: int = 0
    without: list[str] = field(default_factory=list)

    def __add__(self, other: "FaithfulMaps") -> "FaithfulMaps":
        """See `Part`."""
        found = {name: one + other.found[name] for name, one in self.found.items()}
        return FaithfulMaps(found, self.pictures + other.pictures, self.without + other.without)


class FaithfulnessScorer:
    """Asks the classifier, which is loaded once, about each (picture, class)."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.seed, self.match = inputs, inputs.settings.seed, class_match(inputs)

    def part(self) -> FaithfulMaps:
        """See `Scorer`."""
        return FaithfulMaps({name: Faithfulness() for name in ("predictions", "centre", "random")})

    def add(self, part: FaithfulMaps, pair: Pair, place: int) -> None:
        """See `Scorer`."""
        with naming(pair.sample.id):
            if self._measured(part, pair, self.seed + place):
                part.pictures += 1
            else:
                part.without.append(pair.sample.id)

    def _measured(self, part: FaithfulMaps, pair: Pair, seed: int) -> bool:
        """Measure each map of a picture; False where it has none."""
        match, picture = self.match, read_picture(pair.sample.path)
        class_ids, maps = self.inputs.predictions.maps(pair.name, pair.sample)
        targets = match.targets(picture, [match.class_names[class_id] for class_id in class_ids])
        small = picture.resize(input_size(match.classifier, picture.size, _SIDE))
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
        size = (small.height, small.width)
        for target, own in zip(targets, at_size(maps, size), strict=True):
            for kind, one in zip(part.found.values(), (own, centre_map(size), random_map(size, seed)), strict=True):
                _measure(kind, match.classifier, pixels, one, target)
        return bool(class_ids)


def evaluate_faithfulness(scoring: Scoring, result: Evaluation) -> None:
    """Insertion, deletion, average drop and increase of each (picture, class), with centre and chance beside.

    Raises:
        SettingError: No classifier was named.
        DatasetError: No picture has a map.
    """
    settings = scoring.inputs.settings
    maps = scoring.run("faithfulness", FaithfulnessScorer)
    result.pictures, result.headline = maps.pictures, "insertion"
    if not result.pictures:
        raise DatasetError(f"no picture of the split {settings.split!r} has a map, so there is nothing to ask for")
    result.notes += note_without("pictures have no map and are left out", maps.without)
    result.rows += [
        row(name, "none", "no threshold", None, f.scores(), f.interval(settings)) for name, f in maps.found.items()
    ]
    result.notes.append(
        f"pictures at {_SIDE} pixels on the longer side, {_STEPS} steps; deletion and drop: lower is better"
    )


def _measure(kind: Faithfulness, classifier: Classifier, pixels: Tensor, one: FloatArray, target: int) -> None:
    def probabilities(pictures: Tensor) -> Tensor:
        with torch.no_grad():
            scores = classifier.prepared("float32").respond(classifier.normalise(pictures)).scores
        return scores.sigmoid() if classifier.multi_label else scores.softmax(dim=1)

    class_map = torch.from_numpy(one)
    kind.insertion.append(insertion(probabilities, pixels, class_map, target, steps=_STEPS).area)
    kind.deletion.append(deletion(probabilities, pixels, class_map, target, steps=_STEPS).area)
    kind.confidences.append(confidence(probabilities, pixels, class_map, target))
