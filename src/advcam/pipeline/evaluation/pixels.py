"""PxAP where the truth are masks: average precision of the pixels, pooled over all pictures."""

from dataclasses import dataclass, field

import numpy as np

from advcam.errors import DatasetError
from advcam.evaluate.baselines import centre_map, random_map
from advcam.evaluate.pxap import PxAP
from advcam.evaluate.score_maps import SIZE, score_map
from advcam.pipeline.evaluation.boxes import class_map
from advcam.pipeline.evaluation.result import Evaluation, Pair, naming, note_without, row
from advcam.pipeline.evaluation.scoring import Inputs, Scoring


@dataclass
class PooledPixels:
    """Pixels of some pictures.

    Args:
        pooled: Of the predictions and of the floors.
        pictures: How many.
        left_out: Ids of those that have no mask of exactly one class.
    """

    pooled: dict[str, PxAP]
    pictures: int = 0
    left_out: list[str] = field(default_factory=list)

    def __add__(self, other: "PooledPixels") -> "PooledPixels":
        """See `Part`."""
        pooled = {name: one + other.pooled[name] for name, one in self.pooled.items()}
        return PooledPixels(pooled, self.pictures + other.pictures, self.left_out + other.left_out)


class PixelScorer:
    """PxAP of pictures with a mask of one class; it chooses no threshold."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.seed = inputs, inputs.settings.seed

    def part(self) -> PooledPixels:
        """See `Scorer`."""
        return PooledPixels({name: PxAP() for name in ("predictions", "centre", "random")})

    def add(self, part: PooledPixels, pair: Pair, place: int) -> None:
        """See `Scorer`."""
        truth = self.inputs.dataset.mask(pair.sample.id)
        classes = [] if truth is None else [int(c) for c in np.unique(truth) if 0 < c < 255]
        if truth is None or len(classes) != 1:
            part.left_out.append(pair.sample.id)
            return
        with naming(pair.sample.id):
            own = class_map(self.inputs.predictions, pair, classes[0] - 1)
            maps = (own, centre_map((SIZE, SIZE)), random_map((SIZE, SIZE), self.seed + place))
            for accumulator, one in zip(part.pooled.values(), maps, strict=True):
                accumulator.add(score_map(one), truth == classes[0], truth == 255)
        part.pictures += 1


def evaluate_pxap(scoring: Scoring, result: Evaluation) -> None:
    """PxAP, pooled over all pixels of all pictures with a mask of one class.

    Raises:
        DatasetError: No picture has a mask of exactly one class.
    """
    found = scoring.run("pixels", PixelScorer)
    result.pictures, result.headline = found.pictures, "pxap"
    if not result.pictures:
        split = scoring.inputs.settings.split
        raise DatasetError(f"no picture of the split {split!r} has a mask of exactly one class; PxAP needs them")
    result.notes += note_without("pictures have no mask of exactly one class and are left out", found.left_out)
    detail = "all thresholds together"
    result.rows += [row(name, "none", detail, None, {"pxap": one.value}) for name, one in found.pooled.items()]
    precision, recall = found.pooled["predictions"].curve()
    result.thresholds = [float(value) for value in recall]
    result.curves = {"precision over recall": [float(value) for value in np.nan_to_num(precision)]}
