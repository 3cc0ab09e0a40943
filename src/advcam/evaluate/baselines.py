"""What a score is worth without looking at the picture: centre, everything, chance.

Each baseline gives a map or a box that goes through the same scores as a method does.
"""

import cv2
import numpy as np

from advcam.errors import SettingError
from advcam.types import Box, FloatArray

#: Positions of a random map along each side: about a feature map of stride 16 for a picture of 224.
_CELLS = 14
#: Standard deviation of the centre map, as a share of each side.
_SPREAD = 0.25


def centre_map(image_size: tuple[int, int]) -> FloatArray:
    """The centre baseline: a Gaussian in the middle, whatever the picture shows, (H, W), maximum about 1.

    The image-independent centred map of wsolevaluation's centre baseline. On exact maps the width of the Gaussian would
    not matter, as only the order of the pixels does. Here its standard deviation is a quarter of each side: then 8 bits
    and steps of 0.001 still tell apart boxes of nearly every width. On the 224 x 224 score map it is round, so its
    boxes have the aspect of the picture.

    Args:
        image_size: (H, W).

    Raises:
        SettingError: A side is not positive.
    """
    height, width = _checked(image_size)
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    gaussian: FloatArray = np.exp(-(y[:, None] ** 2 + x**2) / (2 * _SPREAD**2)).astype(np.float32)
    return gaussian


def centre_box(image_size: tuple[int, int], share: float, class_id: int) -> Box:
    """A box in the middle with a share of each side, rounded to pixels, at least one pixel wide and high.

    Args:
        image_size: (H, W).
        share: Of width and of height, above 0 and at most 1; 1 is the whole picture.
        class_id: The class to be claimed, counted from 0.

    Raises:
        SettingError: A side is not positive, or the share out of range.
    """
    height, width = _checked(image_size)
    if not 0 < share <= 1:
        raise SettingError(f"a centre box takes a share of each side above 0 and at most 1; got {share:g}")
    x0, y0 = (min(round(side * (1 - share) / 2), (side - 1) // 2) for side in (width, height))
    return Box(class_id, x0, y0, width - x0, height - y0, 1.0)


def full_map(image_size: tuple[int, int]) -> FloatArray:
    """All foreground: ones, (H, W), for seeds and PxAP; as a box, `centre_box` with share 1.

    Do not send it through `score_map`, which takes a constant map for an empty one.

    Args:
        image_size: (H, W).

    Raises:
        SettingError: A side is not positive.
    """
    return np.ones(_checked(image_size), dtype=np.float32)


def random_map(image_size: tuple[int, int], seed: int) -> FloatArray:
    """Chance with the coarseness of a class activation map, (H, W), minimum 0 and maximum 1.

    Uniform noise on 14 x 14 positions, bicubic to the size of the picture. (Noise of single pixels is no map that
    a network gives.)

    Args:
        image_size: (H, W).
        seed: Give every picture its own.

    Raises:
        SettingError: A side is not positive.
    """
    height, width = _checked(image_size)
    noise = np.random.default_rng(seed).random((_CELLS, _CELLS))
    grown = np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float64)
    grown -= grown.min()
    grown /= max(grown.max(), np.finfo(np.float64).tiny)
    return grown.astype(np.float32)


def _checked(image_size: tuple[int, int]) -> tuple[int, int]:
    height, width = image_size
    if height < 1 or width < 1:
        raise SettingError(f"a picture has a height and a width of at least one pixel; got {height} x {width}")
    return height, width
