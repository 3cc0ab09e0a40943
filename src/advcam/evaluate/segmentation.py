"""Segmentation scores: the confusion matrix of masks, and the sweep of seeds over every background threshold.

Scores are shares between 0 and 1, never per cent. Where a ratio has no denominator (a class absent from truth and
prediction) it is NaN, and means leave it out, as the published seed and mask evaluations do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.evaluate.bootstrap import CONFIDENCE, RESAMPLES, Interval, bootstrap_ratio, check_subset
from advcam.evaluate.pixels import Counts, Integers, Shares, check_masks, check_truth, defined_mean, ratio
from advcam.evaluate.thresholds import SEED_THRESHOLDS, check_thresholds, threshold_index
from advcam.types import IGNORE


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """What a confusion matrix says, as shares between 0 and 1; NaN where nothing is defined.

    Args:
        iou: Of each class, (C,): diagonal / (row + column - diagonal).
        miou: Mean of `iou` over the classes that truth or prediction holds, background included.
        precision: Of each class, (C,): of the pixels predicted as it, the share that is it.
        recall: Of each class, (C,): of its true pixels, the share predicted as it.
        mean_precision: Mean of `precision` over the classes 1, 2, .. (not the background) that are predicted.
        mean_recall: Mean of `recall` over the classes 1, 2, .. that the truth holds.
        foreground_precision: Pooled over pixels: of all pixels predicted as any class but background, the share with
            the right class.
        foreground_recall: Pooled over pixels: of all true pixels of any class but background, the share predicted as
            their class.
        pixel_accuracy: Share of all pixels with the right class.
        mean_accuracy: Mean of `recall` over the classes that the truth holds, background included.
    """

    iou: Shares
    miou: float
    precision: Shares
    recall: Shares
    mean_precision: float
    mean_recall: float
    foreground_precision: float
    foreground_recall: float
    pixel_accuracy: float
    mean_accuracy: float


class ConfusionMatrix:
    """Pixels of all pictures by true and predicted class (protocols of VOC and of the seeds).

    Args:
        num_classes: C, the background counted: 21 for PASCAL VOC.

    Attributes:
        counts: (C, C), rows the truth, columns the prediction.

    Raises:
        SettingError: `num_classes` is not 2 to 255 (255 marks ignored pixels).
    """

    def __init__(self, num_classes: int) -> None:
        if not 2 <= num_classes <= IGNORE:
            raise SettingError(
                f"num_classes counts the background and is 2 to {IGNORE}, as {IGNORE} in a mask means ignore; "
                f"got {num_classes}"
            )
        self.counts: Counts = np.zeros((num_classes, num_classes), dtype=np.int64)

    def add(self, truth: Integers, prediction: Integers) -> None:
        """Count the pixels of one picture.

        Args:
            truth: (H, W), class numbers, 0 the background; pixels of 255 are left out.
            prediction: (H, W), class numbers; 255 counts as background (masks that leave pixels undecided).

        Raises:
            DatasetError: The truth holds another number, or is no (H, W) array of integers.
            SettingError: The prediction holds another number, or has another shape.
        """
        truth, prediction = check_masks(truth, prediction, len(self.counts))
        valid = truth != IGNORE
        pairs = truth[valid].astype(np.int64) * len(self.counts) + prediction[valid]
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """The matrix of the pictures of both.

        Raises:
            SettingError: They have different classes.
        """
        _check_same_classes(len(self.counts), len(other.counts))
        merged = ConfusionMatrix(len(self.counts))
        merged.counts = self.counts + other.counts
        return merged

    def scores(self) -> SegmentationScores:
        """All scores of the pixels so far."""
        right, true, claimed = self.counts.diagonal(), self.counts.sum(axis=1), self.counts.sum(axis=0)
        iou, precision, recall = ratio(right, true + claimed - right), ratio(right, claimed), ratio(right, true)
        return SegmentationScores(
            iou=iou,
            miou=defined_mean(iou),
            precision=precision,
            recall=recall,
            mean_precision=defined_mean(precision[1:]),
            mean_recall=defined_mean(recall[1:]),
            foreground_precision=float(ratio(right[1:].sum(), claimed[1:].sum())),
            foreground_recall=float(ratio(right[1:].sum(), true[1:].sum())),
            pixel_accuracy=float(ratio(right.sum(), true.sum())),
            mean_accuracy=defined_mean(recall),
        )


class SeedSweep:
    """Seeds at every background threshold, from one pass over the pixels of each picture.

    The maps of the classes of the image label compete with a constant background map (protocol of IRN and AdvCAM):
    a pixel goes to the class with the highest map if that value exceeds the threshold, else to the background, as
    `Attribution.label_mask` does it. How many thresholds lie below the highest value is all that the sweep needs to
    know of a pixel, so one histogram over (true class, winner, that number) holds every threshold at once.

    Nothing is kept of the maps. For each picture and each pair of true and predicted class that meets there, the
    pixels at every threshold are kept (4 bytes each), so that subsets and intervals can be had afterwards: with 101
    thresholds about 2 kB a picture of PASCAL VOC. They are added up when a score is asked for. Pictures are numbered in
    the order of adding; their names are the caller's.

    Args:
        num_classes: C, the background counted.
        thresholds: T background values, ascending, in [0, 1].

    Raises:
        SettingError: `num_classes` or the thresholds are out of range.
    """

    def __init__(self, num_classes: int, thresholds: Sequence[float] = SEED_THRESHOLDS) -> None:
        self.num_classes = len(ConfusionMatrix(num_classes).counts)
        self.thresholds = check_thresholds(thresholds)
        self._pictures = 0
        self._keys = [np.zeros((0, 3), dtype=np.int32)]
        self._pixels = [np.zeros((0, len(self.thresholds)), dtype=np.int32)]

    def __len__(self) -> int:
        return self._pictures

    def add(self, truth: Integers, maps: NDArray[np.floating[Any]], class_ids: Sequence[int]) -> None:
        """Count the pixels of one picture at every threshold.

        Args:
            truth: (H, W), class numbers, 0 the background; pixels of 255 are left out.
            maps: (K, H, W), one map for each class of the picture, in [0, 1].
            class_ids: The K classes, counted from 0: class k is the number k + 1 of the truth.

        Raises:
            DatasetError: The truth holds a number that is no class, or is no (H, W) array of integers.
            PictureError: The maps have another shape than the truth, or values outside [0, 1].
            SettingError: A class number is out of range.
        """
        truth = check_truth(truth, self.num_classes)
        classes = self._check_maps(maps, class_ids, truth.shape)
        total = np.bincount(truth.ravel(), minlength=IGNORE + 1)[: self.num_classes]
        present = np.flatnonzero(total)
        claimed = self._claimed(truth, maps, present)
        background = total[present, None, None] - claimed.sum(axis=1, keepdims=True)
        pixels = np.concatenate([background, claimed], axis=1).reshape(-1, len(self.thresholds))
        pairs = np.stack(np.meshgrid(self._pictures, present, [0, *classes], indexing="ij"), axis=-1).reshape(-1, 3)
        met = pixels.any(axis=1)
        self._keep(pairs[met].astype(np.int32), pixels[met].astype(np.int32), pictures=1)

    def __add__(self, other: "SeedSweep") -> "SeedSweep":
        """The sweep over the pictures of both, the other's numbered after these.

        Raises:
            SettingError: They have different classes or thresholds.
        """
        _check_same_classes(self.num_classes, other.num_classes)
        if not np.array_equal(self.thresholds, other.thresholds):
            raise SettingError("sweeps over different thresholds cannot be merged; make both with the same list")
        (keys, pixels), (more_keys, more_pixels) = self._rows(), other._rows()
        shifted = more_keys + np.array([len(self), 0, 0], dtype=np.int32)
        count = len(self) + len(other)
        return self._made_of(np.concatenate([keys, shifted]), np.concatenate([pixels, more_pixels]), count)

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> "SeedSweep":
        """The sweep over some of the pictures, renumbered in the order given, each at most once.

        Raises:
            SettingError: An index is no picture, or stands there twice.
        """
        chosen = check_subset(indices, len(self))
        number = np.full(len(self), -1, dtype=np.int32)
        number[chosen] = np.arange(len(chosen))
        keys, pixels = self._rows()
        keys = np.column_stack([number[keys[:, 0]], keys[:, 1:]])
        kept = keys[:, 0] >= 0
        return self._made_of(keys[kept], pixels[kept], len(chosen))

    def confusion(self, threshold_index: int) -> ConfusionMatrix:
        """The confusion matrix of all pictures at one threshold of the list, 0 to T - 1."""
        keys, pixels = self._rows()
        matrix = ConfusionMatrix(self.num_classes)
        np.add.at(matrix.counts, (keys[:, 1], keys[:, 2]), pixels[:, threshold_index])
        return matrix

    def scores(self, threshold: float) -> SegmentationScores:
        """All scores at one of the thresholds.

        Raises:
            SettingError: The threshold is not in the list.
        """
        return self.confusion(threshold_index(self.thresholds, threshold)).scores()

    @property
    def miou(self) -> Shares:
        """mIoU at each threshold, (T,)."""
        return np.array([self.confusion(index).scores().miou for index in range(len(self.thresholds))])

    @property
    def precision(self) -> Shares:
        """Pooled precision of the foreground at each threshold, (T,); NaN where everything is background."""
        return np.array([self.confusion(i).scores().foreground_precision for i in range(len(self.thresholds))])

    @property
    def recall(self) -> Shares:
        """Pooled recall of the foreground at each threshold, (T,)."""
        return np.array([self.confusion(i).scores().foreground_recall for i in range(len(self.thresholds))])

    def best(self) -> tuple[float, SegmentationScores]:
        """The ORACLE threshold (the highest mIoU on these very pictures, the lowest of equals) and its scores.

        Raises:
            DatasetError: No pixel was added.
        """
        curve = self.miou
        if np.isnan(curve).all():
            raise DatasetError("no pixel to score; add pictures whose truth is not ignored everywhere")
        index = int(np.nanargmax(curve))
        return float(self.thresholds[index]), self.confusion(index).scores()

    def picture_scores(self, threshold: float) -> Shares:
        """mIoU of each picture by itself, over the classes in its truth or prediction, (P,).

        NaN where all pixels are ignored. For lists of the best and worst pictures; its mean is NOT the mIoU.

        Raises:
            SettingError: The threshold is not in the list.
        """
        right, union = self._picture_terms(threshold)
        return np.array([defined_mean(row) for row in ratio(right, union)])

    def bootstrap(
        self, threshold: float, *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = 0
    ) -> Interval:
        """Percentile bootstrap interval of the mIoU at one threshold (which stays fixed), over pictures.

        Args:
            threshold: One of the list.
            resamples: How many.
            confidence: Between 0 and 1.
            seed: Of the draws.

        Raises:
            DatasetError: There is no picture.
            SettingError: The threshold is not in the list, or a setting is out of its range.
        """
        right, union = self._picture_terms(threshold)
        return bootstrap_ratio(right, union, resamples=resamples, confidence=confidence, seed=seed)

    def _claimed(self, truth: Integers, maps: NDArray[np.floating[Any]], present: Counts) -> Counts:
        """Pixels of each true class that each map wins at each threshold, (present classes, K, T)."""
        steps = len(self.thresholds)
        if not len(maps) or not len(present):
            return np.zeros((len(present), len(maps), steps), dtype=np.int64)
        place = np.zeros(IGNORE + 1, dtype=np.int64)
        place[present] = np.arange(len(present))
        valid = truth != IGNORE
        peak, winner = maps.max(axis=0)[valid], maps.argmax(axis=0)[valid]
        # In the type of the maps, as `maps > threshold` compares them: 0.4 as float32 is not 0.4 as float64.
        below = np.searchsorted(self.thresholds.astype(maps.dtype), peak, side="left")
        shape = (len(present), len(maps), steps + 1)
        cell = (place[truth[valid]] * len(maps) + winner) * (steps + 1) + below
        histogram = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
        return histogram[..., ::-1].cumsum(axis=-1)[..., -2::-1]

    def _check_maps(self, maps: NDArray[Any], class_ids: Sequence[int], size: tuple[int, ...]) -> list[int]:
        """The numbers of the classes in a mask, after a look at the maps."""
        if maps.shape != (len(class_ids), *size) or not np.issubdtype(maps.dtype, np.floating):
            raise PictureError(
                f"a sweep takes one map of floats for each of the {len(class_ids)} classes at the size of the truth, "
                f"{size}; got shape {maps.shape} of {maps.dtype}; resize the maps to the picture"
            )
        if maps.size and not (maps.min() >= 0 and maps.max() <= 1):
            raise PictureError(
                f"maps hold values between 0 and 1; got {maps.min():g} to {maps.max():g}; set negative values to 0 "
                "and divide each map by its maximum (a map of zeros stays zero)"
            )
        for class_id in class_ids:
            if not 0 <= class_id < self.num_classes - 1:
                raise SettingError(
                    f"class {class_id} does not fit num_classes={self.num_classes}: classes count from 0 to "
                    f"{self.num_classes - 2}, and the background comes on top"
                )
        return [int(class_id) + 1 for class_id in class_ids]

    def _rows(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Keys (R, 3) of picture, true and predicted class, and their pixels (R, T)."""
        self._keys, self._pixels = [np.concatenate(self._keys)], [np.concatenate(self._pixels)]
        return self._keys[0], self._pixels[0]

    def _made_of(self, keys: NDArray[np.int32], pixels: NDArray[np.int32], pictures: int) -> "SeedSweep":
        made = SeedSweep(self.num_classes, self.thresholds.tolist())
        made._keep(keys, pixels, pictures)
        return made

    def _keep(self, keys: NDArray[np.int32], pixels: NDArray[np.int32], pictures: int) -> None:
        """Rows of more pictures."""
        self._keys.append(keys)
        self._pixels.append(pixels)
        self._pictures += pictures

    def _picture_terms(self, threshold: float) -> tuple[Counts, Counts]:
        """Intersection and union of each picture and class, both (P, C)."""
        keys, pixels = self._rows()
        picture, true, predicted = keys.T
        count = pixels[:, threshold_index(self.thresholds, threshold)].astype(np.int64)
        right, either = np.zeros((2, len(self), self.num_classes), dtype=np.int64)
        same = true == predicted
        np.add.at(right, (picture[same], true[same]), count[same])
        np.add.at(either, (picture, true), count)
        np.add.at(either, (picture, predicted), count)
        return right, either - right


def _check_same_classes(ours: int, theirs: int) -> None:
    if ours != theirs:
        raise SettingError(f"scores over {ours} and over {theirs} classes cannot be merged; use one num_classes")
