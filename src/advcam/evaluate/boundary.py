"""Boundary IoU: how well masks agree near their contours, where the plain IoU of a large object hardly looks.

Cheng, Girshick, Dollár, Berg, Kirillov: Boundary IoU, CVPR 2021 (arXiv 2103.16562). The boundary region of a mask is
the mask without its erosion: its pixels at most d from the contour, d = 2 % of the diagonal of the picture. Boundary
IoU is the IoU of the two boundary regions.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError
from advcam.evaluate.pixels import Counts, Integers, Shares, check_masks, defined_mean, ratio
from advcam.types import IGNORE

DILATION_RATIO = 0.02
_NEIGHBOURS = np.ones((3, 3), dtype=np.uint8)


class BoundaryIoU:
    """Boundary IoU of each class, over the pixels of all pictures, and its mean over the classes.

    Deviations: the paper defines the measure for one pair of masks; here intersections and unions are summed over the
    pictures, as mIoU does it. The paper knows no ignored pixels. Here an ignored pixel of the truth takes the class
    that the prediction gives it, so that it makes no contour of its own, and is then left out of the counts: it
    neither helps nor hurts. (VOC hides every true contour under a band of ignored pixels; removing the band from
    both masks would give them the edge of the band as a common contour.) Where the band is as wide as the boundary,
    nothing of that contour is left to be counted.

    Args:
        num_classes: C, the background counted.
        dilation_ratio: Width d of the boundary as a share of the diagonal; at least one pixel.

    Raises:
        SettingError: A setting is out of its range.
    """

    def __init__(self, num_classes: int, dilation_ratio: float = DILATION_RATIO) -> None:
        if not 2 <= num_classes <= IGNORE or not 0 < dilation_ratio <= 1:
            raise SettingError(
                f"boundary IoU takes 2 to {IGNORE} classes with the background and a dilation ratio between 0 and 1; "
                f"got {num_classes} and {dilation_ratio:g}"
            )
        self.num_classes = num_classes
        self.dilation_ratio = dilation_ratio
        self._shared: Counts = np.zeros(num_classes, dtype=np.int64)
        self._either: Counts = np.zeros(num_classes, dtype=np.int64)

    def add(self, truth: Integers, prediction: Integers) -> None:
        """Count the boundary pixels of one picture.

        Args:
            truth: (H, W), class numbers, 0 the background; pixels of 255 are ignored as the class describes.
            prediction: (H, W), class numbers; 255 counts as background.

        Raises:
            DatasetError: The truth holds another number, or is no (H, W) array of integers.
            SettingError: The prediction holds another number, or has another shape.
        """
        truth, prediction = check_masks(truth, prediction, self.num_classes)
        valid = truth != IGNORE
        truth = np.where(valid, truth, prediction)
        for number in np.union1d(truth, prediction):
            true = boundary_region(truth == number, self.dilation_ratio) & valid
            claimed = boundary_region(prediction == number, self.dilation_ratio) & valid
            self._shared[number] += np.count_nonzero(true & claimed)
            self._either[number] += np.count_nonzero(true | claimed)

    def __add__(self, other: "BoundaryIoU") -> "BoundaryIoU":
        """The measure of the pictures of both.

        Raises:
            SettingError: They have different classes or widths.
        """
        if (self.num_classes, self.dilation_ratio) != (other.num_classes, other.dilation_ratio):
            raise SettingError("boundary IoUs of different classes or widths cannot be merged; use one setting")
        merged = BoundaryIoU(self.num_classes, self.dilation_ratio)
        merged._shared, merged._either = self._shared + other._shared, self._either + other._either
        return merged

    @property
    def iou(self) -> Shares:
        """Boundary IoU of each class, (C,), 0 to 1; NaN for a class without boundary in truth and prediction."""
        return ratio(self._shared, self._either)

    @property
    def miou(self) -> float:
        """Mean over the classes that have a boundary in truth or prediction, background included, 0 to 1."""
        return defined_mean(self.iou)


def boundary_region(mask: NDArray[np.bool_], dilation_ratio: float = DILATION_RATIO) -> NDArray[np.bool_]:
    """The pixels of a mask at most d from what is not the mask, (H, W).

    The distance is that of d erosions with a 3 x 3 square (the larger of the two coordinate differences), and outside
    the picture nothing belongs to the mask, so a mask cut off by the frame has boundary there: both as in the authors'
    code.

    Args:
        mask: (H, W).
        dilation_ratio: d as a share of the diagonal; d is rounded, and at least 1.
    """
    steps = max(1, round(dilation_ratio * float(np.hypot(*mask.shape))))
    eroded = cv2.erode(
        mask.astype(np.uint8), _NEIGHBOURS, iterations=steps, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(mask & (eroded == 0))
