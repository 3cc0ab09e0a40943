"""The worst and the best pictures of an evaluation, read again with their truth and their prediction."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.datasets.dataset import Dataset
from advcam.datasets.pictures import read_picture
from advcam.datasets.sizes import stored_size
from advcam.errors import DatasetError
from advcam.evaluate.localization import Corners, box_iou, boxes_from_map, scaled_corners
from advcam.evaluate.score_maps import SIZE, score_map
from advcam.evaluate.thresholds import BOX_THRESHOLDS
from advcam.pipeline.evaluation.boxes import class_map
from advcam.pipeline.evaluation.predictions import Predictions
from advcam.pipeline.evaluation.result import EvaluateSettings, Evaluation, Pair, naming
from advcam.pipeline.evaluation.scoring import open_inputs
from advcam.report.evaluation_figures import PictureTiles
from advcam.report.figures import shrink
from advcam.types import Attribution, Box, Mask

#: Pictures of a group, and their widest tile in pixels.
SHOWN, _WIDTH = 6, 480


def examples(result: Evaluation, settings: EvaluateSettings) -> dict[str, list[PictureTiles]]:
    """Up to six of the worst and six of the best pictures by heading; nothing where pictures have no scores.

    Args:
        result: Whose `picture_scores` choose.
        settings: Where data set and predictions lie.

    Raises:
        AdvcamError: A picture, its truth or its prediction cannot be read; the message names it.
    """
    chosen = chosen_ids(result)
    if not chosen:
        return {}
    inputs = open_inputs(settings)
    reader = _Reader(inputs.dataset, inputs.predictions, settings.threshold)
    read = reader.boxes if result.task == "localization" else reader.masks
    found: dict[str, list[PictureTiles]] = {heading: [] for heading in chosen}
    for heading, ids in chosen.items():
        for id_ in ids:
            with naming(id_):
                found[heading].append(read(reader.pair(id_), result.picture_scores[id_]))
    return found


def chosen_ids(result: Evaluation) -> dict[str, list[str]]:
    """Ids by heading: the worst and the best, none twice; for boxes, which hit or miss, some of either kind."""
    scores = {id_: score for id_, score in result.picture_scores.items() if math.isfinite(score)}
    if result.task == "localization":
        hit = [id_ for id_, score in scores.items() if score]
        missed = [id_ for id_, score in scores.items() if not score]
        kinds = {"missed": missed, "hit": hit}
        named = {f"{min(SHOWN, len(ids))} of {len(ids)} {kind}": _spread(ids) for kind, ids in kinds.items()}
    else:
        order = sorted(scores, key=lambda id_: scores[id_])
        few = min(SHOWN, len(order) // 2)
        best = order[few:][::-1][:SHOWN]
        named = {f"the {few} worst": order[:few], f"the {len(best)} best": best}
    return {heading: ids for heading, ids in named.items() if ids}


def _spread(ids: Sequence[str]) -> list[str]:
    """A few of many, evenly over their list: lists are often sorted by class."""
    places = np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).round().astype(int)
    return [ids[place] for place in places]


class _Reader:
    """Reads one picture after the other with its truth and its prediction at the threshold."""

    def __init__(self, dataset: Dataset, predictions: Predictions, threshold: float) -> None:
        self.dataset, self.predictions, self.threshold = dataset, predictions, threshold

    def pair(self, id_: str) -> Pair:
        """The picture and the name of its prediction."""
        sample = self.dataset.sample(id_)
        name = self.predictions.name_of(sample)
        if name is None:
            raise DatasetError(f"{self.predictions.where} does not predict it any more; evaluate again")
        return Pair(sample, name)

    def masks(self, pair: Pair, score: float) -> PictureTiles:
        """With label masks."""
        truth = self.dataset.mask(pair.sample.id)
        if truth is None:
            raise DatasetError("it has no mask any more; evaluate again")
        size = (truth.shape[0], truth.shape[1])
        caption = f"{pair.sample.id}: mIoU {100 * score:.1f} %"
        return PictureTiles(caption, _thumbnail(pair), size, truth, self._found_mask(pair, size))

    def boxes(self, pair: Pair, _: float) -> PictureTiles:
        """With boxes, and the IoU that decides between hit and missed."""
        truth = self.dataset.boxes(pair.sample.id)
        if not truth:
            raise DatasetError("it has no boxes any more; evaluate again")
        width, height = stored_size(pair.sample.path)
        size, class_id = (height, width), truth[0].class_id
        corners = self._found_corners(pair, class_id, size)
        iou = box_iou(corners, scaled_corners(truth, size)).max()
        found = (_on_picture(corners[0], class_id, size),) if corners.any() else ()
        caption = f"{pair.sample.id}: {f'IoU {100 * iou:.1f} %' if found else 'no box of its class'}"
        return PictureTiles(caption, _thumbnail(pair), size, truth, found)

    def _found_mask(self, pair: Pair, size: tuple[int, int]) -> Mask:
        """Finished masks as they are; of maps, the seeds (H, W) that were scored."""
        if self.predictions.kind == "masks":
            return self.predictions.mask(pair.name, pair.sample)
        class_ids, maps = self.predictions.maps(pair.name, pair.sample)
        names, scores = ("",) * len(class_ids), np.zeros(len(class_ids), np.float32)
        return Attribution(class_ids, names, maps.astype(np.float32), size, scores).label_mask(self.threshold)

    def _found_corners(self, pair: Pair, class_id: int, size: tuple[int, int]) -> Corners:
        """The box that GT-known judges, (1, 4) on the grid of score maps; zeros where there is none."""
        if self.predictions.kind == "boxes":
            boxes = self.predictions.boxes(pair.name, pair.sample)
            own = [box for box in boxes if box.class_id == class_id][:1]
            return scaled_corners(own, size) if own else np.zeros((1, 4), dtype=np.int64)
        threshold = min(BOX_THRESHOLDS, key=lambda one: abs(one - self.threshold))
        return boxes_from_map(score_map(class_map(self.predictions, pair, class_id)), threshold)[:1]


def _thumbnail(pair: Pair) -> Image.Image:
    return shrink(read_picture(pair.sample.path), _WIDTH)


def _on_picture(corners: NDArray[np.int64], class_id: int, size: tuple[int, int]) -> Box:
    """A box of the grid of score maps in pixels of the picture (H, W), for drawing: 1 / 224 of a side is its unit."""
    height, width = size
    x0, y0, x1, y1 = (corners * [width, height, width, height] / SIZE).round().astype(int).tolist()
    return Box(class_id, x0, y0, x1, y1, 0.0)
