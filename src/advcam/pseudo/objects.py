"""Boxes and instances from a label mask and the scores that it was made of."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError
from advcam.types import IGNORE, Attribution, Box, BoxContours, Instance, Mask


def mask_boxes(attribution: Attribution, mask: Mask, contours: BoxContours = "largest") -> list[Box]:
    """Boxes around the parts of each class in a label mask: `Attribution.boxes` inside the mask.

    Args:
        attribution: The scores that the mask was made of; a pixel whose score is 0 counts for no box.
        mask: (H, W): 0 background, class_id + 1, 255 ignore.
        contours: As for `Attribution.boxes`: "largest" or "all".

    Raises:
        SettingError: The mask has another size than the picture, or `contours` is neither of the two words.
    """
    maps = attribution.upsample()
    inside = np.where(_class_masks(attribution, mask), maps, np.float32(0))
    return replace(attribution, maps=inside, steps=None, trajectories=()).boxes(0.0, contours)


def instances(attribution: Attribution, mask: Mask, min_area: float = 0.0) -> list[Instance]:
    """Connected parts of each class in a label mask, class by class, the largest first.

    Two objects of a class that touch are one part. Parts are connected by sides and corners. The score of a part is the
    mean score of its class over it.

    Args:
        attribution: The scores that the mask was made of.
        mask: (H, W): 0 background, class_id + 1, 255 ignore.
        min_area: Share of the picture that a part needs, in [0, 1].

    Raises:
        SettingError: The mask has another size than the picture, or `min_area` is outside [0, 1].
    """
    if not 0 <= min_area <= 1:
        raise SettingError(f"min_area is a share of the picture, 0 to 1; got {min_area}")
    found: list[Instance] = []
    masks = _class_masks(attribution, mask)
    for class_id, class_mask, scores in zip(attribution.class_ids, masks, attribution.upsample(), strict=True):
        pieces = [piece for piece in _parts(class_mask) if piece.sum() >= min_area * mask.size]
        found += [Instance(class_id, piece, float(scores[piece].mean())) for piece in pieces]
    return found


def mask_instances(mask: Mask) -> list[Instance]:
    """Connected parts of each class in a mask that nothing else is known of, the largest of a class first.

    Args:
        mask: (H, W): 0 background, class_id + 1, 255 ignore.

    Returns:
        Objects with a score of 1.
    """
    found: list[Instance] = []
    for number in sorted(set(np.unique(mask).tolist()) - {0, IGNORE}):
        found += [Instance(number - 1, piece, 1.0) for piece in _parts(mask == number)]
    return found


def _parts(class_mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Connected parts, the largest first."""
    count, parts = cv2.connectedComponents(class_mask.astype(np.uint8))
    pieces = [np.asarray(parts == number) for number in range(1, count)]
    return sorted(pieces, key=lambda piece: -int(piece.sum()))


def _class_masks(attribution: Attribution, mask: Mask) -> NDArray[np.bool_]:
    """Pixels of each class, (C, H, W)."""
    if mask.shape != tuple(attribution.image_size):
        raise SettingError(
            f"a label mask has the size of its picture, {tuple(attribution.image_size)}; got {mask.shape}"
        )
    numbers = np.array(attribution.class_ids, dtype=np.int32) + 1
    return np.asarray(mask[None] == numbers[:, None, None])
