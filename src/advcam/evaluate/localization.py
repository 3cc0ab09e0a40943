"""Boxes from score maps and how often they are right: MaxBoxAcc, MaxBoxAccV2, GT-known, Top-1 and Top-5 Loc.

The conventions are those of wsolevaluation (Choe et al., CVPR 2020, arXiv 2001.07437), to the last rounding: score
maps of 224 x 224, taken to 8 bits, thresholds at a share of their maximum, contours of OpenCV with holes counted, true
boxes scaled to 224 x 224 and cut to integers, IoU with sides of x1 - x0 + 1. Accuracies are shares between 0 and 1,
never per cent.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import DatasetError, SettingError
from advcam.evaluate.bootstrap import CONFIDENCE, RESAMPLES, Interval, Sums, bootstrap, check_subset
from advcam.evaluate.pixels import Shares
from advcam.evaluate.score_maps import SIZE, ScoreMap, check_score_map
from advcam.evaluate.thresholds import BOX_THRESHOLDS, check_thresholds, threshold_index
from advcam.types import Box

#: IoU from which a box is right: MaxBoxAcc takes 0.5, MaxBoxAccV2 the mean over the three.
DELTAS = (0.3, 0.5, 0.7)

#: Boxes (N, 4) as x0, y0, x1, y1 with the last pixel included, on the 224 x 224 grid.
Corners = NDArray[np.int64]
Hits = NDArray[np.bool_]


def boxes_from_map(scores: NDArray[np.floating[Any]], threshold: float) -> Corners:
    """Boxes around every contour above a threshold, (N, 4), the contour with the largest area first.

    A pixel is above where floor(255 s) exceeds floor(threshold * maximum of floor(255 s)). Of several contours with the
    same largest area, the first that OpenCV lists comes first. Holes are contours too. Without any contour the one box
    is 0, 0, 0, 0.

    Args:
        scores: (224, 224), in [0, 1], from `score_map`.
        threshold: In [0, 1], a share of the maximum.

    Returns:
        x0, y0, x1, y1 as published: x1 = x0 + width of the contour, so one pixel beyond it, but at most 223.

    Raises:
        PictureError: The map is not as `score_map` makes it.
        SettingError: The threshold is outside [0, 1].
    """
    boxes, _, _ = _boxes_at(check_score_map(scores), check_thresholds([threshold]))
    return boxes


def box_iou(a: Corners, b: Corners) -> Shares:
    """IoU of each box of a with each of b, (A, B): corners include the last pixel, a side is x1 - x0 + 1."""
    first, last = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(0, last - first + 1).prod(axis=-1)
    area_a, area_b = (a[:, 2:] - a[:, :2] + 1).prod(axis=-1), (b[:, 2:] - b[:, :2] + 1).prod(axis=-1)
    return np.asarray(shared / (area_a[:, None] + area_b - shared), dtype=np.float64)


def scaled_corners(boxes: Sequence[Box], image_size: tuple[int, int]) -> Corners:
    """Boxes of a picture on the 224 x 224 grid, (N, 4), as the published code places true boxes.

    A `Box` is half open: its corners as the annotation files write them are (x0, y0, x1 - 1, y1 - 1). Those are
    multiplied by 224, divided by the size of the picture, and cut to integers.

    Args:
        boxes: In pixels of the picture.
        image_size: (H, W) of the picture.

    Raises:
        DatasetError: A box is empty or begins outside the picture, or the picture has no size.
    """
    height, width = image_size
    for box in boxes:
        if not (0 <= box.x0 < min(box.x1, width) and 0 <= box.y0 < min(box.y1, height)):
            raise DatasetError(
                f"the box {box.x0}, {box.y0}, {box.x1}, {box.y1} is empty or begins outside a picture of "
                f"{width} x {height}; boxes are x0, y0, x1, y1 with x0 < x1 and y0 < y1"
            )
    raw = np.array([(box.x0, box.y0, box.x1 - 1, box.y1 - 1) for box in boxes], dtype=np.float64).reshape(-1, 4)
    return (raw * SIZE / [width, height, width, height]).astype(np.int64)


class MaxBoxAcc:
    """How often the box of a picture is right, at every threshold: the localization scores of a data set.

    For each picture, each threshold and each of four conditions one bit is kept: is the box of the largest contour
    right at IoU 0.5 (MaxBoxAcc, GT-known, Top-k), is the box of ANY contour right at 0.3, 0.5, 0.7 (MaxBoxAccV2). With
    several true boxes, the best one counts. Pictures are numbered in the order of adding; their names are the
    caller's. The largest values over the thresholds are ORACLE numbers: chosen on these very boxes.

    Args:
        thresholds: T box thresholds, ascending, in [0, 1].

    Raises:
        SettingError: The thresholds are out of range.
    """

    def __init__(self, thresholds: Sequence[float] = BOX_THRESHOLDS) -> None:
        self.thresholds = check_thresholds(thresholds)
        self._bits: list[NDArray[np.uint8]] = []
        self._ranks: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._bits)

    def add(
        self,
        scores: NDArray[np.floating[Any]],
        truth: Sequence[Box],
        image_size: tuple[int, int],
        ranked: Sequence[int] = (),
    ) -> None:
        """Judge the boxes of one score map at every threshold.

        Args:
            scores: (224, 224), in [0, 1], from `score_map`: the map of the TRUE class, for Top-k Loc too.
            truth: The true boxes, in pixels of the picture, all of one class.
            image_size: (H, W) of the picture.
            ranked: Predicted classes, the most probable first, for Top-k Loc; at least k of them.

        Raises:
            PictureError: The map is not as `score_map` makes it.
            DatasetError: There is no true box, they are of several classes, or one is empty.
        """
        boxes, starts, binary = _boxes_at(check_score_map(scores), self.thresholds)
        self._judge(boxes, starts, binary, truth, image_size, ranked)

    def add_boxes(
        self,
        predicted: Sequence[Box],
        truth: Sequence[Box],
        image_size: tuple[int, int],
        ranked: Sequence[int] = (),
    ) -> None:
        """Judge boxes that somebody else drew (a detector, a results file): no threshold, all give the same.

        The boxes of the true class count, the others are left aside (GT-known). In place of the largest contour stands
        the box with the highest score, the first of equals; "any contour" is any box. Without a box stands 0, 0, 0, 0,
        as for a map without contour. The boxes are scaled as true boxes are.

        Args:
            predicted: In pixels of the picture, of any class.
            truth: As `add`.
            image_size: As `add`.
            ranked: As `add`.

        Raises:
            DatasetError: A box is empty, there is no true box, or they are of several classes.
        """
        ours = sorted((box for box in predicted if box.class_id in {t.class_id for t in truth}), key=lambda b: -b.score)
        boxes = scaled_corners(ours, image_size) if ours else _NO_BOX
        everywhere = np.zeros(len(self.thresholds), dtype=np.int64)
        self._judge(boxes, np.zeros(1, dtype=np.int64), everywhere, truth, image_size, ranked)

    def __add__(self, other: "MaxBoxAcc") -> "MaxBoxAcc":
        """The accuracies of the pictures of both, the other's numbered after these.

        Raises:
            SettingError: The thresholds differ.
        """
        if not np.array_equal(self.thresholds, other.thresholds):
            raise SettingError("accuracies over different thresholds cannot be merged; make both with the same list")
        return self._made_of(self._bits + other._bits, self._ranks + other._ranks)

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> "MaxBoxAcc":
        """The accuracies of some of the pictures, renumbered in the order given, each at most once.

        Raises:
            SettingError: An index is no picture, or stands there twice.
        """
        chosen = check_subset(indices, len(self))
        return self._made_of([self._bits[i] for i in chosen], [self._ranks[i] for i in chosen])

    @property
    def curve(self) -> Shares:
        """BoxAcc at IoU 0.5 with the box of the largest contour (GT-known Loc), at each threshold, (T,)."""
        return np.asarray(self._hits()[:, 0].mean(axis=0))

    @property
    def curves_v2(self) -> Shares:
        """BoxAcc with the boxes of all contours, at IoU 0.3, 0.5, 0.7 and each threshold, (3, T)."""
        return np.asarray(self._hits()[:, 1:].mean(axis=0))

    @property
    def best_threshold(self) -> float:
        """The ORACLE threshold: the lowest with the highest `curve`."""
        return float(self.thresholds[self.curve.argmax()])

    @property
    def max_box_acc(self) -> float:
        """MaxBoxAcc: the highest value of `curve`, an oracle number."""
        return float(self.curve.max())

    @property
    def max_box_acc_v2(self) -> float:
        """MaxBoxAccV2: the mean over the three IoUs of the highest values of `curves_v2`, each at its own threshold."""
        return float(self.curves_v2.max(axis=1).mean())

    def successes(self, threshold: float | None = None) -> Hits:
        """Whether the box of each picture is right (IoU 0.5, largest contour), (N,), for lists and `bootstrap_mean`.

        Args:
            threshold: One of the list; None takes the oracle threshold.

        Raises:
            SettingError: The threshold is not in the list.
        """
        place = threshold_index(self.thresholds, self.best_threshold if threshold is None else threshold)
        return self._hits()[:, 0, place]

    def gt_known(self, threshold: float | None = None) -> float:
        """GT-known Loc: the share of pictures whose box is right (IoU 0.5), the class being given.

        Args:
            threshold: As `successes`; at None this is MaxBoxAcc.

        Raises:
            SettingError: The threshold is not in the list.
        """
        return float(self.successes(threshold).mean())

    def top_loc(self, k: int, threshold: float | None = None) -> float:
        """Top-k Loc: the share of pictures whose box is right AND whose true class is among the first k predicted.

        The box is that of the TRUE class's map; some papers take that of the predicted class, for Top-1 the same.

        Args:
            k: 1 or 5.
            threshold: As `successes`: the oracle threshold is that of GT-known, not chosen anew for Top-k.

        Raises:
            SettingError: A picture was added with fewer than k ranked classes, or the threshold is not in the list.
        """
        successes = self.successes(threshold)
        places, lengths = np.array(self._ranks).T
        if not 1 <= k <= lengths.min():
            raise SettingError(
                f"Top-{k} Loc takes at least {k} ranked classes for every picture, and k from 1; one picture has "
                f"{lengths.min()}; pass `ranked` when adding"
            )
        return float((successes & (places < k)).mean())

    def bootstrap(self, *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
        """Percentile bootstrap interval of MaxBoxAccV2, over pictures; each resample has its own best thresholds.

        For GT-known Loc at a fixed threshold: `bootstrap_mean(accuracy.successes(threshold))`.

        Args:
            resamples: How many.
            confidence: Between 0 and 1.
            seed: Of the draws.

        Raises:
            DatasetError: There is no picture.
            SettingError: A setting is out of its range.
        """
        # Sums of 0 and 1 are exact in float32 up to 16 million pictures, and half as large.
        hits = self._hits()[:, 1:].reshape(len(self), -1).astype(np.float32)

        def v2(sums: Sums) -> Sums:
            highest = sums.reshape(len(sums), len(DELTAS), -1).max(axis=2)
            return np.asarray(highest.mean(axis=1, dtype=np.float64) / len(self))

        return bootstrap(hits, v2, resamples=resamples, confidence=confidence, seed=seed)

    def _judge(
        self,
        boxes: Corners,
        starts: NDArray[np.int64],
        binary: NDArray[np.int64],
        truth: Sequence[Box],
        image_size: tuple[int, int],
        ranked: Sequence[int],
    ) -> None:
        """Keep the bits of one picture: `boxes` in groups that begin at `starts`, one group for each threshold."""
        classes = {box.class_id for box in truth}
        if len(classes) != 1:
            raise DatasetError(
                f"a picture is judged against the true boxes of one class, that of the map; got {len(classes)} "
                "classes; pass the boxes of the true class, and leave pictures without boxes out"
            )
        best = box_iou(boxes, scaled_corners(truth, image_size)).max(axis=1)
        largest, any_box = best[starts], np.maximum.reduceat(best, starts)
        hits = np.stack([largest >= 0.5, *(any_box >= delta for delta in DELTAS)])
        self._bits.append(np.packbits(hits[:, binary], axis=1))
        order = list(ranked)
        (true_class,) = classes
        self._ranks.append((order.index(true_class) if true_class in order else len(order), len(order)))

    def _hits(self) -> Hits:
        """All bits, (N, 4, T)."""
        if not self._bits:
            raise DatasetError("no picture was added; add pictures before asking for an accuracy")
        bits = np.unpackbits(np.stack(self._bits), axis=2, count=len(self.thresholds))
        return bits.view(np.bool_)

    def _made_of(self, bits: list[NDArray[np.uint8]], ranks: list[tuple[int, int]]) -> "MaxBoxAcc":
        made = MaxBoxAcc(self.thresholds.tolist())
        made._bits, made._ranks = bits, ranks
        return made


_NO_BOX: Corners = np.zeros((1, 4), dtype=np.int64)


def _boxes_at(
    scores: ScoreMap, thresholds: NDArray[np.float64]
) -> tuple[Corners, NDArray[np.int64], NDArray[np.int64]]:
    """Boxes of all contours at all thresholds, every different binary picture looked at once.

    A map of 8 bits has at most 256 of them, however many thresholds there are.

    Returns:
        The boxes (N, 4) of the G different binary pictures one after the other, each group with its largest contour
        first; where each group begins (G,); and the group of each threshold (T,).
    """
    m8 = (scores * 255).astype(np.uint8)
    values = np.unique(m8)
    levels = (thresholds * values[-1]).astype(np.int64)
    lowest, group = np.unique(np.searchsorted(values, levels, side="right"), return_inverse=True)
    boxes = [_contour_boxes(m8 >= values[place]) if place < len(values) else _NO_BOX for place in lowest]
    starts = np.cumsum([0, *(len(found) for found in boxes[:-1])])
    return np.concatenate(boxes), starts, group


def _contour_boxes(binary: NDArray[np.bool_]) -> Corners:
    """Boxes of all contours, (N, 4), that of the largest area first.

    OpenCV 4.9, 4.11 and 5.0 list the same contours in the same order, by different code.
    """
    contours, _ = cv2.findContours(binary.view(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    boxes = np.array([cv2.boundingRect(contour) for contour in contours], dtype=np.int64)
    boxes[:, 2:] = np.minimum(boxes[:, 2:] + boxes[:, :2], np.array(binary.shape[::-1]) - 1)
    largest = int(np.argmax([cv2.contourArea(contour) for contour in contours]))
    boxes[[0, largest]] = boxes[[largest, 0]]
    return boxes
