"""Score maps: maps at the size and in the range that the localization protocols judge, 224 x 224 and 0 to 1.

The steps are those of wsolevaluation (Choe et al., CVPR 2020, arXiv 2001.07437), inference and validity check.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import PictureError

#: Side of score maps, in pixels.
SIZE = 224

ScoreMap = NDArray[np.float64]


def score_map(raw: NDArray[Any]) -> ScoreMap:
    """A map as the protocol scores it, (224, 224), in [0, 1].

    Resized with bicubic interpolation in float64, then (map - minimum) / (maximum - minimum). A map that is NaN
    anywhere, or constant, becomes all zero: it speaks for no place and its picture counts as missed.

    Args:
        raw: (h, w), any range: the map of the TRUE class of the picture.

    Raises:
        PictureError: It is no (h, w) array, or holds infinite values.
    """
    values = np.asarray(raw, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise PictureError(f"a score map is an (h, w) array; got shape {values.shape}; pass the map of one class")
    if np.isinf(values).any():
        raise PictureError("a score map holds infinite values; mend the network or the normalisation before")
    resized = np.asarray(cv2.resize(values, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), dtype=np.float64)
    if np.isnan(resized).any() or resized.min() == resized.max():
        return np.zeros((SIZE, SIZE))
    resized -= resized.min()
    resized /= resized.max()
    return resized


def check_score_map(scores: NDArray[Any]) -> ScoreMap:
    """A finished score map, (224, 224), as float64.

    Raises:
        PictureError: It has another size, NaN or values outside [0, 1].
    """
    if scores.shape != (SIZE, SIZE) or not np.issubdtype(scores.dtype, np.floating):
        raise PictureError(
            f"score maps are float arrays of {SIZE} x {SIZE}; got shape {scores.shape} of {scores.dtype}; "
            "make them with score_map"
        )
    if not (scores.min() >= 0 and scores.max() <= 1):
        raise PictureError(
            f"score maps hold values between 0 and 1; got {scores.min():g} to {scores.max():g}; "
            "make them with score_map"
        )
    return scores.astype(np.float64)
