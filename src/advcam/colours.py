"""Colours of masks and maps: the PASCAL VOC palette and the heat map of overlays."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray


@cache
def voc_palette() -> NDArray[np.uint8]:
    """The PASCAL VOC colour table, shape (256, 3), RGB: 0 is black (background), 255 is cream (ignore). Read only.

    Source: VOCdevkit, VOClabelcolormap: the bits of the index are dealt out to red, green and blue.
    """
    palette = np.zeros((256, 3), dtype=np.uint8)
    for index in range(256):
        rest = index
        for bit in range(7, -1, -1):
            palette[index] |= np.array([rest & 1, rest >> 1 & 1, rest >> 2 & 1], dtype=np.uint8) << bit
            rest >>= 3
    palette.setflags(write=False)
    return palette


def heat(attribution_map: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours of a map of values in [0, 1]: shape (H, W) to (H, W, 3) RGB, from blue (0) to red (1)."""
    levels = np.clip(np.asarray(attribution_map, dtype=np.float32) * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_JET)[..., ::-1])


def blend(picture: NDArray[np.uint8], colours: NDArray[np.uint8], opacity: float) -> NDArray[np.uint8]:
    """Lay colours over a picture: both (H, W, 3), opacity in [0, 1]."""
    return np.asarray(cv2.addWeighted(picture, 1 - opacity, colours, opacity, 0), dtype=np.uint8)
