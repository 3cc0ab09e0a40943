"""The protocols written out slowly, straight from their definitions: one threshold, one pixel, one box at a time.

The oracle of the tests and of benchmarks/protocols.py. Nothing is shared with the package. OpenCV finds the contours
and resizes, as the published evaluator says; everything else is float64 and plain loops.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

Corners = tuple[int, int, int, int]


# Localization


def score_map(raw: np.ndarray) -> np.ndarray:
    """224 x 224 bicubic, then min-max; NaN or constant gives zeros."""
    resized = cv2.resize(raw.astype(np.float64), (224, 224), interpolation=cv2.INTER_CUBIC)
    if math.isnan(resized.sum()) or resized.min() == resized.max():
        return np.zeros((224, 224))
    shifted = resized - resized.min()
    return shifted / shifted.max()


def contours_at(scores: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Contours with the full hierarchy of m8 > floor(threshold * max m8)."""
    m8 = np.floor(255 * scores).astype(np.uint8)
    binary = (m8 > math.floor(threshold * int(m8.max()))).astype(np.uint8) * 255
    found, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    return list(found)


def box_of(contour: np.ndarray, width: int = 224, height: int = 224) -> Corners:
    x, y, w, h = cv2.boundingRect(contour)
    return x, y, min(x + w, width - 1), min(y + h, height - 1)


def largest_box(scores: np.ndarray, threshold: float) -> Corners:
    """Box of the contour with the largest area, the first of equals."""
    largest, box = -1.0, (0, 0, 0, 0)
    for contour in contours_at(scores, threshold):
        if cv2.contourArea(contour) > largest:
            largest, box = cv2.contourArea(contour), box_of(contour)
    return box


def all_boxes(scores: np.ndarray, threshold: float) -> list[Corners]:
    return [box_of(contour) for contour in contours_at(scores, threshold)] or [(0, 0, 0, 0)]


def scaled(box, image_size: tuple[int, int]) -> Corners:
    """A half-open box of the picture: the last pixel included, times 224 / size, cut to integers."""
    height, width = image_size
    return (
        int(float(box.x0) * 224.0 / width),
        int(float(box.y0) * 224.0 / height),
        int(float(box.x1 - 1) * 224.0 / width),
        int(float(box.y1 - 1) * 224.0 / height),
    )


def iou(a: Corners, b: Corners) -> float:
    """Sides are x1 - x0 + 1."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    area_a, area_b = ((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return width * height / (area_a + area_b - width * height)


def box_acc(pictures: Sequence[tuple], threshold: float, delta: float, multi: bool) -> float:
    """BoxAcc(tau, delta) over pictures (scores, true boxes, image size): the best true box counts."""
    right = 0
    for scores, truth, size in pictures:
        boxes = all_boxes(scores, threshold) if multi else [largest_box(scores, threshold)]
        right += max(iou(box, scaled(true, size)) for box in boxes for true in truth) >= delta
    return right / len(pictures)


def max_box_acc(pictures: Sequence[tuple], thresholds: Sequence[float]) -> float:
    return max(box_acc(pictures, tau, 0.5, multi=False) for tau in thresholds)


def max_box_acc_v2(pictures: Sequence[tuple], thresholds: Sequence[float]) -> float:
    """The mean over the deltas of the highest BoxAcc, every delta with its own threshold."""
    best = [max(box_acc(pictures, tau, delta, multi=True) for tau in thresholds) for delta in (0.3, 0.5, 0.7)]
    return sum(best) / 3


# PxAP


def nearest(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask.astype(np.float64), (224, 224), interpolation=cv2.INTER_NEAREST) > 0.5


def pxap(pictures: Sequence[tuple], thresholds: Sequence[float]) -> float:
    """Pictures (scores, instance masks, ignored region or None); no histogram: pixels >= tau, every tau anew."""
    scores, truths = [], []
    for score, instances, ignored in pictures:
        truth = np.zeros((224, 224), dtype=bool)
        for instance in instances:
            truth = truth | nearest(instance)
        left_out = np.zeros((224, 224), dtype=bool) if ignored is None else nearest(ignored) & ~truth
        scores.append(score[~left_out])
        truths.append(truth[~left_out])
    score, truth = np.concatenate(scores), np.concatenate(truths)
    total, last_recall = 0.0, 0.0
    for tau in [1.0, *reversed(list(thresholds))]:
        claimed = score >= tau
        if claimed.any():
            precision = (claimed & truth).sum() / claimed.sum()
            recall = (claimed & truth).sum() / truth.sum()
            total += precision * (recall - last_recall)
            last_recall = recall
    return float(total)


# Segmentation


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes), dtype=np.int64)
    for row in range(truth.shape[0]):
        for column in range(truth.shape[1]):
            if truth[row, column] != 255:
                claimed = prediction[row, column]
                counts[truth[row, column], 0 if claimed == 255 else claimed] += 1
    return counts


def seeds(maps: np.ndarray, class_ids: Sequence[int], threshold: float) -> np.ndarray:
    """Prepend a constant map of the background, take the first highest map, translate to class numbers."""
    background = np.full(maps.shape[1:], threshold, dtype=maps.dtype)
    numbers = np.array([0, *(k + 1 for k in class_ids)])
    return numbers[np.concatenate([background[None], maps]).argmax(axis=0)]


def miou(counts: np.ndarray) -> float:
    """Mean over the classes in truth or prediction of diagonal / (row + column - diagonal)."""
    values = []
    for k in range(len(counts)):
        union = counts[k, :].sum() + counts[:, k].sum() - counts[k, k]
        if union:
            values.append(counts[k, k] / union)
    return sum(values) / len(values)


def boundary(mask: np.ndarray, steps: int) -> np.ndarray:
    """Pixels of the mask with something that is not the mask, or no picture, at most `steps` away in x and y."""
    region = np.zeros(mask.shape, dtype=bool)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            for dy in range(-steps, steps + 1):
                for dx in range(-steps, steps + 1):
                    inside = 0 <= y + dy < mask.shape[0] and 0 <= x + dx < mask.shape[1]
                    if mask[y, x] and not (inside and mask[y + dy, x + dx]):
                        region[y, x] = True
    return region
