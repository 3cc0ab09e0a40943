"""PxAP: average precision of the pixels of score maps against masks, as wsolevaluation pools it.

Choe et al., CVPR 2020 (arXiv 2001.07437), made for OpenImages30k. Precision and recall at a threshold are pooled over
the pixels of all pictures; PxAP sums precision times the rise of recall, from the highest threshold downwards. It is a
share between 0 and 1, never per cent.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import DatasetError, SettingError
from advcam.evaluate.pixels import Counts, Shares, ratio
from advcam.evaluate.score_maps import SIZE, check_score_map
from advcam.evaluate.thresholds import BOX_THRESHOLDS, check_thresholds


class PxAP:
    """Histograms of the scores of foreground and background pixels, and their average precision.

    Args:
        thresholds: T, ascending from 0, below 1: the lower ends of the bins.

    Raises:
        SettingError: The thresholds are out of range.
    """

    def __init__(self, thresholds: Sequence[float] = BOX_THRESHOLDS) -> None:
        self.thresholds = check_thresholds(thresholds)
        if self.thresholds[0] != 0 or self.thresholds[-1] == 1:
            raise SettingError(
                "the thresholds of PxAP begin with 0 and end below 1, which is a bin of its own; "
                f"got {self.thresholds[0]:g} to {self.thresholds[-1]:g}"
            )
        # The published bins: [0, 0.001), .. [0.999, 1), then [1, 2) for scores of 1, and [2, 3), always empty.
        self._edges = np.append(self.thresholds, [1.0, 2.0, 3.0])
        self._foreground: Counts = np.zeros(len(self.thresholds) + 2, dtype=np.int64)
        self._background: Counts = np.zeros(len(self.thresholds) + 2, dtype=np.int64)

    def add(
        self, scores: NDArray[np.floating[Any]], foreground: NDArray[Any], ignore: NDArray[Any] | None = None
    ) -> None:
        """Count the pixels of one picture.

        Args:
            scores: (224, 224), in [0, 1], from `score_map`.
            foreground: (H, W), above 0.5 (or True) in the union of the masks of all instances.
            ignore: (H, W), above 0.5 where pixels are left out, unless they are foreground. None ignores nothing.

        Raises:
            PictureError: The map is not as `score_map` makes it.
            DatasetError: The masks are no (H, W) arrays of one size.
        """
        checked = check_score_map(scores)
        if foreground.ndim != 2 or not foreground.size or (ignore is not None and ignore.shape != foreground.shape):
            raise DatasetError(
                f"foreground and ignored region are masks (H, W) of one size; got {foreground.shape} and "
                f"{None if ignore is None else ignore.shape}"
            )
        inside = _reduced(foreground)
        outside = ~inside if ignore is None else ~inside & ~_reduced(ignore)
        self._foreground += np.histogram(checked[inside], bins=self._edges)[0]
        self._background += np.histogram(checked[outside], bins=self._edges)[0]

    def __add__(self, other: "PxAP") -> "PxAP":
        """The pixels of the pictures of both.

        Raises:
            SettingError: The thresholds differ.
        """
        if not np.array_equal(self.thresholds, other.thresholds):
            raise SettingError("PxAP over different thresholds cannot be merged; make both with the same list")
        merged = PxAP(self.thresholds.tolist())
        merged._foreground = self._foreground + other._foreground
        merged._background = self._background + other._background
        return merged

    def curve(self) -> tuple[Shares, Shares]:
        """Precision and recall at each lower end of a bin, from the highest (2, 1, then the thresholds) to the lowest.

        Precision is NaN where no pixel has so high a score.

        Raises:
            DatasetError: No pixel of the truth is foreground.
        """
        right = self._foreground[::-1].cumsum()
        wrong = self._background[::-1].cumsum()
        if not right[-1]:
            raise DatasetError("no true pixel is foreground; PxAP needs masks with objects in them")
        return ratio(right, right + wrong), right / right[-1]

    @property
    def value(self) -> float:
        """PxAP, 0 to 1: the sum of precision * (recall - recall one bin higher); bins without pixels add nothing.

        Raises:
            DatasetError: No pixel of the truth is foreground.
        """
        precision, recall = self.curve()
        defined = ~np.isnan(precision[1:])
        return float((precision[1:] * np.diff(recall))[defined].sum())


def _reduced(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask at 224 x 224, nearest neighbour. The union of reduced masks is the reduced union."""
    values = cv2.resize(mask.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(values > 0.5)
