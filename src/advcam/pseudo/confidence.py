"""How far a pseudo-label can be trusted, judged without truth, so that doubtful pictures can be looked at first."""

import numpy as np
from numpy.typing import NDArray

from advcam.types import FloatArray, Mask


def class_confidence(maps: FloatArray, mask: Mask, class_ids: tuple[int, ...]) -> NDArray[np.float64]:
    """Confidence in the mask of each class: the share of its score that lies inside its mask, (C,), in [0, 1].

        confidence_c = sum over pixels of mask c of s_c / sum over all pixels of s_c

    It is low where a map is smeared beyond its mask, where other classes take its pixels, and 0 where a class has no
    pixel or an empty map. It ranks pictures made with the same settings; it is no probability.

    Args:
        maps: Scores at the size of the picture, 0 or more, (C, H, W).
        mask: Label mask (H, W): 0 background, class_id + 1, 255 ignore.
        class_ids: The C classes.
    """
    confidence = np.zeros(len(class_ids))
    for index, (class_id, scores) in enumerate(zip(class_ids, maps, strict=True)):
        total = float(scores.sum(dtype=np.float64))
        if total > 0:
            confidence[index] = float(scores[mask == class_id + 1].sum(dtype=np.float64)) / total
    return confidence.clip(0, 1)
